"""How much memory processes use, read from the operating system.

Only resident memory is compared with allowances: it is what the machine runs out of.
"""

from __future__ import annotations

import contextlib
import os

import psutil

from dflow.config import SHARE_OF_MACHINE

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MIN_CHILD_BYTES = 256 * 1024**2
"""What a child may hold above its memory at its start, however small the budget and however large the worker."""


def resident_bytes(pid: int | str = "self") -> int:
    """Resident memory of one process, 0 if it is gone. Takes about 20 µs."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except (FileNotFoundError, ProcessLookupError):
        return 0


def data_bytes() -> int:
    """What ``RLIMIT_DATA`` counts of this process now."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[5]) * _PAGE_BYTES


def descendants(pid: int) -> list[int]:
    """Process ids below `pid`, those outside its process group too. Takes milliseconds: walks the process table."""
    with contextlib.suppress(psutil.Error):
        return [process.pid for process in psutil.Process(pid).children(recursive=True)]
    return []


def larger_allowance(memory_bytes: int, factor: float) -> int:
    """`memory_bytes` times `factor`, but not more than the machine can give now, nor less than `memory_bytes`."""
    available = int(SHARE_OF_MACHINE * psutil.virtual_memory().available)
    return max(memory_bytes, min(int(memory_bytes * factor), available))
