"""`Pool`: the supervisors of this process, each leased to one batch at a time, and the files under way.

Several worker threads in one process each get a child of their own, and a child stays warm from batch to batch.
Children end with the process, however it ends, or by `Pool.close`.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dflow.flowmanager.plan.batch import Batch
from dflow.flowmanager.worker.conversation import Supervisor
from dflow.flowmanager.worker.memory import resident_bytes
from dflow.monitor import events
from dflow.plaintext import plain

MAX_SHOWN = 300
"""Characters of an item's name that are shown: the last ones distinguish it best."""

SHOWN_AFTER_SECONDS = 1.0
"""Files that take less are not shown."""


_POOLS: dict[int, Pool] = {}
"""The pool of this process, by its process id."""


def pool() -> Pool:
    """Return the pool of this process; a forked copy of the process has its own."""
    pid = os.getpid()
    if pid not in _POOLS:
        _POOLS.setdefault(pid, Pool())  # another thread may have come first
        atexit.register(_close, pid)
        os.register_at_fork(after_in_child=lambda: _POOLS.pop(pid, None))
    return _POOLS[pid]


def _close(pid: int) -> None:
    if pid in _POOLS:
        _POOLS[pid].close()


class Pool:
    """Idle and leased supervisors. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Supervisor] = []
        self._leased: set[Supervisor] = set()
        self._dismissed: set[Supervisor] = set()
        self.in_flight = InFlight(self.child_pids)

    @contextlib.contextmanager
    def lease(self) -> Iterator[Supervisor]:
        """Lend a supervisor for one batch, an idle one if there is one."""
        with self._lock:
            supervisor = self._idle.pop() if self._idle else Supervisor()
            self._leased.add(supervisor)
        try:
            yield supervisor
        finally:
            with self._lock:
                self._leased.discard(supervisor)
                dismissed = supervisor in self._dismissed
                self._dismissed.discard(supervisor)
                if not dismissed:
                    supervisor.resume()
                    self._idle.append(supervisor)
            if dismissed:
                supervisor.close()

    def child_pids(self) -> list[int]:
        """Return the process ids of all children."""
        with self._lock:
            supervisors = [*self._idle, *self._leased]
        return [pid for each in supervisors if (pid := each.child_pid) is not None]

    def cancel(self) -> None:
        """Cancel every batch under way."""
        with self._lock:
            for supervisor in self._leased:
                supervisor.cancel()

    def close(self) -> None:
        """Cancel what is under way and end all children, busy ones when their batches have returned."""
        self.cancel()
        with self._lock:
            idle, self._idle = self._idle, []
            self._dismissed |= self._leased
        for supervisor in idle:
            supervisor.close()


class InFlight:
    """The files that this process's batches are working on, for the monitor. Thread-safe.

    They travel with the Dask worker's heartbeats, which are rarer the more workers there are: the scheduler's cost does
    not depend on the number of files.
    """

    def __init__(self, child_pids: Callable[[], Sequence[int]]) -> None:
        self._child_pids = child_pids
        self._entries: dict[object, tuple[Any, Batch, str, float]] = {}

    @contextlib.contextmanager
    def entry(self, batch: Batch) -> Iterator[Callable[[str], None]]:
        """Return a function to call with the identity of each item of `batch` that begins, while the block lasts.

        The function does nothing where no monitor watches the batch.
        """
        worker = dask_worker() if batch.monitor_run else None
        if worker is None:
            yield lambda _: None
            return
        if events.METRIC not in worker.metrics:  # replaced, not changed: the worker's loop may iterate over it
            worker.metrics = {**worker.metrics, events.METRIC: self._metric}
        token = object()

        def begin(identity: str) -> None:
            self._entries[token] = (worker, batch, identity, time.monotonic())

        try:
            yield begin
        finally:
            self._entries.pop(token, None)

    def _metric(self, worker: Any) -> events.WorkerMetric:
        """Return the metric for `worker`'s next heartbeat; runs in its event loop, in some 20 µs per child."""
        now = time.monotonic()
        in_flight: list[events.InFlight] = [
            {
                "run": batch.monitor_run,
                "task": plain(batch.call.task_name),
                "file": _shown(identity),
                "seconds": round(now - began, 1),
            }
            for at, batch, identity, began in list(self._entries.values())
            if at is worker and now - began >= SHOWN_AFTER_SECONDS
        ]
        child_bytes = sum(map(resident_bytes, self._child_pids()))
        return {"host": platform.node(), "child_bytes": child_bytes, "in_flight": in_flight}


def _shown(identity: str) -> str:
    """Return an item's name for messages: printable, and shortened."""
    return plain(identity if len(identity) <= MAX_SHOWN else f"…{identity[-MAX_SHOWN:]}")


def dask_worker() -> Any:
    """Return the Dask worker that runs this thread, None outside of one."""
    from distributed import get_worker  # here, because inline runs must not load it

    try:
        return get_worker()
    except ValueError:
        return None
