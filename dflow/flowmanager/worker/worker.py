"""`run_batch`: what a Dask node does, inside a Dask worker or, for debugging, in the client itself."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from dflow.config import machine_share_bytes
from dflow.flowmanager.plan.batch import Batch
from dflow.flowmanager.worker.conversation import CancelledError, Supervisor
from dflow.flowmanager.worker.execution import prepare_call, run_item
from dflow.flowmanager.worker.faults import Fault, describe_exception
from dflow.flowmanager.worker.hostfaults import host_fault, is_kept_from
from dflow.flowmanager.worker.limits import Allowance
from dflow.flowmanager.worker.memory import larger_allowance
from dflow.flowmanager.worker.outcome import ItemOutcome
from dflow.flowmanager.worker.pool import dask_worker, pool
from dflow.flowmanager.worker.processes import ChildStartError
from dflow.flowmanager.worker.samples import sweep_item
from dflow.records import BatchResult, ItemRecord
from dflow.storage.paths import source_path


def run_batch(batch: Batch) -> BatchResult:
    """Call the batch's function for each item and return one record per item.

    Never raises for an item's fault. Where no child can be started, or the host cannot work on the flow
    (`dflow.flowmanager.worker.hostfaults`), the remaining items fail as "infrastructure"; after `cancel` they fail as
    "cancelled". Inline, `KeyboardInterrupt` and the debugger's quit pass through.
    """
    started = time.monotonic()
    outcomes = [ItemOutcome(batch, item) for item in batch.items]
    restarts = peak_bytes = 0
    fault, worker = "", None
    if batch.isolation == "inline":
        fault = _run_inline(batch, outcomes)
    elif outcomes:  # an empty batch starts no child
        worker = dask_worker()
        with pool().lease() as supervisor, pool().in_flight.entry(batch) as begin:
            fault = _run_isolated(batch, outcomes, supervisor, begin)
            restarts, peak_bytes = supervisor.restarts, supervisor.peak_bytes
    records = tuple(outcome.record() for outcome in outcomes)
    return BatchResult(
        task=batch.call.task_name,
        batch_index=batch.index,
        items=records,
        host=platform.node(),
        worker_pid=os.getpid(),
        seconds=time.monotonic() - started,
        child_restarts=restarts,
        peak_child_bytes=peak_bytes,
        worker=str(getattr(worker, "address", "")),
        host_fault=fault,
        unread=_unread(batch, records),
    )


def prewarm(*, previews: bool = True) -> int:
    """Start a child for this process's first batch and return its process id; takes seconds. Thread-safe."""
    with pool().lease() as supervisor:
        supervisor.prewarm(previews=previews)
        pid = supervisor.child_pid
    assert pid is not None
    return pid


def cancel() -> None:
    """Make every `run_batch` in this process return soon, its unfinished items "cancelled". Thread-safe."""
    pool().cancel()


def shutdown() -> None:
    """End this process's children; batches under way are cancelled. The next `run_batch` starts new ones."""
    pool().close()


def _run_inline(batch: Batch, outcomes: Sequence[ItemOutcome]) -> str:
    """Run each item here; return what is wrong with this host, "" where nothing is."""
    try:
        call = prepare_call(batch, batch.call.function)
    except Exception as error:
        _give_up(outcomes, describe_exception(error))
        return _host_fault(batch, outcomes, outcomes)
    for outcome in outcomes:
        request = outcome.request(0)
        outcome.event(run_item(call, request.item, request.skip, outcome.event))
        if fault := _host_fault(batch, (outcome,), outcomes):
            return fault
    return ""


def _host_fault(batch: Batch, ended: Sequence[ItemOutcome], all_outcomes: Sequence[ItemOutcome]) -> str:
    """Return what is wrong with this host where an item's failure may be its fault; all that is not done fails then."""
    if not any(outcome.blames_system() for outcome in ended):
        return ""
    fault = host_fault(batch.paths)
    if fault:
        _give_up(all_outcomes, Fault("infrastructure", f"{platform.node()} {fault}"))
        for outcome in ended:
            outcome.give_up(Fault("infrastructure", f"{platform.node()} {fault}"))
    return fault


def _unread(batch: Batch, records: Sequence[ItemRecord]) -> tuple[int, ...]:
    """Return the failed items whose sources this host cannot read, among those whose failure may be its fault."""
    root = str(batch.paths.root)
    return tuple(
        record.item_index
        for record in records
        if record.error is not None
        and (
            record.error.kind == "vanished"
            or (record.error.kind == "infrastructure" and is_kept_from(source_path(record.item, root)))
        )
    )


def _run_isolated(
    batch: Batch, outcomes: Sequence[ItemOutcome], supervisor: Supervisor, begin: Callable[[str], None]
) -> str:
    """Run each item once, then each that is to be tried again, alone in a fresh child with a larger allowance.

    Returns what is wrong with this host, "" where nothing is.
    """
    try:
        loading = supervisor.prepare(batch)
        if loading.fault is not None:
            _give_up(outcomes, loading.fault, loading.output)
            return _host_fault(batch, outcomes, outcomes)
        memory = batch.limits.memory_bytes or machine_share_bytes()
        for outcome in outcomes:
            begin(outcome.identity)
            _run_item(batch, outcome, supervisor, _allowance(batch, outcome, memory, outcome.spent_seconds))
            if fault := _host_fault(batch, (outcome,), outcomes):
                return fault
        for outcome in outcomes:
            while outcome.state == "retry":
                supervisor.retire()
                begin(outcome.identity)
                normal = _allowance(batch, outcome, memory)
                _run_item(batch, outcome, supervisor, _larger(normal, batch.limits.retry_factor))
                supervisor.retire()
                if fault := _host_fault(batch, (outcome,), outcomes):
                    return fault
    except (ChildStartError, OSError) as error:
        _give_up(outcomes, Fault("infrastructure", str(error)))
        return str(error)
    except CancelledError:
        _give_up(outcomes, Fault("cancelled", "the flow was cancelled"))
    return ""


def _run_item(batch: Batch, outcome: ItemOutcome, supervisor: Supervisor, allowance: Allowance) -> None:
    """Run an item until it is finished, or is to be tried again alone; with bodies that can take several children."""
    while True:
        answer = supervisor.ask(outcome.request(allowance.memory_bytes), allowance)
        for reply in answer.replies:
            outcome.event(reply)
        outcome.log(answer.output)
        if answer.fault is not None:
            outcome.fault(answer.fault, answer.seconds)
            if batch.call.takes_storage:
                sweep_item(batch.paths, outcome.identity, outcome.finished_bodies)
        if outcome.state != "open":
            return


def _allowance(batch: Batch, outcome: ItemOutcome, memory_bytes: int, spent_seconds: float = 0.0) -> Allowance:
    limits = batch.limits
    return Allowance(limits.seconds_for(outcome.n_bytes), memory_bytes, limits.preview_seconds, spent_seconds)


def _larger(allowance: Allowance, factor: float) -> Allowance:
    memory_bytes = larger_allowance(allowance.memory_bytes, factor)
    return replace(allowance, seconds=allowance.seconds * factor, memory_bytes=memory_bytes)


def _give_up(outcomes: Sequence[ItemOutcome], fault: Fault, output: tuple[str, ...] = ()) -> None:
    """Make every unfinished item fail."""
    for outcome in outcomes:
        if outcome.state != "finished":
            if output:
                outcome.log(output)
            outcome.give_up(fault)
