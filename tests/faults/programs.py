"""Flows as programs of their own, to be killed, started twice, or run by another user."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parents[2]

PARTS = """
import sys
sys.path.insert(0, {repository!r})
import dflow
from tests.faults.part_tasks import encode, gather

flow = dflow.create_flow("killed", [gather, encode], {out!r}, max_workers=2)
output, _, _ = flow.process(inputs={{"sources": [{sources!r}]}}, progress=False)
print(output.counts.succeeded, output.counts.failed, output.counts.reused, flush=True)
"""


def write_parts_program(folder: Path) -> Path:
    """A program over `folder`/in that writes to `folder`/out: real parts, the kernel, previews."""
    script = folder / "program.py"
    names = {"repository": str(REPOSITORY), "out": str(folder / "out"), "sources": str(folder / "in")}
    script.write_text(PARTS.format(**names))
    return script


def start(script: Path) -> subprocess.Popen[str]:
    """Run a script."""
    return subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str], seconds: float = 100.0) -> list[int]:
    """Wait for a program that must end well; the numbers that it printed."""
    printed, err = process.communicate(timeout=seconds)
    assert process.returncode == 0, err
    return [int(word) for word in printed.split()]


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL a program that may have ended already, and see that all the processes below it end by themselves."""
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.kill()  # nothing where it has ended
    process.communicate(timeout=60)
    _, alive = psutil.wait_procs(family, timeout=20)
    alive = [each for each in alive if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    for each in alive:
        each.kill()
    assert alive == [], "processes of a killed run live on"
