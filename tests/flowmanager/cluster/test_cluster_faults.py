"""What the cluster does to a flow: workers that die, clients that are cancelled or killed, names that collide."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from random import Random

import psutil
import pytest
import zarr
from dask.delayed import delayed

import dflow
from dflow.errors import ClusterError, FlowCancelledError, TooManyFailuresError
from dflow.flowmanager import flowtask
from dflow.flowmanager.cluster.clusterengine import ClusterEngine
from dflow.flowmanager.cluster.clusters import free_port, resolve
from dflow.flowmanager.cluster.engine import Job
from dflow.flowmanager.history.journal import JOURNAL_NAME
from tests.flowmanager.flowparts import hidden, tree_bytes


def make(tmp_path, task, **arguments):
    return dflow.create_flow("faults", [task], tmp_path / "out", export_visualization=False, **arguments)


def run(flow, parts, **arguments):
    return flow.process(inputs={"parts": parts}, progress=False, **arguments)


def wait_until(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def test_cancelling_keeps_what_is_finished_and_the_next_run_goes_on(tmp_path, shared_client):
    gate = tmp_path / "gate"
    gate.mkdir()

    @flowtask.transform(inputs=["part"])
    def slow(part):
        import time
        from pathlib import Path

        Path(gate, str(part)).write_text("x")
        while part >= 20 and not Path(gate, "open").exists():
            time.sleep(0.02)
        return part

    flow = make(tmp_path, slow, cluster=shared_client)
    caught: list[BaseException] = []

    def target():
        try:
            run(flow, list(range(24)))
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    wait_until(lambda: any(int(p.name) >= 20 for p in gate.iterdir()))
    journal = flow.settings.paths.state / JOURNAL_NAME
    wait_until(lambda: journal.read_bytes().count(b'"stage":"slow"') >= 4)  # what has ended is known here, too
    flow.cancel()
    thread.join(120)
    assert not thread.is_alive()
    assert isinstance(caught[0], FlowCancelledError)
    assert hidden(flow.settings.paths.root) == []
    (gate / "open").write_text("")
    output, _, _ = run(flow, list(range(24)))
    assert sorted(output.task_instances[0].results) == list(range(24))
    assert output.counts.reused >= 4


def test_a_worker_that_is_killed_loses_no_item(tmp_path, shared_client):
    pids = tmp_path / "pids"
    pids.mkdir()

    @flowtask.transform(inputs=["part"])
    def work(part):
        import os
        import time
        from pathlib import Path

        Path(pids, f"{part}-{os.getpid()}").write_text("")
        time.sleep(0.1)
        return part

    victim = next(iter(shared_client.run(os.getpid).values()))

    def kill():
        wait_until(lambda: len(list(pids.iterdir())) >= 4)
        os.kill(victim, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    output, _, _ = run(make(tmp_path, work, cluster=shared_client), list(range(40)))
    killer.join()
    assert sorted(output.task_instances[0].results) == list(range(40))
    assert output.counts.failed == 0


def test_workers_that_keep_dying_are_reported(tmp_path, shared_client, capsys):
    """The file "3" ends every worker that it is given to."""

    @flowtask.transform(inputs=["part"])
    def work(part):
        import os
        import signal
        import time

        import psutil

        if part == 3:
            os.kill(psutil.Process().parent().ppid(), signal.SIGKILL)  # the fork server's parent
            time.sleep(60)
        return part

    flow = make(tmp_path, work, cluster=shared_client)
    output, _, _ = flow.process(inputs={"parts": list(range(8))})
    shared_client.wait_for_workers(2, timeout=60)
    assert sorted(output.task_instances[0].results) == [0, 1, 2, 4, 5, 6, 7]
    (lost,) = output.errors
    host = socket.gethostname()
    assert (lost.file, lost.kind, lost.host) == ("3", "infrastructure", host)
    assert len(output.worker_deaths) >= 2
    assert {death.host for death in output.worker_deaths} == {host}
    assert any("work-" in node for death in output.worker_deaths for node in death.nodes)
    log = flow.settings.paths.log.read_text()
    assert log.count("was lost: its process ended") == len(output.worker_deaths)
    entries = json.loads(flow.settings.paths.error_summary.read_text())
    (entry,) = [entry for entry in entries if entry["kind"] == "worker_lost"]
    assert (entry["file"], entry["host"]) == ("", host)
    assert entry["message"].startswith(f"{len(output.worker_deaths)} workers on {host} were lost")
    assert "process ended" in entry["message"]
    assert "workers' logs" in entry["advice"]
    assert "Workers that were lost" in capsys.readouterr().err
    quiet, _, _ = run(make(tmp_path / "next", work, cluster=shared_client), [0, 1])
    assert quiet.worker_deaths == ()


def test_too_many_failures_stop_the_flow_and_keep_the_rest(tmp_path):
    @flowtask.transform(inputs=["part"])
    def half(part):
        if part % 2:
            raise ValueError("odd")
        return part

    flow = make(tmp_path, half, debug=True, max_failures=0.2)
    with pytest.raises(TooManyFailuresError, match=r"more than max_failures=0\.2"):
        run(flow, list(range(40)))
    errors = json.loads(flow.settings.paths.error_summary.read_text())
    assert {error["message"] for error in errors} == {"odd"}
    assert hidden(flow.settings.paths.root) == []
    allowing = make(tmp_path, half, debug=True, max_failures=20)
    output, _, _ = run(allowing, list(range(40)))
    assert output.counts.failed == 20
    assert output.counts.reused > 0


def test_retry_takes_up_only_the_kinds_it_is_told(tmp_path):
    fixed = tmp_path / "fixed"
    calls = []

    @flowtask.transform(inputs=["part"])
    def moody(part):
        from dflow.errors import NoGeometryError

        calls.append(part)
        if part == 1 and not fixed.exists():
            raise ValueError("not yet")
        if part == 2 and not fixed.exists():
            raise NoGeometryError("nothing in it")
        return part

    flow = make(tmp_path, moody, debug=True)
    run(flow, [0, 1, 2])
    fixed.write_text("")
    calls.clear()
    output, _, _ = flow.retry(kinds=["no_geometry"], progress=False)
    assert calls == [2]
    assert (output.counts.succeeded, output.counts.failed) == (2, 1)
    another = make(tmp_path, moody, debug=True)  # as another process would: the inputs are remembered
    calls.clear()
    output, _, _ = another.retry(progress=False)
    assert calls == [1]
    assert output.counts.failed == 0


def test_two_flows_of_equal_names_run_on_one_scheduler_at_the_same_time(tmp_path, shared_client):
    def flow_of(folder, factor):
        @flowtask.transform(name="work", inputs=["part", "storage"])
        def work(part, storage):
            import time

            import numpy as np

            time.sleep(0.02)
            storage.save_data("rows/values", np.full(3, part * factor, dtype=np.int32))
            return part * factor

        return make(tmp_path / folder, work, cluster=shared_client)

    sums = {}

    def target(folder, factor):
        output, _, _ = run(flow_of(folder, factor), list(range(30)))
        sums[factor] = (sum(output.task_instances[0].results), output.counts.samples)

    threads = [threading.Thread(target=target, args=(f"f{factor}", factor)) for factor in (1, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sums == {1: (435, 30), 10: (4350, 30)}
    values = {}
    for factor in (1, 10):
        dataset = tmp_path / f"f{factor}" / "out" / "flows" / "faults" / "faults.dataset"
        values[factor] = int(zarr.open_group(str(dataset), mode="r")["rows/values"][:].sum())
    assert values == {1: 3 * 435, 10: 3 * 4350}


def test_no_scheduler_and_unknown_profiles_are_told_apart(monkeypatch):
    monkeypatch.setattr("dflow.flowmanager.cluster.clusters.CONNECT_SECONDS", 1.0)
    with pytest.raises(ClusterError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:1 "):
        resolve("tcp://127.0.0.1:1")
    with pytest.raises(ClusterError, match="neither a scheduler's address"):
        resolve("mars")
    with pytest.raises(ClusterError, match="is int"):
        resolve(3)


@pytest.mark.parametrize(
    "greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2 with more behind\r\n"]
)
def test_what_is_no_scheduler_is_not_waited_for(monkeypatch, greeting):
    monkeypatch.setattr("dflow.flowmanager.cluster.clusters.CONNECT_SECONDS", 1.5)

    def serve(listener):
        connection, _ = listener.accept()
        with connection:
            connection.sendall(greeting)
            while connection.recv(1000):  # says no more until the other end hangs up
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        with pytest.raises(ClusterError, match="not a Dask scheduler, or it hangs"):
            resolve(f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        thread.join(30)
    assert not thread.is_alive()


def test_an_address_that_cannot_be_one_is_named():
    with pytest.raises(ClusterError, match=r"is not a scheduler's address .* unknown address scheme 'http'"):
        resolve("http://127.0.0.1:8787")


def test_an_active_client_is_used_and_left_open(tmp_path, shared_client):
    @flowtask.transform(inputs=["part"])
    def pid(part):
        import os

        return os.getppid() * 0 + part

    with shared_client.as_current():
        output, _, _ = run(make(tmp_path, pid), [1, 2, 3])
    assert shared_client.status == "running"
    facts = json.loads((tmp_path / "out" / "flows" / "faults" / "run.json").read_text())
    assert facts["cluster"]["scheduler"] == shared_client.scheduler.address
    assert output.counts.succeeded == 3


def test_a_busy_dashboard_port_gives_another():
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        assert free_port(busy.getsockname()[1]) == 0


def test_the_engine_yields_infrastructure_errors_and_pulls_lazily(shared_client):
    pulled = []

    def jobs():
        for tag in range(100):
            pulled.append(tag)
            yield Job(tag, (delayed(_maybe_fail, pure=False)(tag, dask_key_name=f"lazy-{tag:06d}"),))

    engine = ClusterEngine(shared_client, retries=0)
    results = engine.run(jobs())
    first = next(results)
    assert len(pulled) <= 4 * engine.n_workers
    outcomes = {first.tag: first, **{finished.tag: finished for finished in results}}
    assert len(outcomes) == 100
    assert isinstance(outcomes[13].error, ZeroDivisionError)
    assert outcomes[14].results == (14,)


def _maybe_fail(tag):
    if tag == 13:
        raise ZeroDivisionError
    return tag


SCRIPT = """
import sys, time
import dflow
from dflow.flowmanager import flowtask

