"""``/dflow.json``, ``/dflow/live`` and ``/dflow/metrics`` on the scheduler's HTTP server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tornado import web, websocket

from dflow.monitor.plugin import DflowMonitor, as_json


class SnapshotHandler(web.RequestHandler):
    """Serves the numbers of the page as JSON."""

    def initialize(self, monitor: DflowMonitor) -> None:
        self.monitor = monitor

    def get(self) -> None:
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.write(as_json(self.monitor))


class LiveHandler(websocket.WebSocketHandler):
    """Serves one browser tab: each message of the page is a request, the reply holds what changed since the last one.

    A message costs the scheduler a third of a request for ``/dflow.json``; a hidden page sends none.
    """

    def initialize(self, monitor: DflowMonitor) -> None:
        self.monitor = monitor
        self.shown: dict[str, Any] = {}

    def check_origin(self, origin: str) -> bool:
        """Accept every origin: the guard (`dflow.webhosts`) has refused the others."""
        return True

    def on_message(self, message: str | bytes) -> None:
        parts = self.monitor.page_parts()
        changes = {name: part for name, part in parts.items() if name not in self.shown or self.shown[name] != part}
        self.shown = parts
        sent = self.write_message(json.dumps(changes, allow_nan=False))
        sent.add_done_callback(lambda done: done.exception())  # an error is expected if the tab was closed meanwhile


class MetricsHandler(web.RequestHandler):
    """Serves the numbers as Prometheus gauges, if prometheus_client is installed."""

    def initialize(self, monitor: DflowMonitor) -> None:
        self.monitor = monitor

    def get(self) -> None:
        import prometheus_client

        registry = prometheus_client.CollectorRegistry()
        by_name: dict[str, Any] = {}
        for name, text, labels, value in gauges(self.monitor.snapshot()):
            if name not in by_name:
                by_name[name] = prometheus_client.Gauge(name, text, list(labels), registry=registry)
            by_name[name].labels(**labels).set(value)
        self.set_header("Content-Type", prometheus_client.CONTENT_TYPE_LATEST)
        self.write(prometheus_client.generate_latest(registry))


def gauges(snapshot: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, str], float]]:
    """Yield (name, help, labels, value) of every gauge, for the runs that have not ended."""
    for run in snapshot["runs"]:
        if run["status"] != "running":
            continue
        flow = {"flow": run["flow"], "run": run["run"]}
        for task, counts in run["tasks"].items():
            for state in ("succeeded", "skipped", "failed", "waiting"):
                labels = {**flow, "task": task, "state": state}
                yield "dflow_items", "Items of a task by state", labels, float(counts[state])
        for kind, n in run["failures"].items():
            yield "dflow_failures", "Failed items by kind", {**flow, "kind": kind}, float(n)
        yield "dflow_files_per_second", "Items finished per second", flow, run["files_per_second"]
        yield "dflow_files_in_flight", "Files that have taken over a second so far", flow, float(run["n_in_flight"])
        yield "dflow_bytes_encoded", "Bytes of samples written", flow, float(run["bytes_encoded"])
        yield "dflow_bytes_merged", "Bytes of shards written", flow, float(run["bytes_merged"])
    for worker in snapshot["workers"]:
        labels = {"worker": worker["worker"], "host": worker["host"]}
        yield "dflow_worker_bytes", "Resident memory of a worker", labels, float(worker["bytes"])
        yield "dflow_child_bytes", "Resident memory of a worker's children", labels, float(worker["child_bytes"])


def routes(
    monitor: DflowMonitor, prefix: str = ""
) -> list[tuple[str, type[web.RequestHandler], dict[str, DflowMonitor]]]:
    """Return the handlers for the scheduler's HTTP application, whose pages lie below `prefix`."""
    below = re.escape(prefix)
    found: list[tuple[str, type[web.RequestHandler], dict[str, DflowMonitor]]] = [
        (rf"{below}/dflow\.json", SnapshotHandler, {"monitor": monitor}),
        (rf"{below}/dflow/live", LiveHandler, {"monitor": monitor}),
    ]
    try:
        import prometheus_client  # noqa: F401
    except ImportError:
        return found
    return [*found, (rf"{below}/dflow/metrics", MetricsHandler, {"monitor": monitor})]
