"""The scheduler plugin of the monitor: counts events and serves ``/dflow``, ``/dflow.json`` and gauges.

Works on a scheduler that is starting (``--preload dflow.monitor.preload``) and on a running one
(`Client.register_plugin`): the page is a Bokeh application that is added to the scheduler's HTTP application. These
parts of distributed are not a public interface; where they are missing, events are counted and there is no page.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping
from heapq import nlargest
from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin

from dflow.monitor.counters import FlowCounters, run_snapshot
from dflow.monitor.events import METRIC, TOPIC, WorkerMetric
from dflow.plaintext import get_logger
from dflow.webhosts import KnownHosts, guard

LOGGER = get_logger(__name__)

PLUGIN_NAME = "dflow-monitor"
WORKERS_SHOWN = 40
"""The number of workers on the page: those that use most memory."""

_NO_METRIC: WorkerMetric = {"host": "", "child_bytes": 0, "in_flight": []}
"""The metric of a worker that has not run a dflow task yet."""


class DflowMonitor(SchedulerPlugin):
    """Counts the events of all flows on a scheduler; a scheduler has one, also if several flows register it."""

    name = PLUGIN_NAME
    idempotent = True

    def __init__(self) -> None:
        self.counters = FlowCounters()
        self.scheduler: Any = None

    async def start(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        server = getattr(scheduler, "http_server", None)
        hosts = await asyncio.to_thread(KnownHosts, getattr(server, "address", ""))  # may query a name server
        add_pages(scheduler, self, hosts)

    def log_event(self, topic: str, msg: Any) -> None:
        if topic == TOPIC and isinstance(msg, dict):
            self.counters.apply(msg, time.monotonic())

    def snapshot(self) -> dict[str, Any]:
        """Return the content of ``/dflow.json``; takes some microseconds per worker and per run."""
        workers, in_flight = self._read_heartbeats()
        return {**self.counters.snapshot(time.monotonic(), in_flight), "workers": workers}

    def page_parts(self) -> dict[str, Any]:
        """Return the content of the page, in parts that change independently: one run, and workers in whole megabytes.

        Takes some microseconds per worker.
        """
        workers, in_flight = self._read_heartbeats()
        latest = self.counters.latest
        run = None
        if latest is not None:
            run = run_snapshot(latest, time.monotonic(), [file for file in in_flight if file["run"] == latest.run])
            del run["seconds"]
        return {
            "in_flight": run.pop("in_flight") if run is not None else [],
            "run": run,
            "n_workers": len(workers),
            "workers": [_bar(worker) for worker in nlargest(WORKERS_SHOWN, workers, key=_resident)],
        }

    def _read_heartbeats(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the workers and the files in flight, from the workers' last heartbeats."""
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
            age = max(now - state.last_seen, 0.0)
            for file in metric["in_flight"]:
                seconds = round(file["seconds"] + age, 1)
                in_flight.append({**file, "seconds": seconds, "host": host, "worker": address})
        return workers, in_flight


def _resident(worker: Mapping[str, Any]) -> int:
    return int(worker["bytes"] + worker["child_bytes"])


def _bar(worker: Mapping[str, Any]) -> dict[str, Any]:
    """Return a worker's bar on the page."""
    port = str(worker["worker"]).rpartition(":")[2]
    own, child = (round(worker[name] / 2**20) for name in ("bytes", "child_bytes"))
    return {"worker": f"{worker['host']}:{port}", "own": own, "child": child}


def add_pages(scheduler: Any, monitor: DflowMonitor, hosts: KnownHosts) -> bool:
    """Serve the monitor's numbers and pages from the scheduler, to requests of known hosts.

    Returns False if it has no dashboard for the pages.
    """
    application = getattr(scheduler, "http_application", None)
    if application is None:
        return False
    try:
        from dflow.monitor.routes import routes

        dashboard = next((each for each in application.applications if hasattr(each, "app_paths")), None)
        prefix = dashboard.prefix if dashboard is not None else ""
        guard(application, hosts, rf"{re.escape(prefix)}/(individual-)?dflow([./]|$)")
        application.add_handlers(r".*$", routes(monitor, prefix))
        if dashboard is None:
            LOGGER.info("the scheduler has no dashboard: no /dflow page")
            return False
        if "/dflow" not in dashboard.app_paths:  # the preload adds it before the dashboard is built
            _add_bokeh_pages(scheduler, application, prefix)
    except (ImportError, AttributeError, TypeError) as error:  # a version of distributed with other internals
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
    """Return the snapshot as JSON text."""
    return json.dumps(monitor.snapshot(), allow_nan=False)
