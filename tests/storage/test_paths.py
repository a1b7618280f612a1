"""What items are called: a file by its way from the flow's folder, whatever the two look like."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dflow.storage.paths import Below, item_identity, read_regular, resolve_identity, source_path

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


@pytest.fixture
def place(tmp_path):
    """A flow's folder that a stranger packed, beside a file that is none of its business."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key.txt").write_text("secret")
    (tmp_path / "disk" / "cache").mkdir(parents=True)
    (tmp_path / "disk" / "cache" / "a.png").write_text("a")
    root = tmp_path / "flow"
    (root / "stream_cache" / "deep").mkdir(parents=True)
    (root / "stream_cache" / "a.png").write_text("a")
    return root


def test_names_below_a_folder_become_absolute_paths(place):
    below = Below(place)
    assert below.path("stream_cache/a.png") == str(place / "stream_cache" / "a.png")
    assert below.path(str(place / "stream_cache" / "a.png")) == str(place / "stream_cache" / "a.png")
    assert below.path("stream_cache/not_there.png") == str(place / "stream_cache" / "not_there.png")
    assert below.path("stream_cache/deep/../a.png") == str(place / "stream_cache" / "a.png")
    assert below.path("a.dataset") == str(place / "a.dataset")


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../secret/key.txt", "stream_cache/../../secret/key.txt", "..", "a\0.png", "../flow2/a.png"],
)
def test_names_that_lead_out_are_refused(place, name):
    (place.parent / "flow2").mkdir()  # its name begins like the folder's
    assert Below(place).path(name) is None


def test_links_inside_are_followed_before_they_are_trusted(place):
    (place / "stream_cache" / "file.png").symlink_to(place.parent / "secret" / "key.txt")
    (place / "stream_cache" / "folder").symlink_to(place.parent / "secret")
    (place / "stream_cache" / "chain.png").symlink_to("folder/key.txt")
    (place / "stream_cache" / "circle").symlink_to("circle")
    (place / "stream_cache" / "good.png").symlink_to("a.png")
    below = Below(place)
    for name in ("file.png", "folder/key.txt", "chain.png", "folder"):
        assert below.path(f"stream_cache/{name}") is None
        assert below.path(f"stream_cache/{name}") is None  # and again, from what is remembered
    assert below.path("stream_cache/good.png") is not None
    assert below.path("stream_cache/circle") in (None, str(place / "stream_cache" / "circle"))
    assert sorted(below.links_out()) == [f"stream_cache/{n}" for n in ("chain.png", "file.png", "folder")]


def test_the_folders_own_entries_may_be_links(place):
    (place / "previews").symlink_to(place.parent / "disk" / "cache")
    (place / "t.infoset").symlink_to(place.parent / "disk" / "cache" / "a.png")
    (place.parent / "disk" / "cache" / "out.png").symlink_to(place.parent / "secret" / "key.txt")
    for below in (Below(place), Below(place, top_links=False)):
        is_allowed = below.path("previews/a.png") is not None
        assert is_allowed == (below.path("t.infoset") is not None)
        assert below.path("previews/../../secret/key.txt") is None
        assert below.path("previews/out.png") is None
        if is_allowed:
            assert below.path("previews") == str(place / "previews")
    assert Below(place).path("previews/a.png") is not None
    assert Below(place, top_links=False).path("previews/a.png") is None


def test_a_folder_behind_a_link_knows_its_names_by_both_ways(place):
    way = place.parent / "way"
    way.symlink_to(place)
    assert Below(way).path("stream_cache/a.png") == str(way / "stream_cache" / "a.png")
    assert Below(way).path(str(place / "stream_cache" / "a.png")) == str(way / "stream_cache" / "a.png")


def test_only_regular_files_are_read(place):
    assert read_regular(place / "stream_cache" / "a.png") == b"a"
    os.mkfifo(place / "pipe")
    for path, error in (
        (place / "pipe", OSError),
        ("/dev/zero", OSError),
        (place, IsADirectoryError),
        (place / "no", FileNotFoundError),
    ):
        with pytest.raises(error):
            read_regular(path)
