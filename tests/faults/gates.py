"""Places where a task waits until the test has done its harm: files in a folder, so that any process can stand there.

A test holds a place, the task announces itself there with its process id and waits, the test strikes and releases.
Nothing is timed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

WAIT_SECONDS = 40.0


def stand(folder: str, place: str) -> None:
    """Announce this process at a place and wait there as long as it is held."""
    here = Path(folder, f"{place}.here")
    temporary = here.with_suffix(f".{os.getpid()}")
    temporary.write_text(str(os.getpid()))
    os.replace(temporary, here)
    while Path(folder, f"{place}.hold").exists():
        time.sleep(0.01)


def hold(folder: Path, place: str) -> None:
    """Make whoever comes to a place wait."""
    folder.mkdir(parents=True, exist_ok=True)
    Path(folder, f"{place}.hold").write_text("")


def release(folder: Path) -> None:
    """Let everybody go on."""
    for held in folder.glob("*.hold"):
        held.unlink()


def forget(folder: Path, place: str) -> None:
    """Take back an announcement, to wait for the next one."""
    Path(folder, f"{place}.here").unlink(missing_ok=True)


def arrival(folder: Path, place: str) -> int:
    """Wait until somebody stands at a place; its process id."""
    here = Path(folder, f"{place}.here")
    wait_until(here.exists, f"nobody came to {place}")
    return int(here.read_text())


def wait_until(condition: Callable[[], object], otherwise: str, seconds: float = WAIT_SECONDS) -> None:
    """Wait for a condition, and fail with `otherwise` when it takes too long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{otherwise} within {seconds:g} s"
        time.sleep(0.02)
