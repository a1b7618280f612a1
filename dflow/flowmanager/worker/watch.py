"""Requests to a child under watch: time, memory, life."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from dflow.flowmanager.worker import wire
from dflow.flowmanager.worker.ahead import Ahead
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
    requests: Iterator[wire.Request],
    allowance: Allowance,
    on_reply: Callable[[wire.Reply], None],
    cancelled: threading.Event,
) -> Fault | None:
    """Ask `child`, somewhat ahead of its answers, and hand each reply to `on_reply` until the last request is done.

    The allowance is each request's. Returns None at the end, or the fault that ended the child, which must not be used
    again: its cause is the oldest request without a last reply, the later ones were not begun.

    Raises
    ------
    CancelledError
        When `cancelled` is set meanwhile.
    """
    ahead = Ahead(requests)
    clock, memory = _Clock(allowance), _Memory(child, allowance.memory_bytes)
    woken = time.monotonic()
    try:
        while _ask(child, ahead, allowance):
            n_done = 0
            for reply in child.wait(min(POLL_SECONDS, clock.remaining())):
                clock.note(reply)
                if isinstance(reply, wire.ItemDone):
                    child.peak_bytes = max(child.peak_bytes, reply.peak_bytes)
                if isinstance(reply, wire.LAST):
                    memory.begin()
                    ahead.answered()
                    n_done += 1
                on_reply(reply)
            if cancelled.is_set() and (ahead.n_under_way or not n_done):
                raise CancelledError
            fault = memory.fault() or clock.fault()
            if fault:
                return _ended(child, fault)
            if n_done:
                before, woken = woken, time.monotonic()
                ahead.adapt(n_done * POLL_SECONDS / (woken - before))
    except (EOFError, OSError):
        return _died(child)
    except wire.WireError as error:
        return _ended(child, Fault("crash", f"the process no longer makes sense: {error}"))
    except BaseException:  # cancelled, or Ctrl-C where the batch runs in the main thread
        child.end()
        raise
    return None


def _ask(child: Child, ahead: Ahead, allowance: Allowance) -> bool:
    """Send what can be sent; whether there is anything to wait for."""
    data = ahead.take()
    if data:
        with contextlib.suppress(OSError):  # it is gone, but may have answered before: `wait` will tell
            child.ask(data, allowance.seconds)
    return ahead.n_under_way > 0


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
    """Counts each request's wall time down; stands still during previews, which have their own.

    A request begins when the answer to the one before is seen: up to `POLL_SECONDS` late, never early.
    """

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._begin()

    def _begin(self) -> None:
        self._deadline = time.monotonic() + self._allowance.seconds
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
        elif isinstance(message, wire.LAST):
            self._begin()

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
        self.begin()

    def begin(self) -> None:
        """The next request's turn: what is done within a moment is not looked at."""
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
