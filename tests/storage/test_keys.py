"""Keys: what a short or deep key means, and which are refused."""

from __future__ import annotations

from typing import Any

import pytest

from dflow.errors import BadKeyError
from dflow.schema import Schema, SchemaBuilder
from dflow.storage.keys import group_of_name, locate, split_key


def _schema(*groups: str) -> Schema:
    builder = SchemaBuilder("test")
    for group in groups:
        builder.create_group(group, "row").create_array("x")
    return builder.schema()


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("faces/x", ("faces", "x")),
        ("graph/edges/source", ("graph", "edges_source")),
        ("a/b/c/d", ("a", "b_c_d")),
        ("x", ("file", "x")),
        ("face_areas", ("faces", "face_areas")),
    ],
)
def test_a_key_means_a_group_and_an_array(key: str, place: tuple[str, str]) -> None:
    assert locate(key, Schema()) == place


def test_a_bare_name_is_the_declared_array() -> None:
    assert locate("x", _schema("marks")) == ("marks", "x")
    with pytest.raises(BadKeyError, match=r"key 'x' is in a and b; use the whole key: 'a/x'"):
        locate("x", _schema("a", "b"))


def test_the_group_of_metadata_is_reserved() -> None:
    with pytest.raises(BadKeyError, match="'metadata' is reserved; use save_metadata"):
        locate("metadata/x", Schema())


@pytest.mark.parametrize("key", ["", "a/", "a//b", "..", "a/../b", "a\\b", "a:b", "zarr.json"])
def test_a_key_with_a_part_that_is_no_name_is_refused(key: str) -> None:
    with pytest.raises(BadKeyError, match=r"is no name: .*; use a key such as"):
        split_key(key)


@pytest.mark.parametrize("key", [None, 5, ("faces", "x"), b"faces/x"])
def test_a_key_that_is_no_text_is_refused(key: Any) -> None:
    with pytest.raises(BadKeyError, match=f"a key is {type(key).__name__}, not text"):
        split_key(key)


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("face_areas", "faces"),
        ("edge_lengths", "edges"),
        ("edges_source", "graph"),
        ("num_nodes", "graph"),
        ("nFaces", "faces"),
        ("my_edge", "edges"),
        ("surface_finish", "file"),
        ("wedge", "file"),
        ("next", "file"),  # a standard array of coedges
        ("scores", "file"),
    ],
)
def test_a_name_means_the_group_of_its_standard_array_or_of_its_words(name: str, group: str) -> None:
    assert group_of_name(name) == group
