"""SIGKILL at random moments of a flow over real parts: it goes on, ends byte-equal, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.faults.cases import leftovers
from tests.faults.gates import wait_until
from tests.faults.programs import finish, kill, start, write_parts_program
from tests.trees import tree_digest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

N_PARTS = 16
N_ENCODE, N_MERGE = 6, 4


@pytest.fixture
def make_folder(tmp_path: Path, shared_data: Path) -> Callable[[str], Path]:
    """A folder with real parts and a program over them; the folders lie at one depth."""

    def make(name: str) -> Path:
        folder = tmp_path / name
        (folder / "in").mkdir(parents=True)
        for part in sorted((shared_data / "mfcad" / "step").glob("*.step"))[:N_PARTS]:
            shutil.copyfile(part, folder / "in" / part.name)
        write_parts_program(folder)
        return folder

    return make


def root_of(folder: Path) -> Path:
    return folder / "out" / "flows" / "killed"


def n_stores(folder: Path) -> int:
    return len(list((root_of(folder) / "encoded").glob("*.data")))


def merges(folder: Path) -> bool:
    return any(root_of(folder).glob(".tmp-killed.dataset-*"))


def wait_for(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    """Wait for a moment of a run, or its end where it was quicker."""
    wait_until(lambda: condition() or process.poll() is not None, "that moment did not come", 60)


def test_killed_at_ten_random_moments_a_flow_goes_on_and_ends_byte_equal(
    make_folder: Callable[[str], Path], tabulate: Callable[..., None]
) -> None:
    random = Random(20)
    folder, undisturbed = make_folder("struck"), make_folder("undisturbed")
    assert finish(start(undisturbed / "program.py")) == [N_PARTS, 0, 0]
    script, log = folder / "program.py", []
    for target in sorted(random.sample(range(1, N_PARTS), N_ENCODE)):
        process = start(script)
        wait_for(process, lambda n=target: n_stores(folder) >= n)
        time.sleep(random.uniform(0, 0.05))
        log.append(("encode", n_stores(folder), process.poll()))
        kill(process)
    for _ in range(N_MERGE):
        process = start(script)
        wait_for(process, lambda: merges(folder))
        time.sleep(random.uniform(0, 0.3))
        log.append(("merge", merges(folder), process.poll()))
        kill(process)
        if (root_of(folder) / "killed.infoset").exists():  # it was quicker: the next run has to merge again
            (root_of(folder) / "killed.infoset").unlink()
    if process.returncode == -signal.SIGKILL:
        assert json.loads((root_of(folder) / ".dflow" / "lock.json").read_text())["pid"] > 0, "the dead owner's lock"
    succeeded, failed, reused = finish(start(script))
    assert (succeeded, failed) == (N_PARTS, 0)
    assert reused >= N_PARTS // 2
    assert leftovers(root_of(folder)) == []
    equal = published(folder) == published(undisturbed)
    alive = [where for where, _, ended in log if ended is None]
    seen = f"{alive.count('encode')} in encode, {alive.count('merge')} in merge; the last run reused {reused}"
    tabulate("kill the flow (SIGKILL) ten times", seen, "-", equal)
    print(log)
    assert equal


def published(folder: Path) -> dict[str, Any]:
    """Everything that a user may look at, by its digest; previews too."""
    root = root_of(folder)
    kept = ("encoded", "stream_cache", "killed.dataset", "killed.infoset", "killed.attribset")
    return {path: digest for path, digest in tree_digest(root).items() if path.split("/")[0] in kept}


def test_a_second_flow_in_the_same_folder_is_refused_and_the_first_goes_on(
    make_folder: Callable[[str], Path], tabulate: Callable[..., None]
) -> None:
    folder = make_folder("shared")
    first = start(folder / "program.py")
    wait_for(first, lambda: n_stores(folder) >= 1)
    os.kill(first.pid, signal.SIGSTOP)  # so that it cannot end meanwhile; a stopped owner is alive
    try:
        second = start(folder / "program.py")
        _, err = second.communicate(timeout=60)
    finally:
        os.kill(first.pid, signal.SIGCONT)
    assert second.returncode == 1
    assert f"FlowBusyError: Process {first.pid} on" in err
    assert finish(first) == [N_PARTS, 0, 0]
    assert leftovers(root_of(folder)) == []
    tabulate("two flows in one folder", "the second: FlowBusyError; the first went on", "-", True)
