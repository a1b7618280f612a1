"""Resolve the arrays of the merged dataset, and find the samples that contradict them. Pure functions.

Rank, dtype and fill value of a declared array are those of the schema; what the schema leaves open (trailing sizes) or
does not declare is decided by the majority of the samples that have rows there. A sample that contradicts the decision
is rejected, and the merge goes on without it. Of equal votes the smaller value in sort order wins, so that the order of
records does not matter.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dflow.errors import SchemaError
from dflow.plaintext import get_logger
from dflow.records import ArrayLayout, SampleLayout, SampleRecord
from dflow.schema import FILE_GROUP, ArraySpec, Schema, merge_schemas, parse_schema, resolve_array, row_dimension
from dflow.schema.names import has_array, id_array, row_count, row_start

logger = get_logger(__name__)

_T = TypeVar("_T")

_Variant = tuple[str, tuple[int, ...], tuple[str, ...]]
"""dtype, trailing shape and dims of an array in some samples."""

_UNKNOWN = -1
"""A trailing size of a declared array that no sample has; `_name_dimensions` replaces it."""


@dataclass(frozen=True, slots=True, eq=False)
class Census:
    """The distinct layouts of the samples, and the layout and row counts of each sample.

    `layout_index` is (n_samples,) int32 into `layouts`; `rows` maps each row group to (n_samples,) int64, 0 for a
    sample without the group.
    """

    layouts: tuple[SampleLayout, ...]
    layout_index: NDArray[np.int32]
    rows: Mapping[str, NDArray[np.int64]]

    def members(self, layout: int) -> NDArray[np.intp]:
        """Indices of the samples with that layout, ascending."""
        return np.flatnonzero(self.layout_index == layout)


@dataclass(frozen=True, slots=True)
class ResolvedArray:
    """One array of the dataset: its merged `layout`; `declared` by the schema or not; `coded` is true for text, which
    becomes codes of a vocabulary.
    """

    layout: ArrayLayout
    declared: bool
    coded: bool = False


def take_census(records: Sequence[SampleRecord]) -> Census:
    """Gather the distinct layouts and the row counts of `records`, in their order.

    Layouts are compared by identity first: the records of a batch share one, and hashing a layout costs 20 µs.
    """
    known: dict[SampleLayout, int] = {}
    by_id: dict[int, int] = {}
    index = np.empty(len(records), np.int32)
    for position, record in enumerate(records):
        number = by_id.get(id(record.layout))
        if number is None:
            number = by_id[id(record.layout)] = known.setdefault(record.layout, len(known))
        index[position] = number
    layouts = tuple(known)
    census = Census(layouts, index, {})
    groups = sorted({group for layout in layouts for group in layout.groups})
    rows = {group: np.zeros(len(records), np.int64) for group in groups}
    for number, layout in enumerate(layouts):
        members = census.members(number)
        table = np.array([records[i].rows for i in members], np.int64).reshape(len(members), len(layout.groups))
        for column, group in enumerate(layout.groups):
            rows[group][members] = table[:, column]
    return Census(layouts, index, rows)


def union_schema(census: Census) -> tuple[Schema, dict[int, str]]:
    """The union of the samples' schemas, the most frequent first, and the reasons by layouts that contradict it."""
    sizes = np.bincount(census.layout_index, minlength=len(census.layouts))
    weight: Counter[str] = Counter()
    for layout, size in zip(census.layouts, sizes, strict=True):
        weight[layout.schema] += int(size)
    union, refused = Schema(), dict[str, str]()
    first = True
    for text in sorted(weight, key=lambda t: (-weight[t], t)):
        if not text:
            continue
        schema = parse_schema(json.loads(text))
        try:
            union, first = (schema if first else merge_schemas(union, schema)), False
        except SchemaError as error:
            refused[text] = f"its schema contradicts that of most samples: {error}"
    return union, {i: refused[layout.schema] for i, layout in enumerate(census.layouts) if layout.schema in refused}


def resolve_arrays(census: Census, schema: Schema) -> tuple[dict[str, ResolvedArray], dict[int, list[str]]]:
    """The merged arrays by ``group/name``, and the reasons by indices of rejected samples.

    A sample without rows in a group cannot contradict there: ``np.array([])`` is float64 of shape (0,), whatever
    dtype was intended.
    """
    votes: dict[str, Counter[_Variant]] = {}
    holders: dict[str, list[tuple[int, _Variant]]] = {}
    for number, layout in enumerate(census.layouts):
        members = census.members(number)
        for array in layout.arrays:
            variant = (array.dtype, array.trailing, array.dims)
            voters = len(members) if array.group == FILE_GROUP else np.count_nonzero(census.rows[array.group][members])
            votes.setdefault(array.key, Counter())[variant] += int(voters)
            holders.setdefault(array.key, []).append((number, variant))
    declared = {f"{group}/{name}": spec for group, g in schema.groups.items() for name, spec in g.arrays.items()}
    resolved: dict[str, ResolvedArray] = {}
    faults: dict[int, list[str]] = {}
    keys = votes.keys() | declared.keys()
    added = _added_by_the_merge(keys, schema)
    for key in sorted(keys & added):
        logger.warning("the array %r is left out: the merge adds one of that name", key)
    for key in sorted(keys - added):
        resolved[key] = _decide(key, votes.get(key, Counter()), schema, declared.get(key))
        _find_contradictions(key, resolved[key], holders.get(key, []), census, faults)
    return _name_dimensions(resolved, schema), faults


