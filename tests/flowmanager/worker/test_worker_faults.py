"""`run_batch`: every item gets its record, whatever it does to its process. Real processes throughout."""

from __future__ import annotations

import bdb
import contextlib
import ctypes
import io
import os
import pickle
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dflow.flowmanager.plan.batch import unpack_value
from dflow.flowmanager.worker import worker
from dflow.flowmanager.worker.processes import Child
from dflow.flowmanager.worker.samples import work_folder
from dflow.records import BatchResult
from dflow.storage.paths import TEMPORARY_PREFIX
from tests.flowmanager.batches import QUICK, areas, data_files, double, errors_of, make_batch, statuses, wait_until

MIB = 1024**2


@pytest.fixture(scope="module", autouse=True)
def _no_child_left_behind() -> Iterator[None]:
    yield
    worker.shutdown()


def touchy(value):
    print("about to", value)
    match value:
        case "segv":
            ctypes.string_at(0)
        case "abort":
            os.abort()
        case "exit":
            os._exit(3)
        case "sys.exit":
            sys.exit("leaving")
        case "kill":
            os.kill(os.getpid(), 9)
        case "raise":
            raise ValueError("no good")
        case "generator":
            return {"numbers": (n for n in range(3))}
        case "enormous":
            return b"x" * (65 * MIB)
        case "garbage":
            for fd in range(3, 64):
                try:
                    os.write(fd, b"garbage" * 10)
                except OSError:
                    pass
        case "close":
            os.closerange(3, 64)
            time.sleep(60)
        case "fork":
            if os.fork() == 0:
                time.sleep(60)
    return value


FAULTS = {
    "segv": ("crash", 11, ""),
    "abort": ("crash", 6, ""),
    "exit": ("crash", 0, ""),
    "sys.exit": ("exception", 0, "SystemExit"),
    "kill": ("crash", 9, ""),
    "raise": ("exception", 0, "ValueError"),
    "generator": ("bad_return", 0, "BadReturnError"),
    "enormous": ("bad_return", 0, "BadReturnError"),
    "garbage": ("crash", 0, ""),
    "close": ("crash", 9, ""),
}


def test_each_fault_costs_exactly_its_item(tmp_path):
    values = [value for fault in FAULTS for value in (fault, f"ok after {fault}")]
    result = worker.run_batch(make_batch(touchy, values, tmp_path, limits=QUICK))
    assert statuses(result) == ["failed", "succeeded"] * len(FAULTS)
    assert [record.value for record in result.items[1::2]] == values[1::2]
    found = {Path(error.file).name: (error.kind, error.signal, error.exception) for error in errors_of(result)}
    assert found == FAULTS
    for index, error in enumerate(errors_of(result)):
        assert (error.item_index, error.worker_pid, error.task) == (2 * index, os.getpid(), "encode")
        assert error.logs[0].startswith("about to"), error
        assert len(error.traceback) <= 4096
    by_name = {Path(error.file).name: error for error in errors_of(result)}
    assert "string_at" in by_name["segv"].traceback
    assert "touchy" in by_name["abort"].traceback
    assert "exit code 3" in by_name["exit"].message
    assert by_name["raise"].traceback.endswith("ValueError: no good\n")


def careless(value):
    what, number = value
    print("line of", number)
    match what:
        case "copies itself":
            os.fork()  # both return
        case "alarm":
            signal.setitimer(signal.ITIMER_REAL, 600.0)
        case "slow":
            time.sleep(0.1)
        case "lost folder":
            with tempfile.TemporaryDirectory() as folder:
                os.chdir(folder)
        case "closed stream":
            sys.stdout.close()
        case "other stream":
            sys.stdout = io.StringIO()
        case "closed descriptors":
            os.close(1)
            os.close(2)
        case "silence":
            with open(os.devnull, "w") as nothing:
                os.dup2(nothing.fileno(), 1)
        case "greed":
            resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
            with contextlib.suppress(OSError):
                while True:
                    _kept.append(os.open(os.devnull, os.O_RDONLY))
    return number, "" if what == "lost folder" else os.getcwd(), signal.getitimer(signal.ITIMER_REAL)[0] > 0.0


_kept: list[object] = []


