"""Items: their names, their repetitions, and sources that are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from dflow.errors import SourceNotFoundError, WiringError
from dflow.flowmanager.plan.items import check_sources, flow_items, looks_like_a_path


def test_the_same_file_by_two_names_is_one_item(tmp_path):
    items, repeated = flow_items([f"{tmp_path}/a.step", Path(tmp_path) / "x" / ".." / "a.step"], tmp_path, "encode")
    assert [item.identity for item in items] == ["a.step"]
    assert repeated == ["a.step"]


def test_items_that_are_no_paths_are_their_canonical_json():
    items, repeated = flow_items([{"b": 1, "a": 2}, {"a": 2, "b": 1}, 3], "/", "encode")
    assert [item.identity for item in items] == ['{"a":2,"b":1}', "3"]
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
