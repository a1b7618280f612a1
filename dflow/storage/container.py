"""The zip container of a `.data` file: members written in one pass with fixed dates, and checked when read.

The format is PKWARE's APPNOTE 6.3: local headers, members, central directory, end record. Members are written stored
(their content is compressed already), so that `zarr.storage.ZipStore` and any unzip tool read them. `zipfile` costs
ten times as much per member, and a sample has thirty.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType

from isal import isal_zlib

from dflow.config import MAX_STORE_BYTES
from dflow.errors import DamagedStoreError, StoreLimitError
from dflow.storage.paths import open_regular

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s4B4HL2L5H2L")
_END = struct.Struct("<4s4H2LH")
_LOCAL_MAGIC, _CENTRAL_MAGIC, _END_MAGIC = b"PK\3\4", b"PK\1\2", b"PK\5\6"
_VERSION, _UNIX, _DATE, _TIME = 20, 3, 0x21, 0  # 1980-01-01 00:00, the earliest date that a zip can hold
_UTF8, _ENCRYPTED = 0x800, 0x1
_STORED, _DEFLATED = 0, 8
_MODE = (stat.S_IFREG | 0o644) << 16
_MAX_MEMBERS, _MAX_BYTES = 0xFFFF - 1, 0xFFFFFFFF - 1  # beyond these lies zip64
_MAX_DIRECTORY_BYTES = 64 * 1024**2
_SHORT_TAIL_BYTES = 8 * 1024  # holds the directory of twenty arrays and the end record
_TAIL_BYTES = 64 * 1024 + _END.size

LOCAL_BYTES, CENTRAL_BYTES, END_BYTES = _LOCAL.size, _CENTRAL.size, _END.size
"""Sizes in bytes of a member's local header and its directory entry, without their variable parts, and of the end
record without a comment."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member's entry in the directory: method, checksum, sizes and offset in bytes."""

    name: str
    method: int
    crc: int
    stored_bytes: int
    n_bytes: int
    offset: int


def pack_members(members: Iterable[tuple[str, bytes]]) -> tuple[list[bytes], int, int]:
    """Return the byte strings of a zip with these (name, content) members, its size, and its directory's CRC-32.

    Raises
    ------
    StoreLimitError
        If the zip would need the 64-bit format: more than 65,534 members or 4 GiB.
    """
    parts: list[bytes] = []
    directory: list[bytes] = []
    offset = 0
    for name, content in members:
        raw = name.encode("utf-8")
        flags = 0 if raw.isascii() else _UTF8
        crc, size = isal_zlib.crc32(content), len(content)
        if offset + size > _MAX_BYTES or len(directory) >= _MAX_MEMBERS:
            raise StoreLimitError("a sample's store holds at most 65,534 members and 4 GiB; split the sample")
        header = _LOCAL.pack(_LOCAL_MAGIC, _VERSION, flags, _STORED, _TIME, _DATE, crc, size, size, len(raw), 0)
        fields = (_VERSION, _UNIX, _VERSION, 0, flags, _STORED, _TIME, _DATE, crc, size, size, len(raw), 0, 0, 0, 0)
        directory += (_CENTRAL.pack(_CENTRAL_MAGIC, *fields, _MODE, offset), raw)
        parts += (header, raw, content)
        offset += _LOCAL.size + len(raw) + size
    central = b"".join(directory)
    count = len(directory) // 2
    parts += (central, _END.pack(_END_MAGIC, 0, 0, count, count, len(central), offset, 0))
    return parts, offset + len(central) + _END.size, isal_zlib.crc32(central)


def directory_place(tail: bytes, end: int) -> tuple[int, int] | None:
    """Size and offset of a zip's directory, both in bytes; None without an end record, or if there are volumes.

    Parameters
    ----------
    tail : the last bytes of the file
    end : offset of the end record in `tail`
    """
    if end < 0 or end + _END.size > len(tail):
        return None
    magic, disk, start_disk, here, count, size, offset, _ = _END.unpack_from(tail, end)
    return None if magic != _END_MAGIC or disk or start_disk or here != count else (size, offset)


