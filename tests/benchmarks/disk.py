"""Where benchmarks that create files create them.

ext4 does not give the number of a deleted file to another one for some minutes: after the deletion of thousands of
files (a test suite's, another benchmark's, this one's last run) it looks through all of them for each new file nearby,
which then takes up to 0.9 ms instead of 0.02. That is neither side's cost. In memory there is no such state.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = Path("/dev/shm")


@contextmanager
def quiet_folder() -> Iterator[Path]:
    """A temporary folder in memory where there is such a place, else where temporary folders are."""
    with tempfile.TemporaryDirectory(prefix="dflow-bench-", dir=MEMORY if MEMORY.is_dir() else None) as place:
        yield Path(place)


def new_file_seconds(folder: Path) -> float:
    """CPU time of creating and renaming an empty file, as a disk in its usual state takes it: the least of some."""
    seconds = []
    for number in range(100):
        started = time.process_time()
        (folder / f"empty{number}.new").touch()
        (folder / f"empty{number}.new").rename(folder / f"empty{number}")
        seconds.append(time.process_time() - started)
    return min(seconds)
