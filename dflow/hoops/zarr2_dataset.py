"""Read a merged `.dataset` of HOOPS AI in place: Zarr v2 in a zip or a folder, with one id per row.

It has the interface of dflow's own datasets: each array's metadata in the form of Zarr v3, and row offsets, which are
computed from the ids. Follows the published description of the format; nothing is converted or copied.
"""

from __future__ import annotations

import json
import math
import os
import threading
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dflow.errors import BadKeyError, DamagedDatasetError, DatasetNotFoundError, StorageError
from dflow.hoops.zarr2 import STORAGE_SCHEMA, FolderReader, Zarr2Store, ZipFiles
from dflow.plaintext import get_logger
from dflow.schema import FILE_GROUP, Schema
from dflow.schema.names import id_array, row_count, row_start
from dflow.storage.keys import locate
from dflow.storage.paths import DATASET_SUFFIX

logger = get_logger(__name__)

MAX_ZIP_BYTES = 64 * 1024**3
"""The limit of all members of a zip together. One read, and each chunk, is limited by `MAX_STORE_BYTES`."""

Array = np.ndarray[Any, np.dtype[Any]]


def is_zarr2(path: str | os.PathLike[str]) -> bool:
    """Whether a path may be a Zarr v2 hierarchy: a file (dflow's datasets are folders) or a folder with ``.zgroup``."""
    return os.path.isfile(path) or os.path.isfile(os.path.join(path, ".zgroup"))


