"""How much memory processes use, read from the operating system.

Only resident memory is compared with allowances: it is what the machine runs out of.
"""

from __future__ import annotations

import contextlib
import os

import psutil

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MIN_CHILD_BYTES = 256 * 1024**2
"""What a child may hold above its memory at its start, however small the budget and however large the worker."""

_SHARE_OF_MACHINE = 0.8
"""The part of the machine's memory that all workers together may take: the system and the scheduler need the rest."""

_MIN_ALLOWANCE_BYTES = 1024**3


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


def machine_share_bytes() -> int:
    """The memory that one worker may take by default: the machine's, divided by its cores."""
    share = _SHARE_OF_MACHINE * psutil.virtual_memory().total / (os.cpu_count() or 1)
    return max(int(share), _MIN_ALLOWANCE_BYTES)


def larger_allowance(memory_bytes: int, factor: float) -> int:
    """`memory_bytes` times `factor`, but not more than the machine can give now, nor less than `memory_bytes`."""
    available = int(_SHARE_OF_MACHINE * psutil.virtual_memory().available)
    return max(memory_bytes, min(int(memory_bytes * factor), available))
