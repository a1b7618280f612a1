"""The scheduler plugin on a scheduler of plain values: what it counts, and what it reads from heartbeats."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from dflow.monitor import events, plugin
from dflow.monitor.plugin import WORKERS_SHOWN, DflowMonitor, add_pages, as_json
from dflow.webhosts import KnownHosts

NOW = 1000.0


def worker(memory: int, metric: Any = None, *, seen: float = NOW) -> SimpleNamespace:
    metrics = {"memory": memory} if metric is None else {"memory": memory, events.METRIC: metric}
    return SimpleNamespace(metrics=metrics, host="h", memory_limit=None, last_seen=seen)


def in_flight(run: str, seconds: float = 2.0) -> dict[str, Any]:
    return {"run": run, "task": "encode", "file": f"{run}.step", "seconds": seconds}


@pytest.fixture
def monitor(monkeypatch: pytest.MonkeyPatch) -> DflowMonitor:
    monkeypatch.setattr(plugin.time, "time", lambda: NOW)
    metric = {"host": "node", "child_bytes": 3 * 2**20, "in_flight": [in_flight("new"), in_flight("old")]}
    monitor = DflowMonitor()
    workers = {"tcp://a:1": worker(2**20), "tcp://b:22": worker(5 * 2**20, metric, seen=NOW - 1.5)}
    monitor.scheduler = SimpleNamespace(workers=workers)
    for run in ("old", "new"):
        monitor.log_event(events.TOPIC, events.run_started(run, "flow"))
    return monitor


def test_only_events_of_the_topic_are_counted(monitor: DflowMonitor) -> None:
    monitor.log_event("other", events.run_started("x", "flow"))
    monitor.log_event(events.TOPIC, ("no", "dictionary"))
    assert list(monitor.counters.runs) == ["old", "new"]


def test_the_snapshot_has_every_worker_and_every_runs_files(monitor: DflowMonitor) -> None:
    snapshot = json.loads(as_json(monitor))
    assert [(w["worker"], w["host"], w["child_bytes"]) for w in snapshot["workers"]] == [
        ("tcp://a:1", "h", 0),
        ("tcp://b:22", "node", 3 * 2**20),
    ]
    assert [run["in_flight"][0]["file"] for run in snapshot["runs"]] == ["old.step", "new.step"]
    assert snapshot["runs"][1]["in_flight"][0]["seconds"] == 3.5  # with the age of the heartbeat


def test_the_page_has_the_latest_run_and_the_largest_workers(monitor: DflowMonitor) -> None:
    monitor.scheduler.workers |= {f"tcp://c:{i}": worker(0) for i in range(60)}
    parts = monitor.page_parts()
    assert (parts["run"]["run"], parts["n_workers"], len(parts["workers"])) == ("new", 62, WORKERS_SHOWN)
    assert parts["workers"][0] == {"worker": "node:22", "own": 5, "child": 3}
    assert [file["file"] for file in parts["in_flight"]] == ["new.step"]
    assert "seconds" not in parts["run"]  # it would change every second


def test_a_scheduler_without_runs_has_an_empty_page() -> None:
    monitor = DflowMonitor()
    monitor.scheduler = SimpleNamespace(workers={})
    assert monitor.page_parts() == {"in_flight": [], "run": None, "n_workers": 0, "workers": []}


def test_a_scheduler_of_another_version_is_counted_without_a_page(caplog: pytest.LogCaptureFixture) -> None:
    hosts = KnownHosts("127.0.0.1")
    assert not add_pages(SimpleNamespace(), DflowMonitor(), hosts)
    assert not add_pages(SimpleNamespace(http_application=object()), DflowMonitor(), hosts)
    assert "no /dflow page on this scheduler" in caplog.text
