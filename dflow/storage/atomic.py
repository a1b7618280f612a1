"""Atomic writes: write under a temporary name, close, rename."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable

from dflow.storage.paths import TEMPORARY_PREFIX

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_PARTS_AT_ONCE = 1024
"""Limit of one `os.writev` call: the smallest IOV_MAX of the supported systems."""


def write_whole(path: str | os.PathLike[str], parts: Iterable[bytes]) -> None:
    """Write a file as a whole or not at all, from its byte strings; a missing folder is made.

    Raises
    ------
    OSError
        If the folder cannot be written or the disk is full; no temporary file is left, and an earlier file stays
        unchanged.
    """
    folder, name = os.path.split(os.fspath(path))
    temporary = os.path.join(folder, f"{TEMPORARY_PREFIX}{name}-{secrets.token_hex(4)}")
    try:
        file = os.open(temporary, _NEW_FILE, 0o666)
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)
        file = os.open(temporary, _NEW_FILE, 0o666)
    try:
        try:
            _write_all(file, list(parts))
        finally:
            os.close(file)
        os.replace(temporary, path)
    except BaseException:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise


def _write_all(file: int, parts: list[bytes]) -> None:
    """Write to a descriptor; a file object would double the time of creating a small file."""
    for begin in range(0, len(parts), _PARTS_AT_ONCE):
        some = parts[begin : begin + _PARTS_AT_ONCE]
        written = os.writev(file, some)
        if written < sum(map(len, some)):  # more than one call writes, or the disk is nearly full
            rest = memoryview(b"".join(some))[written:]
            while len(rest):
                rest = rest[os.write(file, rest) :]
