"""A file's content, unpacked where it is gzip, and the CAD format that it holds."""

from __future__ import annotations

import os
import stat
import zlib
from enum import StrEnum
from pathlib import Path

from dflow.errors import UnreadableFileError
from dflow.localpath import is_address

MAX_EXPANDED_BYTES = 4 * 1024**3
"""A file that is larger, or would expand beyond this where it is gzip, is refused."""

HEAD_BYTES = 4096
"""The first bytes of a file, which show its format."""


class CadFormat(StrEnum):
    """The formats that dflow reads."""

    STEP = "step"
    IGES = "iges"
    BREP = "brep"
    BINARY_BREP = "binary_brep"


def read_bytes(path: Path) -> bytes:
    """The file's content, unpacked where it is gzip; no more than its first bytes are read of one that is not CAD.

    Raises
    ------
    UnreadableFileError
        The file is missing, a folder, a pipe or device, not permitted, empty, not of a CAD format, beyond
        `MAX_EXPANDED_BYTES`, or a damaged gzip.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():  # reading it could wait or continue for ever
            raise UnreadableFileError(f"{path}: a pipe, socket or device, not a file")
        with path.open("rb", buffering=0) as file:
            data = file.read(HEAD_BYTES)
            if len(data) == HEAD_BYTES:
                _check_head(path, data, os.fstat(file.fileno()).st_size)
                file.seek(0)
                data = file.readall()
    except UnreadableFileError:
        raise
    except FileNotFoundError as error:
        if is_address(path):
            raise UnreadableFileError(
                f"{path}: an address, expected the path of a local or mounted file: mount what it names, or copy the "
                "file, and give its path"
            ) from error
        raise UnreadableFileError(f"{path}: no such file; check the path") from error
    except IsADirectoryError as error:
        raise UnreadableFileError(
            f"{path}: cannot be read, it is a folder ({error.strerror}): give the paths of the files in it; in a flow, "
            "`gather_cad_files` as first task finds them"
        ) from error
    except OSError as error:
        raise UnreadableFileError(f"{path}: cannot be read ({error.strerror or error})") from error
    if data[:2] == b"\x1f\x8b":
        data = _unpack(path, data)
    if not data.strip(b"\0 \t\r\n"):
        raise UnreadableFileError(f"{path}: the file is empty")
    return data


def _check_head(path: Path, head: bytes, n_bytes: int) -> None:
    """Refuse a file whose first bytes are of no CAD format, or that is too large."""
    if n_bytes > MAX_EXPANDED_BYTES:
        raise UnreadableFileError(
            f"{path}: has {n_bytes:,} bytes, the limit is {MAX_EXPANDED_BYTES:,}; divide the part"
        )
    if head[:2] == b"\x1f\x8b":
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, HEAD_BYTES)
        except zlib.error as error:
            raise UnreadableFileError(f"{path}: a damaged gzip ({error})") from error
        if len(head) < HEAD_BYTES:
            return
    if not head.strip(b"\0 \t\r\n"):
        raise UnreadableFileError(
            f"{path}: not a STEP, IGES or BREP file; it begins with {len(head):,} blank or zero bytes; copy it "
            "again from where it came from"
        )
    sniff(path, head)


def _unpack(path: Path, data: bytes) -> bytes:
    """The members of a gzip, one behind the other (RFC 1952, 2.2), with one limit for all."""
    content = b""
    try:
        while data.strip(b"\0"):
            stream = zlib.decompressobj(wbits=31)
            content += stream.decompress(data, MAX_EXPANDED_BYTES + 1 - len(content))
            if len(content) > MAX_EXPANDED_BYTES:
                raise UnreadableFileError(f"{path}: the gzip expands beyond {MAX_EXPANDED_BYTES} bytes")
            if not stream.eof:
                raise UnreadableFileError(f"{path}: the gzip is truncated after {len(content)} bytes of content")
            data = stream.unused_data
    except zlib.error as error:
        raise UnreadableFileError(f"{path}: a damaged gzip ({error})") from error
    return content


def sniff(path: Path, data: bytes) -> CadFormat:
    """Return the format of `data`.

    Raises
    ------
    UnreadableFileError
        It has none of these formats; the message shows how the content begins.
    """
    head = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"ISO-10303-21"):
        return CadFormat.STEP
    if head.startswith((b"DBRep_DrawableShape", b"CASCADE Topology")):
        return CadFormat.BREP
    if head.startswith(b"Open CASCADE Topology"):
        return CadFormat.BINARY_BREP
    if _looks_like_iges(data):
        return CadFormat.IGES
    if b"ISO-10303-21" in head:  # comments before the keyword
        return CadFormat.STEP
    if head.startswith(b"version https://git-lfs"):
        raise UnreadableFileError(f"{path}: a Git LFS pointer, not the file itself; run `git lfs pull`")
    if head.startswith(b"PK\x03\x04"):
        raise UnreadableFileError(
            f"{path}: a zip archive, a STEP, IGES or BREP file was expected; unpack it (`unzip`) and read what is in it"
            " (dflow reads them plain or packed with gzip)"
        )
    begins = bytes(head[:24])
    raise UnreadableFileError(f"{path}: not a STEP, IGES or BREP file; it begins with {begins!r}")


def _looks_like_iges(data: bytes) -> bool:
    """Fixed 80-column records whose 73rd column is the section letter, the start section first."""
    line = data[:4096].split(b"\n", 1)[0].rstrip(b"\r")
    return len(line) >= 73 and line[72:73] == b"S" and line[73:80].strip().isdigit()
