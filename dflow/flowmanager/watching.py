"""Progress events for the monitor on the scheduler: the page ``/dflow`` counts what it is sent."""

from __future__ import annotations

import logging
from collections import Counter

from distributed import Client

from dflow.flowmanager.progress import ProgressEvent
from dflow.monitor import events
from dflow.monitor.plugin import DflowMonitor

_LOGGER = logging.getLogger(__name__)


class MonitorFeed:
    """A listener that passes a flow's progress on to its scheduler, as differences. A flow runs without it, too."""

    def __init__(self, client: Client, flow: str, run: str) -> None:
        self._client = client
        self._run = run
        self._sent: dict[str, ProgressEvent] = {}
        self._is_open = self._register()
        self._send(events.run_started(self._run, flow))

    def __call__(self, event: ProgressEvent) -> None:
        """Send what is new since the task's last event."""
        earlier = self._sent.get(event.task)
        if earlier is None and event.total is not None:
            self._send(events.task_total(self._run, event.task, event.total))
        done = [event.succeeded, event.skipped, event.reused]
        before = [earlier.succeeded, earlier.skipped, earlier.reused] if earlier is not None else [0, 0, 0]
        succeeded, skipped, reused = (now - then for now, then in zip(done, before, strict=True))
        failures = Counter(error.kind for error in event.errors)
        if succeeded or skipped or failures:
            self._send(
                events.batch_finished(
                    self._run,
                    event.task,
                    n_succeeded=succeeded,
                    n_skipped=skipped,
                    n_reused=reused,
                    failures=failures,
                    seconds=event.seconds - (earlier.seconds if earlier is not None else 0.0),
                )
            )
        self._sent[event.task] = event

    def close(self, status: str) -> None:
        """The run is over: "finished", "failed" or "cancelled"."""
        self._send(events.run_ended(self._run, status))

    def _register(self) -> bool:
        try:
            self._client.register_plugin(DflowMonitor())
        except Exception:
            _LOGGER.warning("This scheduler takes no monitor: the page /dflow is missing.", exc_info=True)
            return False
        return True

    def _send(self, event: events.Event) -> None:
        if self._is_open and self._client.status == "running":
            self._client.log_event(events.TOPIC, event)