@pytest.mark.parametrize(
    "what",
    [
        "copies itself",
        "alarm",
        "lost folder",
        "closed stream",
        "other stream",
        "closed descriptors",
        "silence",
        "greed",
    ],
)
def test_what_an_item_does_to_its_process_is_not_the_next_items_affair(tmp_path, what):
    behaviours = ["fine", what, "slow", "fine", "fine"]
    values = list(zip(behaviours, range(5), strict=True))
    result = worker.run_batch(make_batch(careless, values, tmp_path, kind="custom"))
    assert errors_of(result) == []
    assert result.child_restarts == 0
    for number, record in enumerate(result.items):
        assert record.logs[0] == f"line of {number}"
        told = record.logs[1:]  # what it has left, where the child cannot restore it
        assert not told or (number == 1 and what in ("copies itself", "greed") and told[0].startswith("dflow: "))
        here = "" if behaviours[number] == "lost folder" else os.getcwd()
        assert unpack_value(record.value) == (number, here, behaviours[number] == "alarm")


def leave_a_copy_behind(value):
    if os.fork() == 0:
        time.sleep(60)
    os.abort()


def test_the_end_of_a_child_is_seen_where_a_copy_of_it_lives_on(tmp_path):
    began = time.monotonic()
    limits = replace(QUICK, timeout_seconds=60.0)
    result = worker.run_batch(make_batch(leave_a_copy_behind, [1], tmp_path, limits=limits))
    assert [(error.kind, error.signal) for error in errors_of(result)] == [("crash", 6)]
    assert time.monotonic() - began < 30.0


def count_and_sleep(value):
    seconds, path = value
    with open(path, "a") as file:
        file.write("x")
    time.sleep(seconds)
    return seconds


def test_an_answer_that_comes_while_the_child_is_ended_for_lateness_counts(tmp_path, monkeypatch):
    def stack_of_a_child_that_goes_on(child):
        wait_until(lambda: all(Path(path).exists() for _seconds, path in values), 5.0)
        return ""

    monkeypatch.setattr(Child, "stack", stack_of_a_child_that_goes_on)
    values = [(2.0 if n == 1 else 0.0, str(tmp_path / str(n))) for n in range(20)]
    limits = replace(QUICK, timeout_seconds=1.5)
    result = worker.run_batch(make_batch(count_and_sleep, values, tmp_path, kind="custom", limits=limits))
    assert errors_of(result) == []
    assert {Path(path).read_text() for _seconds, path in values[:-1]} == {"x"}


WITH_A_LIMIT = """
import resource
import socket
import sys
from pathlib import Path

from dflow.flowmanager.worker import worker
from tests.flowmanager.batches import double, errors_of, make_batch

resource.setrlimit(resource.RLIMIT_DATA, (3 << 29, 3 << 29))
socket.setdefaulttimeout(0.1)
result = worker.run_batch(make_batch(double, [1, 2], Path(sys.argv[1])))
print([record.value for record in result.items], errors_of(result))
"""


