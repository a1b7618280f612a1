"""Read the Zarr v2 hierarchies that HOOPS AI writes: a `.data` or `.dataset` zip, or the folder it was zipped from.

Zarr v2 specification: ``.zgroup``, ``.zarray``, ``.zattrs``, chunks ``0.0``. Chunks are decoded here, not by zarr, so
that only codecs that cannot execute code run (not numcodecs' ``pickle``), and so that expansion is limited.
"""

from __future__ import annotations

import importlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Protocol

import numcodecs
import numpy as np
from numpy.typing import NDArray

from dflow.config import MAX_STORE_BYTES
from dflow.errors import DamagedStoreError, StoreLimitError
from dflow.storage.chunks import frame_content_bytes
from dflow.storage.codecs import decode_blosc, inflate
from dflow.storage.container import ZipReader
from dflow.storage.paths import Below, read_regular

STORAGE_SCHEMA = "_storage_schema"
"""The metadata key under which HOOPS AI keeps a store's schema."""

SAFE_CODECS = frozenset(
    {"zstd", "blosc", "lz4", "zlib", "gzip", "delta", "shuffle", "fixedscaleoffset", "astype"}
    | {"vlen-utf8", "msgpack2", "json2"}
)
"""numcodecs' codecs that execute no code and whose expansion can be bounded."""

_WIDENING = 16
"""The largest factor by which a filter widens a value: one byte of the array, stored as complex128."""

_FRAME = 64 * 1024
"""Bytes that a chunk may take in addition to its values."""

_POINTER_BYTES = 8

_TEXT_CODECS = frozenset({"vlen-utf8", "msgpack2", "json2"})


class _Files(Protocol):
    """The files of a hierarchy, by relative path."""

    path: str

    def names(self) -> Iterator[str]: ...

    def read(self, name: str) -> bytes: ...


class FolderReader:
    """The files below a folder; a path that leads out of it, also through a link, is an error."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.realpath(path)
        self._below = Below(self.path, top_links=False)

    def names(self) -> Iterator[str]:
        """Yield relative paths with forward slashes."""
        for folder, _, files in os.walk(self.path):
            for name in sorted(files):
                yield os.path.relpath(os.path.join(folder, name), self.path).replace(os.sep, "/")

    def read(self, name: str) -> bytes:
        """Read one file's bytes."""
        path = self._below.path(name)
        if path is None:
            raise DamagedStoreError(f"{self.path} cannot be read: {name!r} leads out of it")
        return read_regular(path)


