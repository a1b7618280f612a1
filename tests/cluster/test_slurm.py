"""A real Slurm: a flow on queued jobs, one of which is cancelled in the middle, ends with the undisturbed dataset."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest

import dflow
from dflow.demo.parts import write_parts
from dflow.errors import ClusterError
from dflow.flowmanager.cluster import queues
from tests.cluster import slurm_node
from tests.cluster.slow_tasks import encode_slowly, gather
from tests.trees import tree_digest

pytestmark = [pytest.mark.slow, pytest.mark.slurm, pytest.mark.timeout(420)]

N_PARTS = 36


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[slurm_node.SlurmNode]:
    reason = slurm_node.why_not_here()
    if reason:
        pytest.skip(reason)
    with slurm_node.slurm_node(tmp_path_factory.mktemp("slurm"), n_cpus=6) as node:
        before = os.environ.get("SLURM_CONF")
        os.environ["SLURM_CONF"] = str(node.configuration)
        yield node
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    write_parts(folder, n_parts=N_PARTS)
    return folder


@pytest.fixture(scope="module")
def undisturbed(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset of a serial run in this process."""
    out = tmp_path_factory.mktemp("undisturbed")
    return run_flow(out, parts, debug=True)


def run_flow(out: Path, parts: Path, **arguments: Any) -> Path:
    flow = dflow.create_flow(name="parts", tasks=[gather, encode_slowly], flows_outputdir=str(out), **arguments)
    _, summary, flow_file = flow.process(inputs={"sources": [str(parts)]})
    assert summary["file_count"] == N_PARTS, summary
    return Path(flow_file).with_suffix(".dataset")


def queue(tmp_path: Path, **overrides: Any) -> Any:
    """A cluster of one-worker jobs on the test's Slurm, from the shipped profile."""
    options = {
        "cores": 1,
        "processes": 1,
        "memory": "2GB",
        "interface": "lo",
        "python": sys.executable,
        "job_directives_skip": ["--mem"],
        "walltime": "00:20:00",
        "log_directory": str(tmp_path / "logs"),
        "worker_extra_args": ["--preload", "dflow.flowmanager.preload"],
        "job_script_prologue": [f"export PYTHONPATH={Path(__file__).resolve().parents[2]}"],
    }
    return queues.queue_cluster("slurm", max_workers=2, overrides={**options, **overrides})


def test_flow_finishes_with_an_equal_dataset_when_a_job_is_cancelled(
    slurm: slurm_node.SlurmNode, parts: Path, undisturbed: Path, tmp_path: Path
) -> None:
    from distributed import Client

    cancelled: list[str] = []

    def cancel_one_when_work_has_begun() -> None:
        encoded = tmp_path / "out" / "flows" / "parts" / "encoded"
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and len(list(encoded.glob("*.data"))) < 4:
            time.sleep(0.1)
        cancelled.append(slurm.running_jobs()[0])
        slurm.run("scancel", cancelled[0])

    with queue(tmp_path) as cluster, Client(cluster) as client:
        client.wait_for_workers(2, timeout=120)
        killer = threading.Thread(target=cancel_one_when_work_has_begun)
        killer.start()
        dataset = run_flow(tmp_path / "out", parts, cluster=client)
        killer.join()
    assert cancelled
    assert tree_digest(dataset) == tree_digest(undisturbed)


def test_adaptive_jobs_come_with_the_work_and_go_after_it(
    slurm: slurm_node.SlurmNode, parts: Path, undisturbed: Path, tmp_path: Path
) -> None:
    from distributed import Client

    with queue(tmp_path) as cluster, Client(cluster) as client:
        cluster.adapt(minimum_jobs=0, maximum_jobs=3, interval="500ms", wait_count=2)
        dataset = run_flow(tmp_path / "out", parts, cluster=client)
        assert tree_digest(dataset) == tree_digest(undisturbed)
        deadline = time.monotonic() + 60
        while slurm.running_jobs() and time.monotonic() < deadline:
            time.sleep(0.5)
        assert slurm.running_jobs() == []


