"""The timeline of a run: busy seconds add up, memory is bounded."""

from __future__ import annotations

import pytest

from dflow.flowmanager.reports.progress import ProgressEvent
from dflow.flowmanager.reports.timeline import MAX_POINTS, N_BINS, Timeline
from dflow.records import BatchResult, ItemRecord
from tests.clock import Clock


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock(0.0)
    monkeypatch.setattr("dflow.flowmanager.reports.timeline.time", clock)
    return clock


def test_a_long_run_stays_small(clock) -> None:
    timeline = Timeline()
    for number in range(20_000):
        clock.now += 5.0
        timeline.note([BatchResult("t", number, (), f"host{number % 3}", 1, seconds=3.0)])
        timeline(ProgressEvent("f", "t", "advanced", 20_000, succeeded=number + 1))
    assert len(timeline.done["t"]) <= MAX_POINTS
    assert timeline.done["t"][0] == (5.0, 1)
    assert timeline.done["t"][-1] == (100_000.0, 20_000)
    for worker in timeline.workers:
        assert len(worker.bins) <= N_BINS
        assert sum(worker.bins) == pytest.approx(worker.seconds, rel=1e-9)


def test_a_batch_is_busy_time_of_its_worker_until_its_result_arrives(clock) -> None:
    timeline = Timeline()
    width = timeline.bin_seconds
    clock.now = 3 * width
    timeline.note([BatchResult("t", 0, (ItemRecord(0, "a", "succeeded"),), "h", 7, seconds=1.5 * width)])
    (worker,) = timeline.workers
    assert worker.bins[:3] == pytest.approx([0.0, width / 2, width])
    assert (worker.n_batches, worker.n_items, worker.seconds) == (1, 1, 1.5 * width)


def test_a_batch_that_seems_older_than_the_run_is_cut_at_its_start(clock) -> None:
    timeline = Timeline()
    clock.now = 0.1
    timeline.note([BatchResult("t", 0, (), "h", 7, seconds=5.0)])
    assert sum(timeline.workers[0].bins) == pytest.approx(0.1)


def test_restarts_add_up_and_the_peak_is_the_highest(clock) -> None:
    timeline = Timeline()
    for restarts, peak in ((1, 30), (2, 50), (0, 40)):
        timeline.note([BatchResult("t", 0, (), "h", 7, child_restarts=restarts, peak_child_bytes=peak)])
    (worker,) = timeline.workers
    assert (worker.child_restarts, worker.peak_child_bytes) == (3, 50)


def test_workers_are_in_the_order_of_host_and_process(clock) -> None:
    timeline = Timeline()
    for host, pid in (("b", 1), ("a", 9), ("a", 2)):
        timeline.note([BatchResult("t", 0, (), host, pid)])
    assert [(worker.host, worker.pid) for worker in timeline.workers] == [("a", 2), ("a", 9), ("b", 1)]


def test_a_task_that_starts_again_begins_anew(clock) -> None:
    timeline = Timeline()
    for phase, n in (("started", 0), ("advanced", 4), ("finished", 5), ("started", 0), ("finished", 5)):
        clock.now += 1.0
        timeline(ProgressEvent("f", "t", phase, 5, succeeded=n))
    assert timeline.done["t"] == [(4.0, 0), (5.0, 5)]
