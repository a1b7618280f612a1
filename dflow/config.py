"""Defaults that more than one package needs, each with its reason."""

from __future__ import annotations

CAD_SUFFIXES: tuple[str, ...] = (".step", ".stp", ".iges", ".igs", ".brep", ".brp")
"""Suffixes of files that folder scans find, in either case and also with ``.gz``; readers go by content."""

MAX_PAIR_BYTES: int = 512 * 1024**2
"""Face-pair arrays grow with F²: a sample that would need more is refused (`TooBigError`)."""

TIMEOUT_SECONDS: float = 120.0
"""Wall time that one file may take in a task before its child is ended: HOOPS AI's default."""

MAX_STORE_BYTES: int = 4 * 1024**3
"""Most bytes that one sample's `.data` may expand to: eight times the largest face-pair array; more is refused."""
