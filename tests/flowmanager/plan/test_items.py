"""Items: their names, their repetitions, and sources that are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from dflow.errors import SourceNotFoundError, WiringError
from dflow.flowmanager.plan import items
from dflow.flowmanager.plan.items import check_sources, contents_of, flow_items, looks_like_a_path


def test_the_same_file_by_two_names_is_one_item(tmp_path):
    found, repeated = flow_items([f"{tmp_path}/a.step", Path(tmp_path) / "x" / ".." / "a.step"], tmp_path, "encode")
    assert [item.identity for item in found] == ["a.step"]
    assert repeated == ["a.step"]


def test_items_that_are_no_paths_are_their_canonical_json():
    found, repeated = flow_items([{"b": 1, "a": 2}, {"a": 2, "b": 1}, 3], "/", "encode")
    assert [item.identity for item in found] == ['{"a":2,"b":1}', "3"]
    assert len(repeated) == 1


def test_an_item_that_is_neither_is_an_error_that_names_it():
    with pytest.raises(WiringError, match="Item 1 for task 'encode' is set"):
        flow_items([1, {2}], "/", "encode")


@pytest.mark.parametrize("source", ["/no/such/folder", "./no", "../no/such", "no/such/folder", Path("no")])
def test_missing_sources_are_found_before_the_start(source):
    with pytest.raises(SourceNotFoundError, match="no"):
        check_sources([source])


@pytest.mark.parametrize(
    "source", ["s3://bucket/key", "/data/*.step", "SELECT a / b FROM parts", "part-17", 3, {"a": 1}]
)
def test_what_may_be_something_else_is_left_to_the_task(source):
    assert not looks_like_a_path(source)
    check_sources([source])


def test_contents_of_sources_are_counted_by_suffix(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a.STEP", "b.step.gz", "sub/c.txt", "d"):
        (tmp_path / name).touch()
    text = contents_of([str(tmp_path)])
    assert text.startswith(f"In {tmp_path} lie 4 files (2 .step, 1 ")
    assert "2 of them are CAD files" in text
    assert contents_of(["SELECT 1 FROM {x}", "s3://bucket", 5, {"a": 1}]) == ""


def test_long_listings_are_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(items, "_MAX_LISTED", 3)
    for number in range(5):
        (tmp_path / f"{number}.txt").touch()
    assert "lie 3 or more files (3 .txt)" in contents_of([tmp_path])


@pytest.mark.parametrize("source", [r"C:\cad", "C:/cad", r"\\server\cad", r".\cad", r"..\cad"])
def test_windows_paths_are_paths(source):
    assert looks_like_a_path(source)
    with pytest.raises(SourceNotFoundError, match=r"a Windows path means nothing on this system|check the flow"):
        check_sources([source])
