"""The engine on a cluster: in which order jobs are done."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from dask.delayed import delayed
from distributed import Client

from dflow.flowmanager.cluster.clusterclient import WINDOW, ClusterEngine
from dflow.flowmanager.cluster.clusters import resolve
from dflow.flowmanager.cluster.engine import Job


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
