"""The scheduler's side of monitoring: counts events, serves ``/dflow``, ``/dflow.json`` and, where possible, gauges.

Works on a scheduler that is starting (``--preload dflow.monitor.preload``) and on one that has run for days
(`Client.register_plugin`): the page is a Bokeh application that is added to the scheduler's HTTP application. Those
parts of distributed are not promised to stay; where they are missing, counting goes on and the page is left out.
"""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin

from dflow.monitor.counters import FlowCounters
from dflow.monitor.events import TOPIC

LOGGER = logging.getLogger(__name__)

PLUGIN_NAME = "dflow-monitor"


class DflowMonitor(SchedulerPlugin):
    """Counts the events of all flows on this scheduler; one for each scheduler, however many flows register it."""

    name = PLUGIN_NAME
    idempotent = True

    def __init__(self) -> None:
        self.counters = FlowCounters()
        self.scheduler: Any = None
        self.busy_seconds = 0.0

    async def start(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        add_pages(scheduler, self)

    def log_event(self, topic: str, msg: Any) -> None:
        if topic == TOPIC and isinstance(msg, dict):
            began = time.perf_counter()
            self.counters.apply(msg, time.monotonic())
            self.busy_seconds += time.perf_counter() - began

    def remove_worker(self, scheduler: Any, worker: str, **_: Any) -> None:
        self.counters.forget_worker(worker)

    def snapshot(self) -> dict[str, Any]:
        """What the page and ``/dflow.json`` show."""
        return {**self.counters.snapshot(time.monotonic()), "workers": self.worker_memory()}

    def worker_memory(self) -> list[dict[str, Any]]:
        """Address, host, resident bytes and limit of each worker; its child's bytes where one is at work."""
        run = self.counters.current()
        children = {f.worker: f.child_bytes for f in run.in_flight.values()} if run else {}
        return [
            {
                "worker": address,
                "host": state.host,
                "bytes": int(state.metrics.get("memory", 0)),
                "limit": int(state.memory_limit or 0),
                "child_bytes": children.get(address, 0),
            }
            for address, state in self.scheduler.workers.items()
        ]


def add_pages(scheduler: Any, monitor: DflowMonitor) -> bool:
    """Serve the monitor's pages from the scheduler; False where this scheduler has no dashboard to add them to."""
    application = getattr(scheduler, "http_application", None)
    if application is None or "dashboard" not in getattr(scheduler, "services", {}):
        LOGGER.info("the scheduler has no dashboard: no /dflow page")
        return False
    try:
        from dflow.monitor.routes import routes

        application.add_handlers(r".*$", routes(monitor))
        _add_bokeh_page(scheduler, application)
    except (ImportError, AttributeError, TypeError) as error:  # distributed's insides have changed
        LOGGER.warning("no /dflow page on this scheduler: %s", error)
        return False
    return True


def _add_bokeh_page(scheduler: Any, application: Any) -> None:
    from distributed.dashboard.core import BokehApplication
    from distributed.dashboard.scheduler import applications
    from tornado.ioloop import IOLoop

    from dflow.monitor.page import flow_document

    if applications.get("/dflow") is flow_document:  # the preload put it there before the dashboard was built
        return
    pages = BokehApplication({"/dflow": flow_document}, scheduler, prefix="")
    application.add_application(pages)
    pages.initialize(IOLoop.current())


def monitor_of(scheduler: Any) -> DflowMonitor | None:
    """The scheduler's monitor, None where none is registered."""
    plugin = scheduler.plugins.get(PLUGIN_NAME)
    return plugin if isinstance(plugin, DflowMonitor) else None


def as_json(monitor: DflowMonitor) -> str:
    """The snapshot as JSON text."""
    return json.dumps(monitor.snapshot(), allow_nan=False)
