"""A stage against a scripted engine: lost nodes, halved batches, and numbers that always add up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import pytest

import dflow
from dflow.errors import TooManyFailuresError
from dflow.flowmanager import flowtask
from dflow.flowmanager.cluster.engine import Finished, Job, SynchronousEngine
from dflow.flowmanager.run import engines


class LosingEngine(SynchronousEngine):
    """Loses every job that holds a poisoned item, as a scheduler does whose workers die on it."""

    poisoned: frozenset[int] = frozenset()
    sizes: list[int]

    def run(self, jobs: Iterable[Job]) -> Iterator[Finished]:
        """Compute, then pretend that the worker died."""
        for finished in super().run(jobs):
            indices = {record.item_index for record in finished.results[0].items}
            if indices & self.poisoned:
                self.sizes.append(len(indices))
                yield Finished(finished.tag, error=RuntimeError("the worker died"))
            else:
                yield finished


@pytest.fixture
def losing(monkeypatch):
    class Engine(LosingEngine):
        """One of its own for each test."""

    Engine.poisoned, Engine.sizes = frozenset({17}), []
    monkeypatch.setattr(engines, "SynchronousEngine", Engine)
    return Engine


@flowtask.transform(inputs=["part"])
def moody(part):
    if part % 10 == 3:
        raise ValueError("three")
    return None if part % 10 == 4 else part


def make(tmp_path, **arguments):
    return dflow.create_flow("lost", [moody], tmp_path, debug=True, export_visualization=False, **arguments)


def test_a_lost_batch_is_halved_until_the_item_that_kills_workers_is_alone(tmp_path, losing):
    flow = make(tmp_path)
    output, summary, _ = flow.process(inputs={"parts": list(range(40))}, progress=False)
    assert losing.sizes[-1] == 1
    assert losing.sizes == sorted(losing.sizes, reverse=True)
    counts = output.counts
    assert (counts.submitted, counts.succeeded, counts.skipped, counts.failed) == (40, 31, 4, 5)
    assert counts.submitted == counts.succeeded + counts.skipped + counts.failed
    assert summary["error_distribution"] == {"RuntimeError": 1, "ValueError": 4}
    errors = json.loads(flow.settings.paths.error_summary.read_text())
    (lost,) = [error for error in errors if error["kind"] == "infrastructure"]
    assert lost["item_index"] == 17
    assert "the worker died" in lost["message"]
    losing.poisoned = frozenset()
    again, _, _ = flow.process(inputs={"parts": list(range(40))}, progress=False)
    assert 17 in again.task_instances[0].results  # a lost item is not written down as failed
    assert again.counts.failed == 4


def test_failures_that_were_found_before_count_too(tmp_path):
    parts = list(range(40))
    make(tmp_path).process(inputs={"parts": parts}, progress=False)
    with pytest.raises(TooManyFailuresError):
        make(tmp_path, max_failures=3).process(inputs={"parts": parts}, progress=False)


def test_what_took_more_than_half_of_its_time_is_reported(tmp_path):
    @flowtask.transform(inputs=["part"])
    def slow(part):
        import time

        time.sleep(0.4 if part == 3 else 0.0)

    flow = dflow.create_flow("near", [slow], tmp_path, debug=True, export_visualization=False, timeout_seconds=0.5)
    output, _, _ = flow.process(inputs={"parts": [1, 2, 3]}, progress=False)
    (near,) = output.near_limit
    assert (near.task, near.file, near.limit) == ("slow", "3", 0.5)
    assert "took more than 50%" in output.summary()
    facts = json.loads(flow.settings.paths.run_file.read_text())
    assert [each["file"] for each in facts["near_limit"]] == ["3"]
    assert "Near the time limit" in flow.settings.paths.report.read_text()
