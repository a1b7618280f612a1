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

    The allowance is each request's. Returns the fault that ended the child: its cause is the oldest request without a
    last reply. Otherwise None, at the end or where the child has ended (`Child.has_ended`) and no request is the cause:
    it left, or had answered by the time it was killed. Of the requests without a last reply the oldest may have been
    begun and must be done again, the others were not begun.

    Raises
    ------
    CancelledError
        When `cancelled` is set meanwhile.
    """
    talk = _Conversation(child, requests, allowance, on_reply)
    woken = time.monotonic()
    try:
        while talk.ask():
            n_done = talk.look()
            if talk.is_leaving:
                child.end()
                return None
            if cancelled.is_set() and (talk.n_under_way or not n_done):
                raise CancelledError
            fault = talk.fault()
            if fault:
                return talk.end(replace(fault, traceback=child.stack()))
            if n_done:
                before, woken = woken, time.monotonic()
                talk.adapt(n_done * POLL_SECONDS / (woken - before))
    except (EOFError, OSError):
        return talk.died()
    except wire.WireError as error:
        fault = Fault("crash", f"the process no longer makes sense: {error}")
        return talk.end(replace(fault, traceback=child.stack()))
    except BaseException:  # cancelled, or Ctrl-C where the batch runs in the main thread
        child.end()
        raise
    return None


class _Conversation:
    """Requests to one child and its replies, with clock and scales. One thread."""

    def __init__(
        self,
        child: Child,
        requests: Iterator[wire.Request],
        allowance: Allowance,
        on_reply: Callable[[wire.Reply], None],
    ) -> None:
        self._child = child
        self._ahead = Ahead(requests)
        self._allowance = allowance
        self._on_reply = on_reply
        self._clock, self._memory = _Clock(allowance), _Memory(child, allowance.memory_bytes)
        self.adapt = self._ahead.adapt
        self.is_leaving = False

    @property
    def n_under_way(self) -> int:
        """Requests that are sent and not answered."""
        return self._ahead.n_under_way

    def ask(self) -> bool:
        """Send what can be sent; whether there is anything to wait for."""
        data = self._ahead.take()
        if data:
            with contextlib.suppress(OSError):  # it is gone, but may have answered before: `look` will tell
                self._child.ask(data, self._allowance.seconds)
        return self.n_under_way > 0

    def look(self) -> int:
        """Wait for replies, for a moment at most, and hand them on; how many requests are done with that."""
        return self._take(self._child.wait(min(POLL_SECONDS, self._clock.remaining())))

    def fault(self) -> Fault | None:
        """What the oldest request does wrong by now."""
        return self._memory.fault() or self._clock.fault()

    def end(self, fault: Fault) -> Fault | None:
        """End the child, which may have gone on until now; None where an answer to the fault's request came in time."""
        n_done = 0
        self._child.end()
        with contextlib.suppress(wire.WireError):
            n_done = self._take(self._child.last_replies())
        return None if n_done else self._blamed(fault)

    def died(self) -> Fault | None:
        """The fault of a child that has ended by itself, all of whose replies are taken."""
        status = self._child.end()
        if status is None:
            return self._blamed(Fault("crash", "the process is gone, and so is the one that could say why"))
        return self._blamed(describe_death(status, self._child.log.text()))

    def _blamed(self, fault: Fault) -> Fault | None:
        return fault if self.n_under_way else None

    def _take(self, replies: list[wire.Reply]) -> int:
        n_done = 0
        for reply in replies:
            if isinstance(reply, wire.Leaving):
                self.is_leaving = True
                continue
            self._clock.note(reply)
            if isinstance(reply, wire.ItemDone):
                self._child.peak_bytes = max(self._child.peak_bytes, reply.peak_bytes)
            if isinstance(reply, wire.LAST):
                self._memory.begin()
                self._ahead.answered()
                n_done += 1
            self._on_reply(reply)
        return n_done


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
