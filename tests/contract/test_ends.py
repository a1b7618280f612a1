"""An interrupted or killed flow leaves no process and nothing temporary, and the next one goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from dflow.storage import OptStorage

PROGRAM = Path(__file__).with_name("interrupted_flow.py")
MARK = "DFLOW_TEST_PROGRAM"
SECONDS = 60


def start(parts: Path, out: Path, mark: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(parts), str(out)],
        env={**os.environ, MARK: mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def relatives(mark: str) -> list[str]:
    """Command lines of the living processes that descend from the program of that mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def wait_for(condition, what: str) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen within {SECONDS} s"
        time.sleep(0.05)


def temporary(root: Path) -> list[Path]:
    return [p for p in root.rglob("*") if p.name.startswith(".tmp-") or p.name in ("work", "lock.json")]


def n_stores(root: Path) -> int:
    return len(list((root / "encoded").glob("*.data")))


def worker_runs(root: Path, mark: str) -> bool:
    return any("spawn_main" in command for command in relatives(mark))


def first_store(root: Path, mark: str) -> bool:
    return n_stores(root) > 0


@pytest.mark.slow
@pytest.mark.parametrize("when", [worker_runs, first_store])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_flow_leaves_no_process_and_the_next_run_goes_on(generated_parts, tmp_path, when, number):
    mark = f"{os.getpid()}-{when.__name__}-{number}"
    root = tmp_path / "flows" / "interrupted"
    program = start(generated_parts, tmp_path, mark)
    wait_for(lambda: when(root, mark), when.__name__)
    if number == signal.SIGKILL:
        program.kill()
    else:
        os.killpg(program.pid, number)  # as a terminal does: to the workers, too
    _, errors = program.communicate(timeout=SECONDS)
    assert program.returncode == -number
    wait_for(lambda: not relatives(mark), "the end of all processes")
    if number == signal.SIGINT:
        assert temporary(root) == []
        assert errors.count("Traceback") == 1  # the caller's KeyboardInterrupt, and no word from the workers
        assert "KeyboardInterrupt" in (root / "flow_log.log").read_text()
    for path in (root / "encoded").glob("*.data"):
        OptStorage(str(path.with_suffix(""))).load_metadata("stem")  # whole, or this raises
    again = start(generated_parts, tmp_path, mark)
    out, errors = again.communicate(timeout=2 * SECONDS)
    assert out.splitlines()[-1] == "ended 6 0", errors
    wait_for(lambda: not relatives(mark), "the end of all processes after success")
    assert temporary(root) == []
