"""`Supervisor`: items run in a warm child that may crash, hang or swell, and the worker always gets an answer."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from dflow.flowmanager.plan.batch import Batch, Limits
from dflow.flowmanager.worker import wire
from dflow.flowmanager.worker.faults import Fault, split_stack
from dflow.flowmanager.worker.limits import machine_share_bytes, resident_bytes
from dflow.flowmanager.worker.processes import Child, ChildStartError, Nursery
from dflow.flowmanager.worker.watch import Allowance, CancelledError, converse
from dflow.records import ErrorRecord

_START_ATTEMPTS = 3


class Supervisor:
    """One child at a time, started when it is needed, replaced when it is dead, old or fat.

    Every method but `cancel` belongs to the thread that holds the supervisor; `cancel` may be called, and `child_pid`
    read, from any.
    """

    def __init__(self) -> None:
        self._nursery: Nursery | None = None
        self._child: Child | None = None
        self._busy: Child | None = None
        self._limits = Limits()
        self._previews = False
        self._preparation: wire.Prepare | None = None
        self._cancelled = threading.Event()
        self.restarts = 0
        self.peak_bytes = 0
        self.output: tuple[str, ...] = ()

    @property
    def child_pid(self) -> int | None:
        """The child's process id, None when there is none now."""
        child = self._busy or self._child
        return child.pid if child else None

    def prewarm(self, *, previews: bool) -> None:
        """Have a child ready, which takes seconds the first time."""
        self._previews = previews
        self._living_child()

    def prepare(self, batch: Batch) -> Fault | ErrorRecord | None:
        """Tell the child, and each of its successors, which function comes next; what is wrong with that function.

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
        return self._prepare(self._living_child())

    def run(
        self,
        requests: Iterable[wire.Run],
        allowance: Allowance,
        on_reply: Callable[[wire.Reply], None],
    ) -> Fault | None:
        """Some items, one after the other, in one child or several.

        Replies go to `on_reply`, those of an item before those of the next; with an item's last one, an `ItemDone`,
        `output` is what the item printed. A fault when the child is gone: the first item without an `ItemDone` is its
        cause, `output` what that one printed, and the later ones were not begun. None when all are done, or where the
        child is gone and no item is the cause: what has no `ItemDone` is to be asked for again, and one at least has
        got one. Raises like `prepare`.
        """
        waiting = deque(requests)
        while waiting:
            child = self._living_child()
            if child.preparation is not self._preparation:
                problem = self._prepare(child)
                if problem is not None:  # it could be loaded a moment ago
                    message = f"while loading the task's function: {problem.message}"
                    return problem if isinstance(problem, Fault) else Fault(problem.kind, message)
            fault = self._ask(child, self._until_spent(child, waiting), allowance, on_reply)
            if child.has_ended:
                return fault
        return None

    def retire(self) -> None:
        """End the child; the next item gets a fresh one."""
        child, self._child = self._child, None
        if child is not None:
            child.end()

    def close(self) -> None:
        """End the child and what it comes from."""
        self.retire()
        nursery, self._nursery = self._nursery, None
        if nursery is not None:
            nursery.close()

    def cancel(self) -> None:
        """Make the request that is under way, or the next one, raise `CancelledError`, until `resume`."""
        self._cancelled.set()

    def resume(self) -> None:
        """Forget that `cancel` was called."""
        self._cancelled.clear()

    def _until_spent(self, child: Child, waiting: deque[wire.Run]) -> Iterator[wire.Run]:
        """What `child` is to do of what waits, which it leaves."""
        while waiting and not self._is_spent(child):
            child.n_items += 1
            yield waiting.popleft()

    def _ask(
        self,
        child: Child,
        requests: Iterator[wire.Request],
        allowance: Allowance,
        on_reply: Callable[[wire.Reply], None],
    ) -> Fault | None:
        if self._cancelled.is_set():  # or a child that answers at once would be asked all the same
            raise CancelledError

        def take(reply: wire.Reply) -> None:
            if isinstance(reply, wire.LAST):
                self.output = _lines(child.log.take())
            on_reply(reply)

        self._child, self._busy = None, child  # whatever happens now, a child that has not answered is not used again
        try:
            fault = converse(child, requests, allowance, take, self._cancelled)
        finally:
            self._busy = None
        self.peak_bytes = max(self.peak_bytes, child.peak_bytes)
        if not child.has_ended:
            self._child = child
        if fault is not None:
            self.output = _lines(child.log.text())
            self.restarts += 1
        return fault

    def _prepare(self, child: Child) -> Fault | ErrorRecord | None:
        preparation = self._preparation
        assert preparation is not None
        if preparation.digest in child.functions:
            message = replace(preparation, function=b"")
        else:
            message = preparation
        replies: list[wire.Reply] = []
        allowance = Allowance(self._limits.startup_seconds, machine_share_bytes())
        fault = self._ask(child, iter((message,)), allowance, replies.append)
        if fault is None and child.has_ended:
            fault = Fault("crash", "the process did not outlast the loading of the task's function")
        if fault is not None:
            return fault
        child.functions.add(preparation.digest)
        child.preparation = preparation
        answer = replies[-1]
        return answer.error if isinstance(answer, wire.Prepared) else None

    def _living_child(self) -> Child:
        """The child, or a new one where it is gone, old or fat."""
        if self._child is not None and self._is_worn(self._child):
            self.retire()
        for attempt in range(_START_ATTEMPTS):
            if self._child is not None:
                break
            try:
                self._nursery = self._nursery or Nursery(self._limits.startup_seconds, previews=self._previews)
                self._child = Child(self._nursery, self._limits.max_log_bytes)
            except OSError as error:
                self.close()
                if attempt == _START_ATTEMPTS - 1:
                    raise ChildStartError(str(error)) from error
        assert self._child is not None
        return self._child

    def _is_worn(self, child: Child) -> bool:
        return self._is_spent(child) or not child.is_alive()

    def _is_spent(self, child: Child) -> bool:
        """Whether its time has come: too many items, or too much memory that it does not give back."""
        limits = self._limits
        if child.n_items >= limits.max_files_per_child:
            return True
        if child.peak_bytes - child.first_bytes <= limits.max_growth_bytes:
            return False
        child.peak_bytes = resident_bytes(child.pid)
        return child.peak_bytes - child.first_bytes > limits.max_growth_bytes


def _lines(printed: str) -> tuple[str, ...]:
    """What a request printed, without stacks."""
    return tuple(split_stack(printed)[0].strip().splitlines()) if printed else ()
