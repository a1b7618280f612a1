"""An open dataset: its groups, its columns, and the rows of each sample.

Opening reads one metadata file, and needs numpy but not xarray.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from dflow.dataset.format.folder import ArrayReader, DatasetFolder, OpenDataset
from dflow.dataset.format.layout import how_to_mend
from dflow.dataset.format.row_reader import fill_value
from dflow.dataset.format.tables import label_columns
from dflow.dataset.query.vocabulary import meant, nearest
from dflow.errors import DamagedDatasetError, DatasetError, SchemaError, UnknownKeyError
from dflow.hoops.zarr2_dataset import Zarr2Dataset, is_zarr2
from dflow.plaintext import get_logger
from dflow.schema import FILE_GROUP, Schema, parse_schema, references
from dflow.schema.names import has_array, row_count, row_start

logger = get_logger(__name__)

ID_PREFIX = "file_id_code_"

ROW_NUMBERS: Mapping[str, str] = {"faces": "face_indices", "edges": "edge_indices"}
"""Arrays that every dataset can give, stored or not, by group: the number of each row within its sample."""

ALIASES: Mapping[str, str] = {"num_nodes": "face_count"}
"""HOOPS AI's names of file values, and dflow's."""

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Column:
    """One array of the dataset: `dims` has one name per dimension, the row dimension first."""

    group: str
    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk_rows: int
    attributes: Mapping[str, Any]

    @property
    def key(self) -> str:
        """``group/name``."""
        return f"{self.group}/{self.name}"

    @property
    def n_rows(self) -> int:
        return self.shape[0] if self.shape else 1

    @property
    def row_bytes(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def n_bytes(self) -> int:
        """Bytes of the whole column in memory."""
        return self.n_rows * self.row_bytes


@dataclass(frozen=True, slots=True)
class RowSpan:
    """The rows of each sample in one group.

    start, count : (n_files,) int64, in id order, contiguous and ascending: ``start[i + 1] == start[i] + count[i]``.
    """

    start: Array
    count: Array

    @property
    def n_rows(self) -> int:
        return int(self.start[-1] + self.count[-1]) if len(self.start) else 0

    def files(self, first: int, last: int) -> tuple[int, int]:
        """The half-open range of file ids with rows among `first` to `last` (excluded)."""
        low = int(np.searchsorted(self.start, first, side="right")) - 1
        high = int(np.searchsorted(self.start, last, side="left"))
        return max(low, 0), max(high, low, 0)

    def counts_within(self, first: int, last: int) -> tuple[int, Array]:
        """The first file id with rows among `first` to `last`, and the number of these rows per file from there on."""
        low, high = self.files(first, last)
        begin = np.maximum(self.start[low:high], first)
        end = np.minimum(self.start[low:high] + self.count[low:high], last)
        return low, np.maximum(end - begin, 0)


class DatasetStore:
    """An open dataset. Threads may share it. Pickles as its path; unpickling refuses a dataset that was replaced."""

    def __init__(self, folder: OpenDataset, infoset: Path | None = None) -> None:
        self.folder = folder
        self.infoset = infoset
        self.attributes: Mapping[str, Any] = folder.attributes["dflow"]
        self.schema: Mapping[str, Any] = folder.attributes.get("schema", {})
        self.columns = _columns(folder.arrays)
        if FILE_GROUP not in self.columns:
            self.columns[FILE_GROUP] = {}
        self.n_files = int(self.attributes["n_files"])
        self._readers: dict[str, ArrayReader] = {}
        self._file_values: dict[str, Array] = {}
        self._spans: dict[str, RowSpan] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return DatasetStore, (self.folder, self.infoset)

    @property
    def row_groups(self) -> tuple[str, ...]:
        """Sorted names of the groups with rows, which excludes `file`."""
        return tuple(sorted(g for g in self.columns if g != FILE_GROUP))

    @functools.cached_property
    def file_values(self) -> Mapping[str, Column]:
        """The values of group `file`, without those that the merge added, such as row offsets."""
        added = {name(group) for group in self.row_groups for name in (row_start, row_count)}
        added |= {has_array(group, name) for group, columns in self.columns.items() for name in columns}
        return MappingProxyType({n: c for n, c in self.columns[FILE_GROUP].items() if n not in added})

    @functools.cached_property
    def categorical(self) -> frozenset[str]:
        """File values that are codes: by the schema, or because `.infoset` has a column of their words."""
        metadata = self.schema.get("metadata", {})
        declared = metadata.get("metadata", metadata).get("categorical", {})  # HOOPS AI nests it twice
        worded = label_columns(self.infoset)
        return frozenset(n for n in self.file_values if n in declared or n in worded)

    @functools.cached_property
    def index_arrays(self) -> Mapping[str, str]:
        """Keys ``group/array`` of standard and declared arrays of row numbers, and the groups that they refer to."""
        try:
            schema = parse_schema(self.schema)
        except SchemaError as error:  # another program wrote it
            logger.warning(
                "%s: its schema is ignored, only standard arrays are row numbers: %s", self.folder.path, error
            )
            schema = Schema()
        return MappingProxyType(references(schema))

    def group(self, name: str) -> Mapping[str, Column]:
        """The columns of a group, by name.

        Raises
        ------
        UnknownKeyError
            If there is no such group; the message lists the groups.
        """
        if name not in self.columns:
            raise self.unknown_group(name)
        return self.columns[name]

    def unknown_group(self, name: str, *aliases: str) -> UnknownKeyError:
        """Make the error that there is no such group; it lists the groups, and further names of groups."""
        groups = list(dict.fromkeys([*self.row_groups, FILE_GROUP, *aliases]))
        return UnknownKeyError(f"no group {name!r}{meant(name, groups)} The dataset has {', '.join(groups)}")

    def named_columns(self, group: str) -> Mapping[str, Column]:
        """The columns of a group by name, with the row numbers that are computed where they are not stored."""
        columns = self.group(group)
        name = ROW_NUMBERS.get(group)
        return columns if name is None or name in columns else {**columns, name: self._row_numbers(group, name)}

    def _row_numbers(self, group: str, name: str) -> Column:
        alike = next(iter(self.group(group).values()))
        chunk_rows = max(alike.chunk_rows, 1)
        return Column(group, name, alike.dims[:1], (self.n_rows(group),), np.dtype(np.int32), chunk_rows, {})

    def column(self, group: str, name: str) -> Column:
        """One column of a group.

        Raises
        ------
        UnknownKeyError
            If there is no such group or column; the message lists those that exist.
        """
        columns = self.named_columns(group)
        if name not in columns:
            raise UnknownKeyError(
                f"no array {name!r} in group {group!r}{meant(name, columns)} It has "
                f"{', '.join(sorted(columns)) or 'none'}"
            )
        return columns[name]

    def row_dimension(self, group: str) -> str:
        """The name of a group's row dimension."""
        if group == FILE_GROUP:
            return FILE_GROUP
        stated = self.attributes.get("groups", {}).get(group, {}).get("dimension")
        if stated:
            return str(stated)
        columns = self.group(group)
        return next((c.dims[0] for c in columns.values() if c.dims), group)

    def n_rows(self, group: str) -> int:
        """Rows of a group; of `file`, the number of samples."""
        return self.n_files if group == FILE_GROUP else self.span(group).n_rows

    def read(self, group: str, name: str, start: int = 0, stop: int | None = None) -> Array:
        """Rows `start` to `stop` of a column, as a new array."""
        if name == ROW_NUMBERS.get(group) and name not in self.group(group):
            span = self.span(group)
            rows = np.arange(start, span.n_rows if stop is None else stop)
            files = np.searchsorted(span.start, rows, side="right") - 1
            return (rows - span.start[files]).astype(np.int32)
        return self.reader(group, name).read(start, stop)

    def reader(self, group: str, name: str) -> ArrayReader:
        """The cached reader of a stored column."""
        key = f"{group}/{name}"
        reader = self._readers.get(key)
        if reader is None:
            self.column(group, name)
            reader = self._readers[key] = self.folder.reader(key)
        return reader

    def file_value(self, name: str) -> Array:
        """A whole column of group `file`, (n_files, …), cached and read-only."""
        value = self._file_values.get(name)
        if value is None:
            value = self.read(FILE_GROUP, name)
            value.flags.writeable = False
            self._file_values[name] = value
        return value

    def span(self, group: str) -> RowSpan:
        """The rows of each sample in a group; cached."""
        span = self._spans.get(group)
        if span is None:
            span = self._spans[group] = self._read_span(group)
        return span

    def _read_span(self, group: str) -> RowSpan:
        if group == FILE_GROUP:
            return RowSpan(np.arange(self.n_files, dtype=np.int64), np.ones(self.n_files, np.int64))
        self.group(group)
        try:
            span = RowSpan(self.file_value(row_start(group)), self.file_value(row_count(group)))
        except UnknownKeyError as error:
            message = (
                f"{self.folder.path} lacks {row_start(group)} or {row_count(group)}, the rows of each sample in "
                f"{group!r}; {how_to_mend(self.folder.path)}"
            )
            raise DamagedDatasetError(message) from error
        ends = span.start + span.count
        if len(span.start) != self.n_files or np.any(span.start[1:] != ends[:-1]) or np.any(span.count < 0):
            raise DamagedDatasetError(
                f"{self.folder.path}: the row offsets of {group!r} contradict each other; "
                f"{how_to_mend(self.folder.path)}"
            )
        return span

    def file_id(self, value: Any) -> int:
        """Check that a value is the file id of a sample, and return it.

        Raises
        ------
        UnknownKeyError
            If it is no number, or no sample has it.
        """
        try:
            found = int(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise UnknownKeyError(
                f"{value!r} is not a file id; expected a number, 0 to {self.n_files - 1}: look "
                "it up by the sample's name in the table explorer.files"
            ) from error
        self.rows_of(FILE_GROUP, found)
        return found

    def rows_of(self, group: str, file_id: int) -> tuple[int, int]:
        """First and last row (excluded) of one sample."""
        if not 0 <= file_id < self.n_files:
            raise UnknownKeyError(f"no file id {file_id}; the dataset has ids 0 to {self.n_files - 1}")
        span = self.span(group)
        start = int(span.start[file_id])
        return start, start + int(span.count[file_id])

    def fill(self, group: str, name: str) -> Any:
        """The value of a column in the rows of samples that lack it."""
        column = self.column(group, name)
        return fill_value(self.folder.arrays[column.key].get("fill_value", 0), column.dtype)

    def present(self, group: str, name: str) -> Array | None:
        """(n_files,) bool: which samples have the array; None if all have it."""
        flag = has_array(group, name)
        return self.file_value(flag).astype(bool, copy=False) if flag in self.columns[FILE_GROUP] else None

    def close(self) -> None:
        """Clear the caches and release the folder."""
        self._readers.clear()
        self._file_values.clear()
        self._spans.clear()
        self.folder.close()


def open_store(path: Any, infoset: Path | None = None) -> DatasetStore:
    """Open a `.dataset` folder, or a `.dataset` that HOOPS AI wrote.

    Parameters
    ----------
    infoset : path of its table, which shows the undeclared file values that are codes

    Raises
    ------
    DatasetNotFoundError
        If there is no such folder.
    DamagedDatasetError
        If it is no dataset, or its metadata contradicts itself.
    """
    folder: OpenDataset = Zarr2Dataset(path, infoset) if is_zarr2(path) else DatasetFolder(path)
    try:
        return DatasetStore(folder, infoset)
    except Exception as error:  # what numpy and Python raise of metadata without a checksum that contradicts itself
        folder.close()
        if isinstance(error, DatasetError):
            raise
        raise DamagedDatasetError(
            f"the metadata of {folder.path} is damaged: {error!r}; {how_to_mend(folder.path)}"
        ) from error


def _columns(arrays: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Column]]:
    groups: dict[str, dict[str, Column]] = {}
    for key in sorted(arrays):
        metadata = arrays[key]
        group, name = key.split("/")
        if not isinstance(metadata["data_type"], str):
            continue  # an extension type of another program
        shape = tuple(metadata["shape"])
        names = metadata.get("dimension_names") or [f"{name}_dim_{i}" for i in range(len(shape))]
        chunk_rows = metadata["chunk_grid"]["configuration"]["chunk_shape"][0] if shape else 1
        column = Column(
            group, name, tuple(names), shape, np.dtype(metadata["data_type"]), chunk_rows, metadata["attributes"]
        )
        groups.setdefault(group, {})[name] = column
    return groups


