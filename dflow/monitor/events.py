"""What a running flow says about itself: small dictionaries on Dask's event topic ``dflow``.

Workers say what became of a batch and which file they are at; the client says what there is to do. The scheduler plugin
counts them. Dask adds a key ``worker`` to what a worker sends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

TOPIC = "dflow"
"""The event topic; `client.get_events(TOPIC)` shows the latest thousand."""

EventKind = Literal["run", "total", "batch", "at", "shard", "end"]
Event = dict[str, Any]


def run_started(run: str, flow: str) -> Event:
    """A run began; `run` is its id, unique on the scheduler."""
    return {"event": "run", "run": run, "flow": flow}


def task_total(run: str, task: str, n_items: int) -> Event:
    """Task `task` has `n_items` to do in this run (files, or shards for the merge)."""
    return {"event": "total", "run": run, "task": task, "n_items": n_items}


def batch_finished(
    run: str,
    task: str,
    *,
    n_succeeded: int,
    n_skipped: int = 0,
    failures: Mapping[str, int] | None = None,
    n_reused: int = 0,
    n_bytes: int = 0,
    seconds: float = 0.0,
) -> Event:
    """A batch is done: counts of its items, failures by kind, bytes written and wall seconds."""
    return {
        "event": "batch",
        "run": run,
        "task": task,
        "succeeded": n_succeeded,
        "skipped": n_skipped,
        "failures": dict(failures or {}),
        "reused": n_reused,
        "bytes": n_bytes,
        "seconds": seconds,
    }


def file_in_flight(run: str, task: str, file: str, *, seconds: float, host: str, child_bytes: int = 0) -> Event:
    """A worker has been at `file` for `seconds`; an empty `file` says that it is idle."""
    return {
        "event": "at",
        "run": run,
        "task": task,
        "file": file,
        "seconds": seconds,
        "host": host,
        "child_bytes": child_bytes,
    }


def shard_written(run: str, group: str, n_bytes: int) -> Event:
    """The merge wrote a shard of `group`."""
    return {"event": "shard", "run": run, "group": group, "bytes": n_bytes}


def run_ended(run: str, status: str) -> Event:
    """The run is over: "finished", "failed" or "cancelled"."""
    return {"event": "end", "run": run, "status": status}
