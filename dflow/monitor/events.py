"""The events of a running flow: small dictionaries on Dask's event topic ``dflow``.

The client sends at most one per second and run; the scheduler plugin counts them. The files that workers process come
with the workers' heartbeats (`InFlight`), without further messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

TOPIC = "dflow"
"""The event topic; `client.get_events(TOPIC)` returns the latest thousand."""

METRIC = "dflow"
"""The key under which a worker's heartbeat carries a `WorkerMetric`."""

Event = dict[str, Any]


class TaskState(TypedDict):
    """A task's counts so far in a run: absolute numbers, so that a lost message has no effect.

    `unit` is what is counted ("files", "shards", "sources", "calls"); `total` is None while unknown; `bytes` are
    those written (samples, or shards); `seconds` is the task's wall time; `finished` means that no more items come.
    """

    task: str
    unit: str
    total: int | None
    succeeded: int
    skipped: int
    failed: int
    reused: int
    bytes: int
    seconds: float
    finished: bool


class InFlight(TypedDict):
    """A file that a worker has processed for `seconds` so far."""

    run: str
    task: str
    file: str
    seconds: float


class WorkerMetric(TypedDict):
    """What a worker adds to its heartbeat: host name, resident bytes of its children, files in flight."""

    host: str
    child_bytes: int
    in_flight: list[InFlight]


def run_started(run: str, flow: str) -> Event:
    """Return the event of a run's start; `run` is its id, unique on the scheduler."""
    return {"event": "run", "run": run, "flow": flow}


def progress_made(run: str, tasks: Sequence[TaskState], failures: Mapping[str, int] | None = None) -> Event:
    """Return the event of progress: the tasks whose counts changed, and all failures of the run so far by kind."""
    return {"event": "progress", "run": run, "tasks": list(tasks), "failures": dict(failures or {})}


def run_ended(
    run: str, status: str, tasks: Sequence[TaskState] = (), failures: Mapping[str, int] | None = None
) -> Event:
    """Return the event of a run's end, "finished", "failed" or "cancelled", with the last progress of its tasks."""
    ended: Event = {"event": "end", "run": run, "status": status}
    return {**progress_made(run, tasks, failures), **ended} if tasks else ended
