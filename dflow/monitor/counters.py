"""Counting a flow's events: events in, one snapshot out. Pure, bounded in memory, and without a clock of its own."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

RATE_WINDOW_SECONDS = 30.0
"""Files per second are counted over this long."""

KEPT_RUNS = 20
"""Finished runs that stay visible."""

SLOWEST_SHOWN = 10


@dataclass(slots=True)
class TaskCounts:
    """One task's items in one run."""

    total: int = 0
    succeeded: int = 0
    skipped: int = 0
    failed: int = 0
    reused: int = 0
    batches: int = 0
    seconds: float = 0.0

    @property
    def done(self) -> int:
        return self.succeeded + self.skipped + self.failed


@dataclass(frozen=True, slots=True)
class InFlight:
    """A file that a worker is at: `since` is when it began, by the counting side's clock."""

    task: str
    file: str
    host: str
    worker: str
    since: float
    child_bytes: int


@dataclass(slots=True)
class RunCounts:
    """One run of one flow."""

    run: str
    flow: str
    started: float
    status: str = "running"
    ended: float | None = None
    tasks: dict[str, TaskCounts] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    shards_written: int = 0
    bytes_encoded: int = 0
    bytes_merged: int = 0
    in_flight: dict[str, InFlight] = field(default_factory=dict)
    recent: deque[tuple[float, int]] = field(default_factory=deque)

    def task(self, name: str) -> TaskCounts:
        return self.tasks.setdefault(name, TaskCounts())

    def files_per_second(self, now: float) -> float:
        """Items finished in the last `RATE_WINDOW_SECONDS`, per second."""
        horizon = now - RATE_WINDOW_SECONDS
        while self.recent and self.recent[0][0] < horizon:
            self.recent.popleft()
        if not self.recent:
            return 0.0
        span = max(now - max(self.started, horizon), 1e-3)
        return sum(n for _, n in self.recent) / span

    def seconds_left(self, now: float) -> float | None:
        """Remaining items over the present rate, None while there is none."""
        rate = self.files_per_second(now)
        left = sum(max(t.total - t.done, 0) for t in self.tasks.values())
        return left / rate if rate > 0 and self.status == "running" else None


class FlowCounters:
    """Counts of the latest runs. Not thread-safe: one event loop feeds and reads it."""

    def __init__(self) -> None:
        self.runs: OrderedDict[str, RunCounts] = OrderedDict()

    def apply(self, event: Mapping[str, Any], now: float) -> None:
        """Count one event at time `now` (seconds, monotonic). Unknown and foreign events are left alone."""
        run_id, kind = event.get("run"), event.get("event")
        if not isinstance(run_id, str) or not isinstance(kind, str):
            return
        run = self.runs.get(run_id)
        if run is None:
            run = self.runs[run_id] = RunCounts(run_id, str(event.get("flow", "")), now)
            self._forget()
        handler = getattr(self, f"_on_{kind}", None)
        if handler is not None:
            handler(run, event, now)

    def _forget(self) -> None:
        over = [r for r in self.runs.values() if r.status != "running"][: max(len(self.runs) - KEPT_RUNS, 0)]
        for run in over:
            del self.runs[run.run]

    def _on_run(self, run: RunCounts, event: Mapping[str, Any], now: float) -> None:
        run.flow, run.started, run.status = str(event["flow"]), now, "running"

    def _on_total(self, run: RunCounts, event: Mapping[str, Any], now: float) -> None:
        run.task(str(event["task"])).total = int(event["n_items"])

    def _on_batch(self, run: RunCounts, event: Mapping[str, Any], now: float) -> None:
        task = run.task(str(event["task"]))
        failures = {str(k): int(n) for k, n in event["failures"].items()}
        n_failed = sum(failures.values())
        task.succeeded += int(event["succeeded"])
        task.skipped += int(event["skipped"])
        task.reused += int(event["reused"])
        task.failed += n_failed
        task.batches += 1
        task.seconds += float(event["seconds"])
        task.total = max(task.total, task.done)
        run.failures.update(failures)
        run.bytes_encoded += int(event["bytes"])
        run.recent.append((now, int(event["succeeded"]) + int(event["skipped"]) + n_failed))

    def _on_at(self, run: RunCounts, event: Mapping[str, Any], now: float) -> None:
        worker = str(event.get("worker", ""))
        if not event["file"]:
            run.in_flight.pop(worker, None)
            return
        run.in_flight[worker] = InFlight(
            task=str(event["task"]),
            file=str(event["file"]),
            host=str(event["host"]),
            worker=worker,
            since=now - float(event["seconds"]),
            child_bytes=int(event["child_bytes"]),
        )

    def _on_shard(self, run: RunCounts, event: Mapping[str, Any], now: float) -> None:
        run.shards_written += 1
        run.bytes_merged += int(event["bytes"])

    def _on_end(self, run: RunCounts, event: Mapping[str, Any], now: float) -> None:
        run.status, run.ended = str(event["status"]), now
        run.in_flight.clear()

    def forget_worker(self, worker: str) -> None:
        """A worker is gone, and with it the file that it was at."""
        for run in self.runs.values():
            run.in_flight.pop(worker, None)

    def current(self) -> RunCounts | None:
        """The run to show: the latest that still runs, else the latest."""
        runs = list(self.runs.values())
        candidates = [run for run in runs if run.status == "running"] or runs
        return candidates[-1] if candidates else None

    def snapshot(self, now: float) -> dict[str, Any]:
        """Everything as JSON-ready values: ``{"runs": [...]}``, the latest run last."""
        return {"runs": [run_snapshot(run, now) for run in self.runs.values()]}


def run_snapshot(run: RunCounts, now: float) -> dict[str, Any]:
    """One run as JSON-ready values."""
    slowest = sorted(run.in_flight.values(), key=lambda f: f.since)[:SLOWEST_SHOWN]
    left = run.seconds_left(now)
    return {
        "run": run.run,
        "flow": run.flow,
        "status": run.status,
        "seconds": round((run.ended or now) - run.started, 3),
        "tasks": {
            name: {**asdict(counts), "done": counts.done, "waiting": max(counts.total - counts.done, 0)}
            for name, counts in run.tasks.items()
        },
        "failures": dict(run.failures.most_common()),
        "files_per_second": round(run.files_per_second(now), 3),
        "seconds_left": None if left is None else round(left, 1),
        "shards_written": run.shards_written,
        "bytes_encoded": run.bytes_encoded,
        "bytes_merged": run.bytes_merged,
        "in_flight": [
            {
                "task": f.task,
                "file": f.file,
                "host": f.host,
                "worker": f.worker,
                "seconds": round(now - f.since, 1),
                "child_bytes": f.child_bytes,
            }
            for f in slowest
        ],
    }
