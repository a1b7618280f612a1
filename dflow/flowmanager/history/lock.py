"""One live owner per flow's folder.

The lock is a small JSON file with the owner's process id, its start time and its host. On the same host a dead owner is
recognised at once (no such process, or another one that took over the id); on another host by a heartbeat: the owner
touches the file every `BEAT_SECONDS`.

No wall clock is trusted, because it may be stepped while an owner lives: start times are counted from the machine's
boot where the kernel gives both, and a file that was not touched for `STALE_SECONDS`, or was touched in the future,
is watched for a beat before it is taken over.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from dflow.errors import FlowBusyError
from dflow.flowmanager.history.folder import writing

BEAT_SECONDS = 10.0
STALE_SECONDS = 90.0
WATCHED_BEATS = 2.5


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that holds a lock. `started` is when it began, in seconds since the machine's boot (Linux), else
    since the epoch; `space` names that boot and the namespace that `pid` belongs to.
    """

    pid: int
    host: str
    started: float
    token: str
    space: str = ""

    @classmethod
    def here(cls) -> Owner:
        """Return this process as an owner, with a new token."""
        pid = os.getpid()
        return cls(pid, socket.gethostname(), _start_time(pid) or 0.0, secrets.token_hex(8), _process_space())

    @property
    def is_on_this_host(self) -> bool:
        """Whether this process can look up the owner's: hosts and containers may share a name."""
        return self.host == socket.gethostname() and self.space == _process_space()

    def is_running_here(self) -> bool:
        """Whether the owner's process runs, if it is on this host."""
        started = _start_time(self.pid)
        return started is not None and abs(started - self.started) < 1.0


class FolderLock:
    """Holds a folder for this process until `release`; re-entry from the same process is refused like another's.

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
        """The text that distinguishes this run from an earlier one of the same process; "" when not held."""
        return self._owner.token if self._owner else ""

    def acquire(self) -> FolderLock:
        """Take the lock, from a dead owner too."""
        owner = Owner.here()
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with _guarded(self._guard):
            holder = self._holder()
            if holder is not None:
                raise FlowBusyError(
                    f"Process {holder.pid} on {holder.host} is writing to {self._file.parent.parent}; wait for it to "
                    "end, or give this flow another name or flows_outputdir."
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
        """Release the lock; does nothing when it is not held, or was taken over."""
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
        alive = owner.is_running_here() if owner.is_on_this_host else self._beats()
        return owner if alive else None

    def _beats(self) -> bool:
        """Whether an owner on another host still touches the file; waits some beats where the times do not decide."""
        beat = self._last_beat()
        if beat is None:
            return False
        # The guard was just touched: two times of the same file system, so that clocks of hosts do not matter.
        if 0.0 <= self._guard.stat().st_mtime - beat < STALE_SECONDS:
            return True
        deadline = time.monotonic() + WATCHED_BEATS * BEAT_SECONDS
        while time.monotonic() < deadline:
            time.sleep(BEAT_SECONDS / 10)
            if self._last_beat() != beat:
                return self._last_beat() is not None
        return False

    def _last_beat(self) -> float | None:
        try:
            return self._file.stat().st_mtime
        except FileNotFoundError:
            return None

    def _keep_beating(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            try:
                os.utime(self._file)
            except FileNotFoundError:  # taken over, or the folder is gone
                return
            except OSError:  # a file server that is away for a moment: the next beat may reach it
                continue


def _read(path: Path) -> Owner | None:
    """Return the owner in a lock file; None when it is absent or unreadable, which no live owner leaves."""
    try:
        return Owner(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _start_time(pid: int) -> float | None:
    """Return when a living process began, None for a dead one. psutil's value moves with the clock on Linux."""
    if sys.platform == "linux":
        return _start_since_boot(pid)
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def _start_since_boot(pid: int) -> float | None:
    """Return seconds, from the fields ``state`` and ``starttime`` of proc(5)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as handle:
            fields = handle.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _process_space() -> str:
    """Return the ids of this boot and of this process namespace (container), "" where they are unknown."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as handle:
            return f"{handle.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


@contextmanager
def _guarded(path: Path) -> Iterator[None]:
    """Let only one process at a time read and replace the lock file."""
    with writing(path):
        handle = path.open("a+b")
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with writing(path):
            os.utime(path)
        yield
