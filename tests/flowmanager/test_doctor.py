"""The doctor's judgements on made-up facts, and its eyes on real workers that see other files and other versions."""

from __future__ import annotations

import os
import pickle
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

import dflow
from dflow.errors import ClusterError, OutputFolderError
from dflow.flowmanager import doctor, flowtask
from dflow.flowmanager.doctor import Finding, Report, check_cluster, examine
from dflow.flowmanager.hostfacts import HostFacts, KernelFacts, Question, kind_of_source, look
from tests.flowmanager.flowparts import hidden

VERSIONS = {"python": "3.11.2", "dflow-cad": "0.1.0", "cadquery-ocp": "8.0.1", "zarr": "3.1.3"}
CLIENT = HostFacts("desk", versions=VERSIONS)
NODE = HostFacts("node7", "tcp://10.0.0.7:1", versions=VERSIONS)


def test_facts_and_findings_pickle():
    for value in (NODE, KernelFacts("node7", "no"), Question((("/a", "file"),), "/out", "t"), Finding("ok", "a", "b")):
        assert pickle.loads(pickle.dumps(value)) == value


@pytest.mark.parametrize(
    ("package", "theirs", "level"),
    [
        ("python", "3.12.2", "problem"),
        ("dflow-cad", "0.2.0", "problem"),
        ("cadquery-ocp", "absent", "problem"),
        ("zarr", "3.2.0", "warning"),
        ("zarr", "absent", "problem"),
    ],
)
def test_a_difference_of_versions_names_both(package, theirs, level):
    other = replace(NODE, versions={**VERSIONS, package: theirs})
    (finding,) = doctor.judge_versions(CLIENT, [other, NODE])
    assert (finding.level, finding.host) == (level, "node7")
    assert theirs in finding.message
    assert VERSIONS[package] in finding.message


def test_a_patch_release_of_python_is_no_difference():
    assert not list(doctor.judge_versions(CLIENT, [replace(NODE, versions={**VERSIONS, "python": "3.11.9"})]))


def test_a_host_that_hangs_is_one_problem_and_nothing_else():
    hung = HostFacts("node7", hung=True)
    (finding,) = [
        *doctor.judge_files([hung]),
        *doctor.judge_answers(Question((), "/out", "token"), [hung]),
        *doctor.judge_versions(CLIENT, [hung]),
        *doctor.judge_resources(hung),
    ]
    assert "does not answer" in finding.message


def test_low_disks_and_descriptors_are_warnings():
    poor = replace(NODE, temporary_folder="/scratch", temporary_free_bytes=5, folder="/out", folder_free_bytes=7)
    found = list(doctor.judge_resources(replace(poor, open_files=256)))
    assert [(f.level, f.path) for f in found] == [("warning", "/scratch"), ("warning", "/out"), ("warning", "")]
    assert "ulimit -n 1024" in found[2].advice
    rich = replace(NODE, open_files=2000)
    assert list(doctor.judge_resources(rich)) == []
    assert "5000" in next(doctor.judge_resources(rich, n_workers=500)).message


def test_workers_without_room_are_warned_of_by_host():
    gib = 1024**3
    members = [replace(NODE, address=f"w{i}", memory_bytes=8 * gib) for i in range(3)]
    assert list(doctor.judge_memory({f"w{i}": 2 * gib for i in range(3)}, members)) == []
    (over,) = doctor.judge_memory({f"w{i}": 4 * gib for i in range(3)}, members)
    assert "12.0 GiB together, it has 8.0 GiB" in over.message
    (small,) = doctor.judge_memory({"w0": gib // 2, "w1": 2 * gib, "w2": 2 * gib}, members)
    assert "1 workers have 0.5 GiB" in small.message
    assert list(doctor.judge_memory({}, members)) == []  # no limits known


def test_a_worker_that_went_away_is_no_reason_to_stop():
    (gone,) = doctor.judge_workers({"tcp://a:1": OSError("connection closed")})
    (bare,) = doctor.judge_workers({"tcp://b:1": ModuleNotFoundError("No module named 'dflow'")})
    assert (gone.level, bare.level) == ("warning", "problem")
    assert "No module named 'dflow'" in str(bare)


def test_the_kernel_and_the_renderer_are_judged_apart():
    assert [f.level for f in doctor.judge_kernels([KernelFacts("a", "", "vtk")])] == ["ok", "ok"]
    levels = [(f.level, f.check) for f in doctor.judge_kernels([KernelFacts("a", "", "software", "no EGL")])]
    assert levels == [("ok", "CAD kernel"), ("warning", "previews")]
    (fault,) = doctor.judge_kernels([KernelFacts("a", "needs libGL.so.1\n  apt-get install -y libgl1")])
    assert fault.level == "problem"
    assert "apt-get install -y libgl1" in fault.message


def test_findings_show_on_one_harmless_line():
    text = str(Finding("problem", "sources", "is not there", "node7", "/data/\x1b[2Jevil\nname", "mount it"))
    assert text == r"host node7: /data/\x1b[2Jevil\nname is not there (mount it)"


def test_problems_come_first_and_make_a_report_unsound(tmp_path):
    report = examine(None, [tmp_path / "gone", tmp_path], tmp_path / "not" / "yet", kernel=False)
    assert report.findings[0].level == "problem"
    assert report.findings[0].path == str(tmp_path / "gone")
    assert report.to_dict()["sound"] is False
    assert not (tmp_path / "not").exists()
    assert list(tmp_path.iterdir()) == []
    assert Report(()).to_dict() == {"sound": True, "findings": []}


def test_sources_are_told_apart_by_what_they_are(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.step").write_text("x")
    (tmp_path / "empty").mkdir()
    assert [kind_of_source(str(tmp_path / name)) for name in ("full", "empty", "full/a.step")] == [
        "folder",
        "empty folder",
        "file",
    ]
    question = Question(((str(tmp_path / "empty"), "folder"), (str(tmp_path / "gone"), "file")))
    assert [fault for _, fault in look(question).unseen] == ["is an empty folder", "is not there"]


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
    with LocalCluster(n_workers=0, dashboard_address=None, protocol="tcp", host="127.0.0.1") as cluster:
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
