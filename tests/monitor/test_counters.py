"""Events in, numbers out."""

from __future__ import annotations

from typing import Any

from dflow.monitor import events
from dflow.monitor.counters import KEPT_RUNS, RATE_WINDOW_SECONDS, FlowCounters
from tests.monitor.progress import counted, made


def latest(counters: FlowCounters, now: float) -> Any:
    return counters.snapshot(now)["runs"][-1]


def test_items_of_a_task_are_those_of_its_last_message_even_when_one_was_lost() -> None:
    last = made(succeeded=40, skipped=5, failed=4, bytes=1000, failures={"crash": 3, "timeout": 1})
    for messages in ([made(succeeded=30, skipped=5, failed=3, failures={"crash": 2, "timeout": 1}), last], [last]):
        counters = counted((0.0, events.run_started("r", "flow")), *((1.0, message) for message in messages))
        task = latest(counters, 2.0)["tasks"]["encode"]
        assert (task["succeeded"], task["skipped"], task["failed"], task["waiting"]) == (40, 5, 4, 51)
        assert latest(counters, 2.0)["failures"] == {"crash": 3, "timeout": 1}
        assert latest(counters, 2.0)["bytes_encoded"] == 1000


def test_rate_forgets_what_is_older_than_its_window() -> None:
    started = events.run_started("r", "flow")
    counters = counted((0.0, started), (0.0, made(total=1000)), (10.0, made(total=1000, succeeded=100)))
    assert latest(counters, 10.0)["files_per_second"] == 10.0
    assert latest(counters, 10.0)["seconds_left"] == 90.0
    late = latest(counters, 11.0 + RATE_WINDOW_SECONDS)
    assert late["files_per_second"] == 0.0
    assert late["seconds_left"] is None


def test_reused_items_say_nothing_about_the_time_that_is_left() -> None:
    counters = counted(
        (0.0, events.run_started("r", "flow")),
        (0.0, made(total=1000, succeeded=500, reused=500)),
        (10.0, made(total=1000, succeeded=600, reused=500)),
    )
    assert latest(counters, 10.0)["files_per_second"] == 10.0
    assert latest(counters, 10.0)["seconds_left"] == 40.0


def test_a_chain_counts_each_file_once_and_other_units_not_at_all() -> None:
    counters = counted(
        (0.0, events.run_started("r", "flow")),
        (0.0, made("gather", unit="sources", total=1, succeeded=1, finished=True)),
        (0.0, made("encode")),
        (0.0, made("label")),
        (10.0, made("encode", succeeded=18, failed=2)),
        (10.0, made("label", succeeded=16, skipped=1)),
        (10.0, made("merge", unit="shards", total=None, succeeded=3, bytes=77)),
    )
    run = latest(counters, 10.0)
    assert (run["files_done"], run["files"]) == (19, 100)
    assert run["files_per_second"] == 2.0
    assert (run["shards_written"], run["bytes_merged"], run["bytes_encoded"]) == (3, 77, 0)


def test_nothing_waits_when_a_task_is_finished() -> None:
    """The second task of a chain never sees what the first one failed."""
    started = events.run_started("r", "flow")
    counters = counted((0.0, started), (0.0, made("label")), (5.0, made("label", succeeded=90, finished=True)))
    assert latest(counters, 5.0)["tasks"]["label"]["waiting"] == 0
    assert latest(counters, 5.0)["tasks"]["label"]["total"] == 90


def test_a_task_that_begins_anew_counts_from_nothing() -> None:
    counters = counted((0.0, made(succeeded=100, finished=True)), (5.0, made()), (10.0, made(succeeded=10)))
    assert latest(counters, 10.0)["tasks"]["encode"]["done"] == 10
    assert latest(counters, 10.0)["files_per_second"] == 2.0


def flying(run: str, file: str, seconds: float) -> dict[str, Any]:
    return {"run": run, "task": "encode", "file": file, "seconds": seconds, "host": "h", "worker": "w"}


def test_the_slowest_files_of_a_running_flow_are_shown_and_none_of_one_that_ended() -> None:
    counters = counted((0.0, events.run_started("a", "first")), (0.0, events.run_started("b", "second")))
    files = [flying("a", f"{n}.step", float(n)) for n in range(30)]
    first, second = counters.snapshot(1.0, [*files, flying("b", "b.step", 3.0)])["runs"]
    assert [f["file"] for f in first["in_flight"]] == [f"{n}.step" for n in range(29, 19, -1)]
    assert first["n_in_flight"] == 30
    assert [f["file"] for f in second["in_flight"]] == ["b.step"]
    counters.apply(events.run_ended("a", "cancelled"), 2.0)
    assert counters.snapshot(2.0, files)["runs"][0]["in_flight"] == []


def test_the_end_of_a_run_brings_its_last_numbers() -> None:
    state = made(total=9, succeeded=5, failed=1, finished=True)["tasks"]
    counters = counted((0.0, events.run_started("r", "flow")), (1.0, made(total=9, succeeded=2)))
    counters.apply(events.run_ended("r", "failed", state, {"crash": 1}), 2.0)
    run = latest(counters, 3.0)
    assert (run["status"], run["seconds"], run["files_done"], run["failures"]) == ("failed", 2.0, 6, {"crash": 1})


def test_the_latest_run_is_one_that_is_going_where_there_is_one() -> None:
    counters = FlowCounters()
    assert counters.latest is None
    for name in ("a", "b", "c"):
        counters.apply(events.run_started(name, "flow"), 0.0)
    counters.apply(events.run_ended("c", "finished"), 1.0)
    assert counters.latest is counters.runs["b"]
    for name in ("a", "b"):
        counters.apply(events.run_ended(name, "finished"), 2.0)
    assert counters.latest is counters.runs["c"]


def test_old_runs_are_forgotten_and_running_ones_are_not() -> None:
    counters = counted((0.0, events.run_started("long", "flow")))
    for i in range(3 * KEPT_RUNS):
        counters.apply(events.run_started(f"r{i}", "flow"), float(i))
        counters.apply(events.run_ended(f"r{i}", "finished"), float(i))
    assert len(counters.runs) <= KEPT_RUNS + 1
    assert {"long", f"r{3 * KEPT_RUNS - 1}"} <= set(counters.runs)


def test_foreign_events_are_left_alone() -> None:
    counters = counted((0.0, {"something": "else"}), (0.0, {"event": "nonsense", "run": "r"}), (0.0, {"run": 3}))
    assert counters.snapshot(1.0) == {"runs": []}
