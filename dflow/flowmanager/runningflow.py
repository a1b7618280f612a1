"""A flow that runs in the background: for notebooks, services and scripts that do something else meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from dflow.errors import FlowCancelledError
from dflow.flowmanager.reports.flowoutput import FlowOutput
from dflow.flowmanager.reports.progress import Listener, ProgressEvent

State = Literal["running", "finished", "failed", "cancelled"]
Result = tuple[FlowOutput, dict[str, Any], str]


@dataclass(frozen=True, slots=True)
class FlowStatus:
    """The progress of a flow: its `state`, and the latest event of each task that has begun, in order."""

    state: State
    tasks: tuple[ProgressEvent, ...]

    @property
    def failed(self) -> int:
        """Files that have failed so far, in all tasks."""
        return sum(event.failed for event in self.tasks)


class RunningFlow:
    """A run that `Flow.start` began. Any thread may call its methods."""

    def __init__(
        self,
        run: Callable[[Listener], Result],
        cancel: Callable[[], None],
        ended: Callable[[BaseException | None], None] = lambda error: None,
    ) -> None:
        self._run = run
        self._cancel = cancel
        self._ended = ended
        self._events: dict[str, ProgressEvent] = {}
        self._result: Result | None = None
        self._error: BaseException | None = None
        self._is_cancelled = False
        self._thread = threading.Thread(target=self._work, name="dflow-flow", daemon=True)
        self._thread.start()

    def status(self) -> FlowStatus:
        """Return the progress, without waiting."""
        if self._thread.is_alive():
            state: State = "running"
        elif isinstance(self._error, FlowCancelledError):
            state = "cancelled"
        else:
            state = "failed" if self._error is not None else "finished"
        return FlowStatus(state, tuple(self._events.values()))

    def wait(self, timeout: float | None = None) -> Result:
        """Return what `Flow.process` returns, once the run has ended.

        Raises
        ------
        TimeoutError
            If it still runs after `timeout` seconds; it goes on.
        FlowError
            What `Flow.process` would have raised.
        """
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError(f"the flow still runs after {timeout:g} s")
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result

    def cancel(self) -> None:
        """Stop it; what is finished is kept, and `wait` raises `FlowCancelledError`."""
        self._is_cancelled = True
        self._cancel()

    def _work(self) -> None:
        try:
            self._result = self._run(self._note)
        except BaseException as error:
            self._error = error
        self._ended(self._error)

    def _note(self, event: ProgressEvent) -> None:
        self._events[event.task] = event
        if self._is_cancelled:  # `cancel` may have come before there was anything to stop
            self._cancel()

    def __repr__(self) -> str:
        status = self.status()
        done = ", ".join(f"{e.task} {e.done}/{'?' if e.total is None else e.total}" for e in status.tasks)
        return f"<RunningFlow {status.state}{': ' + done if done else ''}>"
