"""Find the files that satisfy a condition.

A condition is a function of a Dataset that returns booleans. It is run on an empty Dataset first, which shows its
dimensions and the columns that it uses; only these are read. A condition on file values alone is evaluated on the
`file` dimension (files without rows count too); one that uses rows is evaluated per row, with the file values that it
uses repeated per row, and a file matches if any of its rows does.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from dask.base import compute
from dask.delayed import delayed
from xarray.backends.common import BackendArray
from xarray.core import indexing

from dflow.dataset.query.coded import CodedDataset
from dflow.dataset.query.store import ALIASES, Column, DatasetStore
from dflow.dataset.query.vocabulary import Vocabularies
from dflow.dataset.query.xarrays import block_rows, column_data, dimension_names, gathered_data
from dflow.errors import DflowError, QueryError
from dflow.plaintext import get_logger
from dflow.schema import FILE_GROUP

logger = get_logger(__name__)

Array = np.ndarray[Any, np.dtype[Any]]
Condition = Callable[[xr.Dataset], xr.DataArray]

_HINT = (
    "combine conditions with & and | (not `and`, `or`), put each comparison in brackets, e.g. (ds['x'] > 1) & "
    "(ds['y'] < 2), and keep xarray's own methods, e.g. ds['x'].isin([...])"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """The evaluation of a condition: on files (`row_group` is None), or on the rows of a group.

    `row_dim` is the dimension of its result, `names` are the variables that it uses.
    """

    row_group: str | None
    row_dim: str
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Variable:
    """A column in the Dataset of a condition, with dimension names that are consistent with the other columns."""

    column: Column
    dims: tuple[str, ...]


class _Probe(BackendArray):
    """An array of a column's type with few rows, which records that it was read."""

    def __init__(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], touched: set[str]) -> None:
        self.name, self.shape, self.dtype, self.touched = name, shape, dtype, touched

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._zeros)

    def _zeros(self, key: tuple[Any, ...]) -> Array:
        self.touched.add(self.name)
        return np.zeros(self.shape, self.dtype)[key]


def visible(store: DatasetStore, group: str) -> dict[str, Variable]:
    """The variables of a condition on `group`: the group's arrays, then file values, then arrays of other groups."""
    sizes: dict[str, int] = {}
    found: dict[str, Variable] = {}
    owners: dict[str, str] = {}  # the group whose rows a dimension counts
    others = [g for g in store.row_groups if g != group]
    for source in dict.fromkeys([group, FILE_GROUP, *others]):
        for name, column in store.named_columns(source).items():
            if name in found:
                continue
            dims = dimension_names(column, sizes)
            if not _aligned(store, source, owners.setdefault(dims[0], source)):
                dims = (f"{dims[0]}@{source}", *dims[1:])
            found[name] = Variable(column, dims)
    aliases = {name: found[stored] for name, stored in ALIASES.items() if name not in found and stored in found}
    return found | aliases


def plan(store: DatasetStore, group: str, where: Condition, vocabularies: Vocabularies) -> Plan:
    """Plan the evaluation of a condition.

    Raises
    ------
    QueryError
        If it fails on empty data, compares with an unknown word, does not return booleans, or has two row dimensions.
    """
    if not callable(where):
        raise QueryError(
            f"where={where!r} is not a function; expected one of an xarray.Dataset, such as where=lambda ds: "
            "ds['face_areas'] > 3 (conditions as text: explorer.sql)"
        )
    variables = visible(store, group)
    result, touched, n_rows = _try_out(variables, where, vocabularies)
    _refuse_text(variables, where, n_rows, vocabularies)
    dims = _checked(result).dims
    row_groups: dict[str, str] = {}
    for variable in variables.values():
        row_groups.setdefault(variable.dims[0], variable.column.group)
    row_dims = [d for d in dims if d in row_groups and d != FILE_GROUP]
    if len(row_dims) > 1:
        raise QueryError(
            f"the condition has two row dimensions, {' and '.join(map(str, row_dims))}, whose rows do not correspond; "
            "pass one condition per group, "
            "get_file_list(where={'faces': …, 'edges': …})"
        )
    if not row_dims and FILE_GROUP not in dims:
        raise QueryError(
            f"the condition has dimensions {dims}, neither files nor rows of {group!r}: it cannot select files; "
            "return one boolean per file or row"
        )
    row_group = _row_group(store, group, variables, touched, str(row_dims[0])) if row_dims else None
    for name in sorted(touched):
        if variables[name].column.group not in (group, FILE_GROUP):
            logger.info("%r is not in group %r; taken from group %r", name, group, variables[name].column.group)
    return Plan(row_group, str(row_dims[0]) if row_dims else FILE_GROUP, frozenset(touched))


