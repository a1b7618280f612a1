"""Count a flow's events: events in, one snapshot out. Pure, bounded in memory; the caller passes the time."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

RATE_WINDOW_SECONDS = 30.0
"""The period over which files per second are counted."""

KEPT_RUNS = 20
"""The number of finished runs that are kept."""

SLOWEST_SHOWN = 10


@dataclass(slots=True)
class TaskCounts:
    """One task's items in one run; `started` is the time of its first event, by the scheduler's clock.

    `recent` holds the times of the latest events and the number of items that each added, `n_recent` their sum.
    """

    started: float
    unit: str = "files"
    total: int = 0
    succeeded: int = 0
    skipped: int = 0
    failed: int = 0
    reused: int = 0
    bytes: int = 0
    seconds: float = 0.0
    finished: bool = False
    recent: deque[tuple[float, int]] = field(default_factory=deque)
    n_recent: int = 0

    @property
    def done(self) -> int:
        return self.succeeded + self.skipped + self.failed

    @property
    def waiting(self) -> int:
        """Items still to come; 0 after the end, when files that an earlier task failed or skipped never came."""
        return 0 if self.finished else max(self.total - self.done, 0)

    def update(self, state: Mapping[str, Any], now: float) -> None:
        """Apply a `TaskState`; a task that was started again counts from 0."""
        if int(state["succeeded"]) + int(state["skipped"]) + int(state["failed"]) < self.done:
            self.started, self.succeeded, self.skipped, self.failed, self.reused = now, 0, 0, 0, 0
            self.recent.clear()
            self.n_recent = 0
        worked = self.done - self.reused
        self.unit, self.finished = str(state["unit"]), bool(state["finished"])
        self.succeeded, self.skipped, self.failed = int(state["succeeded"]), int(state["skipped"]), int(state["failed"])
        self.reused, self.bytes, self.seconds = int(state["reused"]), int(state["bytes"]), float(state["seconds"])
        self.total = self.done if self.finished else max(int(state["total"] or 0), self.done)
        self.recent.append((now, self.done - self.reused - worked))
        self.n_recent += self.recent[-1][1]

    def rate(self, now: float) -> float:
        """Return the items per second that ended in the last `RATE_WINDOW_SECONDS`, without reused ones."""
        horizon = now - RATE_WINDOW_SECONDS
        while self.recent and self.recent[0][0] < horizon:
            self.n_recent -= self.recent.popleft()[1]
        return self.n_recent / max(now - max(self.started, horizon), 1e-3)


@dataclass(slots=True)
class RunCounts:
    """One run of one flow."""

    run: str
    flow: str
    started: float
    status: str = "running"
    ended: float | None = None
    tasks: dict[str, TaskCounts] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)

    @property
    def file_tasks(self) -> list[TaskCounts]:
        return [task for task in self.tasks.values() if task.unit == "files"]

    def bytes_of(self, unit: str) -> int:
        """Return the bytes written by the tasks that count `unit`."""
        return sum(task.bytes for task in self.tasks.values() if task.unit == unit)

    @property
    def files(self) -> tuple[int, int]:
        """Finished files, and all files: a file of a chain is finished when its last task is."""
        tasks = self.file_tasks
        if not tasks:
            return 0, 0
        total = max(max(task.total, task.done) for task in tasks)
        finished = tasks[-1].succeeded + sum(task.skipped + task.failed for task in tasks)
        return min(finished, total), total

    def files_per_second(self, now: float) -> float:
        """Return the highest rate of the unfinished tasks; 0 without one."""
        return max((task.rate(now) for task in self.file_tasks if not task.finished), default=0.0)

    def seconds_left(self, now: float) -> float | None:
        """Return the waiting files divided by the present rate; None while that is 0."""
        rate = self.files_per_second(now)
        left = max((task.waiting for task in self.file_tasks), default=0)
        return left / rate if rate > 0 and self.status == "running" else None


class FlowCounters:
    """The counts of the latest runs. Not thread-safe: one event loop writes and reads them."""

    def __init__(self) -> None:
        self.runs: OrderedDict[str, RunCounts] = OrderedDict()

    def apply(self, event: Mapping[str, Any], now: float) -> None:
        """Count one event at time `now` (seconds, monotonic); ignore unknown events."""
        run_id, kind = event.get("run"), event.get("event")
        handler = _HANDLERS.get(kind) if isinstance(kind, str) else None
        if not isinstance(run_id, str) or handler is None:
            return
        run = self.runs.get(run_id)
        if run is None:
            run = self.runs[run_id] = RunCounts(run_id, "", now)
            self._drop_old_runs()
        handler(run, event, now)

    def _drop_old_runs(self) -> None:
        over = [r for r in self.runs.values() if r.status != "running"][: max(len(self.runs) - KEPT_RUNS, 0)]
        for run in over:
            del self.runs[run.run]

    @property
    def latest(self) -> RunCounts | None:
        """The running run that started last; without one, the run that started last."""
        runs = list(self.runs.values())
        return next((run for run in reversed(runs) if run.status == "running"), runs[-1] if runs else None)

    def snapshot(self, now: float, in_flight: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """Return all runs as JSON-ready values: ``{"runs": [...]}``, the latest run last.

        `in_flight` are the workers' files: keys of `dflow.monitor.events.InFlight`, and ``host`` and ``worker``.
        """
        by_run: dict[str, list[Mapping[str, Any]]] = {}
        for file in in_flight:
            by_run.setdefault(str(file["run"]), []).append(file)
        return {"runs": [run_snapshot(run, now, by_run.get(run.run, ())) for run in self.runs.values()]}


def run_snapshot(run: RunCounts, now: float, in_flight: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return one run as JSON-ready values."""
    left = run.seconds_left(now)
    files = sorted(in_flight, key=lambda f: -f["seconds"]) if run.status == "running" else []
    done, total = run.files
    return {
        "run": run.run,
        "flow": run.flow,
        "status": run.status,
        "seconds": round((run.ended or now) - run.started, 3),
        "files": total,
        "files_done": done,
        "tasks": {name: _task_snapshot(counts) for name, counts in run.tasks.items()},
        "failures": dict(sorted(run.failures.items(), key=lambda failure: -failure[1])),
        "files_per_second": round(run.files_per_second(now), 3),
        "seconds_left": None if left is None else round(left, 1),
        "shards_written": sum(task.succeeded for task in run.tasks.values() if task.unit == "shards"),
        "bytes_encoded": run.bytes_of("files"),
        "bytes_merged": run.bytes_of("shards"),
        "n_in_flight": len(files),
        "in_flight": [
            {key: file[key] for key in ("task", "file", "host", "worker", "seconds")} for file in files[:SLOWEST_SHOWN]
        ],
    }


def _task_snapshot(counts: TaskCounts) -> dict[str, Any]:
    names = (
        "unit",
        "total",
        "succeeded",
        "skipped",
        "failed",
        "reused",
        "bytes",
        "seconds",
        "finished",
        "done",
        "waiting",
    )
    return {name: getattr(counts, name) for name in names}


def _on_run(run: RunCounts, event: Mapping[str, Any], now: float) -> None:
    run.flow, run.started, run.status = str(event["flow"]), now, "running"


def _on_progress(run: RunCounts, event: Mapping[str, Any], now: float) -> None:
    for state in event["tasks"]:
        name = str(state["task"])
        run.tasks.setdefault(name, TaskCounts(now)).update(state, now)
    run.failures = {str(kind): int(n) for kind, n in event["failures"].items()}


def _on_end(run: RunCounts, event: Mapping[str, Any], now: float) -> None:
    if "tasks" in event:
        _on_progress(run, event, now)
    run.status, run.ended = str(event["status"]), now


_HANDLERS = {"run": _on_run, "progress": _on_progress, "end": _on_end}
