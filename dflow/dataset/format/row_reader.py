"""Read rows of one array directly from the shard files: a cached index, one read, one decode.

zarr-python reads any store through an event loop and one task per chunk; for dflow's layout (a regular
grid along the rows, whole rows in every chunk, sharded or not) a few lines of numpy do the same work
without that cost. Arrays of any other layout are read through zarr. The format is that of the Zarr v3
specification, sharding codec included
(https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/index.html).
"""

from __future__ import annotations

import itertools
import math
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import google_crc32c
import numpy as np
from numcodecs import zstd

from dflow.checksums import parse_document
from dflow.config import machine_bytes
from dflow.dataset.format.bounded_zarr import open_array
from dflow.dataset.format.layout import how_to_mend
from dflow.errors import DamagedDatasetError, DatasetError
from dflow.schema.names import NODE_DOCUMENT
from dflow.storage.codecs import decode_blosc, expand_zstd, inflate

_EMPTY = np.iinfo(np.uint64).max
_CRC_BYTES = 4
_FEW = 3
_DESCRIPTOR = 4
"""The place of the byte in a zstd frame that says whether it states its size (RFC 8878, 3.1.1.1)."""

_SPARE_BYTES = 1024**2
"""What a chunk that cannot be compressed may grow by when it is coded."""

_READ_BYTES = 32 * 1024**2
"""Limit of one read, which bounds the memory of a scan."""

Array = np.ndarray[Any, np.dtype[Any]]
Decoder = Callable[[Any, Array], Any]


def _decode_nothing(source: Any, target: Array) -> None:
    target[...] = np.frombuffer(source, target.dtype)


def _decode_gzip(source: Any, target: Array) -> None:
    target[...] = np.frombuffer(inflate(source, target.nbytes), target.dtype)


def _decode_zstd(source: Any, target: Array) -> None:
    if len(source) > _DESCRIPTOR and not source[_DESCRIPTOR] & 0xE0:  # no stated size: the library would expand it all
        target[...] = np.frombuffer(expand_zstd(bytes(source), target.nbytes), target.dtype)
    else:
        zstd.decompress(source, target)


_DECODERS: Mapping[str, Decoder] = {"zstd": _decode_zstd, "blosc": decode_blosc, "gzip": _decode_gzip}


@dataclass(frozen=True, slots=True)
class ChunkLayout:
    """The layout of an array in its files.

    `rows_per_file` and `rows_per_chunk` are equal without sharding. `checked` is true if a CRC-32C follows each chunk.
    """

    rows_per_file: int
    rows_per_chunk: int
    sharded: bool
    index_first: bool
    decode: Decoder
    checked: bool
    separator: str

    @property
    def chunks_per_file(self) -> int:
        return self.rows_per_file // self.rows_per_chunk

    @property
    def index_bytes(self) -> int:
        return 16 * self.chunks_per_file + _CRC_BYTES


def chunk_layout(metadata: Mapping[str, Any]) -> ChunkLayout | None:
    """The layout of an array from its Zarr v3 metadata; None if it has to be read through zarr."""
    shape = metadata["shape"]
    grid, encoding = metadata["chunk_grid"], metadata["chunk_key_encoding"]
    if not shape or grid["name"] != "regular" or encoding["name"] != "default":
        return None
    outer = grid["configuration"]["chunk_shape"]
    inner, codecs, sharded, index_first = outer, metadata["codecs"], False, False
    if len(codecs) == 1 and codecs[0]["name"] == "sharding_indexed":
        sharding = codecs[0]["configuration"]
        if [c["name"] for c in sharding["index_codecs"]] != ["bytes", "crc32c"]:
            return None
        inner, codecs, sharded = sharding["chunk_shape"], sharding["codecs"], True
        index_first = sharding.get("index_location", "end") == "start"
    decoder = _decoder(codecs)
    whole_rows = all(c >= s for c, s in zip(inner[1:], shape[1:], strict=True))
    if decoder is None or not whole_rows or inner[1:] != shape[1:] or inner[0] < 1:
        return None
    decode, checked = decoder
    separator = encoding.get("configuration", {}).get("separator", "/")
    return ChunkLayout(outer[0], inner[0], sharded, index_first, decode, checked, separator)


def _decoder(codecs: list[Mapping[str, Any]]) -> tuple[Decoder, bool] | None:
    names = [codec["name"] for codec in codecs]
    endian = codecs[0].get("configuration", {}).get("endian", "little") if codecs else ""
    if not names or names.pop(0) != "bytes" or endian != "little":
        return None
    checked = bool(names) and names[-1] == "crc32c"
    if checked:
        names.pop()
    if not names:
        return _decode_nothing, checked
    if len(names) == 1 and names[0] in _DECODERS:
        return _DECODERS[names[0]], checked
    return None