class Zarr2Dataset:
    """The counterpart of `DatasetFolder` for HOOPS AI's datasets. May be shared between threads.

    Row groups are those with ascending ids, ``file_id_code_<group>`` or ``file_id``. Arrays with one entry per sample
    are file values, whatever their group; arrays that are neither are left out, with a warning. The number of samples
    is that of the `.infoset`, or one more than the largest id.

    Raises
    ------
    DatasetNotFoundError
        If there is nothing at the path.
    DamagedDatasetError
        If it is not a Zarr v2 hierarchy, is damaged, or its ids do not ascend.
    """

    def __init__(self, path: str | os.PathLike[str], infoset: Path | None = None) -> None:
        self.path = Path(os.path.abspath(path))
        self.infoset = infoset
        self.build = ""
        self.listed_files: Mapping[str, Any] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._files: ZipFiles | None = None
        try:
            if self.path.is_file():
                self._files = ZipFiles(self.path, max_bytes=MAX_ZIP_BYTES)
            self._store = Zarr2Store(self._files or FolderReader(self.path))
            self._arrays, self.n_files = self._find_arrays()
        except FileNotFoundError as error:
            raise DatasetNotFoundError(f"the dataset {self.path} does not exist") from error
        except (StorageError, KeyError, TypeError, ValueError) as error:
            if self.path.suffix != DATASET_SUFFIX:
                raise DamagedDatasetError(
                    f"{self.path} is not a dataset; expected a merged .dataset, or a .flow file or table beside it: "
                    f"pass the path of one of them ({error})"
                ) from error
            raise DamagedDatasetError(f"{self.path} is not a dataset: {error}") from error
        schema = self._schema()
        self.attributes: Mapping[str, Any] = {"dflow": {"n_files": self.n_files}, "schema": schema}
        dimensions = {group: _row_dimension(group, schema) for group in {key.partition("/")[0] for key in self._arrays}}
        self.arrays = {k: array.metadata(dimensions[k.partition("/")[0]]) for k, array in self._arrays.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        return reopen, (str(self.path), self.infoset, self.token)

    @property
    def token(self) -> str:
        """Eight hexadecimal digits that change with the arrays' descriptions and the path's size and time."""
        state = os.stat(self.path)
        documents = {key: self._store.describe(key) for key in self._store.keys}
        return f"{zlib.crc32(json.dumps([documents, state.st_size, state.st_mtime_ns]).encode()):08x}"

    def reader(self, key: str) -> Zarr2Array:
        """Return the reader of an array ``group/name``."""
        return self._arrays[key]

    def read_rows(self, key: str, start: int, stop: int) -> Array:
        """Read rows of the array that has the path `key` in the hierarchy."""
        with self._lock:  # a zip's reader is for one thread
            if self._closed:
                raise DamagedDatasetError(f"the dataset {self.path} was closed; open it again")
            try:
                return self._store.read_rows(key, start, stop)
            except StorageError as error:
                raise DamagedDatasetError(str(error)) from error

    def array_attributes(self, key: str) -> dict[str, Any]:
        """Return the attributes of an array."""
        return self._store.attributes(key)

    def close(self) -> None:
        """Close the zip; later reads raise. Also called when the object is dropped."""
        with self._lock:
            if self._files is not None and not self._closed:
                self._files.__exit__(None, None, None)
            self._closed = True

    def __del__(self) -> None:
        self.close()

    def _find_arrays(self) -> tuple[dict[str, Zarr2Array], int]:
        found = {}
        for key in self._store.keys:
            try:
                group, name = locate(key, Schema())
            except BadKeyError as error:
                raise DamagedDatasetError(f"{self.path}: {error}") from error
            array = Zarr2Array(self, key, self._store.describe(key))
            if array.dtype.kind in "biufc" and array.shape:
                found[f"{group}/{name}"] = array
        ids = {g: k for g in {k.partition("/")[0] for k in found} if (k := _id_key(g, found)) and g != FILE_GROUP}
        codes = {group: self._ids(found[key]) for group, key in ids.items()}
        n_files = max([self._n_described(), *(int(c[-1]) + 1 for c in codes.values() if len(c))])
        arrays = self._sort_arrays(found, codes, n_files)
        for group, values in codes.items():
            counts = np.bincount(values, minlength=n_files).astype(np.int64)
            arrays[f"{group}/{id_array(group)}"] = Zarr2Array.in_memory(self, id_array(group), values)
            arrays[f"{FILE_GROUP}/{row_start(group)}"] = Zarr2Array.in_memory(
                self, row_start(group), np.cumsum(counts) - counts
            )
            arrays[f"{FILE_GROUP}/{row_count(group)}"] = Zarr2Array.in_memory(self, row_count(group), counts)
        return arrays, n_files

    def _sort_arrays(
        self, found: Mapping[str, Zarr2Array], codes: Mapping[str, Array], n_files: int
    ) -> dict[str, Zarr2Array]:
        """Return each array under the group that has as many rows, or under `file` if it has one entry per sample."""
        arrays = {}
        for key, array in found.items():
            group, _, name = key.partition("/")
            if group in codes and array.shape[0] == len(codes[group]):
                arrays[key] = array
            elif array.shape[0] == n_files:
                arrays[f"{FILE_GROUP}/{name}"] = array
            else:
                logger.warning("%s: %s has neither one entry per row nor one per sample; left out", self.path, key)
        return arrays

    def _ids(self, array: Zarr2Array) -> Array:
        codes = array.read().astype(np.int64)
        if codes.ndim != 1 or np.any(codes < 0) or np.any(codes[1:] < codes[:-1]):
            raise DamagedDatasetError(f"{self.path}: the ids in {array.path} do not ascend")
        if len(codes) and codes[-1] > _MAX_FILES:
            raise DamagedDatasetError(
                f"{self.path}: {array.path} holds the id {codes[-1]}; expected at most {_MAX_FILES}"
            )
        return codes

    def _n_described(self) -> int:
        """Return the number of rows of the `.infoset`; 0 without one."""
        if self.infoset is None:
            return 0
        try:
            return int(pq.read_metadata(self.infoset).num_rows)
        except (pa.ArrowException, OSError) as error:
            raise DamagedDatasetError(f"{self.infoset} is damaged, it is not a Parquet table: {error}") from error

    def _schema(self) -> Mapping[str, Any]:
        """Return the stored schema; empty if none declares groups."""
        stored = self._store.metadata()
        schema = stored.get(STORAGE_SCHEMA, stored)
        return schema if isinstance(schema, dict) and isinstance(schema.get("groups"), dict) else {}


_MAX_FILES = 2**31


class Zarr2Array:
    """The counterpart of `RowReader` for one array of a Zarr v2 dataset."""

    rows_per_chunk: int | None = None

    def __init__(self, folder: Zarr2Dataset, path: str, document: Mapping[str, Any]) -> None:
        self.folder = folder
        self.path = path
        self.shape: tuple[int, ...] = tuple(document["shape"])
        self.dtype = np.dtype(document["dtype"])
        self.row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        self._chunks = document["chunks"]
        self._values: Array | None = None

    @classmethod
    def in_memory(cls, folder: Zarr2Dataset, name: str, values: Array) -> Zarr2Array:
        """Make an array that is computed from the ids and kept in memory."""
        rows = cls(folder, name, {"shape": values.shape, "dtype": values.dtype.str, "chunks": values.shape})
        rows._values = values
        return rows

    def metadata(self, row_dimension: str) -> Mapping[str, Any]:
        """Return the array's description in the form of Zarr v3.

        HOOPS AI names the row dimension of each array separately; here all arrays of a group share `row_dimension`.
        """
        attributes = self.folder.array_attributes(self.path) if self._values is None else {}
        names = attributes.pop("_ARRAY_DIMENSIONS", None)
        if not isinstance(names, list) or len(names) != len(self.shape) or not all(isinstance(n, str) for n in names):
            names = [f"{self.path.rpartition('/')[2]}_dim_{i}" for i in range(len(self.shape))]
        return {
            "node_type": "array",
            "shape": self.shape,
            "data_type": self.dtype.name,
            "chunk_grid": {"configuration": {"chunk_shape": self._chunks}},
            "dimension_names": [row_dimension, *names[1:]],
            "attributes": attributes,
        }

    def read(self, start: int = 0, stop: int | None = None) -> Array:
        """Read rows `start` to `stop` (excluded) as a new array."""
        stop = self.shape[0] if stop is None else stop
        if self._values is not None:
            return self._values[start:stop].copy()
        values = self.folder.read_rows(self.path, start, stop)
        return values.astype(self.dtype.newbyteorder("="), copy=False)

    def read_into(self, start: int, target: Array) -> None:
        """Read rows from `start` on into an array."""
        target[...] = self.read(start, start + len(target))


def _id_key(group: str, found: Mapping[str, Any]) -> str | None:
    """Return the key of a group's ids; None if it has none."""
    keys = (f"{group}/{name}" for name in (id_array(group), "file_id_code", "file_id"))
    return next((key for key in keys if key in found), None)


def _row_dimension(group: str, schema: Mapping[str, Any]) -> str:
    declared = schema.get("groups", {}).get(group)
    name = declared.get("primary_dimension") if isinstance(declared, dict) else None
    return name if isinstance(name, str) and name else group


def reopen(path: str, infoset: Path | None, token: str) -> Zarr2Dataset:
    """Unpickle a dataset; raise `DamagedDatasetError` if it was replaced."""
    folder = Zarr2Dataset(path, infoset)
    if folder.token != token:
        folder.close()
        raise DamagedDatasetError(f"the dataset {path} was replaced while it was open; open it again")
    return folder
