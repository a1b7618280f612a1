"""Workers that join a running flow with other versions, or without dflow, do nothing and cost nothing."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dask.delayed import delayed
from distributed import Client, LocalCluster

import dflow
from dflow.errors import ClusterError
from dflow.flowmanager import flowtask, preload
from dflow.flowmanager.cluster import clusters
from dflow.flowmanager.cluster.clusterengine import ClusterEngine
from dflow.flowmanager.cluster.engine import Job
from dflow.flowmanager.cluster.guard import guarded
from tests.flowmanager.flowparts import encode, gather, write_sources
from tests.trees import tree_digest

N_FILES = 24
GATE = "DFLOW_TEST_GATE"


@flowtask.transform(name="encode", inputs=["file", "cad_loader", "storage"], outputs=["encoded"])
def encode_behind_gate(file, cad_loader, storage):
    """Wait until the late worker is there, then leave it time to be handed something."""
    gate = os.environ.get(GATE)
    while gate and not os.path.exists(gate):
        time.sleep(0.05)
    time.sleep(0.1 if gate else 0.0)
    return encode(file, cad_loader, storage)


def other_dist_info(folder: Path, name: str) -> None:
    info = folder / f"{name.replace('-', '_')}-0.0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.0.1\n", encoding="utf-8")


def other_dflow(folder: Path, tell: Path) -> None:
    """A copy of the package that says another version, and tells when it is given a batch."""
    copy = folder / "dflow"
    shutil.copytree(Path(dflow.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "_version.py").write_text('__version__ = "0.0.1"\n', encoding="utf-8")
    with (copy / "flowmanager" / "worker" / "worker.py").open("a", encoding="utf-8") as module:
        module.write(f"\n\ndef run_batch(batch):\n    open({str(tell)!r}, 'w').close()\n    raise SystemExit\n")


def no_dflow(folder: Path) -> None:
    (folder / "dflow").mkdir(parents=True)
    raises = "raise ModuleNotFoundError(\"No module named 'dflow'\", name='dflow')\n"
    (folder / "dflow" / "__init__.py").write_text(raises, encoding="utf-8")


ODDITIES: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "dflow": (other_dflow, r"dflow-cad is 0\.0\.1 .*on the client"),
    "bare": (lambda folder, _: no_dflow(folder), r"cannot run dflow: .*No module named .dflow."),
    "installed": (lambda folder, _: other_dist_info(folder, "dflow-cad"), r"dflow-cad is .*0\.0\.1.*on the client"),
    "kernel": (lambda folder, _: other_dist_info(folder, "cadquery-ocp"), r"cadquery-ocp is 0\.0\.1, on the client"),
    "numpy": (lambda folder, _: other_dist_info(folder, "numpy"), r"numpy is .*0\.0\.1.*, on the client"),
}
QUICK = ("dflow", "bare")


class Workers:
    """A scheduler, and the worker processes that a test adds to it."""

    def __init__(self, address: str, folder: Path) -> None:
        self.address, self.folder = address, folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *, nanny: bool = False, **environment: str) -> None:
        command = [sys.executable, "-m", "distributed.cli.dask_worker", self.address, "--no-dashboard"]
        command += ["--nthreads", "1", "--name", name, "--nanny" if nanny else "--no-nanny"]
        environment = {**os.environ, GATE: str(self.folder / "gate"), **environment}
        self.processes[name] = subprocess.Popen(command, env=environment, cwd=self.folder, stderr=subprocess.DEVNULL)

    def start_odd(self, oddity: str, *, nanny: bool = False) -> None:
        folder = self.folder / oddity
        ODDITIES[oddity][0](folder, self.folder / "worked")
        here = str(Path(dflow.__file__).parents[1])
        self.start(oddity, nanny=nanny, PYTHONPATH=os.pathsep.join([str(folder), here]))

    def close(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(60)


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    """One sound worker."""
    with LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", protocol="tcp", host="127.0.0.1") as cluster:
        started = Workers(cluster.scheduler_address, tmp_path)
        started.start("sound")
        try:
            yield started
        finally:
            started.close()


@pytest.fixture
def client(workers: Workers) -> Iterator[Client]:
    with Client(workers.address, set_as_default=False) as client:
        client.wait_for_workers(1, timeout=120)
        yield client


def run_flow(folder: Path, sources: Path, **arguments: Any) -> tuple[dict[str, Any], Path]:
    flow = dflow.create_flow(
        name="numbers",
        tasks=[gather, encode_behind_gate],
        flows_outputdir=folder,
        export_visualization=False,
        **arguments,
    )
    _, summary, flow_file = flow.process(inputs={"sources": [str(sources)]}, progress=False)
    return summary, Path(flow_file)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    return write_sources(tmp_path / "sources", {f"f{n:03d}": f"{n} {n + 0.5}" for n in range(N_FILES)})


def wait_for(condition: Callable[[], Any], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.05)


def log_of(folder: Path) -> str:
    path = next(folder.glob("flows/*/flow_log.log"), None)
    return path.read_text(encoding="utf-8") if path else ""


def beside(action: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    return thread


@pytest.mark.timeout(400)
@pytest.mark.parametrize("nanny", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "oddity", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ODDITIES]
)
def test_late_worker_that_differs_does_no_work_and_is_named(
    workers: Workers, client: Client, sources: Path, tmp_path: Path, oddity: str, nanny: bool
) -> None:
    import re

    def join() -> None:
        wait_for(lambda: list((tmp_path / "out").glob("flows/*/flow_log.log")))
        workers.start_odd(oddity, nanny=nanny)
        wait_for(lambda: len(client.nthreads()) == 2)
        (tmp_path / "gate").touch()

    late = beside(join)
    summary, flow_file = run_flow(tmp_path / "out", sources, cluster=client)
    late.join()
    expected, expected_file = run_flow(tmp_path / "expected", sources, debug=True)
    assert summary["file_count"] == expected["file_count"] == N_FILES
    assert summary["error_count"] == 0 if "error_count" in summary else True
    assert tree_digest(flow_file.with_suffix(".dataset")) == tree_digest(expected_file.with_suffix(".dataset"))
    assert not (tmp_path / "worked").exists()
    log = log_of(tmp_path / "out")
    named = re.findall(r"WARNING FLOW Worker (tcp://\S+) does no work for this flow: (.*)", log)
    assert len(named) == 1, log
    assert re.search(ODDITIES[oddity][1], named[0][1])
    assert "was lost" not in log
    assert workers.processes[oddity].poll() is None, "the worker was ended"
    statuses = client.run_on_scheduler(lambda dask_scheduler: [w.status.name for w in dask_scheduler.workers.values()])
    assert statuses == ["running", "running"], "the worker was not given back"


@pytest.mark.timeout(400)
def test_flow_ends_where_only_refused_workers_are_left(
    workers: Workers, client: Client, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "WORKER_SECONDS", 3.0)

    def join_then_stay_alone() -> None:
        wait_for(lambda: list((tmp_path / "out").glob("flows/*/flow_log.log")))
        workers.start_odd("bare")
        wait_for(lambda: len(client.nthreads()) == 2)
        wait_for(lambda: "does no work" in log_of(tmp_path / "out"))
        workers.processes["sound"].kill()

    late = beside(join_then_stay_alone)
    with pytest.raises(ClusterError, match=r"no fit worker for 3 s.*tcp://\S+ .*No module named 'dflow'"):
        run_flow(tmp_path / "out", sources, cluster=client)
    late.join()


def test_node_is_not_begun_where_versions_differ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (node,) = guarded([delayed((tmp_path / "begun").touch, pure=False)(dask_key_name="touch-1")])
    (task,) = dict(node.__dask_graph__()).values()
    travelled = pickle.dumps(task)
    here = preload.decisive_versions()
    for name in here:
        monkeypatch.setattr(preload, "decisive_versions", lambda name=name: {**here, name: "0.0.1"})
        with pytest.raises(RuntimeError, match=r"not begun: this worker has .*0\.0\.1"):
            pickle.loads(travelled)()
    assert not (tmp_path / "begun").exists()
    monkeypatch.undo()
    pickle.loads(travelled)()
    assert (tmp_path / "begun").exists()


def test_chain_of_nodes_gives_what_it_gave_unguarded() -> None:
    first = delayed(lambda a, b=0: [a, b], pure=False)(1, b=2, dask_key_name="first-1")
    second = delayed(lambda a, *rest, c: (a, rest, c), pure=False)("x", first, c={"y": 3}, dask_key_name="second-1")
    from dflow.flowmanager.cluster.engine import compute_here

    assert compute_here(guarded([first, second])) == compute_here([first, second])


@pytest.mark.parametrize(("retries", "n_calls"), [(0, 1), (2, 3)])
def test_node_that_raises_on_a_sound_worker_is_tried_again_as_often_as_told(
    shared_client: Client, tmp_path: Path, retries: int, n_calls: int
) -> None:
    def count_and_raise() -> None:
        with (tmp_path / "calls").open("a") as calls:
            calls.write("x")
        raise RuntimeError("no luck")

    node = delayed(count_and_raise, pure=False)(dask_key_name=f"raises-{retries}")
    after = delayed(lambda earlier: earlier, pure=False)(node, dask_key_name=f"after-{retries}")
    (finished,) = ClusterEngine(shared_client, retries=retries).run([Job(0, (node, after))])
    assert isinstance(finished.error, RuntimeError)
    assert len((tmp_path / "calls").read_text()) == n_calls


def test_node_that_succeeds_at_its_second_try_is_finished(shared_client: Client, tmp_path: Path) -> None:
    def lucky() -> str:
        if not (tmp_path / "tried").exists():
            (tmp_path / "tried").touch()
            raise OSError(5, "a disk failed")
        return "done"

    node = delayed(lucky, pure=False)(dask_key_name="lucky-1")
    after = delayed(lambda earlier: earlier + " after", pure=False)(node, dask_key_name="after-lucky-1")
    (finished,) = ClusterEngine(shared_client, retries=1).run([Job(0, (node, after))])
    assert finished.results == ("done", "done after")
