"""Events in, numbers out."""

from __future__ import annotations

import json

from dflow.monitor import events
from dflow.monitor.counters import KEPT_RUNS, RATE_WINDOW_SECONDS, FlowCounters
from dflow.monitor.routes import gauges


def counted(*given: tuple[float, events.Event]) -> FlowCounters:
    counters = FlowCounters()
    for now, event in given:
        counters.apply(event, now)
    return counters


def test_items_of_a_task_add_up() -> None:
    counters = counted(
        (0.0, events.run_started("r", "flow")),
        (0.0, events.task_total("r", "encode", 100)),
        (1.0, events.batch_finished("r", "encode", n_succeeded=30, n_skipped=5, failures={"crash": 2, "timeout": 1})),
        (2.0, events.batch_finished("r", "encode", n_succeeded=10, failures={"crash": 1})),
    )
    task = counters.snapshot(2.0)["runs"][0]["tasks"]["encode"]
    assert (task["succeeded"], task["skipped"], task["failed"], task["waiting"]) == (40, 5, 4, 51)
    assert counters.snapshot(2.0)["runs"][0]["failures"] == {"crash": 3, "timeout": 1}


def test_rate_forgets_what_is_older_than_its_window() -> None:
    counters = counted(
        (0.0, events.run_started("r", "flow")),
        (0.0, events.task_total("r", "encode", 1000)),
        (10.0, events.batch_finished("r", "encode", n_succeeded=100)),
    )
    assert counters.snapshot(10.0)["runs"][0]["files_per_second"] == 10.0
    assert counters.snapshot(10.0)["runs"][0]["seconds_left"] == 90.0
    late = counters.snapshot(11.0 + RATE_WINDOW_SECONDS)["runs"][0]
    assert late["files_per_second"] == 0.0
    assert late["seconds_left"] is None


def test_a_worker_s_file_in_flight_ends_with_the_file_the_worker_or_the_run() -> None:
    at = {**events.file_in_flight("r", "encode", "a.step", seconds=2.0, host="h"), "worker": "w1"}
    other = {**events.file_in_flight("r", "encode", "b.step", seconds=9.0, host="h"), "worker": "w2"}
    counters = counted((0.0, events.run_started("r", "flow")), (10.0, at), (10.0, other))
    assert [f["file"] for f in counters.snapshot(11.0)["runs"][0]["in_flight"]] == ["b.step", "a.step"]
    assert counters.snapshot(11.0)["runs"][0]["in_flight"][1]["seconds"] == 3.0
    counters.forget_worker("w2")
    assert [f["file"] for f in counters.snapshot(11.0)["runs"][0]["in_flight"]] == ["a.step"]
    counters.apply({**events.file_in_flight("r", "encode", "", seconds=0, host="h"), "worker": "w1"}, 12.0)
    assert counters.snapshot(12.0)["runs"][0]["in_flight"] == []


def test_latest_running_flow_is_the_current_one() -> None:
    counters = counted(
        (0.0, events.run_started("a", "first")),
        (1.0, events.run_started("b", "second")),
        (2.0, events.run_ended("b", "finished")),
    )
    current = counters.current()
    assert current is not None
    assert current.run == "a"


def test_old_runs_are_forgotten() -> None:
    counters = FlowCounters()
    for i in range(3 * KEPT_RUNS):
        counters.apply(events.run_started(f"r{i}", "flow"), float(i))
        counters.apply(events.run_ended(f"r{i}", "finished"), float(i))
    assert len(counters.runs) <= KEPT_RUNS + 1
    assert f"r{3 * KEPT_RUNS - 1}" in counters.runs


def test_foreign_events_are_left_alone() -> None:
    counters = counted((0.0, {"something": "else"}), (0.0, {"event": "nonsense", "run": "r"}), (0.0, {"run": 3}))
    assert all(not run["tasks"] for run in counters.snapshot(1.0)["runs"])


def test_snapshot_is_valid_json_and_becomes_gauges() -> None:
    counters = counted(
        (0.0, events.run_started("r", "flow")),
        (0.0, events.task_total("r", "encode", 4)),
        (0.0, events.batch_finished("r", "encode", n_succeeded=1, failures={"crash": 1}, n_bytes=10)),
        (0.0, events.shard_written("r", "faces", 77)),
    )
    snapshot = counters.snapshot(1.0)
    json.dumps(snapshot, allow_nan=False)
    values = {(name, *sorted(labels.items())): value for name, _, labels, value in gauges(snapshot)}
    flow = (("flow", "flow"), ("run", "r"))
    assert values["dflow_bytes_merged", *flow] == 77
    assert values["dflow_items", *flow, ("state", "waiting"), ("task", "encode")] == 2
