"""Keys of arrays: ``group/array``, and what shorter and deeper keys mean."""

from __future__ import annotations

import re
from functools import lru_cache

from dflow.errors import BadKeyError
from dflow.schema import FILE_GROUP, Schema, standard_array, standard_groups
from dflow.schema.names import name_fault

DESCRIPTIONS = "descriptions"
"""The metadata branch with the tables of the attribset."""

METADATA_GROUP = "metadata"
"""The group of the file with the metadata that JSON cannot hold; reserved."""


@lru_cache(maxsize=1024)
def _parts(key: str) -> tuple[str, ...]:
    parts = tuple(key.split("/"))
    for part in parts:
        if fault := name_fault(part):
            raise BadKeyError(f"key {key!r}: the part {part!r} is no name: {fault}; use a key such as 'faces/my_array'")
    return parts


def split_key(key: str) -> tuple[str, ...]:
    """The parts of a key.

    Raises
    ------
    BadKeyError
        If a part is empty, ``..``, or otherwise no name.
    """
    if not isinstance(key, str):
        raise BadKeyError(f"a key is {type(key).__name__}, not text; use a key such as 'faces/my_array'")
    return _parts(key)


def locate(key: str, schema: Schema) -> tuple[str, str]:
    """The group and array that a key means.

    Deeper keys than ``group/array`` are joined: ``graph/edges/source`` is ``edges_source`` in ``graph``, as HOOPS AI
    names it after its merge. A bare name is the array that the schema declares, else one of the group that the name
    means (`group_of_name`).

    Raises
    ------
    BadKeyError
        If the key is invalid, several groups declare the bare name, or the group's name is reserved.
    """
    group, *rest = split_key(key)
    if not rest:
        owners = schema.groups_with_array(key)
        if len(owners) > 1:
            raise BadKeyError(f"key {key!r} is in {' and '.join(owners)}; use the whole key: '{owners[0]}/{key}'")
        return (owners[0] if owners else group_of_name(key)), key
    if group == METADATA_GROUP:
        raise BadKeyError(f"key {key!r}: the group {METADATA_GROUP!r} is reserved; use save_metadata")
    return group, "_".join(rest)


_WORDS = {"faces": r"(?i:(?<![^\W\d_])face)|Face", "edges": r"(?i:(?<![^\W\d_])edge)|Edge"}
"""Patterns of a word that begins with "face" or "edge": `face_scores`, `nFaces`, but not `surface_finish`."""


@lru_cache(maxsize=1024)
def group_of_name(name: str) -> str:
    """The group of an array that was saved without one.

    It is the group of the standard array of this name, else ``faces`` or ``edges`` where a word of the name begins
    with "face" or "edge", else ``file``.
    """
    for group in standard_groups():
        if group != "coedges" and standard_array(group, name):  # its names, such as `next`, are too general
            return group
    if name == "num_nodes":
        return "graph"
    return next((group for group, word in _WORDS.items() if re.search(word, name)), FILE_GROUP)
