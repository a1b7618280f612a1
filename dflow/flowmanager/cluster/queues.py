"""Named clusters: what ``cluster="slurm"`` and its like start.

The profiles are the files of ``cluster/`` (the wheel carries them as ``dflow/_cluster``). What the user has set in
Dask's own configuration, ``~/.config/dask/jobqueue.yaml``, wins over them key by key.
"""

from __future__ import annotations

import asyncio
import getpass
import importlib
import shutil
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import dask
import yaml
from dask.utils import parse_timedelta
from distributed import SpecCluster, Status

from dflow.errors import ClusterError
from dflow.flowmanager.cluster.ownpages import GuardedCluster
from dflow.monitor.preload import offer_pages
from dflow.plaintext import get_logger

QUEUES: dict[str, str] = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster", "sge": "SGECluster"}
"""Profile names and the dask-jobqueue classes behind them."""

LISTINGS: dict[str, list[str]] = {
    "slurm": ["squeue", "--me", "--format=%i %j %T %r"],
    "pbs": ["qstat", "-u", getpass.getuser()],
    "lsf": ["bjobs", "-p"],
    "sge": ["qstat"],
}
"""Commands that list the user's jobs, with the reason why they wait where the queue gives one."""

DEFAULT_WAIT_SECONDS = 3600.0

OWN_KEYS = ("dflow-jobs", "dflow-adaptive", "dflow-wait")
"""Keys of a profile that dflow reads itself."""


def profile_names() -> tuple[str, ...]:
    """Return the names that `cluster` accepts."""
    return ("local", *QUEUES)


def profile_folder() -> Path:
    """Return the folder of the profiles: inside the installed package, or beside it in a checkout.

    Raises
    ------
    ClusterError
        If neither exists.
    """
    package = Path(__file__).resolve().parents[2]
    for folder in (package / "_cluster", package.parent / "cluster"):
        if (folder / "jobqueue.yaml").is_file():
            return folder
    raise ClusterError(f"no cluster profiles beside {package}: reinstall dflow-cad")


def read_profile(file_name: str) -> dict[str, Any]:
    """Return one of the profile files as a dictionary."""
    with (profile_folder() / file_name).open(encoding="utf-8") as stream:
        content = yaml.safe_load(stream)
    if not isinstance(content, dict):
        raise ClusterError(f"{file_name} holds {type(content).__name__}, expected a mapping")
    return content


