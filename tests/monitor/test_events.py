"""Events are small dictionaries that travel as they are."""

from __future__ import annotations

import json

from dflow.monitor import events

STATE: events.TaskState = {
    "task": "encode",
    "unit": "files",
    "total": None,
    "succeeded": 1,
    "skipped": 0,
    "failed": 0,
    "reused": 0,
    "bytes": 0,
    "seconds": 0.5,
    "finished": False,
}


def test_events_name_their_kind_and_run_and_survive_json() -> None:
    for event, kind in (
        (events.run_started("r", "flow"), "run"),
        (events.progress_made("r", [STATE], {"crash": 1}), "progress"),
        (events.run_ended("r", "failed"), "end"),
    ):
        assert (event["event"], event["run"]) == (kind, "r")
        assert json.loads(json.dumps(event)) == event


def test_the_end_brings_the_last_progress_only_where_there_is_some() -> None:
    assert events.run_ended("r", "cancelled", (), {"crash": 1}) == {"event": "end", "run": "r", "status": "cancelled"}
    ended = events.run_ended("r", "finished", [STATE], {"crash": 1})
    assert ended == {
        "event": "end",
        "run": "r",
        "status": "finished",
        "tasks": [STATE],
        "failures": {"crash": 1},
    }


def test_an_event_does_not_change_with_its_arguments() -> None:
    tasks, failures = [STATE], {"crash": 1}
    event = events.progress_made("r", tasks, failures)
    tasks.clear()
    failures.clear()
    assert (event["tasks"], event["failures"]) == ([STATE], {"crash": 1})
