"""Reading arrays whose place and form are known, without parsing the store that holds them.

A merge opens every `.data` file once per group, and the sample's record states what is in it. The record also holds
the CRC-32 of the zip directory: where that matches, the directory is the one that dflow wrote, and looking up four
members in it is enough. Opening a file of 25 members costs 0.01 ms this way, 0.3 ms through `read_zip_store`, which
checks every member and parses every document.

Chunks are read first and decoded later, all by one context of zstd: to make one takes 0.01 ms, a sixth of what a
sample's grids take to expand.
"""

from __future__ import annotations

import errno
import math
import os
import struct
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import starmap
from typing import Any

import numpy as np
import zstandard
from isal import isal_zlib
from numpy.typing import NDArray

from dflow.config import MAX_STORE_BYTES
from dflow.errors import DamagedStoreError
from dflow.storage.chunks import RAW_BYTES, decode_chunk, frame_content_bytes, usual_frame_head
from dflow.storage.container import CENTRAL_BYTES, END_BYTES, LOCAL_BYTES, directory_place
from dflow.storage.documents import chunk_key

_CENTRAL_MAGIC = b"PK\1\2"
_ENTRY = struct.Struct("<4s12x3LH12xL")
"""Of a member's entry in the directory: magic, CRC-32, stored and expanded bytes, length of the name, offset."""

_TAIL_BYTES = 32 * 1024
_FLAGS = os.O_RDONLY
for _name in (
    "O_BINARY",
    "O_NONBLOCK",
    "O_NOFOLLOW",
):  # opening a pipe would block; links are examined by the slower reader
    _FLAGS |= getattr(os, _name, 0)


class _Thread(threading.local):
    """What each thread has of its own."""

    def __init__(self) -> None:
        self.expander = zstandard.ZstdDecompressor()


_THREAD = _Thread()
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True)
class ChunkForm:
    """How an array lies in the samples: its key, dtype, the shape behind the rows, and whether a sample is one row of
    it.

    Parameters
    ----------
    key : ``group/array``
    dtype : as `StoredArray` names it
    trailing : the shape behind the rows
    whole : the stored array has no row dimension; it counts as one row
    """

    key: str
    dtype: str
    trailing: tuple[int, ...]
    whole: bool = False

    @cached_property
    def member(self) -> bytes:
        """The name of its chunk in the zip."""
        return f"{self.key}/{chunk_key(len(self.trailing) + (not self.whole))}".encode()

    @property
    def row_items(self) -> int:
        """Values of one row."""
        return math.prod(self.trailing)

    @cached_property
    def row_bytes(self) -> int:
        """Bytes of one row; 0 of text, whose size is unknown."""
        return 0 if self.dtype == "str" else self.row_items * np.dtype(self.dtype).itemsize

    def fits(self, chunk: bytes, n_rows: int) -> bool:
        """Whether a chunk is of this form; text is checked when it is decoded."""
        n_bytes = n_rows * self.row_bytes
        if n_bytes < RAW_BYTES:
            return len(chunk) == n_bytes or self.dtype == "str"
        return chunk.startswith(usual_frame_head(n_bytes)) or frame_content_bytes(chunk) == n_bytes

    def all_fit(self, chunks: Sequence[bytes], n_rows: Sequence[int]) -> bool:
        """`fits` for each chunk with its rows, in a third of the time where they are alike."""
        if self.dtype != "str":
            sizes = [n * self.row_bytes for n in n_rows]
            if max(sizes, default=0) < RAW_BYTES:
                return list(map(len, chunks)) == sizes
            if min(sizes) >= RAW_BYTES and all(map(bytes.startswith, chunks, map(usual_frame_head, sizes))):
                return True
        return all(map(self.fits, chunks, n_rows))


