"""`Supervisor`: sends items to a child process one at a time, and returns an answer whatever happens to the child.

One request, one answer: the request is sent, the child is watched (its wall time, its memory, its life) until its last
reply has arrived, and a child that exceeds its allowance is ended. The item at fault is certain: a request that the
dead child had not read is sent to another one.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dflow.config import machine_share_bytes
from dflow.flowmanager.plan.batch import Batch, Limits
from dflow.flowmanager.worker import wire
from dflow.flowmanager.worker.faults import Fault, describe_death, split_stack
from dflow.flowmanager.worker.limits import POLL_SECONDS, Allowance, Clock, Memory
from dflow.flowmanager.worker.memory import resident_bytes
from dflow.flowmanager.worker.processes import Child, ChildStartError, ForkServer

_START_ATTEMPTS = 3
_LOAD_ATTEMPTS = 2


class CancelledError(Exception):
    """The request was cancelled; a child that was working on it is ended."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a request.

    replies : the child's, in order; the last is one of `wire.LAST` unless there is a fault
    fault : why the child ended before its last reply
    output : the lines that were printed, without stacks
    seconds : wall time of the request
    """

    replies: tuple[wire.Reply, ...]
    fault: Fault | None
    output: tuple[str, ...]
    seconds: float


class Supervisor:
    """One child at a time, started when it is needed, replaced when it has ended, is old or holds too much memory.

    Every method but `cancel` belongs to the thread that holds the supervisor; `cancel` may be called, and `child_pid`
    read, from any. `restarts` and `peak_bytes` are counted from the last `prepare`.
    """

    def __init__(self) -> None:
        self._fork_server: ForkServer | None = None
        self._child: Child | None = None
        self._limits = Limits()
        self._previews = False
        self._preparation: wire.Prepare | None = None
        self._cancelled = threading.Event()
        self._replaced_for: set[tuple[str, str]] = set()
        self._habits: set[tuple[str, str]] = set()
        self.restarts = 0
        self.peak_bytes = 0

    @property
    def child_pid(self) -> int | None:
        """The child's process id, None while there is no child."""
        child = self._child
        return child.pid if child is not None and not child.has_ended else None

    def prewarm(self, *, previews: bool) -> None:
        """Start a child unless there is one, which takes seconds the first time."""
        self._previews = previews
        self._living_child()

    def prepare(self, batch: Batch) -> Answer:
        """Load the batch's function in the child; the answer's fault, if any, says why it cannot be loaded.

        Raises
        ------
        ChildStartError
            If no child can be started.
        CancelledError
        """
        self._limits = batch.limits
        self._previews = batch.export_visualization
        self.restarts = self.peak_bytes = 0
        served = self._child.preparation if self._child is not None else None
        if served is not None and served.batch.imports != batch.imports:
            self.retire()
        call = batch.call
        bare = replace(batch, items=(), call=replace(call, function=b""))
        self._preparation = wire.Prepare(call.digest, call.function, bare, tuple(sys.path))
        for _ in range(_LOAD_ATTEMPTS):
            answer = self._load(self._living_child())
            if answer.replies:  # the function was loaded, or raised; no child died of it
                break
        return answer

    def ask(self, request: wire.Run, allowance: Allowance) -> Answer:
        """Run one item in the child, or in another where the child ended before it had read the request.

        Raises like `prepare`.
        """
        while True:
            child = self._living_child()
            if child.preparation is not self._preparation:
                loading = self._load(child)
                if loading.fault is not None:  # an earlier child could load it
                    message = f"while loading the task's function: {loading.fault.message}"
                    return replace(loading, fault=replace(loading.fault, message=message))
            child.n_items += 1
            answer = self._converse(child, request, allowance)
            excused = (
                not child.has_read_request and child.n_items > 1
            )  # a fresh child's fault counts: otherwise this would never end
            if answer.fault is None or not excused:
                return self._without_leftovers(child, answer)

    def _without_leftovers(self, child: Child, answer: Answer) -> Answer:
        """Replace a child in which an item has left what cannot be restored; the answer's output tells it.

        Once per cause: where the first item of the new child leaves the same, the task's items are like that, and each
        finds what it would leave itself.
        """
        done = answer.replies[-1] if answer.replies else None
        if not isinstance(done, wire.ItemDone) or not done.left or self._preparation is None:
            return answer
        causes = {(self._preparation.digest, cause) for cause in done.left}
        causes -= self._habits
        if child.n_items == 1:
            again = causes & self._replaced_for
            self._habits |= again
            causes -= again
        if not causes:
            return answer
        self._replaced_for |= causes
        self.retire()
        named = " and ".join(sorted(cause for _digest, cause in causes))
        line = f"dflow: this item has left {named}: the next one runs in a fresh process"
        return replace(answer, output=(*answer.output, line))

    def retire(self) -> None:
        """End the child; the next item runs in a fresh one."""
        child, self._child = self._child, None
        if child is not None and not child.has_ended:
            child.end()

    def close(self) -> None:
        """End the child and the fork server."""
        self.retire()
        fork_server, self._fork_server = self._fork_server, None
        if fork_server is not None:
            fork_server.close()

    def cancel(self) -> None:
        """Make the request that is under way, or the next one, raise `CancelledError`, until `resume`."""
        self._cancelled.set()

    def resume(self) -> None:
        """Undo `cancel`."""
        self._cancelled.clear()

    def _load(self, child: Child) -> Answer:
        """Load the batch's function in `child`; its code is sent once to each child."""
        preparation = self._preparation
        assert preparation is not None
        request = replace(preparation, function=b"") if preparation.digest in child.functions else preparation
        allowance = Allowance(self._limits.startup_seconds, machine_share_bytes())
        answer = self._converse(child, request, allowance)
        if answer.fault is not None:
            return answer
        (reply,) = answer.replies
        assert isinstance(reply, wire.Prepared)
        if reply.error is not None:  # half of the user's modules may be imported
            self.retire()
            return replace(answer, fault=reply.error)
        child.functions.add(preparation.digest)
        child.preparation = preparation
        return answer

    def _converse(self, child: Child, request: wire.Request, allowance: Allowance) -> Answer:
        if self._cancelled.is_set():
            raise CancelledError
        try:
            answer = converse(child, request, allowance, self._cancelled)
        except BaseException:  # cancelled, or Ctrl-C where the batch runs in the main thread
            self.retire()
            raise
        finally:
            self.peak_bytes = max(self.peak_bytes, child.peak_bytes)
        self.restarts += answer.fault is not None and child.has_read_request
        return answer

    def _living_child(self) -> Child:
        """The child, or a new one where it has ended, is old or holds too much memory."""
        if self._child is not None and (self._child.has_ended or self._is_worn(self._child)):
            self.retire()
        for attempt in range(_START_ATTEMPTS):
            if self._child is not None:
                break
            try:
                self._fork_server = self._fork_server or ForkServer(
                    self._limits.startup_seconds, previews=self._previews
                )
                self._child = Child(self._fork_server, self._limits.max_log_bytes)
            except OSError as error:
                self.close()
                if attempt == _START_ATTEMPTS - 1:
                    raise ChildStartError(str(error)) from error
        assert self._child is not None
        return self._child

    def _is_worn(self, child: Child) -> bool:
        """Whether it has run its number of items, or holds memory that it does not release."""
        limits = self._limits
        if child.n_items >= limits.max_files_per_child:
            return True
        if child.peak_bytes - child.first_bytes <= limits.max_growth_bytes:
            return False
        child.peak_bytes = resident_bytes(child.pid)
        return child.peak_bytes - child.first_bytes > limits.max_growth_bytes


