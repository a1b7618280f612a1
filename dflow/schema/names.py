"""Which names groups, arrays, dimensions and metadata fields may have."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

MAX_NAME_LENGTH = 200
"""Characters; a Zarr node's name becomes a file name in the merged dataset, and file systems stop at 255 bytes."""

_FORBIDDEN = frozenset('\\/:*?"<>|')


@lru_cache(maxsize=4096)
def name_fault(name: object) -> str | None:
    """What is wrong with a name of one group, array or dimension; None when it is fine.

    A name becomes a folder in the merged dataset and a node in Zarr's hierarchy (whose specification forbids ``.``,
    ``..``, and names that begin with ``__``), so separators, control characters and wildcards are refused. Unicode
    is welcome.
    """
    if not isinstance(name, str):
        return f"it is {type(name).__name__}, not text"
    if not name or name.strip() != name:
        return "it is empty or has white space at an end"
    if set(name) == {"."} or name.startswith("__") or name == "zarr.json":
        return "dots alone, a leading double underscore and 'zarr.json' are reserved"
    if any(c in _FORBIDDEN or unicodedata.category(c) in ("Cc", "Cs") for c in name):
        return 'control characters, separators and any of \\ / : * ? " < > | are not allowed'
    if len(name.encode("utf-8")) > MAX_NAME_LENGTH:
        return f"it is longer than {MAX_NAME_LENGTH} bytes"
    return None
