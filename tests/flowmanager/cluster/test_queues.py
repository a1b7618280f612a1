"""The queue profiles become the job scripts that each queue expects, and the user's own configuration wins."""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
import yaml

from dflow.errors import ClusterError
from dflow.flowmanager.cluster import queues

REPOSITORY = Path(__file__).resolve().parents[3]

DIRECTIVES = {
    "slurm": ["#SBATCH -J dflow", "#SBATCH --cpus-per-task=8", "#SBATCH --mem=30G", "#SBATCH -t 01:00:00"],
    "pbs": ["#PBS -N dflow", "#PBS -l select=1:ncpus=8:mem=30GB", "#PBS -l walltime=01:00:00"],
    "lsf": ["#BSUB -J dflow", "#BSUB -n 8", '#BSUB -R "span[hosts=1]"', "#BSUB -W 01:00"],
    "sge": ["#$ -N dflow", "#$ -l h_rt=01:00:00", "#$ -cwd"],
}


@pytest.fixture(autouse=True)
def own_configuration() -> Iterator[None]:
    """Changes to Dask's configuration end with the test."""
    queues.jobqueue_classes()
    config, n_defaults = copy.deepcopy(dask.config.config), len(dask.config.defaults)
    yield
    dask.config.config.clear()
    dask.config.config.update(config)
    del dask.config.defaults[n_defaults:]


def job_script(name: str, **overrides: Any) -> str:
    options, _ = queues.queue_options(name)
    module = queues.jobqueue_classes()
    cluster_class = getattr(module, queues.QUEUES[name])
    options.update(overrides, name="dflow")
    options["scheduler_options"] = {"dashboard_address": "127.0.0.1:0", "interface": "lo"}
    with cluster_class(**options) as cluster:
        return str(cluster.job_script())


@pytest.mark.parametrize("name", sorted(queues.QUEUES))
def test_job_script_has_the_queue_s_own_directives(name: str) -> None:
    script = job_script(name)
    for directive in DIRECTIVES[name]:
        assert directive in script.splitlines()
    assert "--nthreads 1" in script
    assert "--nworkers 8" in script
    assert "--lifetime 55m --lifetime-stagger 4m" in script
    assert "--preload dflow.flowmanager.preload" in script


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # the keys' files, which dask-jobqueue leaves open
def test_a_profile_may_ask_for_temporary_keys(tmp_path: Path) -> None:
    settings = {"jobqueue.slurm.security": True, "jobqueue.slurm.shared-temp-directory": str(tmp_path)}
    with dask.config.set(settings):
        script = job_script("slurm")
    gc.collect()
    assert " tls://" in script
    assert f"--tls-key {tmp_path}/" in script


def test_the_user_s_configuration_wins_key_by_key() -> None:
    with dask.config.set({"jobqueue.slurm": {"queue": "gpu", "cores": 4, "processes": 4}}):
        options, own = queues.queue_options("slurm")
    assert options["queue"] == "gpu"
    assert options["cores"] == 4
    assert options["memory"] == "32GB"
    assert own == {"dflow-jobs": 4, "dflow-adaptive": False, "dflow-wait": 3600}


def test_profile_without_memory_is_refused_with_what_to_edit() -> None:
    with pytest.raises(ClusterError, match=r"jobqueue\.yaml"):
        queues.queue_cluster("slurm", overrides={"memory": None})


def test_wheel_carries_the_profiles() -> None:
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    assert '"cluster" = "dflow/_cluster"' in project
    assert queues.profile_folder() == REPOSITORY / "cluster"


@pytest.mark.parametrize("name", ["dask.yaml", "local.yaml", "jobqueue.yaml", "container/compose.yaml"])
def test_configuration_files_are_sound(name: str) -> None:
    assert isinstance(yaml.safe_load((REPOSITORY / "cluster" / name).read_text(encoding="utf-8")), dict)


def test_dask_settings_name_existing_keys() -> None:
    """A key that Dask does not know is a setting without effect."""
    import distributed  # noqa: F401  registers its defaults

    def check(ours: dict[str, Any], theirs: Any, path: str) -> None:
        for key, value in ours.items():
            if key == "pre-spawn-environ":
                continue
            assert isinstance(theirs, dict), path
            assert key in theirs, f"{path}.{key}"
            if isinstance(value, dict):
                check(value, theirs[key], f"{path}.{key}")

    ours = yaml.safe_load((REPOSITORY / "cluster" / "dask.yaml").read_text(encoding="utf-8"))
    defaults = dask.config.merge(*dask.config.defaults)
    check(ours, defaults, "")


def test_compose_services_share_one_image_and_publish_to_loopback_only() -> None:
    compose = yaml.safe_load((REPOSITORY / "cluster" / "container" / "compose.yaml").read_text(encoding="utf-8"))
    services = compose["services"]
    assert set(services) == {"scheduler", "worker", "client"}
    assert {service["image"] for service in services.values()} == {"dflow"}
    assert all(port.startswith("127.0.0.1:") for service in services.values() for port in service.get("ports", []))


def test_dockerfile_copies_what_the_build_needs() -> None:
    lines = (REPOSITORY / "cluster" / "container" / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = {word for line in lines if line.startswith("COPY") for word in line.split()[2:-1]}
    assert all((REPOSITORY / name).exists() for name in copied)
    assert {"pyproject.toml", "dflow", "cluster"} <= copied
    instructions = {line.split()[0] for line in lines if line and line[0].isupper()}
    assert instructions == {"FROM", "RUN", "WORKDIR", "COPY", "USER", "ENV", "CMD"}
