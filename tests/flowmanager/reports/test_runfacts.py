"""The facts of a run are those of its records."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.flowmanager.history.fingerprint import Fingerprint
from dflow.flowmanager.reports.flowoutput import Counts, TaskOutcome
from dflow.flowmanager.reports.runfacts import HISTOGRAM_SECONDS, SLOWEST, run_facts
from dflow.flowmanager.reports.timeline import Timeline
from dflow.records import BatchResult, ItemRecord
from tests.flowmanager.reports.facts import facts_with


def test_percentiles_and_histogram_are_those_of_the_records() -> None:
    facts = facts_with("a", n_items=1000)
    (task,) = facts["tasks"]
    seconds = np.array([99.0 if n == 1 else 0.004 * n for n in range(1000)])
    for share in (50, 90, 99):
        expected = np.percentile(seconds, share, method="higher")
        assert task["seconds_per_item"][f"p{share}"] == pytest.approx(expected, abs=0.0041)
    assert task["seconds_per_item"]["p100"] == 99.0
    counts, _ = np.histogram(seconds, [-1.0, *np.nextafter(HISTOGRAM_SECONDS, np.inf), np.inf])
    assert task["histogram"] == counts.tolist()
    assert facts["slowest"][0] == {"task": "a", "file": "a", "seconds": 99.0, "result": "exception"}
    assert facts["failures"] == {"exception": 1}


def facts_of(tasks, timeline=None):
    return run_facts(
        "f",
        tasks,
        Counts(),
        status="finished",
        error="",
        seconds=3600.0,
        configuration={},
        cluster={},
        fingerprint=Fingerprint("abc", ()),
        timeline=timeline or Timeline(),
    )


def test_reused_items_count_neither_as_work_nor_among_the_slowest():
    records = (
        ItemRecord(0, "a", "succeeded", seconds=5.0, cpu_seconds=4.0, reused=True),
        ItemRecord(1, "b", "skipped", seconds=0.5, cpu_seconds=0.25, preview_seconds=0.125),
    )
    facts = facts_of([TaskOutcome("encode", "transform", "", 1.0, records)])
    (task,) = facts["tasks"]
    assert (task["items"], task["reused"], task["succeeded"], task["skipped"]) == (2, 1, 1, 1)
    assert (task["cpu_seconds"], task["preview_seconds"]) == (0.25, 0.125)
    assert sum(task["histogram"]) == 1
    assert [each["file"] for each in facts["slowest"]] == ["b"]


def test_a_task_without_work_has_no_times():
    (task,) = facts_of([TaskOutcome("merge", "export", "", 1.0)])["tasks"]
    assert "seconds_per_item" not in task
    assert "histogram" not in task


def test_only_the_slowest_items_are_listed_longest_first():
    records = tuple(ItemRecord(n, str(n), "succeeded", seconds=float(n)) for n in range(3 * SLOWEST))
    slowest = facts_of([TaskOutcome("encode", "transform", "", 1.0, records)])["slowest"]
    assert [each["seconds"] for each in slowest] == [float(3 * SLOWEST - 1 - n) for n in range(SLOWEST)]


def test_hosts_are_the_sums_of_their_workers():
    timeline = Timeline()
    item = ItemRecord(0, "a", "succeeded")
    for pid, host, n_items in ((1, "a", 2), (2, "a", 3), (1, "b", 1)):
        timeline.note([BatchResult("encode", 0, (item,) * n_items, host, pid, seconds=1.5)])
    assert facts_of([], timeline)["hosts"] == [
        {"host": "a", "workers": 2, "items": 5, "seconds": 3.0},
        {"host": "b", "workers": 1, "items": 1, "seconds": 1.5},
    ]


def test_the_start_is_the_wall_time_before_the_end():
    facts = facts_of([])
    start, end = (np.datetime64(facts[name].removesuffix("+00:00")) for name in ("started", "finished"))
    assert end - start == np.timedelta64(3600, "s")
