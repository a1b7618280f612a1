"""A user who is not root loses a permission half-way: to read a source, to write the flow's folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults import gates
from tests.faults.cases import Case
from tests.faults.programs import REPOSITORY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="becoming another user needs root"),
]

NOBODY = 65_534
HELD = "p07"

# A flow as root brings what is imported late: the other user may not be allowed to read root's Python. One process.
PROGRAM = """
import os, sys
sys.path.insert(0, {repository!r})
from pathlib import Path
from tests.faults.cases import Case, failures
Case(Path({base!r}).with_name("warm"), {{"debug": True}}).prepare().run()
case = Case(Path({base!r}), {{"debug": True}})
flow = case.flow()
os.setgroups([])
os.setgid({user})
os.setuid({user})
try:
    output, _, _ = flow.process(inputs=case.inputs, progress=False)
    print(output.counts.submitted, output.counts.succeeded, output.counts.failed, failures(output))
except OSError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def case() -> Iterator[Case]:
    """A flow in a folder that belongs to nobody; pytest's own folders are closed to other users."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        case = Case(Path(folder, "case"), {}).prepare()
        for path in (case.base, *case.base.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        yield case


def start(case: Case) -> subprocess.Popen[str]:
    shutil.rmtree(case.base.with_name("warm"), ignore_errors=True)
    script = PROGRAM.format(repository=str(REPOSITORY), base=str(case.base), user=NOBODY)
    return subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=case.base,
        env={**os.environ, "HOME": str(case.base)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(case: Case, process: subprocess.Popen[str]) -> str:
    gates.release(case.gates)
    try:
        printed, err = process.communicate(timeout=60)
    finally:
        process.send_signal(signal.SIGKILL)
    assert process.returncode == 0, err
    return printed.strip()


def test_sources_that_may_not_be_read_any_more_are_taken_up_when_they_may_again(
    case: Case, undisturbed: Callable[..., dict[str, Any]], tabulate: Callable[..., None]
) -> None:
    gates.hold(case.gates, HELD)
    process = start(case)
    gates.arrival(case.gates, HELD)
    (case.sources / f"{HELD}.txt").chmod(0)
    printed = finish(case, process)
    lost = case.outputs() == undisturbed(HELD)
    assert printed == f"12 11 1 {{{HELD!r}: 'unreadable'}}"
    (case.sources / f"{HELD}.txt").chmod(0o644)
    assert finish(case, start(case)) == "12 12 0 {}"
    tabulate("permission to read a source lost", "went on without it", "unreadable", lost)
    assert lost
    assert case.outputs() == undisturbed()


@pytest.mark.parametrize("place", [HELD, "survey"])
def test_a_folder_that_may_not_be_written_any_more_ends_the_flow_with_a_clear_error(
    case: Case, undisturbed: Callable[..., dict[str, Any]], tabulate: Callable[..., None], place: str
) -> None:
    gates.hold(case.gates, place)
    process = start(case)
    gates.arrival(case.gates, place)
    folders = [folder for folder in (case.root, *case.root.rglob("*")) if folder.is_dir()]
    for folder in folders:
        folder.chmod(0o555)
    printed = finish(case, process)
    for folder in folders:
        folder.chmod(0o755)
    assert printed.startswith("OutputFolderError"), printed
    assert "Permission denied" in printed
    assert finish(case, start(case)) == "12 12 0 {}"
    equal = case.outputs() == undisturbed()
    tabulate(f"permission to write lost ({place})", "ended with OutputFolderError; next run went on", "-", equal)
    assert equal