class ChunkReader:
    """Reads the same members of one store after another; they usually lie where they lay in the one before. One thread.

    Parameters
    ----------
    members : their names in the zip
    """

    def __init__(self, members: Iterable[bytes]) -> None:
        self._members = tuple(members)
        self._places: list[int] = []
        self._marks: list[tuple[bytes, int]] = []

    def read(self, path: str, *, n_bytes: int, crc: int) -> list[bytes] | None:
        """The members' content, their checksums verified; None where the file is not of the plain form that this reads.

        `n_bytes` and `crc` are those of the sample's record. None does not mean damage: the caller then
        reads the file through `read_zip_store`, which reports the fault or reads it after all.

        Raises
        ------
        OSError
            If the file cannot be opened or read.
        """
        try:
            handle = os.open(path, _FLAGS)
        except OSError as error:
            if error.errno == errno.ELOOP:
                return None
            raise
        try:
            return self._contents(handle, n_bytes, crc)
        finally:
            os.close(handle)

    def _contents(self, handle: int, n_bytes: int, crc: int) -> list[bytes] | None:
        # In one piece: a merge does this for every sample and group, and a call of Python takes as long as a member.
        start = n_bytes - _TAIL_BYTES if n_bytes > _TAIL_BYTES else 0
        tail = os.pread(handle, n_bytes - start + 1, start)
        place = directory_place(tail, n_bytes - start - END_BYTES)  # without a comment, as dflow writes it
        if place is None or len(tail) != n_bytes - start:
            return None
        size, offset = place
        central = tail[offset - start : offset - start + size] if offset >= start else b""
        if isal_zlib.crc32(central) != crc or not central:
            return None
        if not (self._marks and all(starmap(central.startswith, self._marks))) and not self._find(central):
            return None
        found = []
        for at in self._places:
            _, expected, stored, expanded, name_length, offset = _ENTRY.unpack_from(central, at)
            begin = offset + LOCAL_BYTES + name_length - start
            content = tail[begin : begin + stored] if begin >= 0 else os.pread(handle, stored, begin + start)
            if not stored == expanded == len(content) or isal_zlib.crc32(content) != expected:
                return None
            found.append(content)
        return found

    def _find(self, central: bytes) -> bool:
        """Know the places of the members' entries in this directory; False where one has none."""
        self._places = [_entry_of(name, central) for name in self._members]
        if min(self._places, default=0) < 0:
            self._places, self._marks = [], []
            return False
        # The next entry's magic tells a name from a longer one; the stores' root, which is not read, comes last.
        self._marks = [
            (name + _CENTRAL_MAGIC, at + CENTRAL_BYTES) for name, at in zip(self._members, self._places, strict=True)
        ]
        return True


def _entry_of(name: bytes, central: bytes) -> int:
    """Where the entry of the member `name` begins in a directory; negative where there is none."""
    at = central.find(name) - CENTRAL_BYTES
    while at >= 0:
        magic, _, _, _, name_length, _ = _ENTRY.unpack_from(central, at)
        if magic == _CENTRAL_MAGIC and name_length == len(name):
            return at
        at = central.find(name, at + CENTRAL_BYTES + 1) - CENTRAL_BYTES
    return at


def join_chunks(form: ChunkForm, chunks: Sequence[bytes], n_rows: Sequence[int]) -> NDArray[Any]:
    """The rows of chunks that fit `form`, one behind the other; `n_rows` of each. May be read-only.

    Raises
    ------
    DamagedStoreError
        If a chunk does not hold its rows after all.
    """
    if form.dtype == "str":
        parts = [_texts(chunk, n, form) for chunk, n in zip(chunks, n_rows, strict=True)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
    expand = _THREAD.expander.decompress
    try:
        expanded = [
            expand(chunk, allow_extra_data=False) if n * form.row_bytes >= RAW_BYTES else chunk
            for chunk, n in zip(chunks, n_rows, strict=True)
        ]
    except zstandard.ZstdError as error:
        raise DamagedStoreError(f"{form.key}: its chunk cannot be expanded: {error}") from error
    return np.frombuffer(b"".join(expanded), np.dtype(form.dtype).newbyteorder("<")).reshape(
        sum(n_rows), *form.trailing
    )


def _texts(chunk: bytes, n_rows: int, form: ChunkForm) -> NDArray[Any]:
    # Text begins with its count, and zstd's magic would be four thousand million.
    shape = form.trailing if form.whole else (n_rows, *form.trailing)
    compressed = chunk[:4] == _ZSTD_MAGIC
    texts = decode_chunk(chunk, "str", shape, compressed=compressed, where=form.key, max_bytes=MAX_STORE_BYTES)
    return texts.reshape((n_rows, *form.trailing))
