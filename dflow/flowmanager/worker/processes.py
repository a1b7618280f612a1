"""The worker's handles of its two processes: start them, talk to them, end them.

::

    worker (Dask, one thread) ── control ──▶ nursery (kernel imported, one thread) ── fork ──▶ child (user code, its
    own group) └────── connection (messages), log pipe (what it prints), bell (wakes the worker) ───────┘

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
from dflow.flowmanager.worker.logtail import RequestLog
from dflow.flowmanager.worker.nursery import PREVIEWS

_STACK_SECONDS = 1.0
"""How long a late child is given to write where it hangs; it takes milliseconds where a processor is free."""

_ANSWER_SECONDS = 30.0
_READ_BYTES = 1 << 16
_MOST_READS = 16
"""What is taken at once: a flood cannot keep the worker from looking at clock and memory."""

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
        theirs.setblocking(True)  # whatever the default timeout in this process is
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

    def fork(self, connection: socket.socket, log_fd: int, bell_fd: int) -> int:
        """The process id of a new child that serves `connection`, prints to `log_fd` and rings `bell_fd`.

        All three stay open here.

        Raises
        ------
        ChildStartError
        """
        try:
            socket.send_fds(self._control, [b"fork"], [connection.fileno(), log_fd, bell_fd])
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
        theirs.setblocking(True)  # whatever the default timeout in this process is
        self._log_fd, log_write = os.pipe()
        self._bell_fd, bell_write = os.pipe()
        self._connection.setblocking(False)
        os.set_blocking(self._log_fd, False)
        os.set_blocking(self._bell_fd, False)
        try:
            with theirs:
                self.pid = nursery.fork(theirs, log_write, bell_write)
        except ChildStartError:
            self._close()
            raise
        finally:
            os.close(log_write)
            os.close(bell_write)
        self._poll = select.poll()
        self._events: dict[int, int] = {}
        self._listen(self._connection.fileno(), 0)  # its end is told all the same
        self._listen(self._log_fd, 0)
        self._listen(self._bell_fd, select.POLLIN)
        self._inbox = wire.Inbox()
        self.has_ended = False
        self._outsiders: list[int] = []
        self._unread = b""
        self._is_loud = False
        self.log = RequestLog(log_bytes)
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

    def ask(self, data: bytes, seconds: float) -> None:
        """Send requests.

        Raises
        ------
        OSError
            If the child is gone, or does not take them within `seconds`.
        """
        self._connection.settimeout(seconds)
        try:
            self._connection.sendall(data)
        finally:
            self._connection.setblocking(False)

    def wait(self, seconds: float) -> list[wire.Reply]:
        """What has arrived when the child rings or ends, or after `seconds`; output is drained, too.

        Raises
        ------
        EOFError
            When the child is gone.
        wire.WireError
            When it sends nonsense.
        """
        events = dict(self._poll.poll(max(seconds, 0.0) * 1000.0))
        has_rung = self._bell_fd in events and self._hear()
        replies = self._read()
        # The child also rings before a large answer, and is held up until we have taken it, piece by piece.
        self._is_loud = self._inbox.has_begun or (not replies and (has_rung or self._is_loud))
        self._listen(self._connection.fileno(), select.POLLIN if self._is_loud or self._is_mute else 0)
        self.drain_log()  # the child flushes before it answers: what it printed has arrived
        return replies

    @property
    def _is_mute(self) -> bool:
        """Whether there is no bell any more: user code may have closed all descriptors that it found."""
        return self._bell_fd not in self._events

    def _listen(self, fd: int, events: int | None) -> None:
        """From now on wake for these events of a descriptor, None for not even its end."""
        if self._events.get(fd) == events:
            return
        if events is None:
            del self._events[fd]
            self._poll.unregister(fd)
        else:
            self._events[fd] = events
            self._poll.register(fd, events)

    def _hear(self) -> bool:
        """Take in a ring; False when it was none but the bell's end."""
        if os.read(self._bell_fd, _READ_BYTES):
            return True
        self._listen(self._bell_fd, None)
        return False

    def _read(self) -> list[wire.Reply]:
        """What lies in the connection; an end or nonsense behind an answer is told by the next call."""
        replies = self._inbox.feed(b"")
        for _ in range(_MOST_READS):
            try:
                data = self._connection.recv(_READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                if replies:
                    break
                raise EOFError("the child is gone")
            try:
                replies += self._inbox.feed(data)
            except wire.WireError:
                if replies:
                    break
                raise
        return replies

    def drain_log(self) -> None:
        """Take what has been printed so far; at most as much as a pipe holds, so that a flood cannot keep us here."""
        n_bytes = 0
        for _ in range(_MOST_READS):
            try:
                data = os.read(self._log_fd, _READ_BYTES)
            except BlockingIOError:
                break
            if not data:  # its end is closed in the child and in all that it started
                self._listen(self._log_fd, None)
                return
            n_bytes += len(data)
            self.log.feed(data)
        if self._log_fd in self._events:  # a full pipe holds the child up
            self._listen(self._log_fd, select.POLLIN if n_bytes >= _READ_BYTES else 0)

    def stack(self) -> str:
        """Where the child is now, as Python's stack; "" if it cannot say. It ends with that: `end` must follow."""
        self._outsiders = descendants(self.pid)
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
        """Kill it with all it has started; its wait status, None if that cannot be learnt.

        Nothing can be asked of it any more; what it answered before may be had from `last_replies`.
        """
        outsiders = self._outsiders or descendants(self.pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        for pid in (self.pid, *outsiders):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            return self._nursery.reap(self.pid)
        except ChildStartError:
            return None
        finally:
            self.has_ended = True
            self.drain_log()
            self._unread = self._drain()
            self._close()

    def last_replies(self) -> list[wire.Reply]:
        """What it had answered before its `end` and `wait` has not told.

        Raises
        ------
        wire.WireError
            When it sent nonsense, which is told after the replies, if any.
        """
        data, self._unread = self._unread, b""
        return self._inbox.feed(data)

    def _drain(self) -> bytes:
        pieces: list[bytes] = []
        with contextlib.suppress(OSError):
            while len(pieces) < _MOST_READS and (data := self._connection.recv(_READ_BYTES)):
                pieces.append(data)
        return b"".join(pieces)

    def _close(self) -> None:
        self._connection.close()
        os.close(self._log_fd)
        os.close(self._bell_fd)
