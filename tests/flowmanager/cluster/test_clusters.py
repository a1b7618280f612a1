"""What a local cluster of our own is like."""

from __future__ import annotations

import gc
import json
import multiprocessing
import multiprocessing.spawn
import os
import platform
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask
import pytest
from distributed import LocalCluster
from distributed.security import Security

from dflow.errors import ClusterError
from dflow.flowmanager.cluster import clusters
from dflow.flowmanager.cluster.clusters import WorkerStart, resolve


def _faults_of_arrays() -> int:
    """Page faults of 100 arrays of 1 MiB that are made, filled and dropped one after the other, the first left out."""
    import resource

    def fill() -> None:
        assert len(b"x" * 1024**2) == 1024**2

    fill()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        fill()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="settings of glibc")
def test_workers_keep_the_memory_of_an_array_for_the_next(shared_client):
    """Dask's own setting returns it to the system: 256 faults an array."""
    for faults in shared_client.run(_faults_of_arrays).values():
        assert faults < 100 * 64


def test_a_worker_that_is_away_when_dask_looks_for_it_comes_back_all_the_same():
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "0s"}):  # always between its end and its return
        connection = resolve("local", max_workers=1)
        try:
            pids = [next(iter(connection.client.run(os.getpid).values()))]
            for _ in range(2):
                os.kill(pids[-1], signal.SIGKILL)
                end = time.monotonic() + 60.0
                while not (found := set(connection.client.run(os.getpid, on_error="ignore").values()) - set(pids)):
                    assert time.monotonic() < end, "no worker came back"
                    time.sleep(0.1)
                pids += found
            assert len(pids) == 3
        finally:
            connection.close()


def test_a_dashboard_port_that_is_taken_after_we_looked_warns_of_nothing(monkeypatch, recwarn):
    """Two flows that start at the same time; the socket that got no port is nobody's affair either."""
    monkeypatch.setattr(clusters, "free_port", lambda port: port)
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        monkeypatch.setattr(clusters, "DASHBOARD_PORT", taken)
        connection = resolve("local", max_workers=1)
        try:
            gc.collect()
            assert f":{taken}/" not in connection.client.dashboard_link
        finally:
            connection.close()
    told = [str(warning.message) for warning in recwarn]
    assert [text for text in told if "already in use" in text or "('0.0.0.0', 0)" in text] == []


WORKER = "Dask Worker process (from Nanny)"


@pytest.fixture
def script(monkeypatch, tmp_path):
    """A main module that is a file, as a user's script is: what ``spawn`` would run again. No cluster is open."""
    original = WorkerStart._original or multiprocessing.spawn.get_preparation_data
    for name, value in (("_open", []), ("_environment", {}), ("_start_method", None)):
        monkeypatch.setattr(WorkerStart, name, value)
    monkeypatch.setattr(multiprocessing.spawn, "get_preparation_data", original)
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__spec__", None)
    monkeypatch.setattr(main, "__file__", str(tmp_path / "script.py"), raising=False)


def _main_of(name: str) -> object:
    return multiprocessing.spawn.get_preparation_data(name).get("init_main_from_path")


def test_only_workers_start_without_the_users_script_and_only_until_the_last_cluster_is_closed(script, tmp_path):
    path = str(tmp_path / "script.py")
    before = multiprocessing.spawn.get_preparation_data
    first, second = WorkerStart(), WorkerStart()
    first.close()
    first.close()
    assert (_main_of(WORKER), _main_of("Process-1")) == (None, path)
    second.close()
    assert multiprocessing.spawn.get_preparation_data is before
    assert (_main_of(WORKER), _main_of("Process-1")) == (path, path)


def test_a_closed_cluster_leaves_the_start_of_processes_as_it_was(script, tmp_path):
    before = multiprocessing.spawn.get_preparation_data
    connection = resolve("local", max_workers=1)
    try:
        assert (_main_of(WORKER), _main_of("Process-1")) == (None, str(tmp_path / "script.py"))
    finally:
        connection.close()
    assert multiprocessing.spawn.get_preparation_data is before


