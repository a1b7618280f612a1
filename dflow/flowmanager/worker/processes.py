"""The worker's handles of its two processes: start them, talk to them, end them.

::

    worker (Dask, one thread) ── control ──▶ nursery (kernel imported, one thread) ── fork ──▶ child (user code, its
    own group) └────────────── connection (messages) and log pipe (what it prints) ─────────────────────┘

The worker never blocks on a child: every wait is a poll with a deadline, during which the child's output is drained.
The end of a child is the end of its whole process group.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import dflow
from dflow.flowmanager.worker import wire
from dflow.flowmanager.worker.child import DUMP_SIGNAL
from dflow.flowmanager.worker.faults import split_stack
from dflow.flowmanager.worker.limits import descendants, resident_bytes
from dflow.flowmanager.worker.logtail import LogTail
from dflow.flowmanager.worker.nursery import PREVIEWS

_STACK_SECONDS = 0.3
"""How long a late child is given to write where it hangs."""

_ANSWER_SECONDS = 30.0
_READ_BYTES = 1 << 16
_BOOT = """import sys
sys.path.insert(0, sys.argv[1])
import dflow
del sys.path[0]
from dflow.flowmanager.worker import nursery
nursery.main()"""
"""Finds the worker's own dflow, wherever it was imported from, and adds nothing to the path or the environment."""

_NURSERY = (sys.executable, "-P", "-c", _BOOT, str(Path(dflow.__file__).resolve().parent.parent))
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class ChildStartError(OSError):
    """No child could be started: the machine's fault, not an item's."""


class Nursery:
    """The worker's handle of its nursery process. One thread."""

    def __init__(self, startup_seconds: float, *, previews: bool = False) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [*_NURSERY, str(theirs.fileno()), *([PREVIEWS] if previews else [])],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                    env=_environment(),
                )
        except OSError:
            self._control.close()
            raise
        self._answer(startup_seconds)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def fork(self, connection: socket.socket, log_fd: int) -> int:
        """The process id of a new child that serves `connection` and prints to `log_fd`; both stay open here.

        Raises
        ------
        ChildStartError
        """
        try:
            socket.send_fds(self._control, [b"fork"], [connection.fileno(), log_fd])
        except OSError as error:
            raise self._lost(str(error)) from error
        return int(self._answer(_ANSWER_SECONDS))

    def reap(self, pid: int) -> int:
        """The wait status of a child that has ended.

        Raises
        ------
        ChildStartError
        """
        try:
            self._control.send(b"reap %d" % pid)
        except OSError as error:
            raise self._lost(str(error)) from error
        return int(self._answer(_ANSWER_SECONDS))

    def close(self) -> None:
        """End it, and with it all its children. A second call does nothing."""
        self._control.close()
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answer(self, seconds: float) -> bytes:
        self._control.settimeout(seconds)
        try:
            answer = self._control.recv(64)
        except OSError as error:
            raise self._lost(str(error)) from error
        if not answer:
            raise self._lost("it has ended, and its last words are in the worker's log")
        return answer

    def _lost(self, reason: str) -> ChildStartError:
        """End it for good: an answer that comes late would be taken for that to the next question."""
        self.close()
        return ChildStartError(f"the process that starts children cannot be used: {reason}")


def _environment() -> dict[str, str]:
    """The worker's, with numerical libraries on one thread: more threads at the fork would be lost in the child."""
    environment = dict(os.environ)
    for name in _ONE_THREAD:
        environment.setdefault(name, "1")
    return environment


class Child:
    """One child process and the worker's ends of what connects them. One thread."""

    def __init__(self, nursery: Nursery, log_bytes: int) -> None:
        self._nursery = nursery
        self._connection, theirs = socket.socketpair()
        self._log_fd, log_write = os.pipe()
        os.set_blocking(self._log_fd, False)
        self._connection.setblocking(False)
        try:
            with theirs:
                self.pid = nursery.fork(theirs, log_write)
        except ChildStartError:
            self._connection.close()
            os.close(self._log_fd)
            raise
        finally:
            os.close(log_write)
        self._poll = select.poll()
        self._poll.register(self._connection, select.POLLIN)
        self._poll.register(self._log_fd, select.POLLIN)
        self._inbox = wire.Inbox()
        self._log_bytes = log_bytes
        self.log = LogTail(log_bytes)
        self.functions: set[str] = set()
        self.preparation: wire.Prepare | None = None
        self.n_items = 0
        self.first_bytes = self.peak_bytes = resident_bytes(self.pid)

    def is_alive(self) -> bool:
        """Whether it still listens; an idle child says nothing, so anything readable is its end."""
        try:
            self._connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def ask(self, message: object, seconds: float) -> None:
        """Send a request.

        Raises
        ------
        OSError
            If the child is gone, or does not take it within `seconds`.
        """
        self.log = LogTail(self._log_bytes)
        self._connection.settimeout(seconds)
        try:
            wire.send(self._connection, message)
        finally:
            self._connection.setblocking(False)

    def wait(self, seconds: float) -> list[wire.Reply]:
        """What arrives within `seconds`; output is drained meanwhile.

        Raises
        ------
        EOFError
            When the child is gone.
        wire.WireError
            When it sends nonsense.
        """
        replies: list[wire.Reply] = []
        for fd, _event in self._poll.poll(max(seconds, 0.0) * 1000.0):
            if fd == self._log_fd:
                self.drain_log()
            else:
                replies = self._inbox.feed(self._read())
        if replies:
            self.drain_log()  # the child flushes before it answers: what it printed has arrived
        return replies

    def _read(self) -> bytes:
        try:
            data = self._connection.recv(_READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise EOFError("the child is gone") from error
        if not data:
            raise EOFError("the child is gone")
        return data

    def drain_log(self) -> None:
        """Take what has been printed so far; at most as much as a pipe holds, so that a flood cannot keep us here."""
        for _ in range(16):
            try:
                data = os.read(self._log_fd, _READ_BYTES)
            except BlockingIOError:
                return
            if not data:  # its end is closed in the child and in all that it started
                with contextlib.suppress(KeyError):
                    self._poll.unregister(self._log_fd)
                return
            self.log.feed(data)

    def stack(self) -> str:
        """Where the child is now, as Python's stack; "" if it cannot say."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, DUMP_SIGNAL)
        deadline = time.monotonic() + _STACK_SECONDS
        stack = ""
        while time.monotonic() < deadline:
            time.sleep(0.02)
            self.drain_log()
            before, stack = stack, split_stack(self.log.text())[1]
            if stack and stack == before:  # nothing more is coming
                break
        return stack

    def end(self) -> int | None:
        """Kill it with all it has started; its wait status, None if that cannot be learnt."""
        outsiders = descendants(self.pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        for pid in (self.pid, *outsiders):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        self.drain_log()
        try:
            return self._nursery.reap(self.pid)
        except ChildStartError:
            return None
        finally:
            self._connection.close()
            os.close(self._log_fd)
