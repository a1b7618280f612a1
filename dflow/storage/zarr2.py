"""Read the Zarr v2 hierarchies that HOOPS AI writes: a `.data` or `.dataset` zip, or the folder it was zipped from.

Zarr v2 specification: ``.zgroup``, ``.zarray``, ``.zattrs``, chunks ``0.0``. Only codecs that cannot execute code
are decoded, which leaves out numcodecs' ``pickle``; chunks are read by hand for that reason and to hold the limit on
expansion.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol

import numcodecs
import numpy as np
from numpy.typing import NDArray

from dflow.config import MAX_STORE_BYTES
from dflow.errors import DamagedStoreError, StoreLimitError
from dflow.storage.chunks import frame_content_bytes
from dflow.storage.container import ZipReader

SAFE_CODECS = frozenset(
    {"zstd", "blosc", "lz4", "zlib", "gzip", "delta", "shuffle", "fixedscaleoffset", "astype"}
    | {"vlen-utf8", "msgpack2", "json2"}
)
"""numcodecs' codecs that only compute, and whose expansion can be bounded."""

_TEXT_CODECS = frozenset({"vlen-utf8", "msgpack2", "json2"})


class _Files(Protocol):
    """The files of a hierarchy by relative path."""

    path: str

    def names(self) -> Iterator[str]: ...

    def read(self, name: str) -> bytes: ...


class FolderReader:
    """The files below a folder; a path that leads out of it, also through a link, is refused."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.realpath(path)

    def names(self) -> Iterator[str]:
        """Relative paths with forward slashes."""
        for folder, _, files in os.walk(self.path):
            for name in sorted(files):
                yield os.path.relpath(os.path.join(folder, name), self.path).replace(os.sep, "/")

    def read(self, name: str) -> bytes:
        """One file's bytes."""
        path = os.path.realpath(os.path.join(self.path, name))
        if os.path.commonpath([path, self.path]) != self.path:
            raise DamagedStoreError(f"{self.path} cannot be read: {name!r} leads out of it")
        with open(path, "rb") as file:
            return file.read()


