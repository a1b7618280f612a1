"""The doctor's eyes: on this machine, and on real workers that see other files and run other versions."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

import dflow
from dflow.errors import ClusterError, OutputFolderError
from dflow.flowmanager import flowtask
from dflow.flowmanager.cluster import doctor
from dflow.flowmanager.cluster.doctor import check_cluster, examine
from dflow.flowmanager.cluster.findings import Report
from tests.flowmanager.flowparts import hidden


def test_problems_come_first_and_make_a_report_unsound(tmp_path):
    report = examine(None, [tmp_path / "gone", tmp_path], tmp_path / "not" / "yet", kernel=False)
    assert report.findings[0].level == "problem"
    assert report.findings[0].path == str(tmp_path / "gone")
    assert report.to_dict()["sound"] is False
    assert not (tmp_path / "not").exists()
    assert list(tmp_path.iterdir()) == []
    assert Report(()).to_dict() == {"sound": True, "findings": []}


def test_many_sources_are_thinned_out_evenly(tmp_path):
    for number in range(120):
        (tmp_path / f"{number:03}.step").write_text("x")
    seen = doctor._seen_here(sorted(tmp_path.iterdir()))
    assert 30 <= len(seen) <= doctor.MAX_SOURCES
    assert seen[0][0].endswith("000.step")
    assert int(Path(seen[-1][0]).stem) > 110
    assert doctor._seen_here(["SELECT * FROM parts", 5, {"a": 1}]) == ()


def test_a_sound_cluster_passes_and_nothing_is_left_behind(tmp_path, shared_client):
    (tmp_path / "parts").mkdir()
    (tmp_path / "out").mkdir()
    check_cluster(shared_client, [tmp_path / "parts"], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    report = examine(shared_client, [tmp_path / "parts"], tmp_path / "out", kernel=False)
    assert report.problems == ()
    assert {"sources", "output", "versions"} <= {f.check for f in report.findings if f.level == "ok"}
    assert list((tmp_path / "out").iterdir()) == []


def test_an_output_folder_that_the_client_cannot_write_is_its_own_error(tmp_path, shared_client):
    with pytest.raises(OutputFolderError, match="cannot be written"):
        check_cluster(shared_client, [], tmp_path / "gone")


def test_a_kernel_that_does_not_load_is_found_before_the_run(tmp_path):
    (tmp_path / "broken" / "OCP").mkdir(parents=True)
    (tmp_path / "broken" / "OCP" / "__init__.py").write_text(
        "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')\n"
    )
    (tmp_path / "out").mkdir()
    search = os.pathsep.join([str(tmp_path / "broken"), *sys.path])
    command = [sys.executable, "-m", "distributed.cli.dask_worker", "--no-nanny", "--no-dashboard", "--nthreads", "1"]
    with LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", protocol="tcp", host="127.0.0.1") as cluster:
        worker = subprocess.Popen(
            [*command, cluster.scheduler_address], env={**os.environ, "PYTHONPATH": search}, stderr=subprocess.DEVNULL
        )
        try:
            with Client(cluster) as client:
                client.wait_for_workers(1, timeout=90)
                check_cluster(client, [], tmp_path / "out")
                with pytest.raises(ClusterError, match=r"CAD kernel needs the system library libGL\.so\.1.*apt-get"):
                    check_cluster(client, [], tmp_path / "out", kernel=True)
        finally:
            worker.terminate()
            worker.wait(30)


def test_a_kernel_that_has_loaded_is_not_asked_for_again(tmp_path, shared_client, monkeypatch):
    asked, run = [], shared_client.run

    def noting(function, *arguments, **options):
        asked.append((function.__name__, len(options.get("workers") or ())))
        return run(function, *arguments, **options)

    monkeypatch.setattr(shared_client, "run", noting)
    for _ in range(2):
        check_cluster(shared_client, [], tmp_path, kernel=True)
    once = [("gather_facts_on_worker", 0)]
    assert asked in ([*once, ("load_kernel_on_worker", 1), *once], 2 * once)  # other tests share the workers


# Workers on other hosts, made of Linux namespaces: another host name, other mounts, other packages.


def can_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-mu", "true"], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    (folder / "parts").mkdir()
    (folder / "parts" / "a.txt").write_text("1 2 3")
    (folder / "out").mkdir()
    (folder / "mount").mkdir()
    old = folder / "old" / "dflow_cad-0.0.1.dist-info"
    old.mkdir(parents=True)
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: dflow-cad\nVersion: 0.0.1\n")
    (folder / "bare" / "dflow").mkdir(parents=True)
    (folder / "bare" / "dflow" / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'dflow'\")\n")
    return folder


@pytest.fixture(scope="module")
def odd_client(place: Path) -> Iterator[Client]:
    """A scheduler with three workers: one elsewhere, one with an old dflow, one without."""
    if not can_unshare():
        pytest.skip("no permission to make namespaces (unshare)")
    with LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", protocol="tcp", host="127.0.0.1") as cluster:
        address = cluster.scheduler_address
        hide = f"mount -t tmpfs none {place}/parts && mount -t tmpfs none {place}/out"
        workers = [
            start_worker(address, "far-node", hide),
            start_worker(address, "old-node", "true", PYTHONPATH=str(place / "old")),
            start_worker(address, "bare-node", "true", PYTHONPATH=str(place / "bare")),
        ]
        try:
            with Client(cluster) as client:
                client.wait_for_workers(3, timeout=90)
                yield client
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.wait(30)


def start_worker(address: str, host: str, before: str, **environment: str) -> subprocess.Popen[bytes]:
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny", "--no-dashboard"]
    worker += ["--nthreads", "1", "--name", host, "--local-directory", "/tmp"]
    script = f"hostname {host} && {before} && exec {shlex.join(worker)}"
    command = ["unshare", "-mu", "sh", "-c", script]
    return subprocess.Popen(command, env={**os.environ, **environment}, cwd="/tmp", stderr=subprocess.DEVNULL)


def test_hosts_and_paths_of_foreign_workers_are_named(odd_client: Client, place: Path):
    report = examine(odd_client, [place / "parts"], place / "out", kernel=False)
    found = {(f.host, f.check): f for f in report.problems}
    assert found["far-node", "sources"].path == str(place / "parts")
    assert found["far-node", "sources"].message == "is an empty folder"
    assert found["far-node", "output"].path == str(place / "out")
    assert "another folder than the client's" in found["far-node", "output"].message
    assert "0.0.1" in found["old-node", "versions"].message
    (bare,) = [f for f in report.problems if f.check == "worker"]
    assert "No module named 'dflow'" in bare.message
    assert ("old-node", "sources") not in found
    assert list((place / "out").iterdir()) == []


def test_a_flow_on_such_a_cluster_stops_before_any_work(odd_client: Client, place: Path):
    @flowtask.transform(name="encode", inputs=["file", "storage"])
    def encode(file, storage):
        raise AssertionError("work began")

    flow = dflow.create_flow("odd", [encode], place / "out", cluster=odd_client, export_visualization=False)
    with pytest.raises(ClusterError, match=r"host \S+: .*dflow doctor --cluster tcp://127"):
        flow.process(inputs={"files": [str(place / "parts" / "a.txt")]}, progress=False)
    assert hidden(place / "out") == []
    assert odd_client.status == "running"
    shutil.rmtree(place / "out" / "flows")