_STORE_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""Links are not followed, and opening a pipe does not wait."""


def size_and_directory_crc(path: str | os.PathLike[str]) -> tuple[int, int]:
    """A store's size in bytes and the CRC-32 of its directory; (0, 0) where neither can be read.

    Reads the directory without parsing it, twenty times faster than opening the store: every run examines all samples,
    up to a million. The size is that up to the comment (`seal`).
    """
    try:
        descriptor = os.open(path, _STORE_FLAGS)
    except OSError:
        return 0, 0
    try:
        n_bytes = os.fstat(descriptor).st_size
        tail = os.pread(descriptor, _SHORT_TAIL_BYTES, max(0, n_bytes - _SHORT_TAIL_BYTES))
        end = tail.rfind(_END_MAGIC)
        size, offset = directory_place(tail, end) or (0, 0)
        if _comment(tail, end) is None:
            return 0, 0
        n_bytes -= len(tail) - end - END_BYTES
        tail = tail[: end + END_BYTES]
        if not size or offset + size + END_BYTES != n_bytes:
            return 0, 0
        missing = size + END_BYTES - len(tail)
        if missing > 0:
            tail = os.pread(descriptor, missing, offset) + tail
        return n_bytes, isal_zlib.crc32(memoryview(tail)[-END_BYTES - size : -END_BYTES])
    except OSError:
        return 0, 0
    finally:
        os.close(descriptor)


MAX_SEAL_BYTES = 4096
"""Longest text of a seal: with it, the directory of a common sample still lies in the tail that is read at once."""


def seal(path: str | os.PathLike[str], text: str) -> None:
    """Mark a store as sealed: what was to be saved in it is saved. Writing the store again removes the mark.

    The mark is the zip's comment, appended in place in some µs: sizes and checksums leave it out. Writing the store a
    second time would take 2 % of encoding a common part.

    Parameters
    ----------
    text : ASCII, at most `MAX_SEAL_BYTES`
    """
    comment = text.encode("ascii")
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0))
    try:
        n_bytes = os.fstat(descriptor).st_size
        os.pwrite(descriptor, struct.pack("<H", len(comment)) + comment, n_bytes - 2)
    finally:
        os.close(descriptor)


def read_seal(path: str | os.PathLike[str]) -> str | None:
    """The text of a store's seal; None where it has none, or cannot be read."""
    try:
        descriptor = os.open(path, _STORE_FLAGS)
    except OSError:
        return None
    try:
        n_bytes = os.fstat(descriptor).st_size
        tail = os.pread(descriptor, MAX_SEAL_BYTES + END_BYTES, max(0, n_bytes - MAX_SEAL_BYTES - END_BYTES))
    except OSError:
        return None
    finally:
        os.close(descriptor)
    comment = _comment(tail, tail.rfind(_END_MAGIC))
    return comment.decode("ascii", "replace") if comment else None


def _comment(tail: bytes, end: int) -> bytes | None:
    """Return the zip's comment after the end record at `end`; None where it is not whole."""
    if end < 0 or end + END_BYTES > len(tail):
        return None
    comment = tail[end + END_BYTES :]
    return comment if int.from_bytes(tail[end + END_BYTES - 2 : end + END_BYTES], "little") == len(comment) else None


