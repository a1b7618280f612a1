"""Atomic writes: write under a temporary name, close, rename; and flushing of files and folders to the disk."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from dflow.storage.paths import TEMPORARY_PREFIX

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_PARTS_AT_ONCE = 1024
"""Limit of one `os.writev` call: the smallest IOV_MAX of the supported systems."""

SYNCS_AT_ONCE = 8
"""Files that are flushed together: a journaling file system commits them at once, in a third of the time."""

_CANNOT_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.ENOSYS})
"""Numbers of errors of file systems that cannot flush a folder."""


def write_whole(path: str | os.PathLike[str], parts: Iterable[bytes], *, synced: bool = False) -> None:
    """Write a file as a whole or not at all, from its byte strings; a missing folder is made.

    Parameters
    ----------
    synced : whether it is on the disk afterwards, so that a power cut leaves the earlier file or this one; otherwise it
        may leave an empty or torn one. Takes a flush of the disk.

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
            if synced:
                os.fsync(file)
        finally:
            os.close(file)
        os.replace(temporary, path)
        if synced:
            sync(folder or os.curdir)
    except BaseException:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise


def sync(path: str | os.PathLike[str]) -> None:
    """Flush a file's content, or a folder's entries (names, not what they name), to the disk.

    Where the file system cannot flush folders, their entries are as durable as it makes them by itself.

    Raises
    ------
    OSError
        If the path is missing or unreadable, or the disk fails.
    """
    is_folder = os.path.isdir(path)
    if is_folder and os.name == "nt":
        return
    # Windows flushes only what is open for writing.
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if not is_folder or error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(handle)


def sync_tree(folder: str | os.PathLike[str]) -> None:
    """Flush all files below a folder, then the folders, the innermost first and itself last. Raises as `sync`."""
    files, folders = [], []
    for place, _, names in os.walk(folder, topdown=False):
        folders.append(place)
        files += [os.path.join(place, name) for name in names]
    with ThreadPoolExecutor(SYNCS_AT_ONCE) as pool:
        list(pool.map(sync, files))
    for place in folders:
        sync(place)


def _write_all(file: int, parts: list[bytes]) -> None:
    """Write to a descriptor; a file object would double the time of creating a small file."""
    for begin in range(0, len(parts), _PARTS_AT_ONCE):
        some = parts[begin : begin + _PARTS_AT_ONCE]
        written = os.writev(file, some)
        if written < sum(map(len, some)):  # more than one call writes, or the disk is nearly full
            rest = memoryview(b"".join(some))[written:]
            while len(rest):
                rest = rest[os.write(file, rest) :]
