"""The synchronous engine, and independent nodes in few jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from dask.delayed import delayed
from hypothesis import given, settings
from hypothesis import strategies as st

from dflow.errors import FlowCancelledError
from dflow.flowmanager.cluster.engine import FEW, Finished, Job, SynchronousEngine, compute_each, compute_here
from tests.flowmanager.cluster.graphs import numbers


class CountingEngine(SynchronousEngine):
    """The synchronous engine as one of several workers; counts jobs."""

    def __init__(self, n_workers: int) -> None:
        super().__init__()
        self._n_workers = n_workers
        self.n_jobs = 0

    @property
    def n_workers(self) -> int:
        return self._n_workers

    def run(self, jobs: Iterable[Job]) -> Iterator[Finished]:
        for finished in super().run(jobs):
            self.n_jobs += 1
            yield finished


@given(n_nodes=st.integers(0, 100), n_workers=st.integers(1, 40))
@settings(max_examples=40)
def test_each_of_the_independent_nodes_is_done_once_in_calls_for_all_workers(n_nodes, n_workers):
    engine = CountingEngine(n_workers)
    assert list(compute_each(engine, numbers(n_nodes))) == list(range(n_nodes))
    if n_nodes > FEW:
        assert engine.n_jobs == n_nodes
    else:
        assert min(n_nodes, 2 * n_workers) <= engine.n_jobs < 4 * n_workers


def failing(number: int) -> int:
    raise ZeroDivisionError(number)


def test_jobs_are_pulled_one_at_a_time():
    pulled = []

    def jobs() -> Iterator[Job]:
        for tag, node in enumerate(numbers(3)):
            pulled.append(tag)
            yield Job(tag, (node,))

    finished = SynchronousEngine().run(jobs())
    assert next(finished) == Finished(0, (0,))
    assert pulled == [0]
    assert [each.results for each in finished] == [(1,), (2,)]


def test_nodes_of_one_job_may_depend_on_each_other():
    first = delayed(int, pure=False)(5, dask_key_name="first-0")
    second = delayed(divmod, pure=False)(first, 2, dask_key_name="second-0")
    assert list(SynchronousEngine().run([Job(7, (first, second))])) == [Finished(7, (5, (2, 1)))]


def test_none_among_the_jobs_ends_where_nothing_else_is_computed():
    assert list(SynchronousEngine().run([None])) == []


def test_after_cancel_no_job_is_begun():
    engine = SynchronousEngine()
    finished = engine.run(Job(tag, (node,)) for tag, node in enumerate(numbers(2)))
    next(finished)
    engine.cancel()
    with pytest.raises(FlowCancelledError, match="run it again"):
        next(finished)


def test_a_node_s_error_is_raised_unchanged():
    bad = delayed(failing, pure=False)(3, dask_key_name="bad-0")
    for compute in (lambda: compute_here([bad]), lambda: list(compute_each(SynchronousEngine(), [bad]))):
        with pytest.raises(ZeroDivisionError, match="3"):
            compute()


def test_an_error_of_the_infrastructure_is_raised_by_compute_each():
    class Lost(SynchronousEngine):
        def run(self, jobs: Iterable[Job | None]) -> Iterator[Finished]:
            for job in jobs:
                assert job is not None
                yield Finished(job.tag, error=RuntimeError("the worker died"))

    with pytest.raises(RuntimeError, match="the worker died"):
        list(compute_each(Lost(), numbers(2)))
