"""The memory that processes use, read from the operating system, and the processes below this one.

Only resident memory is compared with allowances: a machine runs out of that.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Collection

import psutil

from dflow.config import SHARE_OF_MACHINE

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MIN_CHILD_BYTES = 256 * 1024**2
"""Memory that a child may always use above that at its start, however small the budget or large the worker."""


def resident_bytes(pid: int | str = "self") -> int:
    """Return the resident memory of one process, 0 if it has ended. Takes about 20 µs."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except (FileNotFoundError, ProcessLookupError):
        return 0


def data_bytes() -> int:
    """Return the bytes of this process that ``RLIMIT_DATA`` counts."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[5]) * _PAGE_BYTES


def descendants(pid: int) -> list[int]:
    """Return process ids below `pid`, also outside its process group. Walks the process table, in milliseconds."""
    with contextlib.suppress(psutil.Error):
        return [process.pid for process in psutil.Process(pid).children(recursive=True)]
    return []


_PR_SET_CHILD_SUBREAPER = 36
_GRACE_SECONDS = 0.25
_END_SECONDS = 5.0


def adopt_orphans() -> None:
    """Make this process the parent of those below it whose own parent ends, such as daemons."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def has_children() -> bool:
    """Whether this process has children, ended ones that nobody waited for included. Takes a microsecond."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def children() -> list[int]:
    """Return the process ids of this process's children. Walks the process table, in milliseconds."""
    return [child.pid for child in psutil.Process().children()]


def end_orphans(kept: Collection[int]) -> bool:
    """End all processes below this one but the children `kept`; return whether one was still running.

    Takes milliseconds, and `_GRACE_SECONDS` where one is just ending by itself.
    """
    started = time.monotonic()
    was_running = False
    while time.monotonic() - started < _END_SECONDS:
        others = [pid for pid in children() if pid not in kept]
        for pid in others:
            if was_running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        if not others:
            break
        was_running = was_running or time.monotonic() - started > _GRACE_SECONDS
        time.sleep(0.002)
    return was_running


def larger_allowance(memory_bytes: int, factor: float) -> int:
    """Return `memory_bytes` times `factor`, at most what the machine has available, at least `memory_bytes`."""
    available = int(SHARE_OF_MACHINE * psutil.virtual_memory().available)
    return max(memory_bytes, min(int(memory_bytes * factor), available))
