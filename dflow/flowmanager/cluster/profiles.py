"""Named clusters: ``cluster="slurm"`` and its like become a running cluster.

The profiles are the files of ``cluster/`` (the wheel carries them as ``dflow/_cluster``). What the user has set in
Dask's own configuration, ``~/.config/dask/jobqueue.yaml``, wins over them key by key.
"""

from __future__ import annotations

import getpass
import importlib
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dask
import yaml

from dflow.errors import ClusterError
from dflow.flowmanager.cluster.queuejobs import LastingJobs
from dflow.monitor.preload import offer_pages

QUEUES: dict[str, str] = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster", "sge": "SGECluster"}
"""Profile names and the dask-jobqueue classes behind them."""

LISTINGS: dict[str, list[str]] = {
    "slurm": ["squeue", "--me", "--format=%i %j %T %r"],
    "pbs": ["qstat", "-u", getpass.getuser()],
    "lsf": ["bjobs", "-p"],
    "sge": ["qstat"],
}
"""What lists the user's jobs, with the reason why they wait where the queue gives one."""

DEFAULT_WAIT_SECONDS = 3600.0

OWN_KEYS = ("dflow-jobs", "dflow-adaptive", "dflow-wait")
"""Keys of a profile that dflow reads itself."""


def profile_names() -> tuple[str, ...]:
    """What `cluster=` takes by name."""
    return ("local", *QUEUES)


def profile_folder() -> Path:
    """The folder of the profiles: inside the installed package, or beside it in a checkout.

    Raises
    ------
    ClusterError
        If neither is there.
    """
    package = Path(__file__).resolve().parents[2]
    for folder in (package / "_cluster", package.parent / "cluster"):
        if (folder / "jobqueue.yaml").is_file():
            return folder
    raise ClusterError(f"no cluster profiles beside {package}: reinstall dflow-cad")


def read_profile(file_name: str) -> dict[str, Any]:
    """One of the profile files as a dictionary."""
    with (profile_folder() / file_name).open(encoding="utf-8") as stream:
        content = yaml.safe_load(stream)
    if not isinstance(content, dict):
        raise ClusterError(f"{file_name} holds {type(content).__name__}, expected a mapping")
    return content


def queue_options(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments for the queue's cluster class, and dflow's own keys, after the user's configuration has had its say."""
    jobqueue_classes()  # registers dask-jobqueue's own defaults, which ours replace
    dask.config.update_defaults(read_profile("jobqueue.yaml"))
    settings = {str(k).replace("_", "-"): v for k, v in dask.config.get(f"jobqueue.{name}").items()}
    own = {key: settings.pop(key, None) for key in OWN_KEYS}
    return {key.replace("-", "_"): value for key, value in settings.items() if value is not None}, own


def wait_seconds(name: str) -> float:
    """How long a flow waits for the first job of profile `name` to start."""
    _, own = queue_options(name)
    return float(own["dflow-wait"] or DEFAULT_WAIT_SECONDS)


def queue_says(name: str) -> str:
    """What the queue's own command says of the user's jobs, "" where there is no such command."""
    command = LISTINGS[name]
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return f"{' '.join(command)} says:\n{(done.stdout or done.stderr).strip()}"


def jobqueue_classes() -> Any:
    """The module dask_jobqueue.

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
    """The cluster class of profile `name`, with jobs that are replaced when they end."""
    original = getattr(jobqueue_classes(), QUEUES[name])
    return type(original.__name__, (LastingJobs, original), {})


def queue_cluster(name: str, *, max_workers: int | None = None, overrides: Mapping[str, Any] | None = None) -> Any:
    """Start the profile `name` on its queue and ask for jobs.

    Parameters
    ----------
    name
        A key of `QUEUES`.
    max_workers
        Worker processes in all, None for the profile's ``dflow-jobs``.
    overrides
        Arguments of the cluster class that win over profile and configuration.

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
