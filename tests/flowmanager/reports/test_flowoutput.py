"""The output of a flow: values in item order, and errors grouped by reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dflow.flowmanager.cluster.deaths import WorkerDeath
from dflow.flowmanager.plan.batch import BodyValues, pack_value
from dflow.flowmanager.reports.flowoutput import (
    Counts,
    FlowOutput,
    NearLimit,
    TaskOutcome,
    frequent_errors,
    near_limit_line,
    record_values,
)
from dflow.records import ErrorRecord, ItemRecord
from tests.flowmanager.reports.facts import ERROR, output_with_errors


def test_reasons_are_grouped_by_kind_and_first_line():
    errors = [ERROR, ERROR, ErrorRecord("crash", "", "t", "f", 0)]
    errors.append(ErrorRecord("unreadable", "/in/a.step: the file is empty", "t", "../in/a.step", 0))
    errors.append(ErrorRecord("unreadable", "/in/b.step: the file is empty", "t", "../in/b.step", 1))
    assert frequent_errors(errors) == [
        ("[timeout] took <too> long", 2),
        ("[unreadable] the file is empty", 2),
        ("[crash] ", 1),
    ]


def test_an_exception_of_the_task_is_named_by_its_type() -> None:
    error = ErrorRecord("exception", "'a.step'", "encode", "../a.step", 0, "KeyError")
    assert frequent_errors([error]) == [("[exception] KeyError: 'a.step'", 1)]


def test_the_summary_has_counts_tasks_and_reasons(tmp_path: Path) -> None:
    output = output_with_errors()
    first, *rest = output.summary().splitlines()
    assert first == "Flow 'f': 4 files in 2.0 s: 1 succeeded (0 reused), 0 skipped, 3 failed; 1 samples."
    assert rest == ["  encode                   1.50 s  3 errors", "  3 x [timeout] took <too> long"]
    assert repr(output) == output.summary()  # not one record after another
    assert "&lt;too&gt;" in output._repr_html_()
    output.generate_flow_summary(tmp_path / "s.json")
    assert json.loads((tmp_path / "s.json").read_text()) == {"file_count": 1}


def test_files_that_exceeded_a_limit_are_listed_apart() -> None:
    kinds = ["timeout", "out_of_memory", "too_big", "crash"]
    errors = [ErrorRecord(kind, "m", "encode", f"{kind}.step", n) for n, kind in enumerate(kinds)]
    records = tuple(ItemRecord(e.item_index, e.file, "failed", error=e) for e in errors)
    output = FlowOutput("f", {}, [TaskOutcome("encode", "transform", "", 1.0, records)], 1.0, Counts())
    assert output.too_slow == ["timeout.step"]
    assert output.too_big == ["out_of_memory.step", "too_big.step"]
    assert output.errors == errors


def record(index: int, value: Any, status: Any = "succeeded") -> ItemRecord:
    return ItemRecord(index, str(index), status, value=value)


@pytest.mark.parametrize(
    ("value", "flatten", "expected"),
    [
        (None, False, []),
        ("a", False, ["a"]),
        (pack_value([1, None, 2]), False, [[1, None, 2]]),
        (pack_value([1, None, 2]), True, [1, 2]),
        (BodyValues(((0, pack_value([1])), (1, None), (3, 5))), False, [[1], 5]),
    ],
)
def test_values_of_a_record(value: Any, flatten: bool, expected: list[Any]) -> None:
    assert record_values(record(0, value), flatten=flatten) == expected


def test_results_leave_out_failed_and_skipped_items() -> None:
    records = (record(0, "a"), record(1, "lost", "skipped"), record(2, "c"))
    assert TaskOutcome("encode", "transform", "", 1.0, records).results == ["a", "c"]


def test_without_records_the_results_are_the_value_as_a_list() -> None:
    assert TaskOutcome("sum", "custom", "", 1.0, value={"n": 1}).results == [{"n": 1}]
    assert TaskOutcome("sum", "custom", "", 1.0).results == []


def test_only_the_most_frequent_reasons_are_kept_ties_by_name() -> None:
    errors = [ErrorRecord(kind, "m", "t", "f", 0) for kind in "bcaab"]
    assert frequent_errors(errors, most=2) == [("[a] m", 2), ("[b] m", 2)]


def test_lost_workers_are_part_of_the_summary() -> None:
    output = FlowOutput("f", {}, [], 1.0, Counts(), worker_deaths=(WorkerDeath("tcp://a", "node7", "killed"),))
    assert "1 workers on node7 were lost: killed (1x)" in output.summary()


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        (Counts(3, 0, 1, 2), "No file succeeded: 2 failed and 1 were skipped, so there is no new dataset."),
        (Counts(3, 1, 0, 2), ""),
        (Counts(), ""),
    ],
)
def test_a_run_in_which_nothing_succeeded_says_so_last(counts: Counts, verdict: str) -> None:
    output = FlowOutput("f", {}, [], 1.0, counts)
    assert counts.verdict == verdict
    assert output.summary().endswith(verdict)


def test_what_came_near_its_time_limit_is_said_with_the_worst():
    near = [NearLimit("encode", "a.step", 40.0, 60.0), NearLimit("encode", "b.step", 110.0, 120.0)]
    assert near_limit_line([]) == ""
    line = near_limit_line(near)
    assert line.startswith("2 files took more than 50% of the time limit, most of all b.step: 110.0 of 120 s in encode")
