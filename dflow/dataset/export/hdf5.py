"""The export to HDF5: one file, one HDF5 group per group, datasets that grow block by block.

The file is netCDF-4, too: every dimension has a scale, so that netCDF4 and xarray open it with names.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dflow.dataset.export.forms import FILE_ID, presence
from dflow.dataset.format.layout import floor_power_of_two
from dflow.dataset.query.xarrays import dimension_names
from dflow.dataset.training.samples import SampleReader, Samples
from dflow.errors import DatasetError
from dflow.schema import FILE_GROUP
from dflow.schema.names import row_count, row_start

Array = np.ndarray[Any, np.dtype[Any]]

CHUNK_BYTES = 256 * 1024

_NO_VARIABLE = "This is a netCDF dimension but not a netCDF variable. {:>10d}"
"""The name of a scale without coordinates, by which netCDF-4 knows it for one."""


class Hdf5Writer:
    """Writes ``/<group>/<array>``, ``/<group>/file_id_code``, and in ``/file`` one entry per sample: the file values,
    and `row_start_<group>` and `row_count_<group>` of its rows in this HDF5 file.

    The tables are ``/file_info`` and ``/labels``, one dataset per column; ``/schema`` is JSON. Every dimension has a
    scale in its group, called ``<name>@dimension`` where an array has its name, ``<name>@<array>`` where another
    dimension has. Arrays have the dataset's attributes (``long_name``, ``units``, ``flag_values``, …), and
    ``_FillValue`` where some sample lacks them. Types that netCDF-4 has not are cast: float16 to float32, bool to int8
    with the attribute ``dtype="bool"`` (by which xarray makes it bool again), complex numbers to a last dimension
    ``re_im``.
    """

    def __init__(self, path: Path, reader: SampleReader, ids: Array) -> None:
        try:
            library: Any = importlib.import_module("h5py")
        except ImportError as error:
            raise DatasetError("the export to HDF5 needs h5py: pip install 'dflow-cad[hdf5]'") from error
        self._library = library
        self._reader = reader
        self._rows = dict.fromkeys(reader.groups, 0)
        self._sizes: dict[str, dict[str, int]] = {}
        self._file = library.File(path, "x", track_order=True)
        self._file.attrs["dflow_version"] = str(reader.store.attributes.get("version", ""))
        self._file.attrs["n_samples"] = len(ids)
        self._file.create_dataset("schema", data=json.dumps(reader.store.schema, sort_keys=True), dtype=self._text)
        self._names: dict[str, set[str]] = {}
        for column in reader.columns:
            self._names.setdefault(column.group, {FILE_ID}).add(column.name)
        self._dims: dict[str, tuple[str, ...]] = {}
        for column in reader.columns:
            self._dims[column.key] = dimension_names(column, self._sizes.setdefault(column.group, {}))

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
            ids = np.repeat(samples.ids, counts)
            self._append(group, FILE_ID, ids, (self._reader.store.row_dimension(group),), {})
        for column in self._reader.columns:
            rows = samples.values if column.group == FILE_GROUP else samples.rows
            partial = self._reader.store.present(column.group, column.name) is not None
            fill = self._reader.store.fill(column.group, column.name) if partial else None
            dims = self._dims[column.key]
            self._append(column.group, column.name, rows[column.key], dims, column.attributes, fill)
        for name, value in {**values, **presence(self._reader, samples.ids)}.items():
            self._append(FILE_GROUP, name, value, (FILE_GROUP,), {})

    def write_tables(self, info: pa.Table | None, labels: pa.Table | None) -> None:
        """Write one dataset per column of the tables; missing texts are empty."""
        for group, dimension, table in (
            ("file_info", FILE_GROUP, info),
            ("labels_table" if "labels" in self._file else "labels", "label", labels),
        ):
            if table is None:
                continue
            self._names[group] = set(table.column_names)
            for name in table.column_names:
                values = table[name].to_numpy()
                if values.dtype.kind == "O":  # texts, and columns with missing values
                    values = np.array([_storable(word) for word in values.tolist()], object)
                self._append(group, name, values, (dimension,), {})

    def close(self) -> None:
        """Give the scales their sizes, and close the file."""
        try:
            for dataset in self._scaled():
                for number, dimension in enumerate(dataset.dims):
                    for scale in dimension.values():
                        if scale.shape[0] != dataset.shape[number]:
                            scale.resize(dataset.shape[number], axis=0)
                            scale.make_scale(_NO_VARIABLE.format(dataset.shape[number]))
        finally:
            self._file.close()

    def _scaled(self) -> list[Any]:
        found: list[Any] = []
        self._file.visititems(
            lambda _, node: found.append(node) if isinstance(node, self._library.Dataset) and node.ndim else None
        )
        return [dataset for dataset in found if not self._library.h5ds.is_scale(dataset.id)]

    def _append(
        self,
        group: str,
        name: str,
        rows: Array,
        dims: tuple[str, ...],
        attributes: Mapping[str, Any],
        fill: Any = None,
    ) -> None:
        """Append rows to a dataset, which is made with the first ones."""
        rows, cast = _castable(rows)
        key = f"{group}/{name}"
        if key not in self._file:
            self._create(group, name, rows, dims, {**attributes, **cast}, fill)
        dataset = self._file[key]
        begin = dataset.shape[0]
        dataset.resize(begin + len(rows), axis=0)
        dataset[begin:] = rows

    def _create(
        self, group: str, name: str, rows: Array, dims: tuple[str, ...], attributes: Mapping[str, Any], fill: Any
    ) -> None:
        is_text = rows.dtype.kind == "O"
        row_bytes = max(rows[:0].itemsize * int(np.prod(rows.shape[1:], dtype=np.int64)), 1)
        chunk = (max(floor_power_of_two(CHUNK_BYTES // row_bytes), 1), *(max(n, 1) for n in rows.shape[1:]))
        fill = None if fill is None else _castable(np.array([fill]))[0].reshape(-1)[0]
        dataset = self._file.create_dataset(
            f"{group}/{name}",
            shape=(0, *rows.shape[1:]),
            maxshape=(None, *rows.shape[1:]),
            dtype=self._text if is_text else rows.dtype,
            chunks=chunk,
            fillvalue=fill,
            compression="gzip",
            compression_opts=1,
            shuffle=True,
            track_order=True,
        )
        if len(dims) < dataset.ndim:
            dims = (*dims, "re_im")
        for number, dimension in enumerate(dims):
            dataset.dims[number].label = dimension
            scale = self._scale(group, name, dimension, dataset.shape[number], grows=not number)
            dataset.dims[number].attach_scale(scale)
        for key, value in attributes.items():
            of_type = rows.dtype if key == "flag_values" else None
            dataset.attrs[key] = value if isinstance(value, str) else np.asarray(value, of_type)
        if "long_name" not in attributes and "description" in attributes:
            dataset.attrs["long_name"] = attributes["description"]
        if fill is not None:
            dataset.attrs.create("_FillValue", fill, dtype=rows.dtype)

    def _scale(self, group: str, array: str, dimension: str, size: int, *, grows: bool) -> Any:
        """The scale of a dimension; with the array's name where an array has the dimension's."""
        taken = dimension in self._names.get(group, ())
        key = f"{group}/{dimension}@dimension" if taken else f"{group}/{dimension}"
        if key not in self._file:
            scale = self._file.create_dataset(
                key,
                shape=(size,),
                maxshape=(None,) if grows else (size,),
                dtype="f4",
                chunks=(1024,) if grows else None,
            )
            scale.make_scale(_NO_VARIABLE.format(size))
        return self._file[key]


def _castable(rows: Array) -> tuple[Array, dict[str, str]]:
    """Rows in a type that netCDF-4 has, and the attributes that say what they were."""
    if rows.dtype == np.float16:
        return rows.astype(np.float32), {}
    if rows.dtype == np.bool_:
        return rows.astype(np.int8), {"dtype": "bool"}
    if rows.dtype.kind == "c":
        return np.stack([rows.real, rows.imag], axis=-1), {}
    return rows, {}


def _storable(word: Any) -> str:
    """Text that HDF5 can hold: empty if missing; NUL and lone surrogates are escaped."""
    if word is None:
        return ""
    return str(word).replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")
