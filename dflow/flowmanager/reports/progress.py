"""The events of a running flow, for bars, callbacks and the dashboard's page."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from dflow.records import ErrorRecord

Phase = Literal["started", "advanced", "finished"]
EMIT_SECONDS = 0.1
"""Least time between two "advanced" events of one task."""


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """The state of one task (or of the merge, task ``merge``) of a running flow.

    `total` is None while unknown; ``done = succeeded + skipped + failed``, of which `reused` needed no work. `unit`
    is what is counted; `n_bytes` is what the task has written so far (samples, or the dataset's shards); `seconds` is
    its wall time so far; `errors` are those since the task's last event, and `dashboard` the link to the Dask
    dashboard, "" where there is none.

    Parameters
    ----------
    flow, task : their names
    phase : "started", "advanced" or "finished"
    succeeded, skipped, failed : items so far
    """

    flow: str
    task: str
    phase: Phase
    total: int | None
    succeeded: int = 0
    skipped: int = 0
    failed: int = 0
    reused: int = 0
    unit: str = "files"
    n_bytes: int = 0
    seconds: float = 0.0
    errors: tuple[ErrorRecord, ...] = ()
    dashboard: str = ""

    @property
    def done(self) -> int:
        """Items that have ended: succeeded, skipped or failed."""
        return self.succeeded + self.skipped + self.failed

    @property
    def items_per_second(self) -> float:
        """Items that needed work, per second so far."""
        return (self.done - self.reused) / self.seconds if self.seconds > 0 else 0.0


def describe(event: ProgressEvent) -> str:
    """Return a line such as ``412/5000 files, 83.1/s, 12 reused, 3 failed``."""
    total = f"/{event.total}" if event.total is not None else ""
    parts = [f"{event.done}{total} {event.unit}", f"{event.items_per_second:.1f}/s"]
    exceptions = ((event.reused, "reused"), (event.skipped, "skipped"), (event.failed, "failed"))
    return ", ".join([*parts, *(f"{count} {word}" for count, word in exceptions if count)])


Listener = Callable[[ProgressEvent], None]


class TaskProgress:
    """Counts one task's items and calls the listeners, at most every `EMIT_SECONDS` between start and end."""

    def __init__(
        self, flow: str, task: str, listeners: Sequence[Listener], *, total: int | None, unit: str, dashboard: str
    ) -> None:
        self._flow, self._task, self._unit, self._dashboard = flow, task, unit, dashboard
        self._listeners = listeners
        self._total = total
        self._started = time.monotonic()
        self._emitted_at = self._started
        self._counts = {"succeeded": 0, "skipped": 0, "failed": 0, "reused": 0, "n_bytes": 0}
        self._errors: list[ErrorRecord] = []
        self._has_news = False
        self.is_finished = False
        self._emit("started")

    def advance(
        self,
        *,
        succeeded: int = 0,
        skipped: int = 0,
        failed: int = 0,
        reused: int = 0,
        n_bytes: int = 0,
        errors: Sequence[ErrorRecord] = (),
    ) -> None:
        """Count items that have ended."""
        counts = self._counts
        counts["succeeded"] += succeeded
        counts["skipped"] += skipped
        counts["failed"] += failed
        counts["reused"] += reused
        counts["n_bytes"] += n_bytes
        self._errors.extend(errors)
        self._has_news = True
        self.flush()

    def flush(self) -> None:
        """Emit what is new, at most every `EMIT_SECONDS`."""
        if self._has_news and time.monotonic() - self._emitted_at >= EMIT_SECONDS:
            self._emit("advanced")

    def finish(self) -> None:
        """Emit the end of the task."""
        self.is_finished = True
        self._emit("finished")

    def _emit(self, phase: Phase) -> None:
        self._emitted_at, self._has_news = time.monotonic(), False
        event = ProgressEvent(
            flow=self._flow,
            task=self._task,
            phase=phase,
            total=self._total,
            unit=self._unit,
            seconds=self._emitted_at - self._started,
            errors=tuple(self._errors),
            dashboard=self._dashboard,
            **self._counts,
        )
        self._errors.clear()
        for listener in self._listeners:
            listener(event)


class Progress:
    """Makes the counters of a flow's tasks; `dashboard` may be set when the cluster is known."""

    def __init__(self, flow: str, listeners: Sequence[Listener]) -> None:
        self._flow = flow
        self._listeners = [self._keep, *listeners]
        self._running: list[TaskProgress] = []
        self._latest: dict[str, ProgressEvent] = {}
        self._errors: dict[str, list[ErrorRecord]] = {}
        self.dashboard = ""

    def add(self, listener: Listener) -> None:
        """Add a listener, also to running tasks; it first gets the latest event of each task."""
        for task, event in self._latest.items():
            listener(replace(event, errors=tuple(self._errors[task])))
        self._listeners.append(listener)

    def start(self, task: str, total: int | None, *, unit: str = "files") -> TaskProgress:
        """Return the counter of a task that begins."""
        counts = TaskProgress(self._flow, task, self._listeners, total=total, unit=unit, dashboard=self.dashboard)
        self._running = [each for each in self._running if not each.is_finished] + [counts]
        return counts

    def flush(self) -> None:
        """Emit what is new in the running tasks; called while nothing ends, so that the last items are reported."""
        for task in self._running:
            if not task.is_finished:
                task.flush()

    def _keep(self, event: ProgressEvent) -> None:
        if event.phase == "started":
            self._errors[event.task] = []
        self._latest[event.task] = event
        self._errors[event.task].extend(event.errors)
