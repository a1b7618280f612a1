"""The formats of an export that are folders: one Parquet table per group, or one file per sample (`.npz`, `.pt`).

A `Writer` receives the samples in blocks, in id order, and the two tables at the end.
"""

from __future__ import annotations

import importlib
import io
import zipfile
from collections.abc import Mapping, Set
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dflow.dataset.training.graphs import exported_fields, with_masks
from dflow.dataset.training.samples import ID, IndexedItem, Item, SampleReader, Samples, with_targets
from dflow.errors import DatasetError, UnsupportedDataError
from dflow.schema import FILE_GROUP
from dflow.schema.names import has_array

Array = np.ndarray[Any, np.dtype[Any]]

FILE_ID = "file_id_code"
ZIP_DATE = (1980, 1, 1, 0, 0, 0)
"""The date of every archive member, so that equal samples give equal bytes."""


class Writer(Protocol):
    """Writes one export; the constructor takes (path, reader, ids)."""

    def write(self, samples: Samples) -> None:
        """Write the next samples."""

    def write_tables(self, info: pa.Table | None, labels: pa.Table | None) -> None:
        """Write the `.infoset`'s rows of the exported samples, and the `.attribset`."""

    def close(self) -> None:
        """Finish the files; also called after an error."""


class ParquetWriter:
    """Writes one table per group, ``<group>.parquet``: `file_id_code`, then the arrays.

    Trailing dimensions are fixed-size lists; each block of samples is a row group. ``file.parquet`` has one row per
    sample: the `.infoset`, and the file values that it lacks.
    """

    def __init__(self, path: Path, reader: SampleReader, ids: Array) -> None:
        path.mkdir()
        self._path = path
        self._reader = reader
        self._tables: dict[str, pq.ParquetWriter] = {}
        self._values: dict[str, list[Array]] = {}
        for column in reader.columns:
            if column.group in reader.groups:
                _arrow_type(column.dtype, column.shape[1:], column.key)  # raises before anything is written

    def write(self, samples: Samples) -> None:
        """Append one row group to each group's table."""
        for group in self._reader.groups:
            arrays = {FILE_ID: np.repeat(samples.ids, samples.counts[group])}
            arrays |= {key.partition("/")[2]: rows for key, rows in samples.rows.items() if _group_of(key) == group}
            table = pa.table({name: to_arrow(rows, f"{group}/{name}") for name, rows in arrays.items()})
            if group not in self._tables:
                self._tables[group] = _parquet(self._path / f"{group}.parquet", table.schema)
            self._tables[group].write_table(table)
        values = {FILE_ID: samples.ids, **{k.partition("/")[2]: v for k, v in samples.values.items()}}
        values |= presence(self._reader, samples.ids)
        for name, value in values.items():
            self._values.setdefault(name, []).append(value)

    def write_tables(self, info: pa.Table | None, labels: pa.Table | None) -> None:
        """Write ``file.parquet`` and ``labels.parquet``."""
        table = info
        for name, parts in self._values.items():
            column = to_arrow(np.concatenate(parts), f"{FILE_GROUP}/{name}")
            if table is None:
                table = pa.table({name: column})
            elif name not in table.column_names:
                table = table.append_column(name, column)
        write_tables(self._path, table, labels)

    def close(self) -> None:
        """Write the tables' footers."""
        for table in self._tables.values():
            table.close()


class ArraysWriter:
    """Writes one file per sample, ``<id>.npz``, with the members ``group/array``, ``file/value`` and ``id``.

    The file's name is the id, never the sample's name, which may be any text, also a path. Arrays that a sample does
    not have (the dataset holds fill values there, because other samples have them) are left out.
    """

    suffix = ".npz"

    def __init__(self, path: Path, reader: SampleReader, ids: Array) -> None:
        path.mkdir()
        self._path = path
        self._reader = reader
        self._digits = len(str(int(ids[-1]))) if len(ids) else 1

    def write(self, samples: Samples) -> None:
        """Write one file per sample."""
        for position in range(len(samples)):
            item = samples.item(position)
            absent = absent_keys(self._reader, item[ID])
            self._write_item(self._path / f"{item[ID]:0{self._digits}}{self.suffix}", item, absent)

    def write_tables(self, info: pa.Table | None, labels: pa.Table | None) -> None:
        """Write ``file.parquet`` and ``labels.parquet``."""
        write_tables(self._path, info, labels)

    def close(self) -> None:
        """Do nothing: each file was closed when it was written."""

    def _write_item(self, path: Path, item: Item, absent: Set[str]) -> None:
        with path.open("xb") as file:
            pack_arrays(file, {key: value for key, value in item.items() if key not in absent})