def queue_options(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return arguments for the queue's cluster class, and dflow's own keys, with the user's configuration applied."""
    jobqueue_classes()  # registers dask-jobqueue's own defaults, which ours replace
    dask.config.update_defaults(read_profile("jobqueue.yaml"))
    settings = {str(k).replace("_", "-"): v for k, v in dask.config.get(f"jobqueue.{name}").items()}
    own = {key: settings.pop(key, None) for key in OWN_KEYS}
    return {key.replace("-", "_"): value for key, value in settings.items() if value is not None}, own


def wait_seconds(name: str) -> float:
    """Return how long a flow waits for the first job of profile `name`, in seconds."""
    _, own = queue_options(name)
    return float(own["dflow-wait"] or DEFAULT_WAIT_SECONDS)


def queue_status(name: str) -> str:
    """Return the output of the queue's own command about the user's jobs, "" where there is no such command."""
    command = LISTINGS[name]
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return f"{' '.join(command)} prints:\n{(done.stdout or done.stderr).strip()}"


def explanation_of(cluster: Any) -> Callable[[], str]:
    """Return the function that says what the queue of a cluster object lists; one that returns "" for others."""
    classes = {each.__name__ for each in type(cluster).__mro__}
    name = next((name for name, queue in QUEUES.items() if queue in classes), None)
    return partial(queue_status, name) if name else str


def jobqueue_classes() -> Any:
    """Return the module dask_jobqueue.

    Raises
    ------
    ClusterError
        If it is not installed.
    """
    try:
        return importlib.import_module("dask_jobqueue")
    except ImportError as error:
        raise ClusterError("queues need dask-jobqueue: pip install 'dflow-cad[jobqueue]'") from error


def queue_class(name: str) -> type[LastingJobs]:
    """Return the cluster class of profile `name`, whose jobs are replaced when they end."""
    original = getattr(jobqueue_classes(), QUEUES[name])
    return type(original.__name__, (LastingJobs, original), {})


def queue_cluster(name: str, *, max_workers: int | None = None, overrides: Mapping[str, Any] | None = None) -> Any:
    """Start the profile `name` on its queue and request jobs.

    Parameters
    ----------
    name
        A key of `QUEUES`.
    max_workers
        Worker processes in all, None for the profile's ``dflow-jobs``.
    overrides
        Arguments of the cluster class that take precedence over profile and configuration.

    Raises
    ------
    ClusterError
        If dask-jobqueue is not installed or the profile is incomplete.
    """
    options, own = queue_options(name)
    options.update(overrides or {})
    cluster_class = queue_class(name)
    missing = [key for key in ("cores", "memory") if not options.get(key)]
    if missing:
        raise ClusterError(f"the profile {name!r} lacks {', '.join(missing)}: edit ~/.config/dask/jobqueue.yaml")
    offer_pages()
    cluster = cluster_class(**options)
    per_job = int(options.get("processes") or 1)
    n_jobs = -(-max_workers // per_job) if max_workers else int(own["dflow-jobs"] or 1)
    if own["dflow-adaptive"]:
        cluster.adapt(minimum_jobs=1, maximum_jobs=n_jobs)
    else:
        cluster.scale(jobs=n_jobs)
    return cluster


_LOGGER = get_logger(__name__)

RESUBMIT_SECONDS = 30.0
"""Time between a submission that failed and the next."""


class LastingJobs(GuardedCluster):
    """Keeps as many jobs as were requested; a base class to put before a class of dask-jobqueue.

    Dask replaces only a job that has its worker's name: none of those with several workers, and with `scale` none at
    all. Here a job has ended when none of its workers was present for ``distributed.deploy.lost-worker-timeout``; a
    nanny starts its worker again well within that.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._left_at: dict[str, float] = {}
        self._submission_fault = ""
        super().__init__(*args, **kwargs)

    @property
    def refusal(self) -> str:
        """The queue's own words on the last submission that failed, while it has taken no job at all; else ""."""
        taken = any(job.status == Status.running for job in self.workers.values())
        return "" if taken else self._submission_fault

    def _update_worker_status(self, op: str, msg: Any) -> None:
        if op == "remove":
            self._worker_left(self.scheduler_info["workers"][msg]["name"])
        super(SpecCluster, self)._update_worker_status(op, msg)

    def _worker_left(self, name: Any) -> None:
        job = next((job for job in self.workers if name in self._worker_names(job)), None)
        if job is not None:
            loop = asyncio.get_running_loop()
            self._left_at[job] = loop.time()
            loop.call_later(_patience(), self._replace_if_ended, job, self._left_at[job])

    def _worker_names(self, job: Any) -> set[Any]:
        group = self.worker_spec.get(job, {}).get("group")
        return {f"{job}{suffix}" for suffix in group} if group else {job}

    def _replace_if_ended(self, job: Any, left_at: float) -> None:
        """Submit the job again unless it is no longer needed, has a worker, or had one after `left_at`."""
        present = {worker["name"] for worker in self.scheduler_info["workers"].values()}
        is_wanted = job in self.workers and job in self.worker_spec and self._left_at[job] == left_at
        if is_wanted and not present & self._worker_names(job):
            _LOGGER.info("The job of %s has ended; another is submitted", job)
            self._futures.add(asyncio.ensure_future(self._resubmit(self.workers.pop(job))))

    async def _resubmit(self, ended: Any = None) -> None:
        if ended is not None:
            with suppress(Exception):  # the queue has forgotten a job that ended
                await ended.close()
        if self.status == Status.running:
            with suppress(Exception):  # reported, and tried again
                await self._correct_state()

    async def _correct_state_internal(self) -> None:
        """Submit the jobs that are missing; those that the queue refuses again after a while."""
        try:
            await super()._correct_state_internal()
            self._submission_fault = ""
        except Exception as error:
            self._submission_fault = str(error)
            _LOGGER.warning("A job was not submitted: %s; tried again in %.0f s", error, RESUBMIT_SECONDS)
            self._forget_unsubmitted()
            asyncio.get_running_loop().call_later(
                RESUBMIT_SECONDS, lambda: self._futures.add(asyncio.ensure_future(self._resubmit()))
            )
            raise

    def _forget_unsubmitted(self) -> None:
        """Remove jobs whose submission failed, which Dask counts as submitted."""
        for name, job in list(self.workers.items()):
            if job.status == Status.created:
                job.status = Status.failed
                del self.workers[name]


def _patience() -> float:
    return float(parse_timedelta(dask.config.get("distributed.deploy.lost-worker-timeout")))
