"""A flow's messages to the monitor: rare, complete, and without effect on the flow."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from dflow.flowmanager.reports import monitorfeed
from dflow.flowmanager.reports.monitorfeed import MonitorFeed
from dflow.flowmanager.reports.progress import ProgressEvent
from dflow.monitor import events
from dflow.records import ErrorRecord
from tests.clock import Clock


def sent(client: mock.Mock) -> list[Any]:
    return [call.kwargs["msg"] for call in client.sync.call_args_list]


def test_the_feed_sends_at_most_one_message_a_second_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(100.0)
    monkeypatch.setattr(monitorfeed, "time", clock)
    client = mock.Mock(status="running")
    feed = MonitorFeed(client, "flow", "r")
    error = ErrorRecord("crash", "died", "encode", "a", 0)
    feed(ProgressEvent("flow", "encode", "started", 50))
    for n in range(1, 41):
        clock.now += 0.1
        feed(ProgressEvent("flow", "encode", "advanced", 50, succeeded=n, n_bytes=10 * n, errors=(error,)))
    assert len(sent(client)) <= 1 + 4
    feed.close("cancelled")
    assert [event["event"] for event in sent(client)][-2:] == ["progress", "end"]
    last = sent(client)[-1]  # what was new since the last second goes with the end
    assert last["tasks"][0]["succeeded"] == 40
    assert last["tasks"][0]["bytes"] == 400
    assert last["failures"] == {"crash": 40}


def test_a_task_that_runs_again_counts_its_failures_anew() -> None:
    client = mock.Mock(status="running")
    feed = MonitorFeed(client, "flow", "r")
    error = ErrorRecord("crash", "died", "encode", "a", 0)
    for _ in range(2):
        feed(ProgressEvent("flow", "encode", "started", 1))
        feed(ProgressEvent("flow", "encode", "finished", 1, failed=1, errors=(error,)))
    feed.flush(now=True)
    assert sent(client)[-1]["failures"] == {"crash": 1}


@pytest.mark.parametrize("error", [OSError("gone"), TimeoutError("does not answer")])
def test_a_scheduler_that_does_not_answer_the_feed_stops_nothing(error: Exception) -> None:
    client = mock.Mock(status="running")
    client.sync.side_effect = error
    feed = MonitorFeed(client, "flow", "r")
    feed(ProgressEvent("flow", "encode", "finished", 1, succeeded=1))
    feed.close("finished")
    assert [event["event"] for event in sent(client)] == ["run", "end"]


def test_a_scheduler_that_takes_no_plugin_is_not_told_anything(caplog: pytest.LogCaptureFixture) -> None:
    client = mock.Mock(status="running")
    client.register_plugin.side_effect = ModuleNotFoundError("No module named 'dflow'")
    feed = MonitorFeed(client, "flow", "r")
    feed.close("finished")
    assert sent(client) == []
    assert "the page /dflow is missing" in caplog.text


def test_names_travel_as_utf_8() -> None:
    client = mock.Mock(status="running")
    feed = MonitorFeed(client, "flow", "r")
    feed(ProgressEvent("flow", "t\udcff", "finished", 1))
    feed.flush(now=True)
    sent(client)[-1]["tasks"][0]["task"].encode("utf-8")
    assert client.sync.call_args.kwargs["topic"] == events.TOPIC
