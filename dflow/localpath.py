"""Paths that are given: ``~`` is the home folder; where something is written, an address is refused, since it would
become a folder of that name.
"""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit

from dflow.errors import OutputFolderError

_ADDRESS = re.compile(r"([A-Za-z0-9][\w.+@-]+):/")
"""Matches ``s3://``, ``file:/``, ``user@host:/``, also with the slashes that `pathlib` leaves; no drive's letter."""


def is_address(path: object) -> bool:
    """Whether a path is a URL or names a host, which dflow cannot read from."""
    return isinstance(path, (str, os.PathLike)) and _ADDRESS.match(os.fsdecode(path)) is not None


def home_path(path: str | os.PathLike[str]) -> str:
    """Return the path as text, with ``~`` and ``~name`` as the home folders that they mean."""
    return os.path.expanduser(os.fsdecode(path))


def local_path(path: str | os.PathLike[str]) -> str:
    """Return the path as text, with ``~`` as the home folder.

    Raises
    ------
    OutputFolderError
        If it is a URL, or names a host.
    """
    text = home_path(path)
    found = _ADDRESS.match(text)
    if found is None:
        return text
    if found[1].lower() == "file":
        raise OutputFolderError(f"{text!r} is a URL; give the path itself: {unquote(urlsplit(text).path)!r}.")
    raise OutputFolderError(
        f"{text!r} is an address, expected the path of a local or mounted folder or file: mount it and give the path "
        "below the mount, or write here and copy afterwards. (A folder of such a name: give its absolute path.)"
    )
