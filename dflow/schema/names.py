"""Names that groups, arrays, dimensions and metadata fields may have, and names that the merge makes."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from dflow.schema.model import FILE_GROUP

NODE_DOCUMENT = "zarr.json"
"""The file of a Zarr v3 group or array that holds its metadata; no array may have that name."""

MAX_NAME_LENGTH = 200
"""In bytes; a Zarr node's name becomes a file name in the merged dataset, and file systems allow 255 bytes."""

FILE_TABLE_NAMES = (
    "id",
    "name",
    "description",
    "body",
    "flow_name",
    "subset",
    "table_name",
    "stream_cache_png",
    "stream_cache_3d",
    "content_hash",
)
"""Columns of the `.infoset` that identify a sample; a value of the sample may not have their names."""

OPEN_NAMES = frozenset({"flow_name"})
"""Those of `FILE_TABLE_NAMES` that a sample may save."""

BATCH_NAMES = ("batch", "ptr")
"""Arrays that a training batch adds to each group: the sample of each row, and the first row of each sample."""

DERIVED_PREFIXES = ("file_id_code", "row_start_", "row_count_")
"""First parts of the names of arrays that the merge adds."""

_FORBIDDEN = frozenset('\\/:*?"<>|')


@lru_cache(maxsize=4096)
def name_fault(name: object) -> str | None:
    """Why a text cannot name a group, an array or a dimension; None if it can.

    A name becomes a folder in the merged dataset and a node in Zarr's hierarchy (whose specification forbids ``.``,
    ``..``, and names that begin with ``__``), so separators, control characters and wildcards are refused. Other
    Unicode characters are allowed.
    """
    if not isinstance(name, str):
        return f"it is {type(name).__name__}, not text"
    if not name or name.strip() != name:
        return "it is empty or has white space at an end"
    if set(name) == {"."} or name.startswith("__") or name == NODE_DOCUMENT:
        return "dots alone, a leading double underscore and 'zarr.json' are reserved"
    if any(c in _FORBIDDEN or unicodedata.category(c) in ("Cc", "Cs") for c in name):
        return 'control characters, separators and any of \\ / : * ? " < > | are not allowed'
    if len(name.encode("utf-8")) > MAX_NAME_LENGTH:
        return f"it is longer than {MAX_NAME_LENGTH} bytes"
    return None


@lru_cache(maxsize=4096)
def reserved_for(name: str, group: str, groups: tuple[str, ...]) -> str | None:
    """Why the name of an array or of a value per sample is reserved; None if it is free.

    Reserved are the names that dflow adds later: in the dataset, in the `.infoset`, in a training batch.

    Parameters
    ----------
    group : of the array; ``file`` for values per sample
    groups : names of all groups that may exist
    """
    if name in BATCH_NAMES:
        return "batches of samples have an array of that name"
    if name.startswith(DERIVED_PREFIXES):
        return f"the merge adds arrays whose names begin with {', '.join(DERIVED_PREFIXES)}"
    if group != FILE_GROUP:
        return None
    if name in FILE_TABLE_NAMES and name not in OPEN_NAMES:
        return "the table of files has a column of that name"
    if name == FILE_GROUP:
        return "it is the dimension of the values per sample"
    owner = next((other for other in groups if name.startswith(f"has_{other}_")), None)
    return f"such names mark the samples that have an array of group {owner!r}" if owner else None


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known text that is most like `word`, upper and lower case being equal; "" if none is like it."""
    by_case = {other.casefold(): other for other in reversed(list(known))}
    near = difflib.get_close_matches(word.casefold(), by_case, n=1, cutoff=0.5)
    return by_case[near[0]] if near else ""


def free_name(name: str) -> str:
    """A free name to use instead of a reserved one."""
    return {"batch": "lot", "ptr": "pointer"}.get(name, f"part_{name}")


def id_array(group: str) -> str:
    """Return the name of the array that holds, for every row of `group`, the id of its sample."""
    return f"file_id_code_{group}"


def row_start(group: str) -> str:
    """Return the name of the file value that holds where a sample's rows of `group` begin."""
    return f"row_start_{group}"


def row_count(group: str) -> str:
    """Return the name of the file value that holds how many rows of `group` a sample has."""
    return f"row_count_{group}"


def has_array(group: str, name: str) -> str:
    """Return the name of the file value that holds whether a sample has the array, or, in group ``file``, the value."""
    return f"has_{group}_{name}"
