"""The inputs of the last run, as a later run finds them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dflow.flowmanager.run.inputs import INPUTS_NAME, remember_inputs, remembered_inputs
from dflow.storage.paths import FlowPaths


@pytest.fixture
def paths(tmp_path: Path) -> FlowPaths:
    found = FlowPaths.of(tmp_path, "parts")
    found.state.mkdir(parents=True)
    return found


def test_paths_come_back_absolute_and_other_values_as_they_are(paths: FlowPaths) -> None:
    remember_inputs(paths, {"sources": ["./cad", "s3://bucket/a", 3], "limit": {"faces": 7}})
    expected = {"sources": [os.path.abspath("cad"), "s3://bucket/a", 3], "limit": {"faces": 7}}
    assert remembered_inputs(paths) == expected


def test_inputs_that_json_cannot_hold_remove_those_of_the_run_before(paths: FlowPaths) -> None:
    remember_inputs(paths, {"sources": [1]})
    remember_inputs(paths, {"sources": [{1, 2}]})
    assert remembered_inputs(paths) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"])
def test_a_damaged_file_is_as_good_as_none(paths: FlowPaths, content: bytes) -> None:
    assert remembered_inputs(paths) is None
    (paths.state / INPUTS_NAME).write_bytes(content)
    assert remembered_inputs(paths) is None
