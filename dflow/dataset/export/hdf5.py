"""The export to HDF5: one file, one HDF5 group per group, datasets that grow block by block."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dflow.dataset.export.forms import FILE_ID, presence
from dflow.dataset.format.layout import floor_power_of_two
from dflow.dataset.training.samples import SampleReader, Samples
from dflow.errors import DatasetError
from dflow.schema import FILE_GROUP
from dflow.schema.names import row_count, row_start

Array = np.ndarray[Any, np.dtype[Any]]

CHUNK_BYTES = 256 * 1024


class Hdf5Writer:
    """Writes ``/<group>/<array>`` with the dimensions' names as labels, ``/<group>/file_id_code``, and in ``/file`` one
    entry per sample: the file values, and `row_start_<group>` and `row_count_<group>` of its rows in this HDF5 file.

    The tables are ``/file_info`` and ``/labels``, one dataset per column; ``/schema`` is JSON.
    """

    def __init__(self, path: Path, reader: SampleReader, ids: Array) -> None:
        try:
            library: Any = importlib.import_module("h5py")
        except ImportError as error:
            raise DatasetError("the export to HDF5 needs h5py: pip install 'dflow-cad[hdf5]'") from error
        self._library = library
        self._reader = reader
        self._dims = {column.key: column.dims for column in reader.columns}
        self._rows = dict.fromkeys(reader.groups, 0)
        self._file = library.File(path, "x", track_order=True)
        self._file.attrs["dflow_version"] = str(reader.store.attributes.get("version", ""))
        self._file.attrs["n_samples"] = len(ids)
        self._file.create_dataset("schema", data=json.dumps(reader.store.schema, sort_keys=True), dtype=self._text)

    @property
    def _text(self) -> Any:
        return self._library.string_dtype("utf-8")

    def write(self, samples: Samples) -> None:
        """Append the samples' rows and values."""
        values: dict[str, Array] = {FILE_ID: samples.ids}
        for group in self._reader.groups:
            counts = samples.counts[group].astype(np.int64)
            values[row_start(group)] = self._rows[group] + np.cumsum(counts) - counts
            values[row_count(group)] = counts
            self._rows[group] += int(counts.sum())
            self._append(f"{group}/{FILE_ID}", np.repeat(samples.ids, counts), self._reader.store.row_dimension(group))
        for key, rows in samples.rows.items():
            self._append(key, rows, *self._dims[key])
        for key, value in samples.values.items():
            self._append(key, value, *self._dims[key])
        for name, value in {**values, **presence(self._reader, samples.ids)}.items():
            self._append(f"{FILE_GROUP}/{name}", value, FILE_GROUP)

    def write_tables(self, info: pa.Table | None, labels: pa.Table | None) -> None:
        """Write one dataset per column of the tables; missing texts are empty."""
        for table_name, table in (
            ("file_info", info),
            ("labels_table" if "labels" in self._file else "labels", labels),
        ):
            if table is None:
                continue
            for name in table.column_names:
                values = table[name].to_numpy()
                if values.dtype.kind == "O":  # texts, and columns with missing values
                    words = [_storable(word) for word in values.tolist()]
                    self._file.create_dataset(f"{table_name}/{name}", data=words, dtype=self._text)
                else:
                    self._file.create_dataset(f"{table_name}/{name}", data=values)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, key: str, rows: Array, *dims: str) -> None:
        if key not in self._file:
            row_bytes = max(rows[:0].itemsize * int(np.prod(rows.shape[1:], dtype=np.int64)), 1)
            chunk = (max(floor_power_of_two(CHUNK_BYTES // row_bytes), 1), *(max(n, 1) for n in rows.shape[1:]))
            dataset = self._file.create_dataset(
                key,
                shape=(0, *rows.shape[1:]),
                maxshape=(None, *rows.shape[1:]),
                dtype=rows.dtype,
                chunks=chunk,
                compression="gzip",
                compression_opts=1,
                shuffle=True,
            )
            for number, name in enumerate(dims):
                dataset.dims[number].label = name
        dataset = self._file[key]
        begin = dataset.shape[0]
        dataset.resize(begin + len(rows), axis=0)
        dataset[begin:] = rows


def _storable(word: Any) -> str:
    """Text that HDF5 can hold: empty if missing; NUL and lone surrogates are escaped."""
    if word is None:
        return ""
    return str(word).replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")
