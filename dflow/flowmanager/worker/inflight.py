"""Which files a worker is at, and what its children hold: rides on the worker's heartbeat to the monitor.

Heartbeats are sent anyway, and less often the more workers there are, so that watching costs the scheduler the same
whatever the files are like. What is done within a moment is never told.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dflow.flowmanager.plan.batch import Batch
from dflow.flowmanager.worker.limits import resident_bytes
from dflow.monitor.events import METRIC, InFlight, WorkerMetric
from dflow.plaintext import plain

MAX_SHOWN = 300
"""Characters of an item's name that are told; its end says more than its beginning."""

TOLD_AFTER_SECONDS = 1.0
"""A file that is done sooner is not spoken of."""


class Flight:
    """What one process's workers are at. Thread-safe: every entry belongs to the thread that made it."""

    def __init__(self, child_pids: Callable[[], Sequence[int]]) -> None:
        self._child_pids = child_pids
        self._entries: dict[object, tuple[Any, Batch, str, float]] = {}

    @contextmanager
    def of(self, batch: Batch) -> Iterator[Callable[[str], None]]:
        """While the block lasts, this thread is at the item of `batch` whose identity it told the yielded function.

        Nothing where nobody watches.
        """
        worker = _dask_worker() if batch.monitor_run else None
        if worker is None:
            yield lambda _: None
            return
        if METRIC not in worker.metrics:  # replaced, not changed: the worker's loop may be walking through it
            worker.metrics = {**worker.metrics, METRIC: self._metric}
        token = object()

        def begin(identity: str) -> None:
            self._entries[token] = (worker, batch, identity, time.monotonic())

        try:
            yield begin
        finally:
            self._entries.pop(token, None)

    def _metric(self, worker: Any) -> WorkerMetric:
        """What `worker`'s next heartbeat says; runs in its event loop, takes some 20 µs a child."""
        now = time.monotonic()
        in_flight: list[InFlight] = [
            {
                "run": batch.monitor_run,
                "task": plain(batch.call.task_name),
                "file": _shown(identity),
                "seconds": round(now - began, 1),
            }
            for at, batch, identity, began in list(self._entries.values())
            if at is worker and now - began >= TOLD_AFTER_SECONDS
        ]
        child_bytes = sum(map(resident_bytes, self._child_pids()))
        return {"host": platform.node(), "child_bytes": child_bytes, "in_flight": in_flight}


def _shown(identity: str) -> str:
    """An item's name as messages carry it: UTF-8, and no longer than somebody reads."""
    return plain(identity if len(identity) <= MAX_SHOWN else f"…{identity[-MAX_SHOWN:]}")


def _dask_worker() -> Any:
    from distributed import get_worker  # here, because the nursery and inline runs must not load it

    try:
        return get_worker()
    except ValueError:
        return None
