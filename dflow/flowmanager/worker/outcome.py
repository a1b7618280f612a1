"""`ItemOutcome`: how one item ends, from the messages about it, without a process or a clock.

`event` and `fault` take messages, `state` is the decision, and `record` gives the complete record at the end. The
rules: a deterministic failure is final; a crash or too much memory, and a timeout with `Limits.retry_timeouts`, is
final only after `Limits.max_retries` further tries alone; a body that fails makes its file fail, but not the other
bodies; a failed preview leaves a note.
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from typing import Any, Literal

from dflow.flowmanager.plan.batch import Batch, BodyValues, Item
from dflow.flowmanager.worker.faults import RETRYABLE_KINDS, Fault
from dflow.flowmanager.worker.wire import (
    WHOLE_FILE,
    ItemDone,
    PreviewDone,
    Reply,
    Run,
    UnitDone,
    UnitStarted,
    WireError,
)
from dflow.records import ErrorRecord, ItemRecord, Status

State = Literal["open", "retry", "finished"]

_OPENING = -2
"""The current body while the file is being read, before its first body."""


class ItemOutcome:
    """Collects the messages about one item and makes its record. One thread."""

    def __init__(self, batch: Batch, item: Item) -> None:
        self._batch = batch
        self._item = item
        self._by_body = batch.sample == "body" and batch.call.kind == "transform"
        self._units: dict[int, UnitDone] = {}
        self._deaths: Counter[int] = Counter()
        self._current = _OPENING if self._by_body else WHOLE_FILE
        self._in_preview = False
        self._item_fault: Fault | None = None
        self._notes: list[str] = []
        self._logs: tuple[str, ...] = ()
        self._seconds = self._cpu_seconds = self._preview_seconds = 0.0
        self._attempts = 1
        self.state: State = "open"

    def request(self, memory_bytes: int) -> Run:
        """Return the next request to a child: the item without the bodies that are done."""
        self._current = _OPENING if self._by_body else WHOLE_FILE
        self._in_preview = False
        self.state = "open"
        return Run(self._item, tuple(self._units), memory_bytes)

    def event(self, message: Reply) -> None:
        """Record a message about this item."""
        match message:
            case UnitStarted(body):
                self._current = body
            case UnitDone():
                self._unit_done(message)
            case PreviewDone(seconds, note):
                self._preview_over(seconds, note)
            case ItemDone():
                self._item_done(message)
            case _:
                raise WireError(f"{type(message).__name__} does not answer a request for an item")

    def fault(self, fault: Fault, seconds: float) -> None:
        """Record that the child ended during the item, after `seconds`, and decide what follows."""
        self._seconds += seconds
        if self._current in self._units:  # after its sample was whole: in its preview, or on the way to the next body
            what = "no preview" if self._in_preview else "afterwards"
            self._preview_over(0.0, f"{what}: {fault.kind}: {fault.message}")
            self.state = "open" if self._by_body else "finished"
        elif self._may_retry(fault.kind):
            self._attempts += 1
            self.state = "retry"
        elif self._current == _OPENING or not self._by_body:
            self.give_up(fault)
        else:
            self._units[self._current] = UnitDone(self._current, "failed", error=fault)

    def give_up(self, fault: Fault) -> None:
        """Make the whole item fail."""
        self._item_fault = fault
        self.state = "finished"

    @property
    def identity(self) -> str:
        """The item's identity."""
        return self._item.identity

    @property
    def spent_seconds(self) -> float:
        """What of the item's time was spent before it came here."""
        return self._item.spent_seconds

    @property
    def n_bytes(self) -> int:
        """The size of the item's file when it was hashed, 0 where it has none."""
        return self._item.source_state[1] if self._item.source_state else 0

    @property
    def finished_bodies(self) -> tuple[int, ...]:
        """Bodies (-1: the whole file) whose samples are complete on disk."""
        return tuple(body for body, unit in self._units.items() if unit.error is None)

    def blames_system(self) -> bool:
        """Whether the item failed by an error of the operating system, or a crash: the host may be the cause."""
        fault = self._cause(list(self._units.values()))
        return fault is not None and self.state == "finished" and (fault.errno != 0 or fault.kind == "crash")

    def log(self, lines: tuple[str, ...]) -> None:
        """Keep the lines that the item printed."""
        self._logs = lines

    def record(self) -> ItemRecord:
        """Return the finished item's record; an error names this process and host, so call it where the item ran."""
        units = [self._units[body] for body in sorted(self._units)]
        fault = self._cause(units)
        error = self._error(fault, units) if fault is not None else None
        return ItemRecord(
            item_index=self._item.index,
            item=self._item.identity,
            status=self._status(units, error),
            samples=tuple(unit.sample for unit in units if unit.sample is not None),
            error=error,
            value=None if error and not self._by_body else self._value(units),
            seconds=self._seconds,
            cpu_seconds=self._cpu_seconds,
            content_hash=self._item.content_hash,
            notes=tuple(self._notes),
            parked=tuple(unit.parked for unit in units if unit.parked),
            preview_seconds=self._preview_seconds,
            logs=self._logs,
        )

    def _may_retry(self, kind: str) -> bool:
        self._deaths[self._current] += 1
        limits = self._batch.limits
        if kind == "timeout" and not limits.retry_timeouts:
            return False
        return kind in RETRYABLE_KINDS and self._deaths[self._current] <= limits.max_retries

    def _unit_done(self, unit: UnitDone) -> None:
        self._current = unit.body
        if unit.error is not None and self._may_retry(unit.error.kind) and self._batch.isolation == "process":
            self._attempts += 1
            self.state = "retry"
            return
        self._units[unit.body] = unit
        self._in_preview = unit.preview

    def _preview_over(self, seconds: float, note: str) -> None:
        self._in_preview = False
        self._preview_seconds += seconds
        if note:
            self._notes.append(note)

    def _item_done(self, message: ItemDone) -> None:
        self._seconds += message.seconds
        self._cpu_seconds += message.cpu_seconds
        self._item_fault = message.error
        if self.state != "retry":
            self.state = "finished"

    def _cause(self, units: list[UnitDone]) -> Fault | None:
        """Return the item's own fault, else that of the first unit that failed."""
        if self._item_fault is not None:
            return self._item_fault
        return next((unit.error for unit in units if unit.error is not None), None)

    def _error(self, fault: Fault, units: list[UnitDone]) -> ErrorRecord:
        message = fault.message
        if self._by_body and self._item_fault is None:
            failed = [unit.body for unit in units if unit.error is not None]
            what = f"{len(failed)} of {len(units)} bodies failed ({', '.join(map(str, failed))})"
            message = f"{what}; body {failed[0]}: {message}"
        return ErrorRecord(
            kind=fault.kind,
            message=message,
            task=self._batch.call.task_name,
            file=self._item.identity,
            item_index=self._item.index,
            exception=fault.exception,
            traceback=fault.traceback,
            seconds=self._seconds,
            signal=fault.signal,
            worker_pid=os.getpid(),
            host=platform.node(),
            attempts=self._attempts,
            logs=self._logs,
        )

    def _status(self, units: list[UnitDone], error: ErrorRecord | None) -> Status:
        if error is not None:
            return "failed"
        return "skipped" if all(unit.status == "skipped" for unit in units) else "succeeded"

    def _value(self, units: list[UnitDone]) -> Any:
        if not self._batch.call.keep_value:
            return None
        if self._by_body:
            return BodyValues(tuple((unit.body, unit.value) for unit in units if unit.status == "succeeded"))
        return units[0].value
