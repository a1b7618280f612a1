"""The memory that processes use, read from the operating system.

Only resident memory is compared with allowances: a machine runs out of that.
"""

from __future__ import annotations

import contextlib
import os

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


def larger_allowance(memory_bytes: int, factor: float) -> int:
    """Return `memory_bytes` times `factor`, at most what the machine has available, at least `memory_bytes`."""
    available = int(SHARE_OF_MACHINE * psutil.virtual_memory().available)
    return max(memory_bytes, min(int(memory_bytes * factor), available))