def converse(child: Child, request: wire.Request, allowance: Allowance, cancelled: threading.Event) -> Answer:
    """Send one request to `child` and wait for its answer; a child that does not give one is ended.

    A child that ends by itself, or is ended here, may have sent its last reply before: then there is no fault.

    Raises
    ------
    CancelledError
        When `cancelled` is set before the answer is complete; like any other exception it leaves the child to be ended.
    """
    started = time.monotonic()
    replies: list[wire.Reply] = []
    try:
        child.send(wire.packed(request), allowance.seconds)
        fault = _receive(child, request, replies, allowance, cancelled)
    except (EOFError, OSError):
        fault = describe_death(child.end(), child.output)
    except wire.WireError as error:
        fault = Fault("crash", f"the process sent what is not a message: {error}", traceback=child.stack())
    if fault is not None:
        if not child.has_ended:
            child.end()
        with contextlib.suppress(wire.WireError):
            for reply in child.last_replies():
                _append(reply, replies, request)
    if _is_complete(replies):
        fault = None
        _finish(child, replies[-1])
    return Answer(tuple(replies), fault, _lines(child.take_output()), time.monotonic() - started)


def _receive(
    child: Child,
    request: wire.Request,
    replies: list[wire.Reply],
    allowance: Allowance,
    cancelled: threading.Event,
) -> Fault | None:
    """Append replies to `replies` until the last has arrived; return the fault where an allowance is used up before."""
    clock, memory = Clock(allowance), Memory(child, allowance.memory_bytes)
    while True:
        for reply in child.wait(min(POLL_SECONDS, clock.remaining())):
            clock.note(reply)
            _append(reply, replies, request)
        if _is_complete(replies):
            return None
        if cancelled.is_set():
            raise CancelledError
        fault = memory.fault() or clock.fault()
        if fault is not None:
            return replace(fault, traceback=child.stack())


def _append(reply: wire.Reply, replies: list[wire.Reply], request: wire.Request) -> None:
    if isinstance(reply, wire.Prepared) is not isinstance(request, wire.Prepare) or _is_complete(replies):
        raise wire.WireError(f"{type(reply).__name__} does not answer {type(request).__name__}")
    replies.append(reply)


def _is_complete(replies: Sequence[wire.Reply]) -> bool:
    return bool(replies) and isinstance(replies[-1], wire.LAST)


def _finish(child: Child, last: wire.Reply) -> None:
    """Note the child's peak memory from its last reply, and end a child that cannot serve another request."""
    leaving = False
    if isinstance(last, wire.ItemDone):
        child.peak_bytes = max(child.peak_bytes, last.peak_bytes)
        leaving = last.leaving
    if (leaving or child.has_surplus) and not child.has_ended:
        child.end()


def _lines(printed: str) -> tuple[str, ...]:
    """Return the lines that a request printed, without stacks."""
    return tuple(split_stack(printed)[0].strip().splitlines()) if printed else ()
