"""Failures read from a flow's error summary, complete, missing or damaged."""

from __future__ import annotations

import json

import pytest

from dflow.insights.explore.failures import read_failures


@pytest.mark.parametrize(
    ("content", "note"),
    [(None, "no error summary"), ("[]", "Nothing failed"), ("{", "cannot be read"), ("{}", "not a list")],
)
def test_a_missing_or_damaged_summary_is_said(tmp_path, content, note):
    if content is not None:
        (tmp_path / "error_summary.json").write_text(content)
    assert note in read_failures(tmp_path / "error_summary.json").note


def test_entries_of_earlier_versions_and_of_other_shapes_are_read(tmp_path):
    entries = [{"item": "a.step", "error": "bad", "seconds": "long"}, {}, "text", {"file": "b", "kind": "crash"}]
    (tmp_path / "error_summary.json").write_text(json.dumps(entries))
    found = read_failures(tmp_path / "error_summary.json")
    assert [(f.file, f.kind, f.message, f.seconds) for f in found.items] == [
        ("a.step", "error", "bad", 0.0),
        ("", "error", "", 0.0),
        ("b", "crash", "", 0.0),
    ]
    assert found.note == ""


def test_kinds_are_counted_the_most_frequent_first(data):
    assert data.failures.by_kind()[0] == ("timeout", 2)
    assert [failure.message for failure in data.failures.of("b.step")] == ["too late"]
    assert data.failures.of("none.step") == []


def test_an_exception_of_the_task_is_named_by_its_type(tmp_path):
    entries = [
        {"file": "../a.step", "kind": "exception", "exception": "KeyError", "message": "'a.step'"},
        {"file": "../b.step", "kind": "unreadable", "exception": "UnreadableFileError", "message": "/b.step: odd"},
        {"file": "../c.step", "kind": "exception", "message": "of an earlier version"},
    ]
    (tmp_path / "error_summary.json").write_text(json.dumps(entries))
    found = read_failures(tmp_path / "error_summary.json")
    assert [f.reason for f in found.items] == ["KeyError: 'a.step'", "odd", "of an earlier version"]