SECONDS = {seconds}

@flowtask.transform(name="square", inputs=["part", "storage"])
def square(part, cad_loader, storage):
    import numpy as np
    time.sleep(SECONDS)
    storage.save_data("rows/values", np.arange(part % 7, dtype=np.int32))
    storage.save_metadata("part", part)
    return part * part

flow = dflow.create_flow("killed", [square], {out!r}, max_workers=2, export_visualization=False)
output, _, _ = flow.process(inputs={{"parts": list(range({n}))}}, progress=False)
print(sum(output.task_instances[0].results), output.counts.reused, flush=True)
"""


def write_script(folder: Path, out: Path, n: int = 60, seconds: float = 0.03) -> Path:
    path = folder / "script.py"
    path.write_text(textwrap.dedent(SCRIPT.format(out=str(out), n=n, seconds=seconds)))
    return path


def start(script: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_plain_script_without_a_main_guard_runs_on_its_own_cluster(tmp_path):
    process = start(write_script(tmp_path, tmp_path / "out", n=5, seconds=0))
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert out.split() == ["30", "0"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_at_any_moment_the_flow_goes_on_and_ends_byte_equal(tmp_path):
    """Ctrl-C once, then SIGKILL at ten moments of encoding and merging; nothing of a killed run stays alive."""
    random = Random(7)
    undisturbed = tmp_path / "undisturbed"
    start(write_script(tmp_path, undisturbed)).communicate(timeout=200)
    out = tmp_path / "out"
    root = out / "flows" / "killed"
    script = write_script(tmp_path, out)
    moments = [(signal.SIGINT, 3), *((signal.SIGKILL, n) for n in sorted(random.sample(range(4, 59), 7)))]
    for end, n_stores in [*moments, *[(signal.SIGKILL, 60)] * 3]:
        process = start(script)
        _wait_for_stores(process, root, n_stores)
        time.sleep(random.uniform(0, 0.3))
        _end(process, end)
        if end == signal.SIGINT:
            assert hidden(root) == []
        (root / "killed.infoset").unlink(missing_ok=True)  # so that the next run has to merge
    process = start(script)
    printed, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    total, reused = map(int, printed.split())
    assert total == sum(n * n for n in range(60))
    assert reused > 30
    assert hidden(root) == []
    for name in ("encoded", "killed.dataset", "killed.infoset", "killed.attribset"):
        mine, theirs = root / name, undisturbed / "flows" / "killed" / name
        if mine.is_dir():
            assert tree_bytes(mine) == tree_bytes(theirs), name
        else:
            assert mine.read_bytes() == theirs.read_bytes(), name


def _end(process: subprocess.Popen[str], how: signal.Signals) -> None:
    """End a run and see that all its processes end by themselves."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(how)
    except psutil.NoSuchProcess:  # it was quicker
        family = []
    process.communicate(timeout=60)
    _, alive = psutil.wait_procs(family, timeout=15)
    assert [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []


def _wait_for_stores(process: subprocess.Popen[str], root: Path, n_stores: int) -> None:
    wait_until(lambda: _n_stores(root) >= n_stores or process.poll() is not None, 120)
    assert process.poll() in (None, 0), process.communicate()[1]


def _n_stores(root: Path) -> int:
    return len(list((root / "encoded").glob("*.data"))) if root.exists() else 0
