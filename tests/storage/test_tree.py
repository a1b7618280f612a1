"""The tree of metadata: merging, refusals that change nothing, and its form in a file."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dflow.errors import BadKeyError, DamagedStoreError, KeyNotFoundError, NonFiniteError
from dflow.storage.tree import MetadataTree
from dflow.storage.zarrzip import StoredArray

NAMES = st.text("ab.%/ü ", min_size=1, max_size=4).filter(lambda name: "/" not in name)
LEAVES = st.text(max_size=3) | st.floats() | st.integers(-9, 9) | st.none() | st.lists(st.floats(), max_size=3)
TREES = st.dictionaries(NAMES, st.recursive(LEAVES, lambda t: st.dictionaries(NAMES, t), max_leaves=4), max_size=3)


@settings(max_examples=60)
@given(TREES)
def test_a_tree_is_its_packed_form_unpacked(content: dict[str, Any]) -> None:
    tree = MetadataTree()
    for key, value in content.items():
        tree.put(key, value)
    finite, arrays = tree.pack()
    json.dumps(finite, allow_nan=False)
    assert all(key.startswith("metadata/") and ".." not in key.split("/") for key in arrays)
    again = MetadataTree.unpack(finite, arrays, path="file")
    assert json.dumps(again.to_dict(), sort_keys=True) == json.dumps(tree.to_dict(), sort_keys=True)


def test_dictionaries_merge_and_values_are_replaced() -> None:
    tree = MetadataTree()
    tree.put("a", {"b": 1, "c": {"d": 2}})
    tree.put("a/c/e", 3)
    tree.put("a", {"b": 4})
    assert tree.to_dict() == {"a": {"b": 4, "c": {"d": 2, "e": 3}}}
    tree.get("a/c")["d"] = 9
    assert tree.get("a/c/d") == 2


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("a", 1, "metadata 'a' is a branch, not a value; use another key"),
        ("a/b", {"c": 1}, "metadata 'a/b' is a value, not a branch; use another key"),
        ("a/b/c", 1, "'a/b' is a value, not a branch; use another key"),
        ("a", {"n": 1, "b": {}}, "'a/b' is a value, not a branch"),
        ("a//b", 1, "'a//b' is no metadata key; use text such as 'material'"),
        (7, 1, "7 is no metadata key"),
    ],
)
def test_a_refused_value_changes_nothing(key: Any, value: Any, message: str) -> None:
    tree = MetadataTree({"a": {"b": 0}})
    with pytest.raises(BadKeyError, match=message):
        tree.put(key, value)
    assert tree.to_dict() == {"a": {"b": 0}}


@pytest.mark.parametrize(
    "value", [["a", math.nan], {"x": [math.inf, None]}, [[1.0], math.nan], [True, math.nan], [math.nan, 2**53 + 1]]
)
def test_non_finite_numbers_in_mixed_lists_are_refused(value: Any) -> None:
    with pytest.raises(NonFiniteError, match="mixed types; save numbers with save_data"):
        MetadataTree().put("m", value)


@pytest.mark.parametrize("key", ["b", "a/c", "a/b/c", "a/b/"])
def test_a_missing_key_is_an_error_that_lists_the_keys(key: str) -> None:
    with pytest.raises((KeyNotFoundError, BadKeyError)) as caught:
        MetadataTree({"a": {"b": 0}, "z": 1}).get(key)
    assert key.endswith("/") or f"no metadata {key!r}; the keys here are: a, z" in str(caught.value)


@pytest.mark.parametrize("path", [None, [], "a", [1], ["a"], ["a", "b"], ["t", "u", "v"]])
def test_a_packed_leaf_that_does_not_fit_is_damage(path: Any) -> None:
    arrays = {"metadata/x": StoredArray(np.array(math.nan), None, {"metadata_path": path})}
    with pytest.raises(DamagedStoreError, match=r"^file cannot be read: 'metadata/x' in the reserved group"):
        MetadataTree.unpack({"a": {"b": 1}, "t": {"u": 1}} if path != ["a"] else {"a": 1}, arrays, path="file")


def test_integers_beside_nan_come_back_as_equal_floats() -> None:
    tree = MetadataTree()
    tree.put("m", [math.inf, 3, 2**53])
    assert MetadataTree.unpack(*tree.pack(), path="").get("m") == [math.inf, 3, 2**53]


def test_long_names_are_hashed_and_still_unpacked() -> None:
    tree = MetadataTree()
    tree.put("ü" * 200, math.nan)
    tree.put("ü" * 201, math.inf)
    finite, arrays = tree.pack()
    assert len(arrays) == 2
    assert max(map(len, arrays)) < 256
    assert MetadataTree.unpack(finite, arrays, path="").get("ü" * 201) == math.inf
