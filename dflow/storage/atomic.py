"""Whole files or none: write under a temporary name, close, rename."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable

from dflow.storage.paths import TEMPORARY_PREFIX


def write_whole(path: str | os.PathLike[str], parts: Iterable[bytes]) -> None:
    """Write a file's byte strings; the folder is made where it is missing.

    Raises
    ------
    OSError
        If the folder cannot be written or the disk is full; nothing is left behind, and a file that was there stays as
        it was.
    """
    folder, name = os.path.split(os.fspath(path))
    temporary = os.path.join(folder, f"{TEMPORARY_PREFIX}{name}-{secrets.token_hex(4)}")
    try:
        file = open(temporary, "xb")  # noqa: SIM115, closed below
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)
        file = open(temporary, "xb")  # noqa: SIM115
    try:
        with file:
            file.writelines(parts)
        os.replace(temporary, path)
    except BaseException:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise
