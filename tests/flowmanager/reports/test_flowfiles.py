"""The files beside a dataset: complete or absent, with HOOPS AI's keys."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dflow.errors import OutputFolderError
from dflow.flowmanager.plan.tasks import EXPORT_CLASS
from dflow.flowmanager.reports.declarations import Declarations
from dflow.flowmanager.reports.flowfiles import durations, error_entries, flow_summary, write_json, write_text
from dflow.flowmanager.reports.flowoutput import Counts, TaskOutcome
from dflow.records import ErrorRecord, ItemRecord
from dflow.storage.paths import FlowPaths
from tests.flowmanager.reports.facts import ERROR


def test_error_entries_have_all_keys():
    (entry,) = error_entries([ERROR])
    assert entry["file"] == entry["item"] == "a & b.step"
    assert entry["logs"][0] == "Trace"
    assert "too slow" in entry["advice"]


def test_an_unknown_kind_has_no_advice_and_no_traceback_no_log() -> None:
    (entry,) = error_entries([ErrorRecord("odd", "m", "t", "f", 0, logs=("printed",))])
    assert entry["advice"] == ""
    assert entry["logs"] == ["printed"]


def test_a_file_is_replaced_completely_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    write_json(path, {"n": 1})

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputFolderError, match=r"Cannot write .*run\.json.*No space left"):
        write_json(path, {"n": 2})
    assert json.loads(path.read_text()) == {"n": 1}


def test_names_that_are_not_utf_8_are_escaped(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "n\u00fct\udcff")
    assert (tmp_path / "a").read_bytes() == b"n\xc3\xbct\\udcff"


def outcome(name: str, task_class: str, seconds: float, *errors: ErrorRecord) -> TaskOutcome:
    records = tuple(ItemRecord(n, "f", "failed", error=error) for n, error in enumerate(errors))
    return TaskOutcome(name, "transform", task_class, seconds, records)


def test_durations_are_by_total_class_and_task() -> None:
    tasks = [
        outcome("encode", "EncodingTask", 1.25),
        outcome("label", "EncodingTask", 0.5),
        outcome("merge", EXPORT_CLASS, 2.0),
    ]
    assert durations(tasks, 4.0004) == {
        "total": 4.0,
        "EncodingTask": 1.75,
        EXPORT_CLASS: 2.0,
        "encode": 1.25,
        "label": 0.5,
    }


def test_the_summary_names_only_files_that_exist(tmp_path: Path) -> None:
    paths = FlowPaths.of(tmp_path, "parts")
    paths.dataset.mkdir(parents=True)
    errors = [ErrorRecord("exception", "m", "encode", "f", 0, exception="ValueError"), ERROR, ERROR]
    summary = flow_summary(
        paths,
        [outcome("encode", "EncodingTask", 1.0, *errors)],
        Counts(5, 1, 1, 3, 0, 1),
        declarations=Declarations((("faces/kind", "faces/kinds"),)),
        specifications={"ml_task": ""},
        seconds=1.0,
    )
    assert (summary["flow_data"], summary["flow_info"], summary["flow_attributes"]) == ("parts.dataset", None, None)
    assert (summary["submitted"], summary["file_count"], summary["skipped"], summary["failed"]) == (5, 1, 1, 3)
    assert summary["error_distribution"] == {"ValueError": 1, "timeout": 2}
    assert summary["Flow Specifications"] == {"ml_task": ""}
    assert summary["declared_not_saved"] == [{"name": "faces/kind", "nearest": "faces/kinds"}]
    assert summary["saved_not_declared"] == []
