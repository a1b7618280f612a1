"""The memory that processes use, read from the operating system.

Only resident memory is compared with allowances: a machine runs out of that.
"""

from __future__ import annotations

import contextlib
import os

import psutil

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MIN_CHILD_BYTES = 256 * 1024**2
"""Memory that a child may always use above that at its start, however small the budget or large the worker."""

_SHARE_OF_MACHINE = 0.8
"""Share of the machine's memory for all workers together; the system and the scheduler need the rest."""

_MIN_ALLOWANCE_BYTES = 1024**3


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


def machine_share_bytes() -> int:
    """Return what one worker may take by default: 80 % of the machine's memory divided by its cores, at least 1 GiB."""
    share = _SHARE_OF_MACHINE * psutil.virtual_memory().total / (os.cpu_count() or 1)
    return max(int(share), _MIN_ALLOWANCE_BYTES)


def larger_allowance(memory_bytes: int, factor: float) -> int:
    """Return `memory_bytes` times `factor`, at most what the machine has available, at least `memory_bytes`."""
    available = int(_SHARE_OF_MACHINE * psutil.virtual_memory().available)
    return max(memory_bytes, min(int(memory_bytes * factor), available))
