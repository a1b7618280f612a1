"""Events and what shows them: bars in a terminal, a table in a notebook, the log, the final report."""

from __future__ import annotations

import dflow
from dflow.flowmanager.reports.progress import Progress, ProgressEvent
from tests.clock import Clock
from tests.flowmanager.flowparts import encode, gather, label, write_sources
from tests.flowmanager.reports.facts import ERROR


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
