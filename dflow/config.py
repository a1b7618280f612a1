"""Defaults that more than one package needs, each with its reason."""

from __future__ import annotations

import functools
import os

CAD_SUFFIXES: tuple[str, ...] = (".step", ".stp", ".iges", ".igs", ".brep", ".brp")
"""Suffixes of files that folder scans find, in either case and also with ``.gz``; readers go by content."""

TIMEOUT_SECONDS: float = 60.0
TIMEOUT_SECONDS_PER_BYTE: float = 4e-6
"""Wall time that one file may take in a task before its child is ended: 60 s, and 4 s for each megabyte of the file.

1 kB have 60 s, 15 MB 120 s (HOOPS AI's limit for all), 300 MB 21 minutes. A file that is too slow is tried once more,
alone, with twice the time.
"""

MAX_STORE_BYTES: int = 4 * 1024**3
"""Most bytes that one sample's `.data` may expand to; more is refused."""

SHARE_OF_MACHINE = 0.8
"""Share of the machine's memory for all workers together; the system and the scheduler need the rest."""

_MIN_ALLOWANCE_BYTES = 1024**3


@functools.cache
def machine_bytes() -> int:
    """Return this machine's memory, in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def machine_share_bytes() -> int:
    """Return the memory one file may take by default: 80 % of the machine's divided by its cores; at least 1 GiB."""
    share = SHARE_OF_MACHINE * machine_bytes() / (os.cpu_count() or 1)
    return max(int(share), _MIN_ALLOWANCE_BYTES)
