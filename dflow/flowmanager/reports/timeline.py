"""The timeline of a run: finished files by time, and how busy each worker process was. Bounded in memory."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from dflow.flowmanager.reports.progress import ProgressEvent
from dflow.records import BatchResult

N_BINS = 200
"""Bins of time for busy seconds; their width doubles as the run grows longer."""

MAX_POINTS = 400
FIRST_BIN_SECONDS = 0.05


@dataclass(slots=True)
class WorkerBusy:
    """The totals of one worker process, and its busy seconds in each bin of time."""

    host: str
    pid: int
    n_batches: int = 0
    n_items: int = 0
    seconds: float = 0.0
    child_restarts: int = 0
    peak_child_bytes: int = 0
    bins: list[float] = field(default_factory=list)


class Timeline:
    """Takes progress events as a listener, and batches as their results arrive. One thread.

    A batch counts as ended when its result arrives, which is late by the time that the result travelled.
    """

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.bin_seconds = FIRST_BIN_SECONDS
        self.done: dict[str, list[tuple[float, int]]] = {}
        self._workers: dict[tuple[str, int], WorkerBusy] = {}

    def __call__(self, event: ProgressEvent) -> None:
        """Add a task's progress; a task that starts again (damaged stores) begins anew."""
        if event.phase == "started":
            self.done[event.task] = []
        points = self.done.setdefault(event.task, [])
        points.append((round(self.seconds, 3), event.done))
        if len(points) > MAX_POINTS:
            del points[1:-1:2]

    def note(self, results: Iterable[BatchResult]) -> None:
        """Add results that have just arrived from the workers."""
        now = self.seconds
        for result in results:
            key = result.host, result.worker_pid
            worker = self._workers.setdefault(key, WorkerBusy(*key))
            worker.n_batches += 1
            worker.n_items += len(result.items)
            worker.seconds += result.seconds
            worker.child_restarts += result.child_restarts
            worker.peak_child_bytes = max(worker.peak_child_bytes, result.peak_child_bytes)
            self._fill(worker, max(0.0, now - result.seconds), now)

    @property
    def seconds(self) -> float:
        """Seconds since the run was opened."""
        return time.monotonic() - self._started

    @property
    def workers(self) -> list[WorkerBusy]:
        """The worker processes that ran batches, by host and process id."""
        return [self._workers[key] for key in sorted(self._workers)]

    def _fill(self, worker: WorkerBusy, begin: float, end: float) -> None:
        while end >= self.bin_seconds * N_BINS:
            self._halve()
        last = int(end / self.bin_seconds)
        worker.bins.extend([0.0] * (last + 1 - len(worker.bins)))
        for number in range(int(begin / self.bin_seconds), last + 1):
            low, high = number * self.bin_seconds, (number + 1) * self.bin_seconds
            worker.bins[number] += max(0.0, min(end, high) - max(begin, low))

    def _halve(self) -> None:
        self.bin_seconds *= 2
        for worker in self._workers.values():
            bins = worker.bins
            worker.bins = [sum(bins[n : n + 2]) for n in range(0, len(bins), 2)]
