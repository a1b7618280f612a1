"""One request to a child under watch: time, memory, life."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from dflow.flowmanager.worker import wire
from dflow.flowmanager.worker.faults import Fault, describe_death
from dflow.flowmanager.worker.limits import MIN_CHILD_BYTES, descendants, resident_bytes
from dflow.flowmanager.worker.processes import Child

POLL_SECONDS = 0.05
"""How often a busy child's memory is looked at. Touching memory takes about 0.3 s a GiB: it overshoots by little."""

TREE_SECONDS = 1.0
"""How often the memory of what a child has started is looked at: it takes a walk over the process table."""


class CancelledError(Exception):
    """The request was cancelled; a child that was at work on it is ended."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """Wall time of a request, wall time of each preview in it (not counted), memory of worker and child together."""

    seconds: float
    memory_bytes: int
    preview_seconds: float = 30.0


def converse(
    child: Child,
    request: wire.Prepare | wire.Run,
    allowance: Allowance,
    on_reply: Callable[[wire.Reply], None],
    cancelled: threading.Event,
) -> Fault | None:
    """Ask `child` and hand each reply to `on_reply` until the last one.

    Returns None then, or the fault that ended the child, which must not be used again.

    Raises
    ------
    CancelledError
        When `cancelled` is set meanwhile.
    """
    clock = _Clock(allowance)
    memory = _Memory(child, allowance.memory_bytes)
    try:
        child.ask(request, allowance.seconds)
        while True:
            replies = child.wait(min(POLL_SECONDS, clock.remaining()))
            for reply in replies:
                clock.note(reply)
                if isinstance(reply, wire.ItemDone):
                    child.peak_bytes = max(child.peak_bytes, reply.peak_bytes)
                on_reply(reply)
                if isinstance(reply, (wire.Prepared, wire.ItemDone)):
                    return None
            if cancelled.is_set():
                raise CancelledError
            fault = memory.fault() or clock.fault()
            if fault:
                return _ended(child, fault)
    except (EOFError, OSError):
        return _died(child)
    except wire.WireError as error:
        return _ended(child, Fault("crash", f"the process no longer makes sense: {error}"))
    except BaseException:  # cancelled, or Ctrl-C where the batch runs in the main thread
        child.end()
        raise


def _ended(child: Child, fault: Fault) -> Fault:
    """`fault` with where the child was, after its end."""
    stack = child.stack()
    child.end()
    return replace(fault, traceback=stack)


def _died(child: Child) -> Fault:
    status = child.end()
    if status is None:
        return Fault("crash", "the process is gone, and so is the one that could say why")
    return describe_death(status, child.log.text())


class _Clock:
    """Counts wall time down; stands still during previews, which have their own."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._deadline = time.monotonic() + allowance.seconds
        self._left: float | None = None

    def remaining(self) -> float:
        return self._deadline - time.monotonic()

    def note(self, message: wire.Reply) -> None:
        if isinstance(message, wire.UnitDone) and message.preview:
            self._left = self.remaining()
            self._deadline = time.monotonic() + self._allowance.preview_seconds
        elif isinstance(message, wire.PreviewDone) and self._left is not None:
            self._deadline = time.monotonic() + self._left
            self._left = None

    def fault(self) -> Fault | None:
        if self.remaining() > 0.0:
            return None
        limit = self._allowance.seconds if self._left is None else self._allowance.preview_seconds
        return Fault("timeout", f"not finished within {limit:g} s")


class _Memory:
    """Compares what the child and its descendants hold with what the worker leaves of the budget."""

    def __init__(self, child: Child, budget_bytes: int) -> None:
        self._child = child
        self._budget_bytes = budget_bytes
        now = time.monotonic()
        self._next_look = now + POLL_SECONDS
        self._next_tree = now + TREE_SECONDS
        self._descendants: list[int] = []

    def fault(self) -> Fault | None:
        now = time.monotonic()
        if now < self._next_look:
            return None
        self._next_look = now + POLL_SECONDS
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
