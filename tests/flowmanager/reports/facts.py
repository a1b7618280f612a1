"""A run's outputs and facts for tests of what reports show of them."""

from __future__ import annotations

from typing import Any

from dflow.flowmanager.history.fingerprint import Fingerprint
from dflow.flowmanager.reports.flowoutput import Counts, FlowOutput, TaskOutcome
from dflow.flowmanager.reports.progress import ProgressEvent
from dflow.flowmanager.reports.runfacts import run_facts
from dflow.flowmanager.reports.timeline import Timeline
from dflow.records import BatchResult, ErrorRecord, ItemRecord

ERROR = ErrorRecord("timeout", "took <too> long\nmore", "encode", "a & b.step", 1, traceback="Trace")
"""A failure whose texts need escaping."""


def output_with_errors() -> FlowOutput:
    """A flow of four files, three of which failed alike."""
    failed = [ItemRecord(n, f"{n}", "failed", error=ERROR) for n in range(3)]
    records = (*failed, ItemRecord(3, "3", "succeeded"))
    task = TaskOutcome("encode", "transform", "EncodingTask", 1.5, records)
    return FlowOutput("f", {}, [task], 2.0, Counts(4, 1, 0, 3, 0, 1), {"file_count": 1})


def facts_with(name: str, *, n_items: int = 300) -> dict[str, Any]:
    """A run in which every name that a user or a file gives is `name`."""
    error = ErrorRecord("exception", name, name, name, 1)
    records = [ItemRecord(n, f"{name}{n}", "succeeded", seconds=0.004 * n, cpu_seconds=0.001) for n in range(n_items)]
    records[1] = ItemRecord(1, name, "failed", error=error, seconds=99.0)
    timeline = Timeline()
    timeline(ProgressEvent(name, name, "started", n_items))
    timeline(ProgressEvent(name, name, "finished", n_items, succeeded=n_items))
    timeline.note([BatchResult(name, 0, tuple(records), name, 7, seconds=0.01)])
    task = TaskOutcome(name, "transform", name, 12.5, tuple(records), n_nodes=4)
    return run_facts(
        name,
        [task],
        Counts(n_items, n_items - 1, 0, 1, 0, n_items - 1),
        status="failed",
        error=name,
        seconds=12.5,
        configuration={"ml_task": name, "tasks": [name]},
        cluster={"scheduler": name, "workers": {name: {"host": name, "threads": 1, "memory_limit": None}}},
        fingerprint=Fingerprint("abc", {}, (name,)),
        timeline=timeline,
    )