def test_a_cluster_that_does_not_start_leaves_the_start_of_processes_as_it_was(script, monkeypatch):
    def failed(**_: object) -> None:
        raise OSError("no process can be started")

    monkeypatch.setattr(clusters, "_started_or_closed", failed)
    before = multiprocessing.spawn.get_preparation_data
    with pytest.raises(OSError, match="no process"):
        resolve("local", max_workers=1)
    assert multiprocessing.spawn.get_preparation_data is before


def test_variables_and_start_method_are_restored_with_the_last_cluster(script, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    for name in ("PYTHONHASHSEED", "MALLOC_TRIM_THRESHOLD_"):
        monkeypatch.delenv(name, raising=False)
    method = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(None, force=True)
    try:
        first, second = WorkerStart(), WorkerStart()
        os.environ.update(OMP_NUM_THREADS="1", PYTHONHASHSEED="6640", MALLOC_TRIM_THRESHOLD_="65536")
        assert multiprocessing.get_start_method()  # what `spawn` does, which fixes it
        first.close()
        assert os.environ["OMP_NUM_THREADS"] == "1"
        second.close()
        assert os.environ["OMP_NUM_THREADS"] == "3"
        assert not {"PYTHONHASHSEED", "MALLOC_TRIM_THRESHOLD_"} & set(os.environ)
        assert multiprocessing.get_start_method(allow_none=True) is None
    finally:
        multiprocessing.set_start_method(method, force=True)


STATE = """
import gc, json, logging, multiprocessing, os, signal, sys, warnings
import dask, dflow
from dflow.flowmanager import flowtask


@flowtask.transform(inputs=["part"])
def same(part, storage):
    storage.save_metadata("part", part)
    return part


def state():
    root = logging.getLogger()
    return {
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "path": list(sys.path),
        "collector": gc.get_threshold(),
        "signals": [str(signal.getsignal(each)) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)],
        "mask": sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))),
        "spawn": str(multiprocessing.spawn.get_preparation_data),
        "start method": multiprocessing.get_start_method(allow_none=True),
        "dask": json.dumps(dask.config.config, default=str, sort_keys=True),
        "warnings": list(map(str, warnings.filters)),
        "logging": [root.level, [handler.level for handler in root.handlers]],
        "hooks": [str(sys.excepthook), str(sys.stdout), str(sys.stderr)],
        "main": str(sys.modules["__main__"]),
    }


import dflow.flowmanager.run.session, distributed.dashboard.scheduler, multiprocessing.spawn

logging.basicConfig(level=logging.INFO)
before = state()
flow = dflow.create_flow("kept", [same], sys.argv[1], max_workers=1, export_visualization=False)
assert flow.process(inputs={"parts": [1, 2]}, progress=False)[0].counts.succeeded == 2
after = state()
for name in before:
    assert before[name] == after[name], (name, before[name], after[name])
"""


@pytest.mark.slow
def test_a_flow_leaves_the_process_as_it_found_it(tmp_path):
    command = [sys.executable, "-c", STATE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


class Bare:
    """The least that a cluster object can be."""

    def __init__(self, address: Any, **more: Any) -> None:
        self.scheduler_address = address
        vars(self).update(more)


def given_as(form: str, address: str, folder: Path) -> Any:
    """A scheduler in one of the forms that `cluster` takes."""
    if form == "object":
        return Bare(address)
    if form == "object with security":
        return Bare(address, security=Security())
    path = folder / "scheduler.json"
    path.write_text(json.dumps({"type": "Scheduler", "address": address}))
    return str(path) if form == "file" else path


@pytest.fixture(scope="module")
def plain_cluster() -> Iterator[LocalCluster]:
    """A cluster in this process, without keys."""
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    ) as cluster:
        yield cluster


@pytest.mark.parametrize("form", ["object", "object with security", "file", "path"])
def test_a_scheduler_is_found_by_object_and_by_file(plain_cluster, tmp_path, form):
    connection = clusters.resolve(given_as(form, plain_cluster.scheduler_address, tmp_path))
    try:
        assert connection.client.scheduler.address == plain_cluster.scheduler_address
        assert len(connection.client.nthreads()) == 1
    finally:
        connection.close()
    assert len(plain_cluster.scheduler.workers) == 1, "the user's cluster was closed"


def test_an_object_brings_the_keys_of_its_scheduler(shared_client):
    connection = clusters.resolve(Bare(shared_client.scheduler.address, security=shared_client.security))
    try:
        assert len(connection.client.nthreads()) == 2
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        (Bare(None), "is Bare; expected"),
        (Bare("<Not Connected>"), "has no scheduler's address yet"),
        (Bare("tcp://127.0.0.1:9"), r"tcp://127\.0\.0\.1:9"),
        ("absent.json", "is no scheduler file: FileNotFoundError"),
        (7, "is int; expected"),
    ],
)
def test_what_is_no_scheduler_is_refused_with_what_is_expected(monkeypatch, cluster, message):
    monkeypatch.setattr(clusters, "CONNECT_SECONDS", 0.5)
    with pytest.raises(ClusterError, match=message):
        clusters.resolve(cluster)


