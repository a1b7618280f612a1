"""Progress for the monitor on the scheduler, which the page ``/dflow`` shows."""

from __future__ import annotations

import time
from collections import Counter

from distributed import Client

from dflow.flowmanager.reports.progress import ProgressEvent
from dflow.monitor import events
from dflow.monitor.plugin import DflowMonitor
from dflow.plaintext import get_logger, plain

_LOGGER = get_logger(__name__)

SEND_SECONDS = 1.0
"""Least time between two messages of a run: the page is drawn once per second."""

ANSWER_SECONDS = 5.0
"""Longest wait for a scheduler that does not answer; the flow then goes on without the message."""


class MonitorFeed:
    """A listener that sends a flow's progress to the scheduler. A flow also runs without it. One thread."""

    def __init__(self, client: Client, flow: str, run: str) -> None:
        self._client = client
        self._run = run
        self._unsent: dict[str, ProgressEvent] = {}
        self._failures: dict[str, Counter[str]] = {}
        self._sent_at = time.monotonic()
        self._is_open = self._register()
        self._send(events.run_started(self._run, flow))

    def __call__(self, event: ProgressEvent) -> None:
        """Keep an event, and send what is new where the last message is old enough."""
        self._unsent[event.task] = event
        if event.phase == "started":  # also a second time: a task whose stores were found damaged runs again
            self._failures.pop(event.task, None)
        self._failures.setdefault(event.task, Counter()).update(error.kind for error in event.errors)
        self.flush()

    def flush(self, *, now: bool = False) -> None:
        """Send what is new, unless the last message is too young."""
        if self._unsent and (now or time.monotonic() - self._sent_at >= SEND_SECONDS):
            self._send(events.progress_made(self._run, *self._take_unsent()))

    def close(self, status: str) -> None:
        """Send the end of the run: "finished", "failed" or "cancelled"."""
        self._send(events.run_ended(self._run, status, *self._take_unsent()))

    def _take_unsent(self) -> tuple[list[events.TaskState], Counter[str]]:
        states = [_state(event) for event in self._unsent.values()]
        self._unsent.clear()
        return states, sum(self._failures.values(), Counter[str]())

    def _register(self) -> bool:
        try:
            self._client.register_plugin(DflowMonitor())
        except Exception:
            _LOGGER.warning("This scheduler takes no monitor: the page /dflow is missing.", exc_info=True)
            return False
        return True

    def _send(self, event: events.Event) -> None:
        self._sent_at = time.monotonic()
        if not self._is_open or self._client.status != "running":
            return
        try:
            log_event = self._client.scheduler.log_event
            self._client.sync(log_event, topic=events.TOPIC, msg=event, callback_timeout=ANSWER_SECONDS)
        except (OSError, TimeoutError) as error:  # the engine notices a scheduler that stays unreachable
            _LOGGER.debug("the monitor was not reached: %s", error)


def _state(event: ProgressEvent) -> events.TaskState:
    return {
        "task": plain(event.task),
        "unit": event.unit,
        "total": event.total,
        "succeeded": event.succeeded,
        "skipped": event.skipped,
        "failed": event.failed,
        "reused": event.reused,
        "bytes": event.n_bytes,
        "seconds": round(event.seconds, 3),
        "finished": event.phase == "finished",
    }