def matching_files(store: DatasetStore, group: str, where: Condition, vocabularies: Vocabularies) -> Array:
    """Ids of the files that satisfy a condition, (n,) int64, ascending."""
    decided = plan(store, group, where, vocabularies)
    mask = _run(where, _touched_dataset(store, visible(store, group), decided, vocabularies))
    if decided.row_group is None:
        return np.flatnonzero(np.asarray(_flatten(mask, FILE_GROUP)))
    return _files_of_mask(store, decided.row_group, mask, decided.row_dim)


def intersect(results: Iterable[Array]) -> Array:
    """Ids that are in all of several ascending results."""
    found: Array | None = None
    for result in results:
        found = result if found is None else np.intersect1d(found, result, assume_unique=True)
    return np.empty(0, np.int64) if found is None else found


def _aligned(store: DatasetStore, a: str, b: str) -> bool:
    """Whether every sample has the same number of rows in both groups, so that their rows correspond."""
    return a == b or bool(np.array_equal(store.span(a).count, store.span(b).count))


def _row_group(
    store: DatasetStore, group: str, variables: Mapping[str, Variable], touched: Iterable[str], row_dim: str
) -> str:
    """The group of the condition's rows: the requested one if its dimension is `row_dim`."""
    if row_dim == store.row_dimension(group) and group != FILE_GROUP:
        return group
    return next(variables[n].column.group for n in sorted(touched) if variables[n].dims[0] == row_dim)


def _coded(data: Mapping[str, Any], variables: Mapping[str, Variable], vocabularies: Vocabularies) -> CodedDataset:
    return CodedDataset.of(data, {name: variable.column.group for name, variable in variables.items()}, vocabularies)


def _try_out(
    variables: Mapping[str, Variable], where: Condition, vocabularies: Vocabularies
) -> tuple[Any, set[str], int]:
    """Return the condition's result on no rows, the variables that it reads, and the number of rows.

    If it fails on no rows (as a maximum does), it is run on two rows of zeros.
    """
    error: Exception | None = None
    for n_rows in (0, 2):
        touched: set[str] = set()
        data = {}
        for name, variable in variables.items():
            probe = _Probe(name, (n_rows, *variable.column.shape[1:]), variable.column.dtype, touched)
            data[name] = xr.Variable(variable.dims, indexing.LazilyIndexedArray(probe), fastpath=True)
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                result = where(_coded(data, variables, vocabularies))
                if isinstance(result, xr.DataArray):
                    result.load()
            return result, touched, n_rows
        except DflowError:
            raise
        except Exception as caught:  # the user's own code: any exception is possible
            error = caught
    known = ", ".join(sorted(variables))
    raise QueryError(f"the condition cannot be evaluated: {error}. {_HINT}. It may use: {known}") from error


def _refuse_text(variables: Mapping[str, Variable], where: Condition, n_rows: int, vocabularies: Vocabularies) -> None:
    """Run the condition on `n_rows` zeros of a type that refuses to be compared with text.

    Raises
    ------
    QueryError
        If it compares numbers with text.
    """
    data = {
        name: xr.Variable(v.dims, guarded(np.zeros((n_rows, *v.column.shape[1:]), v.column.dtype), name), fastpath=True)
        for name, v in variables.items()
    }
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            where(_coded(data, variables, vocabularies))
    except QueryError:
        raise
    except Exception as error:  # numpy or the user's code does not accept the subclass
        logger.warning(
            "the condition could not be checked for comparisons of numbers with text (%s: %s); a number never equals "
            "a text, so compare codes with codes",
            type(error).__name__,
            error,
        )


def _checked(result: Any) -> xr.DataArray:
    if not isinstance(result, xr.DataArray):
        raise QueryError(
            f"the condition returned {type(result).__name__}, an xarray.DataArray of booleans was expected; {_HINT}"
        )
    if result.dtype != bool:
        raise QueryError(
            f"the condition returned {result.dtype} values, booleans were expected; compare them, e.g. ds['x'] > 0"
        )
    return result


def _run(where: Condition, dataset: xr.Dataset) -> xr.DataArray:
    try:
        return _checked(where(dataset))
    except DflowError:
        raise
    except Exception as error:  # the user's own code
        raise QueryError(f"the condition cannot be evaluated: {error}. {_HINT}") from error


