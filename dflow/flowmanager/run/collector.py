"""Python's garbage collector during a run."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_RARE = 1000
"""Collections of the middle generation before a full one; Python's own number is 10."""

_lock = threading.Lock()
_runs: list[tuple[int, int, int]] = []
"""One entry per run in this process: the thresholds before the first of them."""


@contextmanager
def rare_full_collections() -> Iterator[None]:
    """Make collections of the oldest generation rare during a run.

    A run keeps records of all its files, none of them in a cycle. Full collections walk over all of them, again each
    time that they have grown by a quarter: a third of the client's time in a run of 5,000 files with nothing to do.
    Young garbage is collected as always. The process's thresholds are restored at the end of its last run.
    """
    with _lock:
        young, middle, old = before = _runs[0] if _runs else gc.get_threshold()
        _runs.append(before)
        gc.set_threshold(young, middle, max(old, _RARE))
    try:
        yield
    finally:
        with _lock:
            _runs.pop()
            if not _runs:
                gc.set_threshold(*before)
