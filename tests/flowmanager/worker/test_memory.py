"""The memory of processes, and what they may use."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from dflow.flowmanager.worker import memory
from dflow.flowmanager.worker.memory import (
    data_bytes,
    descendants,
    larger_allowance,
    resident_bytes,
)
from tests.flowmanager.batches import wait_until


def test_resident_memory_is_the_operating_system_s():
    assert resident_bytes() == pytest.approx(psutil.Process().memory_info().rss, rel=0.2)
    assert resident_bytes(os.getpid()) == pytest.approx(resident_bytes(), rel=0.2)
    assert resident_bytes(2**22 + 1) == 0


def test_private_pages_count_before_they_are_touched():
    before = data_bytes()
    reserved = bytearray(64 * 1024**2)
    assert data_bytes() - before >= len(reserved)


def test_descendants_include_those_of_another_group():
    code = "import subprocess, sys; subprocess.Popen(['sleep', '60'], start_new_session=True).wait()"
    with subprocess.Popen([sys.executable, "-c", code]) as child:
        try:
            assert wait_until(lambda: len(descendants(child.pid)) == 1)
            (below,) = descendants(child.pid)
            assert os.getpgid(below) != os.getpgid(child.pid)
        finally:
            for pid in (*descendants(child.pid), child.pid):
                os.kill(pid, 9)
    assert descendants(2**22 + 1) == []


class Machine:
    """A machine's memory as `psutil.virtual_memory` gives it."""

    total = 80 * 1024**3
    available = 10 * 1024**3


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> type[Machine]:
    monkeypatch.setattr(memory.psutil, "virtual_memory", Machine)
    return Machine


@pytest.mark.parametrize(("gib", "factor", "expected"), [(1, 3.0, 3), (4, 3.0, 8), (9, 3.0, 9), (1, 1.0, 1)])
def test_a_larger_allowance_is_what_the_machine_has_left_and_never_smaller(machine, gib, factor, expected):
    assert larger_allowance(gib * 1024**3, factor) == expected * 1024**3


ORPHANS = """
import subprocess
import sys
from dflow.flowmanager.worker.memory import adopt_orphans, end_orphans, has_children

assert not has_children()
adopt_orphans()
kept = subprocess.Popen(["sleep", "600"])
quick = subprocess.Popen(["true"])
assert not end_orphans({kept.pid})  # the other has ended by itself
subprocess.run(["sh", "-c", "setsid sh -c 'sleep 600 & sleep 600' & sleep 0.1"], check=True)
assert has_children()
assert end_orphans({kept.pid})
assert kept.poll() is None
kept.kill()
kept.wait()
assert not has_children()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands orphans to a process of choice")
def test_orphans_of_any_depth_are_ended_and_kept_children_stay():
    subprocess.run([sys.executable, "-c", ORPHANS], check=True, timeout=60)
