"""What becomes of one item, from the messages about it: pure bookkeeping, no process and no clock.

Events go in (`event`, `fault`), a decision comes out (`state`), and in the end a record (`record`). The rules: a
deterministic failure is final; a crash, a timeout or too much memory is final only after `Limits.max_retries` further
tries alone; a body that fails costs the file its success, but not its other bodies; a preview costs nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
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
"""What is going on in body mode before the first body's turn: the file is being read."""


class ItemOutcome:
    """One item's way to its record. One thread."""

    def __init__(self, batch: Batch, item: Item) -> None:
        self._batch = batch
        self._item = item
        self._by_body = batch.sample == "body" and batch.call.kind == "transform"
        self._units: dict[int, UnitDone] = {}
        self._deaths: Counter[int] = Counter()
        self._current = _OPENING if self._by_body else WHOLE_FILE
        self._in_preview = False
        self._item_error: ErrorRecord | None = None
        self._notes: list[str] = []
        self._logs: tuple[str, ...] = ()
        self._seconds = self._cpu_seconds = self._preview_seconds = 0.0
        self._attempts = 1
        self.state: State = "open"

    def request(self, memory_bytes: int) -> Run:
        """What to ask a child for now: the item, less what is done."""
        self._current = _OPENING if self._by_body else WHOLE_FILE
        self._in_preview = False
        self.state = "open"
        return Run(self._item, tuple(self._units), memory_bytes)

    def event(self, message: Reply) -> None:
        """Take note of a message about this item."""
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
                raise WireError(f"{type(message).__name__} where an item was asked for")

    def fault(self, fault: Fault, seconds: float) -> None:
        """The child is gone after `seconds`; decide what that means."""
        self._seconds += seconds
        if self._current in self._units:  # after its sample was whole: in its preview, or on the way to the next body
            what = "no preview" if self._in_preview else "afterwards"
            self._preview_over(0.0, f"{what}: {fault.kind}: {fault.message}")
            self.state = "open" if self._by_body else "finished"
        elif self._may_retry(fault.kind):
            self._attempts += 1
            self.state = "retry"
        elif self._current == _OPENING or not self._by_body:
            self.give_up(fault.record(self._batch.call.task_name))
        else:
            error = fault.record(self._batch.call.task_name)
            self._units[self._current] = UnitDone(self._current, "failed", error=error)

    def give_up(self, error: ErrorRecord) -> None:
        """The item as a whole has failed, whatever was going on."""
        self._item_error = error
        self.state = "finished"

    @property
    def identity(self) -> str:
        """The item's identity."""
        return self._item.identity

    @property
    def finished_bodies(self) -> tuple[int, ...]:
        """Bodies (-1: the whole file) whose samples lie on disk whole."""
        return tuple(body for body, unit in self._units.items() if unit.error is None)

    def log(self, lines: tuple[str, ...]) -> None:
        """Keep what the item printed."""
        self._logs = lines

    def record(self) -> ItemRecord:
        """The finished item's record, without what only the worker knows (host and process)."""
        units = [self._units[body] for body in sorted(self._units)]
        error = self._error(units)
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
        return kind in RETRYABLE_KINDS and self._deaths[self._current] <= self._batch.limits.max_retries

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
        self._item_error = message.error
        if self.state != "retry":
            self.state = "finished"

    def _error(self, units: list[UnitDone]) -> ErrorRecord | None:
        failed = [unit for unit in units if unit.error is not None]
        error = self._item_error
        if error is None and failed:
            error = failed[0].error
            if error is not None and self._by_body:
                bodies = ", ".join(str(unit.body) for unit in failed)
                what = f"{len(failed)} of {len(units)} bodies failed ({bodies})"
                error = replace(error, message=f"{what}; body {failed[0].body}: {error.message}")
        if error is None:
            return None
        return replace(
            error,
            file=self._item.identity,
            item_index=self._item.index,
            seconds=self._seconds,
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