class Zarr2Store:
    """A Zarr v2 hierarchy, its arrays by path.

    Raises
    ------
    DamagedStoreError
        If it is no such hierarchy.
    """

    def __init__(self, files: _Files, *, max_bytes: int = MAX_STORE_BYTES) -> None:
        self.path = files.path
        self._files = files
        self._names = frozenset(files.names())
        self._limit = self._left = max_bytes
        self.keys = sorted(name.removesuffix("/.zarray") for name in self._names if name.endswith("/.zarray"))
        if not self.keys and ".zgroup" not in self._names:
            raise DamagedStoreError(f"{self.path} is no Zarr v2 hierarchy: it has no .zgroup and no .zarray")

    def metadata(self) -> dict[str, Any]:
        """The root's attributes and ``metadata.json``, merged."""
        found: dict[str, Any] = {}
        for name in (".zattrs", "metadata.json"):
            if name in self._names:
                document = self._json(name)
                found |= document if isinstance(document, dict) else {}
        return found

    def read(self, key: str) -> NDArray[Any]:
        """One array, whole.

        Raises
        ------
        DamagedStoreError
            If it cannot be decoded, or its codecs are not among `SAFE_CODECS`.
        StoreLimitError
            If all arrays read so far would expand beyond the limit.
        """
        document = self._json(f"{key}/.zarray")
        try:
            return self._decode(key, document)
        except (KeyError, TypeError, ValueError, ArithmeticError, RuntimeError, OSError, zlib.error) as error:
            if isinstance(error, (DamagedStoreError, StoreLimitError)):
                raise
            raise DamagedStoreError(f"{self.path}: array {key!r} cannot be decoded: {error}") from error

    def _decode(self, key: str, document: Mapping[str, Any]) -> NDArray[Any]:
        shape, chunks = tuple(document["shape"]), tuple(document["chunks"])
        dtype = np.dtype(document["dtype"])
        self._spend(key, math.prod(shape) * dtype.itemsize)
        codecs = self._codecs(key, document, dtype)
        array = np.full(shape, _fill_value(document["fill_value"], dtype), dtype=dtype)
        for index, name in self._chunks(key, document.get("dimension_separator", "."), len(shape)):
            place = tuple(slice(i * step, (i + 1) * step) for i, step in zip(index, chunks, strict=True))
            block = self._decode_chunk(name, codecs, dtype).reshape(chunks, order=document["order"])
            array[place] = block[tuple(slice(0, n) for n in array[place].shape)]
        return np.array(array.tolist(), dtype=np.dtypes.StringDType()) if dtype.kind == "O" else array

    def _chunks(self, key: str, separator: str, ndim: int) -> Iterator[tuple[tuple[int, ...], str]]:
        """Indices and names of the chunks that are there."""
        prefix = f"{key}/"
        for name in sorted(self._names):
            parts = name.removeprefix(prefix).split(separator)
            if name.startswith(prefix) and all(part.isdecimal() for part in parts):
                yield (tuple(map(int, parts)) if ndim else ()), name

    def _decode_chunk(self, name: str, codecs: Sequence[tuple[str, Any]], dtype: np.dtype[Any]) -> NDArray[Any]:
        data: Any = self._files.read(name)
        for codec_id, codec in codecs:
            if _stated_bytes(codec_id, data) > self._limit:
                raise StoreLimitError(f"{self.path}: {name!r} would expand beyond {self._limit:,} bytes")
            data = _inflate(data, self._limit) if codec_id in ("zlib", "gzip") else codec.decode(data)
        if dtype.kind == "O":
            return np.asarray(data, dtype=object)
        return np.frombuffer(np.ascontiguousarray(data).tobytes(), dtype=dtype)

    def _codecs(self, key: str, document: Mapping[str, Any], dtype: np.dtype[Any]) -> list[tuple[str, Any]]:
        configurations = [*(document.get("filters") or ()), *filter(None, [document.get("compressor")])]
        names = [configuration["id"] for configuration in configurations]
        if unsafe := [name for name in names if name not in SAFE_CODECS]:
            raise DamagedStoreError(
                f"{self.path}: array {key!r} uses the codec {unsafe[0]!r}, which dflow does not run"
            )
        if dtype.kind == "O" and not _TEXT_CODECS & set(names):
            raise DamagedStoreError(f"{self.path}: array {key!r} holds objects without a text codec")
        return [(found["id"], numcodecs.get_codec(found)) for found in reversed(configurations)]

    def _spend(self, key: str, n_bytes: int) -> None:
        self._left -= n_bytes
        if self._left < 0:
            raise StoreLimitError(f"{self.path}: array {key!r} would expand the store beyond its limit")

    def _json(self, name: str) -> Any:
        try:
            return json.loads(self._files.read(name))
        except (ValueError, RecursionError) as error:
            raise DamagedStoreError(f"{self.path} cannot be read: {name} is no JSON: {error}") from error


def _stated_bytes(codec_id: str, chunk: Any) -> int:
    """What a chunk says it expands to; 0 where the codec does not expand or is bounded when it runs."""
    if codec_id == "zstd":
        size = frame_content_bytes(chunk)
        if size < 0:
            raise ValueError("a zstd chunk that does not state its size")
        return size
    if codec_id == "blosc":
        return int.from_bytes(chunk[4:8], "little")  # c-blosc 1, README_HEADER: nbytes
    return int.from_bytes(chunk[:4], "little") if codec_id == "lz4" else 0


def _inflate(chunk: bytes, limit: int) -> bytes:
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)  # zlib or gzip, by its header
    expanded = decoder.decompress(chunk, limit)
    if not decoder.eof:
        raise StoreLimitError(f"a chunk is truncated or would expand beyond {limit:,} bytes")
    return expanded


def _fill_value(fill: Any, dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "O":
        return "" if fill in (None, 0) else fill
    if fill is None:
        return np.zeros((), dtype)[()]
    return float(fill) if isinstance(fill, str) and dtype.kind == "f" else fill


class ZipFiles:
    """The members of a zip, as `Zarr2Store` wants them."""

    def __init__(self, path: str | os.PathLike[str], *, max_bytes: int = MAX_STORE_BYTES) -> None:
        self._reader = ZipReader(path, max_bytes=max_bytes)
        self.path = self._reader.path

    def names(self) -> Iterator[str]:
        """Names of the members that are files."""
        return (name for name in self._reader.members if not name.endswith("/"))

    def read(self, name: str) -> bytes:
        """One member's bytes, its checksum verified."""
        return self._reader.read(name)

    def __enter__(self) -> ZipFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.__exit__(kind, error, trace)