LABELS = "labels"
"""HOOPS AI's name of the file values."""


def real_group(store: DatasetStore, group: str) -> str:
    """The stored group of a name: `labels` means the file values if no group has that name.

    Raises
    ------
    UnknownKeyError
        If there is no such group.
    """
    if group == LABELS and LABELS not in store.columns:
        return FILE_GROUP
    if group not in store.columns:
        raise store.unknown_group(group, LABELS)
    return group


def find_column(store: DatasetStore, key: str, group: str | None) -> Column:
    """Find the column `key`: in `group`, else in `file`, else in another group, which is logged.

    Raises
    ------
    UnknownKeyError
        If no group has it.
    """
    if not isinstance(key, str):
        raise UnknownKeyError(
            f"found {key!r} as the name of an array or file value; expected one name, as text: pass it alone, such as "
            f"{next(iter(store.file_values), 'face_areas')!r}"
        )
    wanted = None if group is None else real_group(store, group)
    for candidate in dict.fromkeys([*([wanted] if wanted else []), FILE_GROUP, *store.row_groups]):
        if key in store.named_columns(candidate):
            if wanted not in (None, candidate):
                logger.info("%r is not in group %r; found in fallback group %r", key, group, candidate)
            return store.column(candidate, key)
    if ALIASES.get(key) in store.group(FILE_GROUP):
        return store.column(FILE_GROUP, ALIASES[key])
    groups = [*store.row_groups, FILE_GROUP]
    near = nearest(key, {name: None for g in groups for name in store.group(g)})
    owner = next((g for g in groups if near in store.group(g)), "")
    suggestion = f"; is {near!r} of {owner!r} meant?" if near else ";"
    raise UnknownKeyError(
        f"no array or file value {key!r} in any group{suggestion} available_arrays(group) lists the names of a group: "
        f"{', '.join(groups)}"
    )
