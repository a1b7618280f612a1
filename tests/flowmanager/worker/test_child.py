"""The child as a process: it ends with its worker, takes with it what it started, and keeps its connection clean."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from dflow.flowmanager.plan.batch import unpack_value
from dflow.flowmanager.worker import worker
from tests.flowmanager.batches import QUICK, is_running, make_batch, wait_until

WORKER = """
import sys
from pathlib import Path
from dflow.flowmanager.worker import worker
from dflow.flowmanager.plan.batch import unpack_value
from tests.flowmanager.batches import make_batch
from tests.flowmanager.worker.test_child import {function}

worker.run_batch(make_batch({function}, [sys.argv[1]], Path(sys.argv[1])))
"""
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module", autouse=True)
def _no_child_left_behind() -> Iterator[None]:
    yield
    worker.shutdown()


def _write_pids(folder, *pids):
    path = Path(folder, "pids")
    path.with_suffix(".part").write_text(" ".join(map(str, pids)))
    path.with_suffix(".part").rename(path)


def hang_with_a_subprocess(folder):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    _write_pids(folder, os.getpid(), os.getppid(), process.pid)
    time.sleep(600)


def hang_in_native_code(folder):
    import ctypes

    _write_pids(folder, os.getpid(), os.getppid())
    ctypes.PyDLL(None).sleep(600)  # holds the interpreter: no Python code runs meanwhile


def subprocess_in_its_own_session(folder):
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    process = subprocess.Popen(command, start_new_session=True)
    _write_pids(folder, process.pid)
    time.sleep(600)


def subprocess_in_its_group(folder):
    _write_pids(folder, subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid)
    time.sleep(600)


def subprocess_left_behind(folder):
    _write_pids(folder, subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid)
    os.abort()


def interrupted(value):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.05)
    return "still here"


def group(value):
    return os.getpgid(0), os.getpid(), os.getsid(0)


def own_state(value):
    return {
        "oom": Path("/proc/self/oom_score_adj").read_text().strip(),
        "stdin": os.readlink("/proc/self/fd/0"),
        "threads": os.environ["OMP_NUM_THREADS"],
    }


def random_numbers(value):
    import random

    import numpy as np

    return os.getpid(), random.random(), float(np.random.random())


def noisy(value):
    os.write(1, b"\x00\xff native noise " * 100)
    os.write(2, b"dfl\x01 looks like a message")
    sys.stdout.close()
    return value


def module_file(value):
    import a_users_module

    return a_users_module.ANSWER


def pids_in(folder: Path) -> list[int]:
    path = folder / "pids"
    assert wait_until(path.exists, 60.0)
    return [int(word) for word in path.read_text().split()]


@pytest.mark.parametrize(
    ("function", "death"), [(hang_with_a_subprocess, signal.SIGTERM), (hang_in_native_code, signal.SIGKILL)]
)
def test_when_the_worker_dies_everything_below_it_ends_within_seconds(tmp_path, function, death):
    code = WORKER.format(function=function.__name__)
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT) as process:
        pids = pids_in(tmp_path)
        assert all(map(is_running, pids))
        process.send_signal(death)
        process.wait()
        assert wait_until(lambda: not any(map(is_running, pids)), 20.0)


def test_an_idle_child_ends_with_its_worker(tmp_path):
    code = "from dflow.flowmanager.worker import worker; print(worker.prewarm(previews=False), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        fork_server = psutil.Process(pid).ppid()
        process.kill()
        assert wait_until(lambda: not is_running(pid) and not is_running(fork_server), 20.0)


def test_a_worker_that_ends_properly_leaves_no_child():
    code = "from dflow.flowmanager.worker import worker; print(worker.prewarm(previews=False))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert not is_running(int(done.stdout))
    assert done.stderr == ""


@pytest.mark.parametrize("function", [subprocess_in_its_group, subprocess_in_its_own_session, subprocess_left_behind])
def test_what_a_task_started_ends_with_its_child(tmp_path, function):
    limits = replace(QUICK, timeout_seconds=20.0 if function is subprocess_left_behind else 4.0)
    result = worker.run_batch(make_batch(function, [str(tmp_path)], tmp_path, limits=limits))
    assert result.items[0].status == "failed"
    assert wait_until(lambda: not any(map(is_running, pids_in(tmp_path))), 20.0)


def test_an_interrupt_does_not_reach_the_users_code(tmp_path):
    result = worker.run_batch(make_batch(interrupted, [1], tmp_path))
    assert result.items[0].value == "still here"


def test_the_child_leads_its_own_group_in_another_session(tmp_path):
    (record,) = worker.run_batch(make_batch(group, [1], tmp_path)).items
    pgid, pid, sid = unpack_value(record.value)
    assert pgid == pid
    assert pgid != os.getpgid(0)
    assert sid != os.getsid(0)


def test_the_child_is_set_up_as_promised(tmp_path):
    (record,) = worker.run_batch(make_batch(own_state, [1], tmp_path)).items
    state = unpack_value(record.value)
    assert (state["oom"], state["stdin"]) == ("500", "/dev/null")
    assert state["threads"] == os.environ.get("OMP_NUM_THREADS", "1")


def test_children_do_not_repeat_each_others_random_numbers(tmp_path):
    limits = replace(QUICK, max_files_per_child=1)
    result = worker.run_batch(make_batch(random_numbers, range(4), tmp_path, limits=limits))
    for column in zip(*(unpack_value(record.value) for record in result.items), strict=True):
        assert len(set(column)) == 4


def test_no_noise_reaches_the_connection(tmp_path):
    result = worker.run_batch(make_batch(noisy, [1, 2], tmp_path))
    assert [record.value for record in result.items] == [1, 2]
    assert "native noise" in result.items[0].logs[0]


def test_the_child_imports_what_the_worker_can(tmp_path, monkeypatch):
    (tmp_path / "a_users_module.py").write_text("ANSWER = 42\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert worker.run_batch(make_batch(module_file, [1], tmp_path)).items[0].value == 42


def test_the_working_folder_cannot_shadow_modules(tmp_path, monkeypatch):
    (tmp_path / "socket.py").write_text("raise ImportError('shadowed')\n")
    monkeypatch.chdir(tmp_path)
    worker.shutdown()
    assert worker.run_batch(make_batch(interrupted, [1], tmp_path)).items[0].status == "succeeded"