def test_workers_that_reach_their_lifetime_hand_over(
    slurm: slurm_node.SlurmNode, parts: Path, undisturbed: Path, tmp_path: Path
) -> None:
    from distributed import Client

    arguments = ["--lifetime", "14s", "--lifetime-stagger", "2s", "--lifetime-restart"]
    repository = Path(__file__).resolve().parents[2]
    prologue = [f"export PYTHONPATH={repository}", "export SLOW_TASK_SECONDS=1.2"]
    options = {"worker_extra_args": arguments, "job_script_prologue": prologue}
    with queue(tmp_path, **options) as cluster, Client(cluster) as client:
        client.wait_for_workers(2, timeout=120)
        first = set(client.nthreads())
        dataset = run_flow(tmp_path / "out", parts, cluster=client)
        assert not first & set(client.nthreads()), "no worker reached its lifetime"
    assert tree_digest(dataset) == tree_digest(undisturbed)


SHORT_LIVES = {
    "walltime": ({"walltime": "00:01:00"}, 9.0),
    "lifetime": (
        {
            "worker-extra-args": [
                "--lifetime",
                "45s",
                "--lifetime-stagger",
                "10s",
                "--preload",
                "dflow.flowmanager.preload",
            ]
        },
        7.0,
    ),
}
"""What ends the jobs of the shipped profile early here, and seconds a file: together more than one life of all jobs."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("end", sorted(SHORT_LIVES))
def test_shipped_profile_replaces_its_jobs_until_the_flow_is_done(
    slurm: slurm_node.SlurmNode, parts: Path, undisturbed: Path, tmp_path: Path, end: str
) -> None:
    """Two jobs of two workers each; nothing but what this one node needs is set, as in a user's own jobqueue.yaml."""
    settings, seconds = SHORT_LIVES[end]
    own = {
        "cores": 2,
        "processes": 2,
        "memory": "4GB",
        "interface": "lo",
        "job-directives-skip": ["--mem"],
        "log-directory": str(tmp_path / "logs"),
        "job-script-prologue": [
            f"export PYTHONPATH={Path(__file__).resolve().parents[2]}",
            f"export SLOW_TASK_SECONDS={seconds}",
        ],
        **settings,
    }
    before = set(slurm.jobs())
    with dask.config.set({f"jobqueue.slurm.{key}": value for key, value in own.items()}):
        dataset = run_flow(tmp_path / "out", parts, cluster="slurm", max_workers=4)
    states = [state for job, state in slurm.jobs().items() if job not in before]
    assert len(states) > 2, "no job was replaced"
    assert (states.count("TIMEOUT") >= 2) == (end == "walltime"), states
    assert tree_digest(dataset) == tree_digest(undisturbed)


def test_whole_cluster_inside_one_allocation(
    slurm: slurm_node.SlurmNode, parts: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """SLURMRunner: scheduler, client and workers are the tasks of one srun."""
    repository = Path(__file__).resolve().parents[2]
    script = repository / "tests" / "cluster" / "runner_program.py"
    out = slurm.run(
        "srun",
        "--ntasks=4",
        "--cpus-per-task=1",
        f"--export=ALL,PYTHONPATH={repository}",
        sys.executable,
        str(script),
        str(parts),
        str(tmp_path / "out"),
    )
    assert "finished" in out
    dataset = tmp_path / "out" / "flows" / "parts" / "parts.dataset"
    assert tree_digest(dataset) == tree_digest(undisturbed)


def test_a_job_that_never_starts_is_explained_by_the_queue(
    slurm: slurm_node.SlurmNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node has six processors; a job that wants sixty waits for ever."""
    starved = queue(tmp_path, cores=60, processes=1)
    monkeypatch.setattr(queues, "queue_cluster", lambda name, **_: starved)
    monkeypatch.setattr(queues, "wait_seconds", lambda name: 6.0)
    flow = dflow.create_flow(name="parts", tasks=[gather, encode_slowly], flows_outputdir=tmp_path, cluster="slurm")
    (tmp_path / "parts").mkdir()
    with pytest.raises(ClusterError, match=r"no worker for 6 s\. squeue"):
        flow.process(inputs={"sources": [str(tmp_path / "parts")]})
