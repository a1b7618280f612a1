"""Events of a run's progress, for the tests of what becomes of them."""

from __future__ import annotations

from typing import Any

from dflow.monitor import events
from dflow.monitor.counters import FlowCounters

IDLE: events.TaskState = {
    "task": "encode",
    "unit": "files",
    "total": 100,
    "succeeded": 0,
    "skipped": 0,
    "failed": 0,
    "reused": 0,
    "bytes": 0,
    "seconds": 0.0,
    "finished": False,
}


def made(task: str = "encode", *, run: str = "r", failures: dict[str, int] | None = None, **state: Any) -> events.Event:
    return events.progress_made(run, [{**IDLE, "task": task, **state}], failures)  # type: ignore[typeddict-item]


def counted(*given: tuple[float, events.Event]) -> FlowCounters:
    counters = FlowCounters()
    for now, event in given:
        counters.apply(event, now)
    return counters