class Zarr2Store:
    """A Zarr v2 hierarchy; `keys` are the paths of its arrays.

    Raises
    ------
    DamagedStoreError
        If the files are not a Zarr v2 hierarchy.
    """

    def __init__(self, files: _Files, *, max_bytes: int = MAX_STORE_BYTES) -> None:
        self.path = files.path
        self._files = files
        self._names = frozenset(files.names())
        self._limit = self._left = max_bytes
        self._documents: dict[str, Mapping[str, Any]] = {}
        self.keys = sorted(name.removesuffix("/.zarray") for name in self._names if name.endswith("/.zarray"))
        self._names_below = _by_array(self._names, frozenset(self.keys))
        if not self.keys and ".zgroup" not in self._names:
            raise DamagedStoreError(
                f"{self.path} is not a Zarr v2 hierarchy, as HOOPS AI writes them: it has no .zgroup and no .zarray"
            )

    def metadata(self) -> dict[str, Any]:
        """The root's attributes and ``metadata.json``, merged."""
        found: dict[str, Any] = {}
        for name in (".zattrs", "metadata.json"):
            if name in self._names:
                document = self._json(name)
                found |= document if isinstance(document, dict) else {}
        return found

    def read(self, key: str) -> NDArray[Any]:
        """Read a whole array.

        Raises
        ------
        DamagedStoreError
            If it cannot be decoded, or its codecs are not among `SAFE_CODECS`.
        StoreLimitError
            If all arrays read so far together would expand beyond the limit.
        """
        with self._errors_as_damage(key):
            document = self.describe(key)
            self._left -= math.prod(document["shape"]) * np.dtype(document["dtype"]).itemsize
            self._check_limit(key, self._left)
            return self._decode(key, document, slice(0, *document["shape"][:1]))

    def read_rows(self, key: str, start: int, stop: int) -> NDArray[Any]:
        """Read rows `start` to `stop` (excluded) of an array with at least one dimension, from the chunks they touch.

        Raises as `read`, but each call has the whole limit.
        """
        with self._errors_as_damage(key):
            document = self.describe(key)
            n_bytes = (stop - start) * math.prod(document["shape"][1:]) * np.dtype(document["dtype"]).itemsize
            self._check_limit(key, self._limit - n_bytes)
            return self._decode(key, document, slice(start, stop))

    def describe(self, key: str) -> Mapping[str, Any]:
        """Return an array's ``.zarray``."""
        found = self._documents.get(key)
        if found is None:
            found = self._documents[key] = self._json(f"{key}/.zarray")
        return found

    def attributes(self, key: str) -> dict[str, Any]:
        """Return an array's ``.zattrs``; empty if it has none."""
        found = self._json(f"{key}/.zattrs") if f"{key}/.zattrs" in self._names else {}
        return found if isinstance(found, dict) else {}

    @contextmanager
    def _errors_as_damage(self, key: str) -> Iterator[None]:
        try:
            yield
        except (KeyError, TypeError, ValueError, ArithmeticError, RuntimeError, OSError) as error:
            if isinstance(error, (DamagedStoreError, StoreLimitError)):
                raise
            raise DamagedStoreError(f"{self.path}: array {key!r} cannot be decoded: {error}") from error

    def _decode(self, key: str, document: Mapping[str, Any], rows: slice) -> NDArray[Any]:
        shape, chunks = tuple(document["shape"]), tuple(document["chunks"])
        dtype = np.dtype(document["dtype"])
        if len(chunks) != len(shape) or min(chunks, default=1) < 1:
            raise ValueError(f"chunks {chunks} of an array of shape {shape}")
        codecs = self._codecs(key, document, dtype)
        first = rows.start if shape else 0
        shape = (rows.stop - first, *shape[1:]) if shape else ()
        array = np.full(shape, _fill_value(document["fill_value"], dtype), dtype=dtype)
        for index, name in self._chunks(key, document.get("dimension_separator", "."), len(shape)):
            if shape and not (index[0] * chunks[0] < rows.stop and first < (index[0] + 1) * chunks[0]):
                continue
            block = self._decode_chunk(name, codecs, dtype, math.prod(chunks)).reshape(chunks, order=document["order"])
            corner = [i * step for i, step in zip(index, chunks, strict=True)]
            if shape:
                skipped = max(0, first - corner[0])
                block, corner[0] = block[skipped:], corner[0] + skipped - first
            place = tuple(slice(low, low + size) for low, size in zip(corner, block.shape, strict=True))
            array[place] = block[tuple(slice(0, n) for n in array[place].shape)]
        return np.array(array.tolist(), dtype=np.dtypes.StringDType()) if dtype.kind == "O" else array

    def _chunks(self, key: str, separator: str, ndim: int) -> Iterator[tuple[tuple[int, ...], str]]:
        """Yield indices and names of the stored chunks."""
        prefix = f"{key}/"
        for name in self._names_below.get(key, ()):
            parts = name.removeprefix(prefix).split(separator)
            if all(part.isdecimal() for part in parts):
                yield (tuple(map(int, parts)) if ndim else ()), name

    def _decode_chunk(
        self, name: str, codecs: Sequence[tuple[str, Any]], dtype: np.dtype[Any], n_items: int
    ) -> NDArray[Any]:
        limit = self._limit if dtype.kind == "O" else min(self._limit, _WIDENING * (n_items * dtype.itemsize) + _FRAME)
        data: Any = self._files.read(name)
        for codec_id, codec in codecs:
            if _stated_bytes(codec_id, data) > limit:
                raise StoreLimitError(f"{self.path}: {name!r} would expand beyond the {limit:,} bytes that it may take")
            if codec_id in ("zlib", "gzip"):
                data = inflate(data, limit)
            elif codec_id == "blosc":
                data = decode_blosc(data, max_bytes=limit)
            elif codec_id in _TEXT_CODECS:
                data = _decode_text(codec_id, codec, data, n_items, limit)
            else:
                data = codec.decode(data)
        if dtype.kind == "O":
            return np.asarray(data, dtype=object)
        return np.frombuffer(np.ascontiguousarray(data).tobytes(), dtype=dtype)

    def _codecs(self, key: str, document: Mapping[str, Any], dtype: np.dtype[Any]) -> list[tuple[str, Any]]:
        configurations = [*(document.get("filters") or ()), *filter(None, [document.get("compressor")])]
        names = [configuration["id"] for configuration in configurations]
        if unsafe := [name for name in names if name not in SAFE_CODECS]:
            raise DamagedStoreError(
                f"{self.path}: array {key!r} uses the codec {unsafe[0]!r}, which dflow does not run; expected one of "
                f"{', '.join(sorted(SAFE_CODECS))}"
            )
        if dtype.kind == "O" and not _TEXT_CODECS & set(names):
            raise DamagedStoreError(f"{self.path}: array {key!r} holds objects without a text codec")
        return [(found["id"], numcodecs.get_codec(found)) for found in reversed(configurations)]

    def _check_limit(self, key: str, left: int) -> None:
        if left < 0:
            raise StoreLimitError(f"{self.path}: array {key!r} would expand the store beyond its limit")

    def _json(self, name: str) -> Any:
        try:
            return json.loads(self._files.read(name))
        except (ValueError, RecursionError) as error:
            raise DamagedStoreError(f"{self.path} cannot be read: {name} is not JSON: {error}") from error


