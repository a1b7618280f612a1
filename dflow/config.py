"""Defaults that more than one package needs, each with its reason."""

from __future__ import annotations

import os

CAD_SUFFIXES: tuple[str, ...] = (".step", ".stp", ".iges", ".igs", ".brep", ".brp")
"""Suffixes that folder scans look for, upper case too and with ``.gz`` behind; reading goes by content."""

TIMEOUT_SECONDS: float = 120.0
"""Wall time one file may take in a task before its child is stopped: HOOPS AI's default."""

MAX_STORE_BYTES: int = 4 * 1024**3
"""What one sample's `.data` may expand to when read; more is a bomb."""

SHARE_OF_MACHINE = 0.8
"""The part of the machine's memory that all workers together may take: the system and the scheduler need the rest."""

_MIN_ALLOWANCE_BYTES = 1024**3


def machine_share_bytes() -> int:
    """Return the memory that one file may take by default: the machine's, divided by its cores."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    share = SHARE_OF_MACHINE * machine / (os.cpu_count() or 1)
    return max(int(share), _MIN_ALLOWANCE_BYTES)
