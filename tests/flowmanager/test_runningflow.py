"""A flow in the background: status, wait and cancel."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import dflow
from dflow.errors import EmptySourceError, FlowCancelledError
from dflow.flowmanager import flowtask

GO = threading.Event()
BEGUN = threading.Event()


@flowtask.extract(name="gather", inputs=["sources"], outputs=["items"])
def gather(sources: list[str]) -> list[int]:
    return list(range(int(sources[0])))


@flowtask.transform(name="work", inputs=["item", "storage"], outputs=["done"])
def work(item: int, storage: Any) -> int:
    if item == 3:
        BEGUN.set()
        GO.wait(30)
    storage.save_metadata("item", item)
    return item


@pytest.fixture
def flow(tmp_path: Path) -> Any:
    GO.clear()
    BEGUN.clear()
    return dflow.create_flow(name="f", tasks=[gather, work], flows_outputdir=tmp_path, debug=True)


def test_status_runs_ahead_of_the_result(flow: Any) -> None:
    seen = []
    running = flow.start(inputs={"sources": "6"}, progress=seen.append)
    assert BEGUN.wait(30)
    assert running.status().state == "running"
    with pytest.raises(TimeoutError, match="still runs"):
        running.wait(0.05)
    GO.set()
    _, summary, _ = running.wait(60)
    status = running.status()
    assert status.state == "finished"
    assert {event.task: event.done for event in status.tasks}["work"] == summary["file_count"] == 6
    assert status.failed == 0
    assert {event.task for event in seen} == {event.task for event in status.tasks}
    assert "finished" in repr(running)


def test_cancelled_run_keeps_what_is_finished(flow: Any) -> None:
    running = flow.start(inputs={"sources": "6"})
    assert BEGUN.wait(30)
    running.cancel()
    GO.set()
    with pytest.raises(FlowCancelledError):
        running.wait(60)
    assert running.status().state == "cancelled"
    _, summary, _ = flow.process(inputs={"sources": "6"}, progress=False)
    assert summary["file_count"] == 6


def test_a_flow_may_be_cancelled_before_it_has_begun(flow: Any) -> None:
    GO.set()
    running = flow.start(inputs={"sources": "6"})
    running.cancel()
    with pytest.raises(FlowCancelledError):
        running.wait(60)


def test_an_error_waits_for_whoever_asks(flow: Any) -> None:
    running = flow.start(inputs={"sources": "0"})
    with pytest.raises(EmptySourceError):
        running.wait(60)
    assert running.status().state == "failed"
