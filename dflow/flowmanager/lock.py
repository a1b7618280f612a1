"""One live owner a flow's folder.

The lock is a small JSON file with the owner's process id, its start time and its host. On the same host a dead owner is
recognised at once (no such process, or another one that took over the id); on another host by a heartbeat: the owner
touches the file every `BEAT_SECONDS`, and one that has not been touched for `STALE_SECONDS` is taken over.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from dflow.errors import FlowBusyError
from dflow.flowmanager.folder import writing

BEAT_SECONDS = 10.0
STALE_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds a lock. `started` is the process's start time in seconds since the epoch."""

    pid: int
    host: str
    started: float
    token: str

    @classmethod
    def here(cls) -> Owner:
        """This process, with a token of its own."""
        return cls(os.getpid(), socket.gethostname(), _start_time(os.getpid()) or 0.0, secrets.token_hex(8))

    def is_alive(self, seconds_since_beat: float) -> bool:
        """Whether the owner still runs, as far as this host can tell."""
        if self.host != socket.gethostname():
            return seconds_since_beat < STALE_SECONDS
        started = _start_time(self.pid)
        return started is not None and abs(started - self.started) < 1.0


class FolderLock:
    """Holds a folder for this process until `release`; re-entry from the same process is refused like anybody else's.

    Raises
    ------
    FlowBusyError
        From `acquire`, naming the live owner.
    OutputFolderError
        From `acquire`, where the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "lock.json"
        self._guard = folder / "lock.guard"
        self._owner: Owner | None = None
        self._stop = threading.Event()
        self._beat: threading.Thread | None = None

    @property
    def token(self) -> str:
        """What tells this run from an earlier one of the same process; "" when not held."""
        return self._owner.token if self._owner else ""

    def acquire(self) -> FolderLock:
        """Take the lock, from a dead owner too."""
        owner = Owner.here()
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with _guarded(self._guard):
            holder = self._holder()
            if holder is not None:
                raise FlowBusyError(
                    f"Process {holder.pid} on {holder.host} is writing to {self._file.parent.parent}; wait for "
                    f"it to end, "
                    "or give this flow another name or flows_outputdir."
                )
            temporary = self._file.with_name(f".tmp-lock-{owner.token}")
            with writing(self._file):
                temporary.write_text(json.dumps(asdict(owner)))
                os.replace(temporary, self._file)
        self._owner = owner
        self._beat = threading.Thread(target=self._keep_beating, name="dflow-lock", daemon=True)
        self._beat.start()
        return self

    def release(self) -> None:
        """Give the lock back; nothing happens when it is not held, or was taken over."""
        if self._owner is None:
            return
        self._stop.set()
        if self._beat is not None:
            self._beat.join()
        held = _read(self._file)
        if held is not None and held.token == self._owner.token:
            with writing(self._file):
                self._file.unlink(missing_ok=True)
        self._owner = None

    def __enter__(self) -> FolderLock:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def _holder(self) -> Owner | None:
        owner = _read(self._file)
        if owner is None:
            return None
        return owner if owner.is_alive(self._seconds_since_beat()) else None

    def _seconds_since_beat(self) -> float:
        # The guard was just touched: two times of the same file system, so that clocks of hosts do not matter.
        try:
            return self._guard.stat().st_mtime - self._file.stat().st_mtime
        except FileNotFoundError:
            return float("inf")

    def _keep_beating(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            try:
                os.utime(self._file)
            except OSError:
                return


def _read(path: Path) -> Owner | None:
    """The owner in a lock file; None when it is absent or unreadable, which no live owner leaves behind."""
    try:
        return Owner(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _start_time(pid: int) -> float | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


@contextmanager
def _guarded(path: Path) -> Iterator[None]:
    """Only one process at a time between reading and replacing the lock file."""
    with path.open("a+b") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        os.utime(path)
        yield
