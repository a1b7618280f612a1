"""Nested metadata: a tree of dictionaries with keys that nest by slashes."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import numpy as np

from dflow.errors import BadKeyError, DamagedStoreError, KeyNotFoundError, NonFiniteError
from dflow.schema.names import MAX_NAME_LENGTH
from dflow.storage.keys import METADATA_GROUP
from dflow.storage.values import is_finite, storable_metadata
from dflow.storage.zarrzip import StoredArray

_PATH = "metadata_path"


class MetadataTree:
    """The metadata of one sample. Leaves are JSON values, including NaN and inf; dictionaries merge.

    Guarantees that no key is a value and a branch at once.
    """

    def __init__(self, tree: dict[str, Any] | None = None) -> None:
        self._tree: dict[str, Any] = tree if tree is not None else {}

    def put(self, key: str, value: Any) -> None:
        """Set a value, or merge a dictionary into the branch at `key`.

        Raises
        ------
        BadKeyError
            If a part of the key is empty, or one key would be a value and a branch.
        UnsupportedDataError, NonFiniteError
            If the value cannot be stored.
        """
        *branch, leaf = _parts(key)
        value = storable_metadata(value, f"metadata {key!r}")
        _check_lists(value, key)
        node = self._tree
        _check_merge(node, [*branch, leaf], value, key)
        for part in branch:
            node = node.setdefault(part, {})
        _merge(node, leaf, value)

    def get(self, key: str) -> Any:
        """A copy of the value or branch at `key`.

        Raises
        ------
        KeyNotFoundError
            If there is none.
        """
        node: Any = self._tree
        for part in _parts(key):
            if not isinstance(node, dict) or part not in node:
                raise KeyNotFoundError(
                    f"there is no metadata {key!r}; the keys here are: {', '.join(sorted(self._tree)) or 'none'}"
                )
            node = node[part]
        return copy.deepcopy(node)

    def to_dict(self) -> dict[str, Any]:
        """A copy of the whole tree."""
        return copy.deepcopy(self._tree)

    def pack(self) -> tuple[dict[str, Any], dict[str, StoredArray]]:
        """Return the tree without its non-finite leaves, and those as arrays under ``metadata/…``. `unpack` inverts."""
        if is_finite(self._tree):
            return self._tree, {}
        arrays = {}
        for path, value in _non_finite(self._tree, ()):
            arrays[_node_key(path)] = StoredArray(np.array(value, dtype=np.float64), None, {_PATH: list(path)})
        return _finite_part(self._tree), arrays

    @classmethod
    def unpack(cls, attributes: Mapping[str, Any], arrays: Mapping[str, StoredArray], *, path: str) -> MetadataTree:
        """Return the tree of which `pack` made `attributes` and `arrays`.

        Parameters
        ----------
        path : of the file, for error messages

        Raises
        ------
        DamagedStoreError
            If the two contradict each other.
        """
        try:
            tree = cls(copy.deepcopy(dict(attributes)))
        except RecursionError as error:
            raise DamagedStoreError(f"{path} cannot be read: its metadata is nested too deeply") from error
        for key, stored in arrays.items():
            parts = stored.attributes.get(_PATH)
            if not isinstance(parts, list) or not parts or not all(isinstance(part, str) for part in parts):
                raise DamagedStoreError(f"{path} cannot be read: {key!r} in the reserved group is not of dflow")
            node: Any = tree._tree
            for part in parts[:-1]:
                node = node.setdefault(part, {}) if isinstance(node, dict) else None
            if not isinstance(node, dict) or parts[-1] in node:
                raise DamagedStoreError(
                    f"{path} cannot be read: {key!r} in the reserved group has the key of other metadata"
                )
            node[parts[-1]] = stored.data.tolist()
        return tree


def _node_key(path: tuple[str, ...]) -> str:
    """The key that a non-finite leaf is stored under; its attribute holds the path, so this need not be invertible."""
    name = "/".join(
        quote(part, safe=" ", errors="backslashreplace") if part.strip(".") else f"%{part}" for part in path
    )
    if len(name) > MAX_NAME_LENGTH:
        name = hashlib.blake2b(name.encode("ascii"), digest_size=16).hexdigest()
    return f"{METADATA_GROUP}/{name}"


def _parts(key: str) -> list[str]:
    parts = key.split("/") if isinstance(key, str) else [""]
    if not all(parts):
        raise BadKeyError(f"{key!r} is no metadata key; use text such as 'material' or 'supplier/name'")
    return parts


def _check_merge(node: Any, path: list[str], value: Any, key: str) -> None:
    """Refuse, before anything changes, a merge that would lose a value or a branch."""
    for index, part in enumerate(path):
        if not isinstance(node, dict):
            raise BadKeyError(f"metadata {key!r}: {'/'.join(path[:index])!r} is a value, not a branch; use another key")
        if part not in node:
            return
        node = node[part]
    if isinstance(node, dict) != isinstance(value, dict):
        found, expected = ("branch", "value") if isinstance(node, dict) else ("value", "branch")
        raise BadKeyError(f"metadata {key!r} is a {found}, not a {expected}; use another key")
    if isinstance(value, dict):
        for part, below in value.items():
            _check_merge(node, [part], below, f"{key}/{part}")


def _merge(node: dict[str, Any], leaf: str, value: Any) -> None:
    if isinstance(value, dict):
        branch = node.setdefault(leaf, {})
        for part, below in value.items():
            _merge(branch, part, below)
    else:
        node[leaf] = value


def _check_lists(value: Any, key: str) -> None:
    """Refuse NaN and inf in lists of anything but numbers that a float can hold, because they are stored as arrays."""
    if isinstance(value, dict):
        for part, below in value.items():
            _check_lists(below, f"{key}/{part}")
    elif isinstance(value, list) and not (is_finite(value) or all(map(_is_number, value))):
        raise NonFiniteError(f"metadata {key!r}: NaN or inf in a list of mixed types; save numbers with save_data")


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (
        isinstance(value, int) and not isinstance(value, bool) and float(value) == value
    )


def _non_finite(node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(node, dict):
        for part, below in node.items():
            yield from _non_finite(below, (*path, part))
    elif not is_finite(node):
        yield path, node


def _finite_part(node: dict[str, Any]) -> dict[str, Any]:
    return {
        part: _finite_part(below) if isinstance(below, dict) else below
        for part, below in node.items()
        if isinstance(below, dict) or is_finite(below)
    }