def _added_by_the_merge(keys: Iterable[str], schema: Schema) -> set[str]:
    """The arrays that the merge itself writes where the samples have those of `keys`: ids, offsets and presence."""
    pairs = [key.split("/", 1) for key in keys]
    groups = {group for group, _ in pairs} | schema.groups.keys()
    values = {name(group) for group in groups for name in (row_start, row_count)}
    values |= {has_array(group, name) for group, name in pairs}
    return {f"{group}/{id_array(group)}" for group in groups} | {f"{FILE_GROUP}/{value}" for value in values}


def _decide(key: str, votes: Counter[_Variant], schema: Schema, declared: ArraySpec | None) -> ResolvedArray:
    group, _, name = key.partition("/")
    known = declared or resolve_array(schema, group, name)
    rank = None if declared is None else len(declared.dims) - (group != FILE_GROUP)
    fitting = {
        v: n for v, n in votes.items() if declared is None or (len(v[1]) == rank and _casts(v[0], declared.dtype))
    }
    if fitting:
        dtype, trailing, dims = min(fitting, key=lambda v: (-fitting[v], v))
    elif declared is not None:
        dtype, trailing, dims = declared.dtype, (_UNKNOWN,) * (rank or 0), declared.dims
    else:
        raise AssertionError(f"{key}: neither declared nor present")
    if declared is not None:
        dtype = declared.dtype
    if known is not None and len(known.dims) == len(dims):
        dims = known.dims
    coded = dtype == "str"
    layout = ArrayLayout(
        group, name, "int32" if coded else dtype, dims, trailing, None if coded or not known else known.fill_value
    )
    return ResolvedArray(layout, declared is not None, coded)


def _casts(source: str, target: str) -> bool:
    """Whether `source` fits into `target` without loss and without changing its kind."""
    if source == target or "str" in (source, target):
        return source == target
    return np.dtype(source).kind == np.dtype(target).kind and np.can_cast(source, target, "safe")


def _find_contradictions(
    key: str,
    resolved: ResolvedArray,
    holders: Iterable[tuple[int, _Variant]],
    census: Census,
    faults: dict[int, list[str]],
) -> None:
    expected = resolved.layout
    dtype = "str" if resolved.coded else expected.dtype
    for number, (found, trailing, _) in holders:
        if _casts(found, dtype) and trailing == expected.trailing:
            continue
        members = census.members(number)
        if expected.group != FILE_GROUP:
            members = members[census.rows[expected.group][members] > 0]
        authority = "the schema" if resolved.declared else "the majority of the samples"
        rows = [] if expected.group == FILE_GROUP else ["rows"]
        wanted = "×".join([*rows, *(str(size) if size != _UNKNOWN else "?" for size in expected.trailing)])
        shape = "×".join([*rows, *map(str, trailing)])
        message = f"{key}: {found} of shape {shape or '()'} contradicts {authority}: {dtype} of shape {wanted or '()'}"
        if not rows:
            name = expected.name
            message += f"; save it as '{name}_rows/{name}' if its length differs from file to file"
        for member in members:
            faults.setdefault(int(member), []).append(message)


def _name_dimensions(resolved: Mapping[str, ResolvedArray], schema: Schema) -> dict[str, ResolvedArray]:
    """Make dimension names consistent within each group, so that xarray can open it: one size per name.

    The row dimension is the schema's, else the most frequent. A trailing name with several sizes gets the size as a
    suffix; one that equals the row dimension or repeats within an array gets its position. Unknown sizes are those of
    another array of the group with that dimension.
    """
    out: dict[str, ResolvedArray] = {}
    for group in sorted({array.layout.group for array in resolved.values()}):
        members = {key: array for key, array in resolved.items() if array.layout.group == group}
        row = FILE_GROUP if group == FILE_GROUP else _row_dimension(group, members, schema)
        plain = {key: _distinct(_trailing_dims(array.layout), row) for key, array in members.items()}
        sizes: dict[str, set[int]] = {}
        for key, array in members.items():
            for dim, size in zip(plain[key], array.layout.trailing, strict=True):
                sizes.setdefault(dim, set()).update({size} - {_UNKNOWN})
        for key, array in members.items():
            pairs = list(zip(plain[key], array.layout.trailing, strict=True))
            trailing = tuple(max(sizes[d], default=0) if s == _UNKNOWN else s for d, s in pairs)
            names = [d if len(sizes[d]) <= 1 else f"{d}_{s}" for (d, _), s in zip(pairs, trailing, strict=True)]
            out[key] = _relabel(array, (row, *names), trailing)
    return out


def _relabel(array: ResolvedArray, dims: tuple[str, ...], trailing: tuple[int, ...]) -> ResolvedArray:
    old = array.layout
    layout = ArrayLayout(old.group, old.name, old.dtype, dims, trailing, old.fill_value)
    return ResolvedArray(layout, array.declared, array.coded)


def _trailing_dims(layout: ArrayLayout) -> tuple[str, ...]:
    return layout.dims if layout.group == FILE_GROUP else layout.dims[1:]


def _distinct(dims: tuple[str, ...], row: str) -> tuple[str, ...]:
    return tuple(f"{d}_{i + 1}" if d == row or d in dims[:i] else d for i, d in enumerate(dims))


def _row_dimension(group: str, members: Mapping[str, ResolvedArray], schema: Schema) -> str:
    if group in schema.groups:
        return row_dimension(schema, group)
    return most_frequent(array.layout.dims[0] for array in members.values())


def most_frequent(values: Iterable[_T]) -> _T:
    """The most frequent value; of several, the smallest."""
    counts: Counter[Any] = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value))
