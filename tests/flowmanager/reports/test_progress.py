"""Events and what shows them: bars in a terminal, a table in a notebook, the log, the final report."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ET

import pytest
from rich.console import Console

import dflow
from dflow.flowmanager import flowtask
from dflow.flowmanager.plan.tasks import listed
from dflow.flowmanager.plan.wiring import plan
from dflow.flowmanager.reports import console
from dflow.flowmanager.reports.console import print_report
from dflow.flowmanager.reports.flowfiles import error_entries
from dflow.flowmanager.reports.flowlog import FlowLog
from dflow.flowmanager.reports.flowoutput import Counts, FlowOutput, TaskOutcome, frequent_errors
from dflow.flowmanager.reports.progress import Progress, ProgressEvent
from dflow.records import ErrorRecord, ItemRecord
from tests.clock import Clock
from tests.flowmanager.flowparts import encode, gather, label, write_sources

ERROR = ErrorRecord("timeout", "took <too> long\nmore", "encode", "a & b.step", 1, traceback="Trace")


def test_events_add_up_and_end_with_a_finished_one():
    events: list[ProgressEvent] = []
    progress = Progress("flow", [events.append])
    task = progress.start("encode", 10)
    for _ in range(9):
        task.advance(succeeded=1)
    task.advance(failed=1, errors=[ERROR])
    task.finish()
    assert [events[0].phase, events[-1].phase] == ["started", "finished"]
    assert (events[-1].done, events[-1].total, events[-1].failed) == (10, 10, 1)
    assert sum(len(event.errors) for event in events) == 1
    assert len(events) < 12


def test_what_ended_is_told_when_nothing_else_ends(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("dflow.flowmanager.reports.progress.time", clock)
    events: list[ProgressEvent] = []
    progress = Progress("flow", [events.append])
    task = progress.start("encode", 10)
    task.advance(succeeded=9, n_bytes=70)
    assert events[-1].done == 0  # a moment after the last event
    clock.now += 0.5
    progress.flush()
    assert (events[-1].done, events[-1].n_bytes) == (9, 70)
    progress.flush()
    assert len(events) == 2


def test_a_listener_that_comes_late_is_told_what_has_happened():
    progress = Progress("flow", [])
    gather = progress.start("gather", 1)
    gather.advance(succeeded=1)
    gather.finish()
    encode = progress.start("encode", 10)
    encode.advance(failed=1, errors=[ERROR])
    encode.advance(failed=1, errors=[ERROR])
    events: list[ProgressEvent] = []
    progress.add(events.append)
    assert [(event.task, event.phase) for event in events] == [("gather", "finished"), ("encode", "started")]
    encode.finish()
    assert sum(len(event.errors) for event in events) == 2


def test_a_callback_gets_the_events_of_every_task(tmp_path, engine_arguments):
    events: list[ProgressEvent] = []
    flow = dflow.create_flow("seen", [gather, encode, label], tmp_path, export_visualization=False, **engine_arguments)
    sources = write_sources(tmp_path / "in", {"a": "1", "b": "2", "c": "", "d": "x"})
    output, _, _ = flow.process(inputs={"sources": [str(sources)]}, progress=events.append)
    assert [error.message for error in output.errors] == ["could not convert string to float: 'x'"]
    last = {event.task: event for event in events}
    assert list(last) == ["gather", "encode", "label", "merge"]
    assert {event.phase for event in last.values()} == {"finished"}
    assert (last["encode"].succeeded, last["encode"].skipped, last["encode"].failed) == (2, 1, 1)
    assert last["label"].succeeded == output.counts.succeeded == 2
    assert bool(last["encode"].dashboard) == ("cluster" in engine_arguments)


def test_terminal_bars_show_counts():
    stream = io.StringIO()
    shown = console.TerminalBars(Console(file=stream, width=120))
    shown(ProgressEvent("f", "encode", "started", 4))
    shown(ProgressEvent("f", "encode", "finished", 4, succeeded=3, failed=1, seconds=2.0))
    shown.close()
    assert "4/4 files, 2.0/s, 1 failed" in stream.getvalue()


def test_one_event_is_one_line_in_the_log(tmp_path):
    log = FlowLog(tmp_path / "flow_log.log")
    log.write("two\nlines", "WARNING")
    log.items("encode", [ItemRecord(0, "odd\nname", "failed", error=ERROR), ItemRecord(1, "b", "skipped")])
    log.close()
    lines = (tmp_path / "flow_log.log").read_text().splitlines()
    assert len(lines) == 3
    assert "ERROR encode failed" in lines[1]
    assert "[timeout]" in lines[1]
    assert "encode skipped" in lines[2]


def output_with_errors() -> FlowOutput:
    failed = [ItemRecord(n, f"{n}", "failed", error=ERROR) for n in range(3)]
    records = (*failed, ItemRecord(3, "3", "succeeded"))
    task = TaskOutcome("encode", "transform", "EncodingTask", 1.5, records)
    return FlowOutput("f", {}, [task], 2.0, Counts(4, 1, 0, 3, 0, 1), {"file_count": 1})


def test_the_report_names_counts_frequent_errors_and_what_to_do(tmp_path):
    stream = io.StringIO()
    output = output_with_errors()
    print_report(output, Console(file=stream, width=160))
    text = stream.getvalue()
    assert "4 files: 1 succeeded, 0 skipped, 3 failed (75.00%)" in text
    assert "[timeout] took <too> long" in text
    assert "raise timeout_seconds" in text
    assert "3 x [timeout]" in output.summary()
    assert output.too_slow == ["a & b.step"] * 3
    assert output.too_big == []
    assert "&lt;too&gt;" in output._repr_html_()
    assert repr(output) == output.summary()  # not one record after another
    output.generate_flow_summary(tmp_path / "s.json")
    assert json.loads((tmp_path / "s.json").read_text()) == {"file_count": 1}


def test_reasons_are_grouped_by_kind_and_first_line():
    errors = [ERROR, ERROR, ErrorRecord("crash", "", "t", "f", 0)]
    errors.append(ErrorRecord("unreadable", "/in/a.step: the file is empty", "t", "../in/a.step", 0))
    errors.append(ErrorRecord("unreadable", "/in/b.step: the file is empty", "t", "../in/b.step", 1))
    assert frequent_errors(errors) == [
        ("[timeout] took <too> long", 2),
        ("[unreadable] the file is empty", 2),
        ("[crash] ", 1),
    ]


def test_error_entries_have_all_keys():
    (entry,) = error_entries([ERROR])
    assert entry["file"] == entry["item"] == "a & b.step"
    assert entry["logs"][0] == "Trace"
    assert "too slow" in entry["advice"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, []), ("ab", ["ab"]), ({"a": 1}, [{"a": 1}]), ((1, 2), [1, 2]), (iter([3]), [3]), (5, [5])],
)
def test_values_as_lists(value, expected):
    assert listed(value) == expected


def test_the_plan_is_drawn_without_graphviz_before_and_after_a_run(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")

    @flowtask.transform(inputs=["part"])
    def same(part):
        return part

    flow = dflow.create_flow("drawn", [same], tmp_path, debug=True, export_visualization=False)
    before = flow.visualize()
    assert [box.text for box in before.boxes] == ["part", "same\ntransform"]
    assert before.arrows == ((0, 1),)
    flow.process(inputs={"parts": [1, 2]}, progress=False)
    after = flow.visualize(tmp_path / "flow.svg")
    assert [box.text for box in after.boxes] == ["same-000000", "same-000001"]
    ET.parse(tmp_path / "flow.svg")
    flow.visualize(tmp_path / "flow.png")
    assert (tmp_path / "flow.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in flow._repr_svg_()
    assert plan([*flow.settings.tasks]).steps[0].task.name == "same"