class Scheduled:
    """A client of a scheduler without workers."""

    def __init__(self, address: str) -> None:
        self.scheduler = SimpleNamespace(address=address)

    def close(self) -> None:
        """The user's client is not closed; nothing else is open."""

    def nthreads(self) -> dict[str, int]:
        return {}

    def submit(self, *_: Any, **__: Any) -> Any:
        return self

    def result(self, timeout: float) -> None:
        raise TimeoutError


def test_words_of_a_queue_that_takes_no_job_are_in_the_error_at_once(shared_client):
    lonely = Scheduled(shared_client.scheduler.address)
    with pytest.raises(ClusterError, match="The queue took no job: sbatch: error: invalid account"):
        clusters._checked(clusters.Connection(lonely, refusal=lambda: "sbatch: error: invalid account"), print)  # type: ignore[arg-type]


# Distributed is imported first: the other account may not be allowed to read root's Python.
OTHER_ACCOUNT = """
import asyncio, os, sys
from distributed.comm import connect
from distributed.security import Security

def keys():
    return {"none": Security(), "its own": Security.temporary()}

async def reaches(address, security):
    try:
        comm = await connect(address, timeout=2, **security.get_connection_args("client"))
        await comm.write({"op": "identity", "reply": True})
        return bool(await asyncio.wait_for(comm.read(), 2))
    except Exception:
        return False

async def main():
    all_keys = keys()
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    for address in sys.argv[1:]:
        for security in all_keys.values():
            for scheme in ("tcp", "tls"):
                if await reaches(f"{scheme}://{address}", security):
                    print(address)

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="becoming another user needs root")
def test_another_account_of_the_machine_reaches_no_process_of_a_local_cluster():
    connection = resolve("local", max_workers=1)
    try:
        (worker,) = connection.client.scheduler_info()["workers"].values()
        guarded = [connection.client.scheduler.address, worker["nanny"], *connection.client.nthreads()]
        assert {address.partition("://")[0] for address in guarded} == {"tls"}
        for path in ("/", "/metrics", "/health"):
            with pytest.raises(urllib.error.HTTPError, match="404") as nothing:
                urllib.request.urlopen(f"http://127.0.0.1:{worker['services']['dashboard']}{path}", timeout=60)
            nothing.value.close()
        with LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as open_to_all:
            addresses = [address.partition("://")[2] for address in (*guarded, open_to_all.scheduler_address)]
            command = [sys.executable, "-c", OTHER_ACCOUNT, *addresses]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        assert set(done.stdout.split()) == {addresses[-1]}  # what is not guarded is reached by the same means
        assert connection.client.submit(abs, -3, pure=False).result(timeout=60) == 3
    finally:
        connection.close()