def _by_array(names: Iterable[str], keys: frozenset[str]) -> dict[str, list[str]]:
    """Return the files of every array, sorted; a chunk may lie in subfolders of its array."""
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        folder = name.rpartition("/")[0]
        while folder and folder not in keys:
            folder = folder.rpartition("/")[0]
        if folder:
            found.setdefault(folder, []).append(name)
    return found


def _stated_bytes(codec_id: str, chunk: Any) -> int:
    """Return the decoded size in a chunk's header; 0 if the codec does not expand or is bounded when it runs."""
    if codec_id == "zstd":
        size = frame_content_bytes(chunk)
        if size < 0:
            raise ValueError("a zstd chunk that does not state its size")
        return size
    return int.from_bytes(chunk[:4], "little") if codec_id == "lz4" else 0


def _decode_text(codec_id: str, codec: Any, chunk: Any, n_items: int, limit: int) -> NDArray[Any]:
    """Return the `n_items` objects of a chunk of text, (…) object.

    numcodecs allocates as many objects as the chunk's header states; here that number is checked first.
    """
    if n_items * _POINTER_BYTES > limit:
        raise StoreLimitError(f"a chunk of {n_items:,} texts would expand beyond {limit:,} bytes")
    if codec_id == "vlen-utf8":
        stated = int.from_bytes(bytes(chunk[:4]), "little")
        if stated != n_items:
            raise ValueError(f"a chunk states {stated:,} texts, its shape needs {n_items:,}")
        texts: NDArray[Any] = codec.decode(chunk)
        return texts
    content = bytes(chunk)
    if codec_id == "json2":
        items = json.loads(content)
    else:
        items = importlib.import_module("msgpack").unpackb(content, raw=codec.raw)  # numcodecs' own dependency
    *values, _, shape = items
    if math.prod(shape) != n_items:
        raise ValueError(f"a chunk states texts of the shape {shape}, its shape needs {n_items:,}")
    block = np.empty(shape, object)
    block[...] = values if shape else values[0]
    return block


def _fill_value(fill: Any, dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "O":
        return "" if fill in (None, 0) else fill
    if fill is None:
        return np.zeros((), dtype)[()]
    return float(fill) if isinstance(fill, str) and dtype.kind == "f" else fill


class ZipFiles:
    """The members of a zip, for `Zarr2Store`."""

    def __init__(self, path: str | os.PathLike[str], *, max_bytes: int = MAX_STORE_BYTES) -> None:
        self._reader = ZipReader(path, max_bytes=max_bytes)
        self.path = self._reader.path

    def names(self) -> Iterator[str]:
        """Yield the names of the members that are files."""
        return (name for name in self._reader.members if not name.endswith("/"))

    def read(self, name: str) -> bytes:
        """Read one member's bytes and verify its checksum."""
        return self._reader.read(name)

    def __enter__(self) -> ZipFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.__exit__(kind, error, trace)
