"""Jobs that end are submitted again: by the class itself, and by every profile on a queue that this test plays."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import dask
import pytest
from distributed import Scheduler, Worker
from distributed.deploy.spec import ProcessInterface

from dflow.flowmanager.cluster import queues
from dflow.flowmanager.cluster.queues import LastingJobs

REPOSITORY = Path(__file__).resolve().parents[3]


class PlayedJob(ProcessInterface):
    """A job of two workers in this process; submissions can be made to fail."""

    submitted: ClassVar[list[PlayedJob]] = []
    n_failures: ClassVar[int] = 0

    def __init__(self, scheduler: str, name: str) -> None:
        super().__init__(scheduler, name)
        self.scheduler, self.name = scheduler, name
        self.workers: list[Any] = []

    async def start(self) -> None:
        if PlayedJob.n_failures:
            PlayedJob.n_failures -= 1
            raise RuntimeError("the queue takes no jobs")
        self.workers = [
            await Worker(self.scheduler, name=f"{self.name}-{i}", nthreads=1, dashboard_address=None) for i in (0, 1)
        ]
        PlayedJob.submitted.append(self)
        await super().start()

    async def close(self) -> None:
        await asyncio.gather(*(worker.close() for worker in self.workers))
        await super().close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(PlayedJob, "submitted", [])
    monkeypatch.setattr(PlayedJob, "n_failures", 0)
    monkeypatch.setattr(queues, "RESUBMIT_SECONDS", 0.2)
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "400ms"}):
        yield


def on_two_jobs(play: Callable[[Any], Any]) -> None:
    """Run `play` with a cluster of two jobs of two workers each."""

    async def run() -> None:
        worker = {"cls": PlayedJob, "group": ["-0", "-1"]}
        scheduler = {"cls": Scheduler, "options": {"dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"}}
        async with LastingJobs(scheduler=scheduler, worker=worker, asynchronous=True, silence_logs=False) as cluster:
            await cluster.scale(2)
            await until(lambda: len(cluster.scheduler_info["workers"]) == 4 and len(PlayedJob.submitted) == 2)
            await play(cluster)

    asyncio.run(run())


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        await asyncio.sleep(0.02)


def test_job_is_replaced_when_its_last_worker_has_ended_and_not_before() -> None:
    async def play(cluster: Any) -> None:
        first = PlayedJob.submitted[0]
        await first.workers[0].close()
        await asyncio.sleep(1.0)
        assert len(PlayedJob.submitted) == 2, "a job was replaced that still had a worker"
        await first.workers[1].close()
        await until(lambda: len(cluster.scheduler_info["workers"]) == 4)
        assert [job.name for job in PlayedJob.submitted].count(first.name) == 2
        assert first.status.name == "closed"

    on_two_jobs(play)


def test_job_whose_worker_comes_back_in_time_is_kept() -> None:
    """A nanny starts its worker again under its name; a second end right after has a patience of its own."""

    async def play(cluster: Any) -> None:
        job = PlayedJob.submitted[0]
        await job.workers[1].close()
        began = time.monotonic()
        for leaves, is_back in ((0.0, 0.1), (1.3, 1.7)):
            await asyncio.sleep(began + leaves - time.monotonic())
            await job.workers[0].close()
            await asyncio.sleep(began + is_back - time.monotonic())
            job.workers[0] = await Worker(job.scheduler, name=f"{job.name}-0", nthreads=1, dashboard_address=None)
        await asyncio.sleep(2.0)
        assert len(PlayedJob.submitted) == 2

    with dask.config.set({"distributed.deploy.lost-worker-timeout": "1500ms"}):
        on_two_jobs(play)


def test_submission_that_fails_is_tried_again() -> None:
    async def play(cluster: Any) -> None:
        PlayedJob.n_failures = 3
        await asyncio.gather(*(worker.close() for job in list(PlayedJob.submitted) for worker in job.workers))
        await until(lambda: len(cluster.scheduler_info["workers"]) == 4)
        assert PlayedJob.n_failures == 0

    on_two_jobs(play)


def test_job_that_is_wanted_no_more_is_not_replaced() -> None:
    async def play(cluster: Any) -> None:
        await cluster.scale(1)
        await until(lambda: len(cluster.scheduler_info["workers"]) == 2)
        await asyncio.sleep(1.0)
        assert len(PlayedJob.submitted) == 2

    on_two_jobs(play)


SUBMIT = """#!/bin/bash
script=$(mktemp {folder}/job-XXXXXX)
if [ -n "$1" ]; then cat "$1" > "$script"; else cat > "$script"; fi
setsid bash "$script" >>{folder}/log 2>&1 </dev/null &
echo $! >>{folder}/pids
echo "Job <$!> is submitted"
"""
COMMANDS = {"slurm": ("sbatch", "scancel"), "pbs": ("qsub", "qdel"), "lsf": ("bsub", "bkill"), "sge": ("qsub", "qdel")}


@pytest.fixture
def played_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[int]]]:
    """Commands of every queue that start a job at once; gives the process ids of all jobs so far."""
    commands, pids = tmp_path / "bin", tmp_path / "pids"
    commands.mkdir()
    for submit, cancel in COMMANDS.values():
        (commands / submit).write_text(SUBMIT.format(folder=tmp_path), encoding="utf-8")
        (commands / cancel).write_text('#!/bin/bash\nkill -TERM -- "-$1"\n', encoding="utf-8")
    for command in commands.iterdir():
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    pids.touch()

    def known() -> list[int]:
        return [int(pid) for pid in pids.read_text(encoding="utf-8").split()]

    yield known
    for pid in known():
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", sorted(queues.QUEUES))
@pytest.mark.parametrize("adaptive", [False, pytest.param(True, marks=pytest.mark.long)])
def test_every_profile_replaces_a_job_that_is_killed(
    name: str, adaptive: bool, tmp_path: Path, played_queue: Callable[[], list[int]]
) -> None:
    pytest.importorskip("dask_jobqueue")  # within `dask.config.set`, its defaults would go with the setting
    options = {
        "cores": 2,
        "processes": 2,
        "memory": "4GB",
        "interface": "lo",
        "python": sys.executable,
        "log_directory": str(tmp_path / "logs"),
        "scheduler_options": {"dashboard_address": "127.0.0.1:0", "interface": "lo"},
    }
    with (
        dask.config.set({f"jobqueue.{name}.dflow-adaptive": adaptive}),
        queues.queue_cluster(name, max_workers=2, overrides=options) as cluster,
    ):
        wait_for(lambda: len(cluster.scheduler_info["workers"]) == 2, "the first job")
        first = set(cluster.scheduler_info["workers"])
        os.killpg(played_queue()[0], signal.SIGKILL)  # as a queue does at the walltime
        wait_for(lambda: len(set(cluster.scheduler_info["workers"]) - first) == 2, "the job in its place")
        assert len(played_queue()) == 2


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 170.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.1)


def test_the_queues_words_on_jobs_that_it_refuses_are_known_at_once() -> None:
    """While it has taken none; a cluster that has jobs goes on."""

    async def run() -> None:
        worker = {"cls": PlayedJob, "group": ["-0", "-1"]}
        scheduler = {"cls": Scheduler, "options": {"dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"}}
        async with LastingJobs(scheduler=scheduler, worker=worker, asynchronous=True, silence_logs=False) as cluster:
            assert cluster.refusal == ""
            PlayedJob.n_failures = 2
            cluster.scale(2)
            await until(lambda: cluster.refusal == "the queue takes no jobs")
            await until(lambda: len(cluster.scheduler_info["workers"]) == 4 and cluster.refusal == "")

    asyncio.run(run())