def _touched_dataset(
    store: DatasetStore, variables: Mapping[str, Variable], decided: Plan, vocabularies: Vocabularies
) -> xr.Dataset:
    """The columns that the condition uses; for a condition on rows, file values are repeated per row."""
    chosen = {n: variables[n] for n in sorted(decided.names)}
    rows = min((block_rows(v.column.row_bytes) for v in chosen.values()), default=1)
    data: dict[str, Any] = {}
    for name, variable in chosen.items():
        if variable.column.group != FILE_GROUP:
            data[name] = (variable.dims, column_data(store, variable.column, rows=rows))
        elif decided.row_group is None:
            data[name] = (variable.dims, store.file_value(variable.column.name))
        else:
            gathered = gathered_data(store, decided.row_group, variable.column.name, rows=rows)
            data[name] = ((decided.row_dim, *variable.dims[1:]), gathered)
    return _coded(data, chosen, vocabularies)


def _flatten(mask: xr.DataArray, row_dim: str) -> Any:
    """Reduce all dimensions but the rows by ``any``: numpy or dask, (n_rows,) bool."""
    rest = [d for d in mask.dims if d != row_dim]
    return (mask.any(rest) if rest else mask).data


def _files_of_mask(store: DatasetStore, group: str, mask: xr.DataArray, row_dim: str) -> Array:
    """Files with at least one true row. Blocks of the mask are computed and reduced one by one."""
    flat = _flatten(mask, row_dim)
    if isinstance(flat, np.ndarray):
        if not len(flat):
            return np.empty(0, np.int64)
        first, found = _any_per_file(store, group, flat, 0)
        return first + np.flatnonzero(found)
    sizes = flat.chunks[0]
    starts = np.concatenate([[0], np.cumsum(sizes)])[:-1].tolist()
    reduced = delayed(_any_per_file, pure=False)
    parts = compute(  # type: ignore[no-untyped-call]  # dask publishes no types here
        *(reduced(store, group, block, start) for block, start in zip(flat.to_delayed().ravel(), starts, strict=True))
    )
    matches = np.zeros(store.n_files, bool)
    for first, found in parts:
        matches[first : first + len(found)] |= found
    return np.flatnonzero(matches)


def _any_per_file(store: DatasetStore, group: str, mask: Array, start: int) -> tuple[int, Array]:
    """The first file of a block of rows, and whether each file from there on has a true row in the block."""
    first, counts = store.span(group).counts_within(start, start + len(mask))
    found = np.zeros(len(counts), bool)
    filled = counts > 0
    offsets = np.concatenate([[0], np.cumsum(counts)])[:-1][filled]
    if offsets.size:
        found[filled] = np.logical_or.reduceat(mask, offsets)
    return first, found


class GuardedArray(np.ndarray[Any, np.dtype[Any]]):
    """Numbers of a column, and results of arithmetic with them, that refuse operations with text."""

    column: str

    def __array_finalize__(self, origin: Any) -> None:
        self.column = getattr(origin, "column", "")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        self._refuse_text(inputs)
        result = getattr(ufunc, method)(*map(_plain, inputs), **options)
        return guarded(result, self.column) if isinstance(result, np.ndarray) else result

    def __array_function__(self, func: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        self._refuse_text([*args, *kwargs.values()])
        return super().__array_function__(func, types, args, kwargs)

    def _refuse_text(self, operands: Any) -> None:
        for operand in operands:
            word = _first_word(operand)
            if word is not None:
                raise QueryError(
                    f"the condition compares numbers of {self.column!r} with the text {word!r}; where the column has "
                    f"words for its codes, compare the column itself with a word: ds[{self.column!r}] == {word!r}, or "
                    f"ds[{self.column!r}].isin([{word!r}]); compare other numbers with numbers"
                )


def guarded(values: Array, column: str) -> Array:
    """A view of the column's values that refuses text."""
    view = values.view(GuardedArray)
    view.column = column
    return view


def _plain(operand: Any) -> Any:
    return operand.view(np.ndarray) if isinstance(operand, GuardedArray) else operand


def _first_word(operand: Any) -> str | None:
    """The first text in an operand, None if it has none."""
    if isinstance(operand, (str, bytes)):
        return str(operand)
    if isinstance(operand, np.ndarray) and operand.dtype.kind in "USTO":
        operand = operand.ravel().tolist()
    if isinstance(operand, (list, tuple, set, frozenset)):
        return next((word for word in map(_first_word, operand) if word is not None), None)
    return None
