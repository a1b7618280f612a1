"""Whether the disk is in its usual state."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

USUAL_MS = 0.06
MOST_SECONDS = 90.0
PAUSE_SECONDS = 3.0


def creation_ms(folder: Path, n_files: int = 20) -> float:
    """CPU time of creating an empty file right in a folder, the mean of some, which stay there."""
    names = [folder / f".calm-{secrets.token_hex(4)}" for _ in range(n_files)]
    started = time.process_time()
    for name in names:
        name.touch()
    return 1e3 * (time.process_time() - started) / n_files


def wait_until_calm(folder: Path) -> None:
    """Wait, up to `MOST_SECONDS`, until files of a folder are created in their usual time, and say for how long.

    ext4 does not give the number of a deleted file to another one for a minute: after the deletion of some thousands
    (a test suite's, another benchmark's) it looks through all of them for each new file nearby, which then takes 0.9
    ms instead of 0.02. That is neither side's cost.
    """
    started = time.monotonic()
    while (found := creation_ms(folder)) > USUAL_MS and time.monotonic() - started < MOST_SECONDS:
        time.sleep(PAUSE_SECONDS)
    waited = time.monotonic() - started
    if waited > PAUSE_SECONDS:
        print(f"waited {waited:.0f} s for the disk; creating a file takes {found:.2f} ms now")
