"""Columns as xarray: lazy, in blocks of rows, with file values repeated per row.

Blocks are those of dask arrays, which an active `distributed.Client` computes, else threads; nothing is started here.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from dflow.dataset.query.store import ID_PREFIX, Column, DatasetStore
from dflow.schema import FILE_GROUP

BLOCK_BYTES = 64 * 1024**2
BLOCK_ROWS = 2**19
EAGER_BYTES = 8 * 1024**2
"""Smaller columns, in bytes, are read at once: a graph would cost more than the read."""

Array = np.ndarray[Any, np.dtype[Any]]


def block_rows(row_bytes: int) -> int:
    """Rows of one block: a power of two, as those of chunks, and at most 64 MiB unless 1,024 rows are more."""
    rows = BLOCK_BYTES // max(row_bytes, 1)
    return min(BLOCK_ROWS, 1 << max(10, rows.bit_length() - 1))


def blocks(n_rows: int, size: int) -> list[tuple[int, int]]:
    """Half-open ranges of at most `size` rows that cover ``range(n_rows)``."""
    return [(low, min(low + size, n_rows)) for low in range(0, n_rows, size)]


def dimension_names(column: Column, sizes: dict[str, int]) -> tuple[str, ...]:
    """Dimension names of a column in a Dataset with the dimensions `sizes`, to which they are added.

    A name that has another size already gets the array's name as a suffix: ``component`` has 7 entries for faces and 6
    for edges.
    """
    names = [column.dims[0]]
    for name, size in zip(column.dims[1:], column.shape[1:], strict=True):
        unique = name if sizes.setdefault(name, size) == size and name not in names else f"{name}@{column.name}"
        sizes[unique] = size
        names.append(unique)
    return tuple(names)


def read_block(store: DatasetStore, group: str, name: str, start: int, stop: int) -> Array:
    """Read rows of a column, in a task of Dask."""
    return store.read(group, name, start, stop)


def gather_block(store: DatasetStore, group: str, name: str, start: int, stop: int) -> Array:
    """Read a file value of the samples of rows `start` to `stop` of `group`, one entry per row."""
    first, counts = store.span(group).counts_within(start, stop)
    return np.repeat(store.file_value(name)[first : first + len(counts)], counts, axis=0)


def column_data(store: DatasetStore, column: Column, *, rows: int | None = None, eager_bytes: int = EAGER_BYTES) -> Any:
    """A column's values: a numpy array up to `eager_bytes`, else a dask array with blocks of `rows` rows."""
    shape = column.shape
    return _data(read_block, (store, column.group, column.name), shape, column.dtype, rows, eager_bytes)


def gathered_data(store: DatasetStore, group: str, name: str, *, rows: int, eager_bytes: int = EAGER_BYTES) -> Any:
    """A file value repeated for the rows of `group`, in the same form as `column_data`."""
    column = store.column(FILE_GROUP, name)
    shape = (store.n_rows(group), *column.shape[1:])
    return _data(gather_block, (store, group, name), shape, column.dtype, rows, eager_bytes)


def group_dataset(store: DatasetStore, group: str, names: Iterable[str] | None = None) -> xr.Dataset:
    """Columns of a group (all by default) as a lazy Dataset, with the attributes of the stored arrays."""
    columns = store.group(group)
    sizes: dict[str, int] = {}
    variables = {}
    for name in columns if names is None else names:
        column = store.column(group, name)
        data = column_data(store, column, eager_bytes=0)
        variables[name] = xr.Variable(dimension_names(column, sizes), data, dict(column.attributes))
    return xr.Dataset(variables, attrs={"group": group, "row_dimension": store.row_dimension(group)})


class InMemory(np.ndarray[Any, np.dtype[Any]]):
    """A numpy array that also has `compute`, which scripts written for HOOPS AI call on what is lazy there."""

    def compute(self, **kwargs: Any) -> Array:
        """Return the values as a plain numpy array.

        Parameters
        ----------
        **kwargs : dask's, without effect
        """
        return np.asarray(self)


def file_slice(store: DatasetStore, group: str, file_id: int, names: Iterable[str] | None = None) -> xr.Dataset:
    """One sample's rows of a group, in memory: one read and one decode per column."""
    start, stop = store.rows_of(group, file_id)
    sizes: dict[str, int] = {}
    variables = {}
    for name in store.group(group) if names is None else names:
        column = store.column(group, name)
        dims = dimension_names(column, sizes)
        if name == f"{ID_PREFIX}{group}":
            values = np.full(stop - start, file_id, column.dtype)  # equals the stored column
        else:
            values = store.read(group, name, start, stop)
        variables[name] = xr.Variable(dims, values.view(InMemory), fastpath=True)
    return xr.Dataset(variables, attrs={"group": group, "file_id_code": int(file_id)})


def _data(
    function: Callable[..., Array],
    arguments: tuple[DatasetStore, str, str],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    rows: int | None,
    eager_bytes: int,
) -> Any:
    row_bytes = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
    if shape[0] * row_bytes <= eager_bytes or shape[0] == 0:
        return function(*arguments, 0, shape[0])
    ranges = blocks(shape[0], rows or block_rows(row_bytes))
    chunks = (tuple(b - a for a, b in ranges), *((n,) for n in shape[1:]))
    return da.map_blocks(  # type: ignore[no-untyped-call]  # dask publishes no types
        _run_block,
        function=function,
        arguments=arguments,
        ranges=tuple(ranges),
        chunks=chunks,
        dtype=dtype,
        meta=np.empty((0,) * len(shape), dtype),
        name=f"{arguments[1]}-{arguments[2]}-{uuid.uuid4().hex}",
    )


def _run_block(
    *,
    function: Callable[..., Array],
    arguments: tuple[Any, ...],
    ranges: tuple[tuple[int, int], ...],
    block_id: tuple[int, ...],
) -> Array:
    return function(*arguments, *ranges[block_id[0]])


def data_tree(store: DatasetStore) -> xr.DataTree:
    """The whole dataset as a lazy tree, one node per group."""
    nodes: Mapping[str, xr.Dataset] = {f"/{group}": group_dataset(store, group) for group in store.columns}
    return xr.DataTree.from_dict(dict(nodes), name=store.folder.path.name)
