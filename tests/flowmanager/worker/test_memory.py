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
