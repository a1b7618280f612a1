"""The panel of failures: a row per failure, and the details of the chosen one."""

from __future__ import annotations

import json

import pytest

from dflow.insights.explore.failures import read_failures
from dflow.insights.explore.failures_panel import FailuresPanel
from dflow.insights.explore.page import ExplorePage
from tests.insights.explore.flows import HOSTILE


@pytest.fixture
def page(data):
    return ExplorePage(data)


def test_failures_are_shown_by_kind_with_their_tracebacks(page):
    panel = page.failures
    assert len(panel._source.data["file"]) == 4
    assert panel.kind.options[1] == ("timeout", "timeout (2)")
    panel._source.selected.indices = [0]
    assert panel.traceback.text == f"Traceback: {HOSTILE}"
    assert panel.detail.text == f"{HOSTILE}.step\nunreadable: {HOSTILE}"
    panel.kind.value = "timeout"
    assert panel._source.data["file"] == ["b.step", "c.step"]
    assert panel.traceback.text == ""


def test_a_failures_row_begins_with_its_cause_and_its_detail_says_all(tmp_path):
    message = "/data/deep/folder/a.step: the file is empty\nits size is 0"
    entry = {"file": "../../folder/a.step", "kind": "unreadable", "message": message, "task": "encode",
             "traceback": "", "advice": "check that it is complete"}  # fmt: skip
    (tmp_path / "error_summary.json").write_text(json.dumps([entry]))
    panel = FailuresPanel(read_failures(tmp_path / "error_summary.json"))
    assert panel._source.data["message"] == ["the file is empty"]
    panel._source.selected.indices = [0]
    assert panel.detail.text == f"../../folder/a.step\nunreadable: {message}\nwhat to do: check that it is complete"
    panel.kind.value = "unreadable"
    assert panel.detail.text == ""
