"""The limits of one item: its wall time, and the memory of its child; what exceeds them is a `Fault`."""

from __future__ import annotations

import time
from dataclasses import dataclass

from dflow.flowmanager.worker import wire
from dflow.flowmanager.worker.faults import Fault
from dflow.flowmanager.worker.memory import MIN_CHILD_BYTES, descendants, resident_bytes
from dflow.flowmanager.worker.processes import Child

POLL_SECONDS = 0.05
"""How often a busy child's memory is read. Touching memory takes about 0.3 s per GiB: it overshoots by little."""

TREE_SECONDS = 1.0
"""How often the memory of the processes that a child has started is read: it takes a walk over the process table."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """Wall time of a request without its previews, memory of worker and child together, wall time of each preview.

    `spent_seconds` of the wall time are used up when the request is sent.
    """

    seconds: float
    memory_bytes: int
    preview_seconds: float = 30.0
    spent_seconds: float = 0.0


class Clock:
    """Counts down a request's wall time; stops during previews, which have their own."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._deadline = time.monotonic() + allowance.seconds - allowance.spent_seconds
        self._left: float | None = None

    def remaining(self) -> float:
        """Return the seconds until the time is up."""
        return self._deadline - time.monotonic()

    def note(self, reply: wire.Reply) -> None:
        """Stop at the start of a preview and continue at its end."""
        if isinstance(reply, wire.UnitDone) and reply.preview:
            self._left = self.remaining()
            self._deadline = time.monotonic() + self._allowance.preview_seconds
        elif isinstance(reply, wire.PreviewDone) and self._left is not None:
            self._deadline = time.monotonic() + self._left
            self._left = None

    def fault(self) -> Fault | None:
        """Return the fault once the time is up."""
        if self.remaining() > 0.0:
            return None
        limit = self._allowance.seconds if self._left is None else self._allowance.preview_seconds
        return Fault("timeout", f"not finished within {limit:g} s")


class Memory:
    """Compares what the child and its descendants hold with what the worker leaves of the budget."""

    def __init__(self, child: Child, budget_bytes: int) -> None:
        self._child = child
        self._budget_bytes = budget_bytes
        now = time.monotonic()
        self._next_read = now + POLL_SECONDS
        self._next_tree = now + TREE_SECONDS
        self._descendants: list[int] = []

    def fault(self) -> Fault | None:
        """Return the fault where too much is in use; reads memory at most every `POLL_SECONDS`."""
        now = time.monotonic()
        if now < self._next_read:
            return None
        self._next_read = now + POLL_SECONDS
        if now >= self._next_tree:
            self._next_tree = now + TREE_SECONDS
            self._descendants = descendants(self._child.pid)
        used = sum(map(resident_bytes, (self._child.pid, *self._descendants)))
        self._child.peak_bytes = max(self._child.peak_bytes, used)
        allowed = max(self._budget_bytes - resident_bytes(), self._child.first_bytes + MIN_CHILD_BYTES)
        if used <= allowed:
            return None
        mib = 1024**2
        return Fault("out_of_memory", f"{used // mib} MiB in use, {allowed // mib} MiB allowed")
