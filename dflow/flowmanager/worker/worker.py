"""`run_batch`: what a Dask node does, inside a Dask worker or, for debugging, in the client itself.

Supervisors are kept per process and leased to one batch at a time, so that several worker threads in one process each
get a child of their own, and a child stays warm from batch to batch. They end with the process, however it ends, or by
`shutdown`.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import platform
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

from dflow.flowmanager.plan.batch import Batch
from dflow.flowmanager.worker.execution import prepare_call, run_item
from dflow.flowmanager.worker.faults import Fault, describe_exception
from dflow.flowmanager.worker.inflight import Flight
from dflow.flowmanager.worker.isolation import Supervisor
from dflow.flowmanager.worker.limits import larger_allowance, machine_share_bytes
from dflow.flowmanager.worker.outcome import ItemOutcome
from dflow.flowmanager.worker.processes import ChildStartError
from dflow.flowmanager.worker.samples import sweep_item
from dflow.flowmanager.worker.watch import Allowance, CancelledError
from dflow.flowmanager.worker.wire import ItemDone, Reply
from dflow.records import BatchResult, ErrorRecord, ItemRecord


class _Pool:
    """This process's supervisors: the idle ones, and those that are leased. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Supervisor] = []
        self._leased: set[Supervisor] = set()
        self._dismissed: set[Supervisor] = set()

    @contextlib.contextmanager
    def lease(self) -> Iterator[Supervisor]:
        """A supervisor for one batch, an idle one if there is one."""
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
        """Process ids of all children."""
        with self._lock:
            supervisors = [*self._idle, *self._leased]
        return [pid for each in supervisors if (pid := each.child_pid) is not None]

    def cancel(self) -> None:
        """Make every batch under way give up."""
        with self._lock:
            for supervisor in self._leased:
                supervisor.cancel()

    def close(self) -> None:
        """Cancel what is under way and end all children, the busy ones when their batches have given up."""
        self.cancel()
        with self._lock:
            idle, self._idle = self._idle, []
            self._dismissed |= self._leased
        for supervisor in idle:
            supervisor.close()


_pool = _Pool()
_flight = Flight(lambda: _pool.child_pids())


def _forget_pool() -> None:
    """A forked copy of this process has no business with the original's children."""
    global _pool
    _pool = _Pool()


os.register_at_fork(after_in_child=_forget_pool)


def run_batch(batch: Batch) -> BatchResult:
    """Call the batch's function for each item and say what became of each.

    Never raises for an item's fault. Where no child can be started, the items that are left fail as "infrastructure";
    after `cancel` they fail as "cancelled". Inline, `KeyboardInterrupt` and the debugger's quit pass through.
    """
    started = time.monotonic()
    outcomes = [ItemOutcome(batch, item) for item in batch.items]
    restarts = peak_bytes = 0
    if batch.isolation == "inline":
        _run_inline(batch, outcomes)
    elif outcomes:  # nothing to do starts no child
        with _pool.lease() as supervisor:
            _run_isolated(batch, outcomes, supervisor)
            restarts, peak_bytes = supervisor.restarts, supervisor.peak_bytes
    host, pid = platform.node(), os.getpid()
    return BatchResult(
        task=batch.call.task_name,
        batch_index=batch.index,
        items=tuple(_signed(outcome.record(), host, pid) for outcome in outcomes),
        host=host,
        worker_pid=pid,
        seconds=time.monotonic() - started,
        child_restarts=restarts,
        peak_child_bytes=peak_bytes,
    )


def prewarm(*, previews: bool = True) -> int:
    """Start a child for this process's first batch and return its process id; takes seconds. For any thread."""
    with _pool.lease() as supervisor:
        supervisor.prewarm(previews=previews)
        pid = supervisor.child_pid
    assert pid is not None
    return pid


def cancel() -> None:
    """Make every `run_batch` in this process return soon, its unfinished items "cancelled". For any thread."""
    _pool.cancel()


