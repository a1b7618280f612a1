"""The routes of the monitor on the scheduler's HTTP server."""

from __future__ import annotations

import json
import sys
from types import ModuleType

import pytest

from dflow.monitor import events
from dflow.monitor.plugin import DflowMonitor
from dflow.monitor.routes import gauges, routes
from tests.monitor.progress import counted, made


def test_snapshot_is_valid_json_and_becomes_gauges() -> None:
    counters = counted(
        (0.0, events.run_started("r", "flow")),
        (0.0, made(total=4, succeeded=1, failed=1, bytes=10, failures={"crash": 1})),
        (0.0, made("merge", unit="shards", total=None, succeeded=1, bytes=77)),
    )
    workers = [{"worker": "tcp://w", "host": "h", "bytes": 5, "limit": 9, "child_bytes": 7}]
    snapshot = {**counters.snapshot(1.0), "workers": workers}
    json.dumps(snapshot, allow_nan=False)
    values = {(name, *sorted(labels.items())): value for name, _, labels, value in gauges(snapshot)}
    flow = (("flow", "flow"), ("run", "r"))
    assert values["dflow_bytes_encoded", *flow] == 10
    assert values["dflow_bytes_merged", *flow] == 77
    assert values["dflow_items", *flow, ("state", "waiting"), ("task", "encode")] == 2
    assert values["dflow_child_bytes", ("host", "h"), ("worker", "tcp://w")] == 7


def test_runs_that_have_ended_have_no_gauges() -> None:
    counters = counted((0.0, events.run_started("r", "flow")), (1.0, events.run_ended("r", "finished")))
    assert list(gauges({**counters.snapshot(2.0), "workers": []})) == []


def test_routes_lie_below_the_prefix_and_metrics_need_their_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = DflowMonitor()
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    patterns = [pattern for pattern, _, _ in routes(monitor, "/a.b")]
    assert patterns == [r"/a\.b/dflow\.json", r"/a\.b/dflow/live"]
    monkeypatch.setitem(sys.modules, "prometheus_client", ModuleType("prometheus_client"))
    assert [pattern for pattern, _, _ in routes(monitor)][-1] == "/dflow/metrics"
