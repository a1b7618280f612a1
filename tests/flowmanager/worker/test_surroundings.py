"""One item cannot change the next: what is restored, what the child is replaced for, and what ends with its item."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dflow.flowmanager.plan.batch import unpack_value
from dflow.flowmanager.worker import surroundings, worker
from tests.flowmanager.batches import is_running, make_batch, statuses, wait_until

KEPT: list = []
"""A module's variable of the task's: lives as long as the child."""


@pytest.fixture(scope="module", autouse=True)
def _no_child_left_behind() -> Iterator[None]:
    yield
    worker.shutdown()


def change(what):
    """A task: changes its process, or returns its state."""
    import ctypes
    import encodings.ascii  # noqa: F401 (loaded on the way where the locale is changed)
    import faulthandler
    import gc
    import importlib
    import locale
    import resource
    import signal
    import socket
    import threading
    import warnings

    import numpy as np

    match what:
        case "environment":
            os.environ["DFLOW_LEFT"] = "1"
            del os.environ["PATH"]
        case "environment object":
            os.environ = dict(os.environ, DFLOW_LEFT="1")  # noqa: B003
        case "numpy":
            np.seterr(all="raise")
            np.setbufsize(16)
        case "folder":
            os.chdir("/")
        case "umask":
            os.umask(0o777)
        case "signals":
            signal.signal(signal.SIGUSR2, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        case "timers":
            signal.signal(signal.SIGPROF, lambda *_: None)
            signal.setitimer(signal.ITIMER_PROF, 600.0)
            signal.alarm(600)
        case "faulthandler":
            faulthandler.disable()
        case "soft limits":
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        case "hard limits":
            resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**7))
        case "recursion limit":
            sys.setrecursionlimit(300)
        case "search path":
            sys.path.insert(0, "/nowhere")
        case "search path object":
            sys.path = []
        case "warnings":
            warnings.simplefilter("error")
        case "locale":
            locale.setlocale(locale.LC_ALL, "C")
        case "sockets":
            socket.setdefaulttimeout(0.001)
        case "trace":
            sys.settrace(lambda *_: None)
        case "collector":
            gc.disable()
        case "thread":
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        case "short thread":
            threading.Thread(target=threading.Event().wait, args=[0.01]).start()
        case "native thread":
            library, thread = ctypes.CDLL(None), ctypes.c_ulong()
            library.pthread_create(ctypes.byref(thread), None, library.pause, None)
        case "descriptor":
            KEPT.append(os.open("/dev/null", os.O_RDONLY))
        case "descriptor in a cycle":
            cycle = [open("/dev/null")]  # noqa: SIM115
            cycle.append(cycle)
            warnings.simplefilter("ignore", ResourceWarning)
        case "closed descriptors":
            os.close(0)
        case "module":
            sys.modules.pop("this", None)
            importlib.import_module("wave")
        case "module and environment":
            importlib.import_module("colorsys")
            os.environ["DFLOW_LEFT"] = "1"
        case "module and filters":
            importlib.import_module("sndhdr" if sys.version_info < (3, 13) else "chunk")
            warnings.filterwarnings("ignore", "of a module")
        case "ended process":
            KEPT.append(subprocess.Popen(["true"]))
        case "shared memory":
            from multiprocessing.shared_memory import SharedMemory

            memory = SharedMemory(create=True, size=10)
            memory.close()
            memory.unlink()
    return os.getpid(), repr(state())


def state():
    """What later items could see of a change."""
    import faulthandler
    import gc
    import locale
    import resource
    import signal
    import socket
    import warnings

    import numpy as np

    return {
        "environment": sorted(os.environ.items()) if type(os.environ).__name__ == "_Environ" else "replaced",
        "numpy": (np.geterr(), np.getbufsize()),
        "folder": os.getcwd(),
        "umask": Path("/proc/self/status").read_text().partition("Umask:")[2][:8],
        "signals": [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)],
        "stack": signal.getsignal(signal.SIGUSR2) is signal.SIG_IGN,
        "mask": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "timers": [signal.getitimer(timer) for timer in (signal.ITIMER_REAL, signal.ITIMER_PROF)],
        "faulthandler": faulthandler.is_enabled(),
        "limits": [resource.getrlimit(n) for n in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)],
        "recursion": sys.getrecursionlimit(),
        "path": list(sys.path),
        "warnings": [each[:3] for each in warnings.filters if "of a module" not in str(each[1])],
        "locale": locale.setlocale(locale.LC_ALL),
        "sockets": socket.getdefaulttimeout(),
        "trace": sys.gettrace() is None,
        "collector": gc.isenabled(),
    }


def run(folder: Path, *values: str, function=change):
    """The values and logs of items that one worker runs one after another."""
    result = worker.run_batch(make_batch(function, values, folder))
    assert set(statuses(result)) == {"succeeded"}, result.items
    return [unpack_value(each.value) for each in result.items], [" ".join(each.logs) for each in result.items]


@pytest.mark.parametrize(
    "what",
    ["environment", "environment object", "numpy", "folder", "umask", "signals", "timers", "faulthandler",
     "soft limits", "recursion limit", "search path", "search path object", "warnings", "locale", "sockets", "trace",
     "collector"],
)  # fmt: skip
def test_a_changed_state_is_restored_in_the_same_child(tmp_path, what):
    ((pid, before), (_, changed), (same, after)), logs = run(tmp_path, "look", what, "look")
    assert changed != before
    assert after == before
    assert same == pid
    assert logs == ["", "", ""]


@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("thread", surroundings.THREAD),
        ("descriptor", surroundings.OPENED),
        ("closed descriptors", surroundings.CLOSED),
        ("module and environment", "environment variables"),
    ],
)
def test_for_what_cannot_be_restored_the_child_is_replaced_and_the_log_names_it(tmp_path, what, named):
    ((pid, before), _, (other, after), (still, _)), logs = run(tmp_path, "look", what, "look", "look")
    assert after == before
    assert other == still != pid
    assert named in logs[1]
    assert [logs[0], *logs[2:]] == ["", "", ""]


def test_a_hard_limit_is_restored_or_the_child_is_replaced(tmp_path):
    ((_, before), (_, changed), (_, after)), _ = run(tmp_path, "look", "hard limits", "look")
    assert after == before != changed


@pytest.mark.parametrize(
    "what",
    ["module", "module and filters", "native thread", "short thread", "ended process", "shared memory",
     "descriptor in a cycle"],
)  # fmt: skip
def test_the_child_stays_for_what_changes_no_later_item(tmp_path, what):
    values, logs = run(tmp_path, "look", what, "look")
    assert len({pid for pid, _ in values}) == 1
    assert values[2][1] == values[0][1]
    assert logs == ["", "", ""]


def leave_the_same(what):
    """Another task."""
    return change(what)


def test_once_per_cause_a_task_whose_items_all_leave_the_same_keeps_its_child(tmp_path):
    values, logs = run(tmp_path, *["thread"] * 4, "descriptor", "look", function=leave_the_same)
    pids = [pid for pid, _ in values]
    assert pids[0] != pids[1]
    assert len(set(pids[1:5])) == 1  # the second child is not replaced for threads
    assert pids[5] != pids[4]  # but for another cause
    assert [bool(log) for log in logs] == [True, False, False, False, True, False]


def start_daemon(folder):
    """A task that starts a process in a session of its own, whose parent ends; ends itself where told so."""
    path = Path(folder.removesuffix("crash"), "pid")
    code = f"setsid sleep 600 & echo $! > {path}.part; mv {path}.part {path}"
    subprocess.run(["sh", "-c", code], check=True)
    if folder.endswith("crash"):
        os.abort()
    return os.getpid(), ""


@pytest.mark.parametrize("crash", ["", "/crash"])
def test_a_daemon_ends_with_the_item_that_started_it(tmp_path, crash):
    for _ in range(3):  # however often
        (tmp_path / "pid").unlink(missing_ok=True)
        result = worker.run_batch(make_batch(start_daemon, [f"{tmp_path}{crash}"], tmp_path))
        assert (statuses(result) == ["failed"]) == bool(crash)
        pid = int((tmp_path / "pid").read_text())
        assert wait_until(lambda pid=pid: not is_running(pid), 10.0)


POOL: list = []


def use_pool(value):
    """A task with a pool of processes that its module keeps."""
    from concurrent.futures import ProcessPoolExecutor

    if not POOL:
        POOL.append(ProcessPoolExecutor(1))
    return os.getpid(), POOL[0].submit(abs, -3).result(60)


def test_a_pool_that_a_module_keeps_works_for_every_item(tmp_path):
    values, _ = run(tmp_path, "a", "b", "c", function=use_pool)
    assert [value for _, value in values] == [3, 3, 3]
    assert len({pid for pid, _ in values}) == 3


class ServerOfAModule:
    """Starts a process where it is loaded, as a module may."""

    def __init__(self, pid: int = 0) -> None:
        self.pid = pid

    def __reduce__(self):
        return (type(self).started, ())

    @classmethod
    def started(cls):
        return cls(subprocess.Popen(["sleep", "600"]).pid)

    def __call__(self, value):
        return os.getpid(), is_running(self.pid)


def test_a_process_that_loading_the_task_has_started_stays(tmp_path):
    import cloudpickle

    batch = make_batch(start_daemon, ["a", "b", "c"], tmp_path)
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        function = cloudpickle.dumps(ServerOfAModule())
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    call = replace(batch.call, function=function)
    values = [unpack_value(each.value) for each in worker.run_batch(replace(batch, call=call)).items]
    assert [runs for _, runs in values] == [True] * 3
    assert len({pid for pid, _ in values}) == 1
