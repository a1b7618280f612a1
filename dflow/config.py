"""Defaults that more than one package needs, each with its reason."""

from __future__ import annotations

CAD_SUFFIXES: tuple[str, ...] = (".step", ".stp", ".iges", ".igs", ".brep", ".brp")
"""Suffixes that folder scans look for, upper case too and with ``.gz`` behind; reading goes by content."""

MAX_PAIR_BYTES: int = 512 * 1024**2
"""Face-pair arrays grow with F²: a sample that would need more is refused (`TooBigError`)."""

TIMEOUT_SECONDS: float = 120.0
"""Wall time one file may take in a task before its child is stopped: HOOPS AI's default."""

MAX_STORE_BYTES: int = 4 * 1024**3
"""What one sample's `.data` may expand to when read: eight times the largest face-pair array; more is a bomb."""