class GraphWriter(ArraysWriter):
    """Writes one file per sample, ``<id>.pt``: a dictionary of tensors, which
    `dflow.dataset.training.torch.to_geometric` turns into a graph of PyTorch Geometric.

    All files have the same keys: an array that a sample lacks holds fill values, and ``<array>_mask`` says so.
    """

    suffix = ".pt"

    def __init__(self, path: Path, reader: SampleReader, ids: Array) -> None:
        try:
            self._adapter: Any = importlib.import_module("dflow.dataset.training.torch")
        except ImportError as error:
            raise DatasetError(f"the export to .pt files needs torch; {error}") from error
        self._lacking = [c.key for c in reader.columns if reader.store.present(c.group, c.name) is not None]
        self._keys = {column.key for column in with_targets(reader).columns}
        super().__init__(path, reader, ids)

    def _write_item(self, path: Path, item: Item, absent: Set[str]) -> None:
        content = io.BytesIO()  # into a file, torch would write the file's name into the archive
        has = {key: key not in absent for key in self._lacking}
        item = {key: value for key, value in item.items() if key == ID or key in self._keys}
        fields = exported_fields(with_masks(IndexedItem(item, self._reader.store.index_arrays), has))
        self._adapter.torch.save(self._adapter.geometric_fields(fields), content)
        path.write_bytes(content.getvalue())


def pack_arrays(file: IO[bytes], arrays: Mapping[str, Any]) -> None:
    """Write arrays as an ``.npz``, whose bytes depend on nothing else."""
    with zipfile.ZipFile(file, "w") as archive:
        for key, value in arrays.items():
            member = zipfile.ZipInfo(f"{key}.npy", ZIP_DATE)
            member.compress_type = zipfile.ZIP_DEFLATED
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asarray(value), allow_pickle=False)
            archive.writestr(member, content.getvalue(), compresslevel=1)


def presence(reader: SampleReader, ids: Array) -> dict[str, Array]:
    """``has_<group>_<array>`` booleans of the samples `ids`, for the chosen columns that some sample lacks."""
    flags = {}
    for column in reader.columns:
        present = reader.store.present(column.group, column.name)
        if present is not None:
            flags[has_array(column.group, column.name)] = present[ids]
    return flags


def absent_keys(reader: SampleReader, file_id: int) -> set[str]:
    """The chosen arrays and values that a sample lacks and others have."""
    flags = {column.key: reader.store.present(column.group, column.name) for column in reader.columns}
    return {key for key, present in flags.items() if present is not None and not present[file_id]}


def to_arrow(rows: Array, key: str) -> pa.Array:
    """Convert rows to an Arrow array; trailing dimensions become nested fixed-size lists.

    Raises
    ------
    UnsupportedDataError
        If Arrow has no such type (complex numbers), or a trailing dimension is 0.
    """
    _arrow_type(rows.dtype, rows.shape[1:], key)
    values = pa.array(np.ascontiguousarray(rows).reshape(-1))
    for size in reversed(rows.shape[1:]):
        values = pa.FixedSizeListArray.from_arrays(values, size)
    return values


def write_tables(path: Path, info: pa.Table | None, labels: pa.Table | None) -> None:
    """Write the two tables into an export's folder."""
    tables: Mapping[str, pa.Table | None] = {FILE_GROUP: info, "labels": labels}
    for name, table in tables.items():
        target = path / f"{name}.parquet"
        # A group may have the table's name; its rows keep it.
        if table is not None:
            pq.write_table(table, target if not target.exists() else path / f"{name}_table.parquet", compression="zstd")


def _arrow_type(dtype: np.dtype[Any], trailing: tuple[int, ...], key: str) -> Any:
    try:
        kind = pa.from_numpy_dtype(dtype)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise UnsupportedDataError(
            f"{key} is {dtype}, which Parquet cannot hold; leave it out of columns= (--columns)"
        ) from error
    if 0 in trailing:
        raise UnsupportedDataError(
            f"{key} has the trailing shape {trailing}, which Parquet cannot hold; leave it out of columns= (--columns)"
        )
    return kind


def _parquet(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, schema, compression="zstd")


def _group_of(key: str) -> str:
    return key.partition("/")[0]
