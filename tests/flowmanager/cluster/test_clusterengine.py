"""The engine on a cluster: in which order jobs are done."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from dask.delayed import delayed
from distributed import Client

from dflow.flowmanager.cluster.clusterengine import WINDOW, ClusterEngine
from dflow.flowmanager.cluster.clusters import resolve
from dflow.flowmanager.cluster.engine import Engine, Job, compute_each
from tests.flowmanager.cluster.graphs import numbers


@pytest.fixture(scope="module")
def one_worker() -> Iterator[Client]:
    """A client of a cluster of one worker with one thread."""
    connection = resolve("local", max_workers=1)
    yield connection.client
    connection.close()


def done_in_order(client: Client, name: str, n_jobs: int, n_steps: int) -> list[tuple[int, int]]:
    """(job, step) of jobs that are chains of steps, in the order in which the worker did them."""

    def clock(*earlier: int) -> int:
        return time.monotonic_ns()

    def job(tag: int) -> Job:
        nodes = []
        for step in range(n_steps):
            nodes.append(delayed(clock, pure=False)(*nodes, dask_key_name=f"{name}{step}-{tag}"))
        return Job(tag, tuple(nodes))

    times = {
        (finished.tag, step): done
        for finished in ClusterEngine(client).run(job(tag) for tag in range(n_jobs))
        for step, done in enumerate(finished.results)
    }
    return sorted(times, key=times.__getitem__)


def test_jobs_are_done_in_the_order_in_which_they_are_handed_out(one_worker):
    n_jobs = 3 * WINDOW
    assert done_in_order(one_worker, "single", n_jobs, 1) == [(tag, 0) for tag in range(n_jobs)]


def test_a_job_goes_on_before_the_job_after_the_next_begins(one_worker):
    """The next may have begun: a worker is given one task ahead."""
    n_jobs = 3 * WINDOW
    place = {each: number for number, each in enumerate(done_in_order(one_worker, "chain", n_jobs, 2))}
    assert all(place[tag, 1] < place[tag + 2, 0] for tag in range(n_jobs - 2))


def test_independent_nodes_on_a_cluster_are_all_done(one_worker):
    engine: Engine = ClusterEngine(one_worker)
    assert sorted(compute_each(engine, numbers(21))) == list(range(21))
    with pytest.raises(ZeroDivisionError):
        list(compute_each(engine, [*numbers(8), delayed(divmod, pure=False)(1, 0, dask_key_name="bad-0")]))


def test_an_engine_asks_again_for_jobs_where_nothing_ends(one_worker, tmp_path):
    """More workers may have joined meanwhile."""
    asked, gate = [], tmp_path / "gate"

    def wait(seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not gate.exists() and time.monotonic() < end:
            time.sleep(0.02)

    class Jobs:
        def __iter__(self) -> Iterator[Job]:
            return self

        def __next__(self) -> Job:
            asked.append(1)
            if len(asked) == 1:
                return Job(1, (delayed(wait, pure=False)(dask_key_name="asked-again-000001"),))
            if len(asked) == 4:
                gate.touch()
            raise StopIteration

    assert [each.tag for each in ClusterEngine(one_worker).run(Jobs())] == [1]
    assert gate.exists()
