"""What items are called: a file by its way from the flow's folder, whatever the two look like."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dflow.storage.paths import item_identity, resolve_identity, source_path

PARTS = st.lists(st.sampled_from(["a", "b", "..", ".", "a b", "ä", ""]), max_size=6)


@given(PARTS, PARTS, st.booleans())
def test_a_path_is_its_way_from_the_flows_folder(item, root, is_absolute):
    path, folder = "/".join(item).lstrip("/"), "/" + "/".join(root).lstrip("/")
    path = f"/{path}" if is_absolute else path or "."
    identity = item_identity(path, folder)
    assert identity == os.path.relpath(os.path.abspath(path), os.path.abspath(folder))
    assert str(resolve_identity(identity, folder)) == os.path.abspath(path)


@pytest.mark.parametrize(
    ("path", "identity"),
    [
        ("/x", "."),
        ("/", ".."),
        ("/x/part", "part"),
        ("/xy", "../xy"),
        ("/x/y/part", "y/part"),
        ("/x/", "."),
        ("//x/part", "part"),
        ("/x/x", "x"),
    ],
)
def test_ways_from_and_to_the_flows_own_folder(path, identity):
    assert item_identity(path, "/x") == identity


def test_relative_paths_follow_the_working_folder(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert item_identity("part.step", tmp_path) == f"{name}/part.step"


@given(st.lists(st.sampled_from(["..", ".", "", "a", "b c", "x.step", '{"k": 1', "ü"]), min_size=1, max_size=6))
def test_the_path_behind_an_identity_is_the_joined_one_without_dots(parts):
    for root in ("/x/flows/parts", "/", "/x"):
        for identity in ("/".join(parts), "/" + "/".join(parts)):
            assert source_path(identity, root) == os.path.normpath(os.path.join(root, identity))
