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
from dflow.monitor.events import METRIC, TOPIC, WorkerMetric

LOGGER = logging.getLogger(__name__)

PLUGIN_NAME = "dflow-monitor"
_NO_METRIC: WorkerMetric = {"host": "", "child_bytes": 0, "in_flight": []}
"""Of a worker that has not done anything for dflow yet."""


class DflowMonitor(SchedulerPlugin):
    """Counts the events of all flows on this scheduler; one for each scheduler, however many flows register it."""

    name = PLUGIN_NAME
    idempotent = True

    def __init__(self) -> None:
        self.counters = FlowCounters()
        self.scheduler: Any = None

    async def start(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        add_pages(scheduler, self)

    def log_event(self, topic: str, msg: Any) -> None:
        if topic == TOPIC and isinstance(msg, dict):
            self.counters.apply(msg, time.monotonic())

    def snapshot(self) -> dict[str, Any]:
        """What the page and ``/dflow.json`` show. Costs some microseconds a worker."""
        workers, in_flight = [], []
        now = time.time()
        for address, state in self.scheduler.workers.items():
            metric = state.metrics.get(METRIC) or _NO_METRIC
            host = metric["host"] or state.host
            workers.append(
                {
                    "worker": address,
                    "host": host,
                    "bytes": int(state.metrics.get("memory", 0)),
                    "limit": int(state.memory_limit or 0),
                    "child_bytes": int(metric["child_bytes"]),
                }
            )
            since = max(now - state.last_seen, 0.0)
            for flying in metric["in_flight"]:
                seconds = round(flying["seconds"] + since, 1)
                in_flight.append({**flying, "seconds": seconds, "host": host, "worker": address})
        return {**self.counters.snapshot(time.monotonic(), in_flight), "workers": workers}


def add_pages(scheduler: Any, monitor: DflowMonitor) -> bool:
    """Serve the monitor's numbers and pages from the scheduler; False where its dashboard is off: then no pages."""
    application = getattr(scheduler, "http_application", None)
    if application is None:
        return False
    try:
        from dflow.monitor.routes import routes

        dashboard = next((each for each in application.applications if hasattr(each, "app_paths")), None)
        prefix = dashboard.prefix if dashboard is not None else ""
        application.add_handlers(r".*$", routes(monitor, prefix))
        if dashboard is None:
            LOGGER.info("the scheduler has no dashboard: no /dflow page")
            return False
        if "/dflow" not in dashboard.app_paths:  # the preload puts it there before the dashboard is built
            _add_bokeh_pages(scheduler, application, prefix)
    except (ImportError, AttributeError, TypeError) as error:  # distributed's insides have changed
        LOGGER.warning("no /dflow page on this scheduler: %s", error)
        return False
    return True


def _add_bokeh_pages(scheduler: Any, application: Any, prefix: str) -> None:
    from distributed.dashboard.core import BokehApplication
    from tornado.ioloop import IOLoop

    from dflow.monitor.page import PATHS, flow_document

    pages = BokehApplication(dict.fromkeys(PATHS, flow_document), scheduler, prefix=prefix)
    application.add_application(pages)
    pages.initialize(IOLoop.current())


def as_json(monitor: DflowMonitor) -> str:
    """The snapshot as JSON text."""
    return json.dumps(monitor.snapshot(), allow_nan=False)