def test_limits_that_the_machine_or_the_user_has_set_do_not_end_children(tmp_path):
    command = [sys.executable, "-c", WITH_A_LIMIT, str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout == "[2, 4] []\n", found.stderr


def test_the_same_faults_inline_where_no_process_is_at_stake(tmp_path):
    values = ["ok", "raise", "sys.exit", "generator", "ok again"]
    result = worker.run_batch(make_batch(touchy, values, tmp_path, isolation="inline"))
    assert statuses(result) == ["succeeded", "failed", "failed", "failed", "succeeded"]
    assert [error.kind for error in errors_of(result)] == ["exception", "exception", "bad_return"]


def hang(value):
    if value == "sleep":
        time.sleep(60)
    if value == "gil":
        ctypes.PyDLL(None).sleep(60)
    if value == "loop":
        while True:
            pass


def test_hangs_end_in_time_even_while_they_hold_the_interpreter(tmp_path):
    limits = replace(QUICK, timeout_seconds=1.0)
    started = time.monotonic()
    result = worker.run_batch(make_batch(hang, ["sleep", "gil", "loop"], tmp_path, kind="custom", limits=limits))
    assert time.monotonic() - started < 30
    for error in errors_of(result):
        assert (error.kind, error.message) == ("timeout", "not finished within 1 s")
        assert "in hang" in error.traceback
        assert 1.0 <= error.seconds < 10
    assert len(errors_of(result)) == 3


def count_interrupted_calls(path):
    ctypes.CDLL(None).sleep(60)  # returns early where a signal comes
    Path(path).write_text("went on")


def test_a_hang_that_is_cut_short_by_asking_where_it_is_does_not_go_on(tmp_path):
    marker = tmp_path / "marker"
    limits = replace(QUICK, timeout_seconds=1.0)
    for _ in range(3):
        result = worker.run_batch(make_batch(count_interrupted_calls, [str(marker)], tmp_path, limits=limits))
        assert [error.kind for error in errors_of(result)] == ["timeout"]
        assert "count_interrupted_calls" in errors_of(result)[0].traceback
    assert not marker.exists()


def hog(value):
    blocks = []
    while True:
        blocks.append(np.ones(16 * MIB // 8))


def hog_at_once(value):
    return float(np.ones(1 << 40).sum())


def hog_in_a_subprocess(value):
    import subprocess

    code = "import time; block = b'x' * (1 << 30); time.sleep(60)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("function", [hog, hog_at_once, hog_in_a_subprocess])
def test_too_much_memory_is_noticed_and_named(tmp_path, function):
    limits = replace(QUICK, memory_bytes=700 * MIB, timeout_seconds=60)
    result = worker.run_batch(make_batch(function, [1], tmp_path, limits=limits))
    (error,) = errors_of(result)
    assert error.kind == "out_of_memory"
    assert result.peak_child_bytes < 2500 * MIB
    assert worker.run_batch(make_batch(double, [1], tmp_path)).items[0].value == 2


def second_time_lucky(folder):
    tries = Path(folder, "tries")
    n_tries = int(tries.read_text()) if tries.exists() else 0
    tries.write_text(str(n_tries + 1))
    if n_tries == 0:
        os.abort()
    return n_tries


def test_a_crash_that_does_not_come_back_is_no_failure(tmp_path):
    batch = make_batch(second_time_lucky, [tmp_path], tmp_path, limits=replace(QUICK, max_retries=1))
    result = worker.run_batch(batch)
    assert statuses(result) == ["succeeded"]
    assert result.child_restarts == 1


def slow(seconds):
    time.sleep(seconds)
    return seconds


def test_the_second_try_has_a_larger_allowance_and_comes_after_the_others(tmp_path):
    limits = replace(QUICK, timeout_seconds=1.0, max_retries=1, retry_timeouts=True, retry_factor=3.0)
    result = worker.run_batch(make_batch(slow, [1.5, 0.0, 60.0], tmp_path, limits=limits))
    assert statuses(result) == ["succeeded", "succeeded", "failed"]
    (error,) = errors_of(result)
    assert (error.kind, error.attempts, error.message) == ("timeout", 2, "not finished within 3 s")


def refuse(value):
    with open(value, "a") as file:
        file.write("x")
    raise ValueError("never")


def test_deterministic_failures_are_not_tried_again(tmp_path):
    marker = str(tmp_path / "marker")
    worker.run_batch(make_batch(refuse, [marker], tmp_path, limits=replace(QUICK, max_retries=3)))
    assert Path(marker).read_text() == "x"


def crash_while_writing(path, storage):
    storage.save_data("faces/areas", np.ones(5))
    storage.compress_store()
    name = os.path.basename(storage.get_file_path(""))
    folder = os.path.dirname(storage.get_file_path(""))
    Path(folder, f"{TEMPORARY_PREFIX}{name}").write_bytes(b"half")
    os.abort()


def raise_after_writing(path, storage):
    storage.save_data("faces/areas", np.ones(5))
    storage.compress_store()
    raise ValueError("too late")


@pytest.mark.parametrize(
    ("function", "kind"),
    [(crash_while_writing, "optimized"), (raise_after_writing, "optimized"), (raise_after_writing, "json")],
)
def test_a_failed_item_leaves_nothing_behind(tmp_path, function, kind):
    batch = make_batch(function, ["a.step"], tmp_path, "item", "storage", storage_type=kind)
    assert statuses(worker.run_batch(batch)) == ["failed"]
    assert data_files(batch) == set()
    assert list(work_folder(batch.paths).iterdir()) == []


def test_a_crash_in_a_task_without_storage_leaves_the_sample_alone(tmp_path):
    batch = make_batch(areas, ["abort"], tmp_path, "item", "storage")
    worker.run_batch(batch)
    assert statuses(worker.run_batch(make_batch(touchy, ["abort"], tmp_path, kind="custom"))) == ["failed"]
    assert len(data_files(batch)) == 1


def no_space(path, storage):
    raise OSError(28, "No space left on device")


def test_a_full_disk_is_the_machines_fault(tmp_path):
    (error,) = errors_of(worker.run_batch(make_batch(no_space, ["a"], tmp_path, "item", "storage")))
    assert error.kind == "infrastructure"


def test_a_function_that_cannot_be_loaded_fails_every_item_with_the_reason(tmp_path):
    for isolation in ("process", "inline"):
        batch = make_batch(double, [1, 2], tmp_path, isolation=isolation)
        broken = replace(batch, call=replace(batch.call, function=b"cno_such_module\nf\n."))
        result = worker.run_batch(broken)
        assert [error.exception for error in errors_of(result)] == ["ModuleNotFoundError"] * 2
        assert statuses(worker.run_batch(batch)) == ["succeeded"] * 2


def test_a_function_that_crashes_while_it_is_loaded_fails_every_item(tmp_path):
    batch = make_batch(double, [1, 2], tmp_path)
    result = worker.run_batch(replace(batch, call=replace(batch.call, function=b"cos\nabort\n)R.")))
    assert [error.kind for error in errors_of(result)] == ["crash", "crash"]
    assert statuses(worker.run_batch(batch)) == ["succeeded"] * 2


def test_where_no_child_can_be_started_the_items_say_so(tmp_path, monkeypatch):
    worker.shutdown()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setattr("dflow.flowmanager.worker.processes._FORK_SERVER", ("/nowhere/python",))
    result = worker.run_batch(make_batch(double, [1, 2], tmp_path))
    assert [error.kind for error in errors_of(result)] == ["infrastructure"] * 2


def wait_for_ever(marker):
    if marker:
        Path(marker).touch()
        time.sleep(600)
    return marker


@pytest.mark.parametrize("stop", [worker.cancel, worker.shutdown])
def test_cancelling_gives_up_what_is_under_way_and_nothing_more(tmp_path, stop):
    marker = tmp_path / "waiting"

    def stop_when_waiting() -> None:
        wait_until(marker.exists, 60.0)
        stop()

    batch = make_batch(wait_for_ever, ["", str(marker), ""], tmp_path, limits=replace(QUICK, timeout_seconds=600))
    stopper = threading.Thread(target=stop_when_waiting)
    stopper.start()
    result = worker.run_batch(batch)
    stopper.join()
    assert statuses(result) == ["succeeded", "failed", "failed"]
    assert [error.kind for error in errors_of(result)] == ["cancelled"] * 2
    assert statuses(worker.run_batch(make_batch(double, [1], tmp_path))) == ["succeeded"]


def test_threads_of_one_worker_have_a_child_each(tmp_path):
    def run(value: float) -> BatchResult:
        return worker.run_batch(make_batch(slow, [value], tmp_path))

    with ThreadPoolExecutor(2) as threads:
        results = list(threads.map(run, [0.5, 0.6]))
    assert [statuses(result) for result in results] == [["succeeded"], ["succeeded"]]


def flood(n_lines):
    for number in range(n_lines):
        print("line", number)
        print("error", number, file=sys.stderr)
    os.write(1, b"native\n" * 1000)
    return n_lines


def test_what_items_print_is_theirs_and_bounded(tmp_path):
    result = worker.run_batch(make_batch(flood, [0, 5_000, 1], tmp_path))
    assert [record.value for record in result.items] == [0, 5_000, 1]
    few, many, one = (record.logs for record in result.items)
    assert few[0] == "native"
    assert many[0] == "line 0"
    assert many[-1] == "native"
    assert sum(map(len, many)) < QUICK.max_log_bytes + 100
    assert one[:2] == ("line 0", "error 0")


@pytest.mark.parametrize("error", [KeyboardInterrupt, bdb.BdbQuit])
def test_inline_the_keyboard_and_the_debugger_get_through(tmp_path, error):
    def stop(value, storage):
        raise error

    batch = make_batch(stop, ["a"], tmp_path, "item", "storage", isolation="inline")
    with pytest.raises(error):
        worker.run_batch(batch)
    assert data_files(batch) == set()


def test_a_result_pickles_and_compares_by_value(tmp_path):
    result = worker.run_batch(make_batch(touchy, ["ok", "raise"], tmp_path))
    assert pickle.loads(pickle.dumps(result)) == result
