"""A storage of readable JSON files, for inspection and small data: one per array, one for metadata and schema."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dflow.config import MAX_STORE_BYTES
from dflow.errors import BadKeyError, DamagedStoreError, SchemaError, StoreLimitError
from dflow.localpath import local_path
from dflow.schema import DTYPES, NanPolicy, dtype_name, parse_schema, schema_to_dict
from dflow.storage.atomic import write_whole
from dflow.storage.base import DataStorage
from dflow.storage.keys import split_key
from dflow.storage.opt import FORMAT, read_attributes
from dflow.storage.paths import TEMPORARY_PREFIX, read_regular
from dflow.storage.tree import MetadataTree
from dflow.storage.zarrzip import StoredArray

METADATA_FILE = "metadata.json"

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class JsonStorageHandler(DataStorage):
    """Keeps one sample in a folder of JSON files. Every call writes its file at once, by a rename.

    Numbers keep their exact values; NaN and inf are the texts ``"NaN"``, ``"Infinity"``, ``"-Infinity"``, complex
    numbers are ``{"real": …, "imag": …, "_numpy_complex": true}``.

    Parameters
    ----------
    nan_policy
        for NaN and inf in arrays for which the schema declares none: "raise", "warn" or "allow"
    json_dir_path
        The folder; made if it is missing, read if it is a store.

    Raises
    ------
    DamagedStoreError
        If a file of an existing store cannot be read.
    """

    def __init__(self, json_dir_path: str | os.PathLike[str], *, nan_policy: NanPolicy = "raise") -> None:
        super().__init__(nan_policy=nan_policy)
        self._folder = os.path.abspath(local_path(json_dir_path))
        os.makedirs(self._folder, exist_ok=True)
        self._files: dict[str, str] = {}
        for name in sorted(os.listdir(self._folder)):
            path = os.path.join(self._folder, name)
            if name == METADATA_FILE:
                self._restore(path)
            elif name.endswith(".json") and not name.startswith(TEMPORARY_PREFIX):
                self._files[_stored_key(_read_json(path), path)] = name

    def _put_array(self, key: str, array: NDArray[Any]) -> None:
        name = self._files.get(key) or _file_name(key, set(self._files.values()))
        _write_json(os.path.join(self._folder, name), _pack_array(key, array))
        self._files[key] = name

    def _drop_array(self, key: str) -> None:
        os.unlink(os.path.join(self._folder, self._files.pop(key)))

    def _get_array(self, key: str) -> NDArray[Any]:
        path = os.path.join(self._folder, self._files[key])
        return _unpack_array(_read_json(path), path)

    def _metadata_changed(self) -> None:
        tree, extra = self._metadata.pack()
        non_finite = [[s.attributes["metadata_path"], _pack_numbers(s.data.tolist())] for s in extra.values()]
        document = {
            "dflow": {"format": FORMAT},
            "schema": schema_to_dict(self._schema) if self._has_schema else {},
            "metadata": tree,
            "non_finite": non_finite,
        }
        path = os.path.join(self._folder, METADATA_FILE)
        try:
            _write_json(path, document)
        except OSError:
            self._metadata = MetadataTree()
            if os.path.exists(path):
                self._restore(path)
            raise

    def _has_array(self, key: str) -> bool:
        return key in self._files

    def array_keys(self) -> list[str]:
        return sorted(self._files)

    def get_file_path(self, key: str) -> str:
        """The file of an array; the folder for any other key and for ``""``.

        Parameters
        ----------
        key : of an array, or ``""``
        """
        name = self._files.get(self._located(key)) if key else None
        return os.path.join(self._folder, name) if name else self._folder

    def format(self) -> str:
        return "json"

    def _compress(self) -> int:
        """The size of all files in bytes; nothing is pending."""
        names = (name for name in os.listdir(self._folder) if name.endswith(".json"))
        return sum(os.path.getsize(os.path.join(self._folder, name)) for name in names)

    def close(self) -> None:
        self._closed = True

    def _restore(self, path: str) -> None:
        document = _read_json(path)
        schema, metadata = read_attributes(document, path)
        try:
            self._schema, self._has_schema, self._schema_text = parse_schema(schema), bool(schema), None
            extra = {
                str(index): StoredArray(np.asarray(_unpack_numbers(value), float), None, {"metadata_path": at})
                for index, (at, value) in enumerate(document.get("non_finite", []))
            }
        except (SchemaError, ValueError, TypeError, KeyError) as error:
            raise DamagedStoreError(f"{path} cannot be read: {error}") from error
        self._metadata = MetadataTree.unpack(metadata, extra, path=path)


def _file_name(key: str, taken: set[str]) -> str:
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", key)
    name = f"{plain}.json"
    if name in taken or name == METADATA_FILE:
        digest = hashlib.blake2b(key.encode("utf-8"), digest_size=6).hexdigest()
        name = f"{plain}-{digest}.json"
    return name


def _pack_array(key: str, array: NDArray[Any]) -> dict[str, Any]:
    data = array.ravel().tolist()
    numbers = data if array.dtype.kind in "biuT" else _pack_numbers(data)
    return {"key": key, "dtype": dtype_name(array.dtype), "shape": list(array.shape), "data": numbers}


def _unpack_array(document: dict[str, Any], path: str) -> NDArray[Any]:
    dtype, shape, data = (_member(document, name, path) for name in ("dtype", "shape", "data"))
    if dtype not in DTYPES:
        raise DamagedStoreError(f"{path} cannot be read: its dtype is {dtype!r}")
    try:
        if dtype == "str":
            return np.array(data, dtype=np.dtypes.StringDType()).reshape(shape)
        return np.array(_unpack_numbers(data), dtype=dtype).reshape(shape)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise DamagedStoreError(f"{path} cannot be read: its data is no {dtype} array of shape {shape}") from error


def _pack_numbers(value: Any) -> Any:
    if isinstance(value, list):
        return [_pack_numbers(item) for item in value]
    if isinstance(value, complex):
        return {"real": _pack_numbers(value.real), "imag": _pack_numbers(value.imag), "_numpy_complex": True}
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _unpack_numbers(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpack_numbers(item) for item in value]
    if isinstance(value, dict):
        return complex(_unpack_numbers(value["real"]), _unpack_numbers(value["imag"]))
    return _NON_FINITE[value] if isinstance(value, str) and value in _NON_FINITE else value


def _read_json(path: str) -> dict[str, Any]:
    if (size := os.path.getsize(path)) > MAX_STORE_BYTES:
        raise StoreLimitError(f"{path} has {size:,} bytes, more than the limit of {MAX_STORE_BYTES:,}")
    if not os.path.isfile(path):  # opening a pipe would wait
        raise DamagedStoreError(f"{path} cannot be read: it is a folder, a pipe or a device, a file was expected")
    try:
        document = json.loads(read_regular(path))
    except (ValueError, RecursionError) as error:
        raise DamagedStoreError(f"{path} cannot be read: it is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise DamagedStoreError(f"{path} cannot be read: it holds {type(document).__name__}, not a dictionary")
    return document


def _stored_key(document: dict[str, Any], path: str) -> str:
    key = _member(document, "key", path)
    try:
        parts = split_key(key)
    except BadKeyError as error:
        raise DamagedStoreError(f"{path} cannot be read: {error}") from error
    if len(parts) != 2:
        raise DamagedStoreError(f"{path} cannot be read: its key is {key!r}")
    return str(key)


def _member(document: dict[str, Any], name: str, path: str) -> Any:
    if name not in document:
        raise DamagedStoreError(f"{path} cannot be read: it has no {name!r}")
    return document[name]


def _write_json(path: str, document: dict[str, Any]) -> None:
    write_whole(path, [json.dumps(document, sort_keys=True, allow_nan=False).encode("ascii")])