class ZipReader:
    """A zip opened for reading. Its directory is checked when it is opened, each member's CRC-32 when it is read.

    Never extracts to a file. One thread at a time.

    Raises
    ------
    DamagedStoreError
        If the file is truncated or no zip, or a member is encrypted, a link, there twice, outside the file, or has a
        name that leads out of a folder.
    StoreLimitError
        If the members' stated sizes sum to more than `max_bytes`.
    """

    def __init__(self, path: str | os.PathLike[str], *, max_bytes: int = MAX_STORE_BYTES) -> None:
        self.path = os.fspath(path)
        self.max_bytes = max_bytes
        self._file = open_regular(self.path)
        try:
            self.n_bytes = os.fstat(self._file).st_size
            self._tail_offset = max(0, self.n_bytes - _TAIL_BYTES)
            self._tail = self._pread(self.n_bytes - self._tail_offset, self._tail_offset)
            central = self._read_directory()
            self.crc = isal_zlib.crc32(central)
            self.members = self._parse_directory(central)
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> ZipReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def read(self, name: str) -> bytes:
        """Return a member's content after verifying its CRC-32.

        Raises
        ------
        DamagedStoreError
            If there is no such member or its bytes contradict the directory.
        """
        member = self.members.get(name)
        if member is None:
            raise self._damaged(f"the member {name!r} is missing")
        raw_name = name.encode("utf-8")
        start = _LOCAL.size + len(raw_name)
        block = self._at(member.offset, start + member.stored_bytes)
        if block[:4] != _LOCAL_MAGIC or block[_LOCAL.size : start] != raw_name:
            raise self._damaged(f"the local header of member {name!r} does not match the directory")
        extra = int.from_bytes(block[28:30], "little")
        stored = self._at(member.offset + start + extra, member.stored_bytes) if extra else block[start:]
        content = stored if member.method == _STORED else self._inflate(member, stored)
        if len(content) != member.n_bytes or isal_zlib.crc32(content) != member.crc:
            raise self._damaged(f"the checksum of member {name!r} does not match")
        return content

    def _inflate(self, member: Member, stored: bytes) -> bytes:
        decoder = zlib.decompressobj(-15)
        try:
            return decoder.decompress(stored, member.n_bytes + 1)
        except zlib.error as error:
            raise self._damaged(f"member {member.name!r} cannot be inflated: {error}") from error

    def _read_directory(self) -> bytes:
        end = self._tail.rfind(_END_MAGIC)
        place = directory_place(self._tail, end)
        if place is None:
            raise self._damaged("it is truncated, no zip, or one volume of several: it has no end record of its own")
        size, offset = place
        if offset + size > self._tail_offset + end or size > _MAX_DIRECTORY_BYTES:
            raise self._damaged("its directory lies outside the file")
        self.n_bytes = self._tail_offset + end + END_BYTES  # without the comment
        return self._at(offset, size)

    def _parse_directory(self, central: bytes) -> dict[str, Member]:
        members: dict[str, Member] = {}
        at, expanded = 0, 0
        while at < len(central):
            if at + _CENTRAL.size > len(central) or central[at : at + 4] != _CENTRAL_MAGIC:
                raise self._damaged("its directory is garbled")
            member, at = self._parse_member(central, at)
            if member.name in members:
                raise self._damaged(f"the member {member.name!r} is there twice")
            members[member.name] = member
            expanded += member.n_bytes
        if expanded > self.max_bytes:
            raise StoreLimitError(
                f"{self.path} would expand to {expanded:,} bytes, more than the limit of {self.max_bytes:,}"
            )
        return members

    def _parse_member(self, central: bytes, at: int) -> tuple[Member, int]:
        fields = _CENTRAL.unpack_from(central, at)
        flags, method, crc, stored_bytes, n_bytes = fields[5], fields[6], *fields[9:12]
        name_length, extra_length, comment_length = fields[12:15]
        attributes, offset = fields[-2:]
        start = at + _CENTRAL.size
        try:
            name = central[start : start + name_length].decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._damaged("a member's name is not UTF-8") from error
        self._check_member(name, flags, method, attributes)
        if offset + stored_bytes > self.n_bytes or (method == _STORED and stored_bytes != n_bytes):
            raise self._damaged(f"the member {name!r} lies outside the file")
        return Member(
            name, method, crc, stored_bytes, n_bytes, offset
        ), start + name_length + extra_length + comment_length

    def _check_member(self, name: str, flags: int, method: int, attributes: int) -> None:
        if name.startswith("/") or "\\" in name or "\0" in name or ":" in name or ".." in name.split("/"):
            raise self._damaged(f"the member {name!r} would leave its folder")
        if stat.S_ISLNK(attributes >> 16):
            raise self._damaged(f"the member {name!r} is a link")
        if flags & _ENCRYPTED or method not in (_STORED, _DEFLATED):
            raise self._damaged(f"the member {name!r} is encrypted or compressed by a method that is not supported")

    def _at(self, offset: int, size: int) -> bytes:
        if offset >= self._tail_offset:
            block = self._tail[offset - self._tail_offset : offset - self._tail_offset + size]
        else:
            block = self._pread(size, offset)
        if len(block) != size:
            raise self._damaged("it is truncated")
        return block

    def _pread(self, size: int, offset: int) -> bytes:
        blocks = []
        while size and (block := os.pread(self._file, size, offset)):
            blocks.append(block)
            size, offset = size - len(block), offset + len(block)
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    def _damaged(self, fault: str) -> DamagedStoreError:
        return DamagedStoreError(f"{self.path} cannot be read: {fault}; encode its file again")