class ShardFiles(Protocol):
    """Files of an open dataset, by paths relative to its folder."""

    path: Path

    def open(self, relative: str) -> int:
        """Return a read-only descriptor of a file; the caller closes it."""

    def read_bytes(self, relative: str) -> bytes:
        """Return the content of a small file."""

    def check_links(self, relative: str) -> None:
        """Raise `DamagedDatasetError` if a link below the folder `relative` leads out of the dataset."""

    def explain_missing(self, relative: str) -> None:
        """Return if a shard may be missing, because it holds fill values only; raise if it must exist."""


class RowReader:
    """Reads rows of one array of an open dataset.

    `read` may be called from many threads and after a fork. Shard indexes are cached (16 bytes per chunk). A pickle
    holds the metadata only.
    """

    def __init__(self, folder: ShardFiles, path: str, metadata: Mapping[str, Any]) -> None:
        self.folder = folder
        self.path = path
        self.shape = tuple(metadata["shape"])
        self.dtype = np.dtype(metadata["data_type"])
        self._metadata = metadata
        self._fill = fill_value(metadata["fill_value"], self.dtype)
        self.layout = chunk_layout(metadata)
        self.rows_per_chunk = self.layout.rows_per_chunk if self.layout else None
        self._indexes: dict[int, Array | None] = {}
        self._row_values = math.prod(self.shape[1:])
        chunk_bytes = (self.rows_per_chunk or 0) * self.row_bytes
        self._max_coded = chunk_bytes + chunk_bytes // 16 + _SPARE_BYTES

    def __reduce__(self) -> tuple[Any, ...]:
        return RowReader, (self.folder, self.path, self._metadata)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row in memory."""
        return self._row_values * self.dtype.itemsize

    def read(self, start: int = 0, stop: int | None = None) -> Array:
        """Return rows `start` to `stop` (excluded) as a new array.

        Raises
        ------
        DatasetError
            If the array does not have these rows, or they are larger than the machine's memory.
        DamagedDatasetError
            If a shard is truncated, missing or cannot be decoded.
        """
        n_rows = self.shape[0] if self.shape else 1
        stop = n_rows if stop is None else stop
        if (stop - start) * self.row_bytes > machine_bytes():
            raise DatasetError(
                f"rows {start}:{stop} of {self.path} take {(stop - start) * self.row_bytes:,} bytes, this machine has "
                f"{machine_bytes():,}; read fewer rows at once"
            )
        if not 0 <= start <= stop <= n_rows:
            raise DatasetError(f"rows {start}:{stop} of {self.path} were requested; use rows within 0:{n_rows}")
        if self.layout is None:
            return self._read_through_zarr(start, stop)
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        self.read_into(start, out)
        return out

    def read_into(self, start: int, target: Array) -> None:
        """Read the rows from `start` on into a contiguous array of them; whole chunks are decoded in place."""
        if self.layout is None:
            target[...] = self._read_through_zarr(start, start + len(target))
            return
        stop = start + len(target)
        flat = target.reshape(len(target), self._row_values)
        step = self.layout.rows_per_file
        for file_index in range(start // step, -(-stop // step)) if stop > start else ():
            first = file_index * step
            low, high = max(start, first), min(stop, first + step)
            self._read_file(file_index, low - first, high - first, flat[low - start : high - start])

    def _read_through_zarr(self, start: int, stop: int) -> Array:
        self.folder.check_links(self.path)
        try:
            document = parse_document(self.folder.read_bytes(f"{self.path}/{NODE_DOCUMENT}"))
            if document != self._metadata:  # zarr reads this one, which has no checksum of its own
                raise ValueError(f"its {NODE_DOCUMENT} contradicts that of the dataset")
            array = open_array(str(self.folder.path), self.path)
            return np.asarray(array[start:stop] if self.shape else array[...])
        except Exception as error:  # zarr raises anything from KeyError to ZeroDivisionError
            if isinstance(error, DamagedDatasetError):
                raise
            raise DamagedDatasetError(
                f"{self.folder.path / self.path} cannot be read: {error!r}; {how_to_mend(self.folder.path)}"
            ) from error

    def _read_file(self, file_index: int, low: int, high: int, target: Array) -> None:
        """Read rows `low` to `high`, counted in this file, into `target`."""
        assert self.layout is not None
        relative = self._file_name(file_index)
        try:
            descriptor = self.folder.open(relative)
        except FileNotFoundError:
            self.folder.explain_missing(relative)
            target[...] = self._fill
            return
        try:
            index = self._index(file_index, descriptor)
            step = self.layout.rows_per_chunk
            first, last = low // step, -(-high // step)
            for begin, end in _runs(index[first:last]) if last - first > _FEW else _single(last - first):
                self._read_run(descriptor, index[first + begin : first + end], first + begin, low, high, target)
        except Exception as error:  # of a library, or of numpy on sizes that nothing vouches for
            if isinstance(error, DatasetError):
                raise
            message = f"{self.folder.path / relative} is damaged ({error}); {how_to_mend(self.folder.path)}"
            raise DamagedDatasetError(message) from error
        finally:
            os.close(descriptor)

    def _read_run(self, descriptor: int, index: Array, first: int, low: int, high: int, target: Array) -> None:
        """Decode neighbouring chunks from one read; `first` is the number of the first."""
        assert self.layout is not None
        step = self.layout.rows_per_chunk
        present = index[0, 0] != _EMPTY
        offset = int(index[0, 0]) if present else 0
        length = int(index[-1, 0] + index[-1, 1]) - offset if present else 0
        data = memoryview(_read_at(descriptor, offset, length))
        scratch: Array | None = None
        for i, (begin, size) in enumerate(index.tolist()):
            top = (first + i) * step
            a, b = max(low, top), min(high, top + step)
            rows = target[a - low : b - low]
            if not present:
                rows[...] = self._fill
                continue
            chunk = data[begin - offset : begin - offset + size]
            if self.layout.checked:
                chunk = _verified(chunk)
            if b - a == step:
                self.layout.decode(chunk, rows.reshape(-1))
                continue
            if scratch is None:
                scratch = np.empty((step, self._row_values), self.dtype)
            self.layout.decode(chunk, scratch.reshape(-1))
            rows[...] = scratch[a - top : b - top]

    def _index(self, file_index: int, descriptor: int) -> Array:
        """(n_chunks, 2) uint64: offset and size in bytes of every chunk of a file; all bits set for an empty chunk."""
        assert self.layout is not None
        index = self._indexes.get(file_index)
        if index is not None:
            return index
        size = os.fstat(descriptor).st_size
        if not self.layout.sharded:
            index = np.array([[0, size]], np.uint64)
        else:
            length = self.layout.index_bytes
            if size < length:
                raise ValueError(f"it has {size} bytes, its index alone {length}")
            raw = _read_at(descriptor, 0 if self.layout.index_first else size - length, length)
            _verified(memoryview(raw), "its index")
            index = np.frombuffer(raw, "<u8", count=2 * self.layout.chunks_per_file).reshape(-1, 2)
            present = index[index[:, 0] != _EMPTY]
            if present.size and (int(present.max()) > size or int((present[:, 0] + present[:, 1]).max()) > size):
                raise ValueError("its index refers to bytes after its end")
        sizes = index[index[:, 0] != _EMPTY, 1]
        if sizes.size and int(sizes.max()) > self._max_coded:
            raise ValueError(f"a chunk of {int(sizes.max()):,} bytes, expected at most {self._max_coded:,}")
        self._indexes[file_index] = index
        return index

    def _file_name(self, file_index: int) -> str:
        assert self.layout is not None
        parts = ["c", str(file_index), *("0" for _ in self.shape[1:])]
        return f"{self.path}/{self.layout.separator.join(parts)}"


def _runs(index: Array) -> list[tuple[int, int]]:
    """Divide a part of a shard's index into runs of one read each: adjacent in the file, all present or all empty."""
    begin, size = index[:, 0], index[:, 1]
    empty = begin == _EMPTY
    with np.errstate(over="ignore"):
        adjacent = begin[1:] == begin[:-1] + size[:-1]
    breaks = np.flatnonzero(~(adjacent | empty[1:]) | (empty[1:] != empty[:-1])) + 1
    edges = [0, *breaks.tolist(), len(index)]
    runs: list[tuple[int, int]] = []
    for a, b in itertools.pairwise(edges):
        mean = max(1, int(size[a:b].mean())) if not empty[a] else _READ_BYTES
        stride = max(1, _READ_BYTES // mean) if not empty[a] else b - a
        runs.extend((c, min(b, c + stride)) for c in range(a, b, stride))
    return runs


def _single(n_chunks: int) -> list[tuple[int, int]]:
    """Runs of one chunk each: for a few chunks, planning a joint read costs more than it saves."""
    return [(i, i + 1) for i in range(n_chunks)]


def _verified(chunk: memoryview, what: str = "a chunk") -> memoryview:
    """Return a chunk, or an index, without the CRC-32C that follows it, after verifying it."""
    content, checksum = chunk[:-_CRC_BYTES], int.from_bytes(chunk[-_CRC_BYTES:], "little")
    if google_crc32c.value(bytes(content)) != checksum:
        raise ValueError(f"the checksum of {what} does not match")
    return content


def _read_at(descriptor: int, offset: int, length: int) -> bytes:
    if hasattr(os, "pread"):
        data = os.pread(descriptor, length, offset)
    else:  # Windows
        with _seek_lock:
            os.lseek(descriptor, offset, os.SEEK_SET)
            data = os.read(descriptor, length)
    if len(data) != length:
        raise EOFError(f"{length} bytes at {offset} were expected, found {len(data)}")
    return data


_seek_lock = threading.Lock()


def fill_value(value: Any, dtype: np.dtype[Any]) -> Any:
    """A scalar from the JSON form of a fill value; Zarr v3 writes non-finite floats as words."""
    if isinstance(value, str):
        value = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}.get(value, value)
    return dtype.type(value)