@atexit.register
def shutdown() -> None:
    """End this process's children; batches under way are cancelled. The next `run_batch` starts anew."""
    _pool.close()


def _run_inline(batch: Batch, outcomes: list[ItemOutcome]) -> None:
    try:
        call = prepare_call(batch, batch.call.function)
    except Exception as error:
        _fail_all(outcomes, describe_exception(error, batch.call.task_name))
        return
    for outcome in outcomes:
        request = outcome.request(0)
        outcome.event(run_item(call, request.item, request.skip, outcome.event))


def _run_isolated(batch: Batch, outcomes: list[ItemOutcome], supervisor: Supervisor) -> None:
    """Each item once, then each that deserves another try, alone in a fresh child."""
    try:
        problem = supervisor.prepare(batch)
        if isinstance(problem, Fault):
            problem = supervisor.prepare(batch)
        if problem is not None:
            for outcome in outcomes:
                outcome.log(supervisor.output)
            _fail_all(outcomes, problem.record(batch.call.task_name) if isinstance(problem, Fault) else problem)
            return
        normal = _allowance(batch)
        _run_until_settled(outcomes, supervisor, batch, normal)
        for outcome in outcomes:
            if outcome.state == "retry":
                _run_alone(outcome, supervisor, batch, normal)
    except ChildStartError as error:
        _fail_all(outcomes, ErrorRecord("infrastructure", str(error), batch.call.task_name, "", 0))
    except CancelledError:
        _fail_all(outcomes, ErrorRecord("cancelled", "the flow was cancelled", batch.call.task_name, "", 0))


def _run_alone(outcome: ItemOutcome, supervisor: Supervisor, batch: Batch, normal: Allowance) -> None:
    factor = batch.limits.retry_factor
    larger = replace(
        normal, seconds=normal.seconds * factor, memory_bytes=larger_allowance(normal.memory_bytes, factor)
    )
    while outcome.state == "retry":
        supervisor.retire()
        _run_until_settled([outcome], supervisor, batch, larger)
    supervisor.retire()


def _run_until_settled(
    outcomes: Iterable[ItemOutcome], supervisor: Supervisor, batch: Batch, allowance: Allowance
) -> None:
    """Ask until each item is finished or wants to be tried again alone; body by body one can take several children."""
    open_ones = deque(outcomes)
    began = time.monotonic()

    def take(reply: Reply) -> None:
        nonlocal began
        open_ones[0].event(reply)
        if isinstance(reply, ItemDone):
            open_ones.popleft().log(supervisor.output)
            began = time.monotonic()
            if open_ones:
                tell(open_ones[0].identity)

    with _flight.of(batch) as tell:
        while open_ones:
            began = time.monotonic()
            tell(open_ones[0].identity)
            requests = [outcome.request(allowance.memory_bytes) for outcome in open_ones]
            fault = supervisor.run(requests, allowance, take)
            if not open_ones:
                break
            first = open_ones[0]
            if fault is not None:
                first.log(supervisor.output)
                first.fault(fault, time.monotonic() - began)
            if batch.call.takes_storage:  # the child is gone
                sweep_item(batch.paths, first.identity, first.finished_bodies)
            if first.state != "open":
                open_ones.popleft()


def _allowance(batch: Batch) -> Allowance:
    limits = batch.limits
    return Allowance(limits.timeout_seconds, limits.memory_bytes or machine_share_bytes(), limits.preview_seconds)


def _fail_all(outcomes: list[ItemOutcome], error: ErrorRecord) -> None:
    for outcome in outcomes:
        if outcome.state != "finished":
            outcome.give_up(error)


def _signed(record: ItemRecord, host: str, pid: int) -> ItemRecord:
    """The record with who did the work on its error."""
    if record.error is None:
        return record
    return replace(record, error=replace(record.error, host=host, worker_pid=pid))
