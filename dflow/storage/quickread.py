"""Reading arrays whose place and form are known, without parsing the store that holds them.

A merge opens every `.data` file once a group and knows from the sample's record what is in it. The record also holds
the CRC-32 of the zip directory: where that matches, the directory is the one that dflow wrote, and looking up four
members in it is enough. Opening a file of 25 members costs 0.05 ms this way, 0.3 ms through `read_zip_store`, which
checks every member and parses every document.
"""

from __future__ import annotations

import math
import os
import struct
import sys
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dflow.config import MAX_STORE_BYTES
from dflow.errors import DamagedStoreError
from dflow.storage.chunks import RAW_BYTES, decode_chunk
from dflow.storage.documents import chunk_key

_LOCAL_BYTES, _CENTRAL_BYTES, _END_BYTES = 30, 46, 22
_CENTRAL_MAGIC, _END_MAGIC = b"PK\1\2", b"PK\5\6"
_SIZES = struct.Struct("<3L3H")
_U32 = struct.Struct("<L")
_TAIL_BYTES = 32 * 1024
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

Expected = tuple[str, str, tuple[int, ...]]
"""An array's key, dtype and shape."""


def read_expected(path: str, arrays: Sequence[Expected], *, n_bytes: int, crc: int) -> list[NDArray[Any]] | None:
    """The arrays, each member's checksum verified; None where the file is not of the plain form that this reads.

    Small arrays are read-only views of what was read.

    `n_bytes` and `crc` are what the sample's record says of the file. None means nothing about damage: whoever gets
    it reads the file through `read_zip_store`, which says what is wrong or reads it after all.

    Raises
    ------
    OSError
        If the file cannot be opened or read.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        if os.fstat(handle).st_size != n_bytes:
            return None
        start = max(n_bytes - _TAIL_BYTES, 0)
        tail = os.pread(handle, n_bytes - start, start)
        central = _directory(tail, start)
        if central is None or zlib.crc32(central) != crc:
            return None
        found = []
        for key, dtype, shape in arrays:
            array = _read_array(handle, tail, start, central, (key, dtype, shape))
            if array is None:
                return None
            found.append(array)
        return found
    finally:
        os.close(handle)


def _directory(tail: bytes, start: int) -> bytes | None:
    """The central directory, where it lies wholly in the tail and the zip has no comment."""
    end = len(tail) - _END_BYTES
    if end < 0 or tail[end : end + 4] != _END_MAGIC:
        return None
    size, offset = struct.unpack_from("<2L", tail, end + 12)
    return tail[offset - start : offset - start + size] if offset >= start else None


def _read_array(handle: int, tail: bytes, start: int, central: bytes, expected: Expected) -> NDArray[Any] | None:
    key, dtype, shape = expected
    if 0 in shape:
        return np.empty(shape, np.dtypes.StringDType() if dtype == "str" else dtype)
    content = _read_member(handle, tail, start, central, f"{key}/{chunk_key(len(shape))}".encode())
    if content is None:
        return None
    n_bytes = 0 if dtype == "str" else math.prod(shape) * np.dtype(dtype).itemsize
    if 0 < n_bytes < RAW_BYTES and n_bytes == len(content) and sys.byteorder == "little":
        return np.frombuffer(content, dtype).reshape(shape)
    # Text begins with its count, and zstd's magic would be four thousand million.
    compressed = content[:4] == _ZSTD_MAGIC if dtype == "str" else n_bytes >= RAW_BYTES
    try:
        return decode_chunk(content, dtype, shape, compressed=compressed, where=key, max_bytes=MAX_STORE_BYTES)
    except DamagedStoreError:
        return None


def _read_member(handle: int, tail: bytes, start: int, central: bytes, name: bytes) -> bytes | None:
    at = central.find(name) - _CENTRAL_BYTES
    while at >= 0:
        crc, stored, size, name_length, _, _ = _SIZES.unpack_from(central, at + 16)
        if central[at : at + 4] == _CENTRAL_MAGIC and name_length == len(name):
            (offset,) = _U32.unpack_from(central, at + 42)
            begin = offset + _LOCAL_BYTES + len(name)
            if begin >= start:
                content = tail[begin - start : begin - start + stored]
            else:
                content = os.pread(handle, stored, begin)
            return content if stored == size == len(content) and zlib.crc32(content) == crc else None
        at = central.find(name, at + _CENTRAL_BYTES + 1) - _CENTRAL_BYTES
    return None
