"""The worker's handles of the processes below it, `ForkServer` and `Child`: start, exchange messages, end.

::

    worker (Dask, one thread) ── control ──▶ fork server (kernel imported, one thread) ── fork ──▶ child (user code,
    its own group) └────── connection (requests and replies), log pipe (what it prints) ──────┘

The worker never blocks on a child: every wait is a poll with a deadline, during which the child's output is read.
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

from dflow.flowmanager.worker import wire
from dflow.flowmanager.worker.faults import split_stack
from dflow.flowmanager.worker.forkserver import PREVIEWS
from dflow.flowmanager.worker.memory import descendants, resident_bytes
from dflow.flowmanager.worker.surroundings import DUMP_SIGNAL

_STACK_SECONDS = 1.0
"""Longest wait for a child to write its stack; it takes milliseconds where a processor is free."""

_ANSWER_SECONDS = 30.0
_READ_BYTES = 1 << 16
_MOST_READS = 16
"""Most reads in a row, so that a flood of output does not keep the worker from checking time and memory."""

_BOOT = """import sys
sys.path.insert(0, sys.argv[1])
import dflow
del sys.path[0]
from dflow.flowmanager.worker import forkserver
forkserver.main()"""
"""Imports the worker's own dflow, wherever it lies, and leaves path and environment unchanged."""

_FORK_SERVER = (sys.executable, "-P", "-c", _BOOT, str(Path(__file__).resolve().parents[3]))
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class ChildStartError(OSError):
    """No child could be started: the machine is at fault, not an item."""


class ForkServer:
    """The worker's handle of its fork server. One thread."""

    def __init__(self, startup_seconds: float, *, previews: bool = False) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.setblocking(True)  # whatever the default timeout in this process is
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [*_FORK_SERVER, str(theirs.fileno()), *([PREVIEWS] if previews else [])],
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
        """Return the process id of a new child that serves `connection` and prints to `log_fd`; both stay open here.

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
        """Return the wait status of a child that has ended.

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
        """End the fork server and all its children. A second call does nothing."""
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
            raise self._lost("it has ended; what it printed is in the worker's log")
        return answer

    def _lost(self, reason: str) -> ChildStartError:
        """End the fork server, whose late answer would be taken for that to the next request; return the error."""
        self.close()
        return ChildStartError(f"the fork server cannot be used: {reason}")


def _environment() -> dict[str, str]:
    """Return the worker's environment with numerical libraries on one thread: a fork copies no other thread."""
    environment = dict(os.environ)
    for name in _ONE_THREAD:
        environment.setdefault(name, "1")
    return environment


class LogTail:
    """Keeps the first and the last `limit` / 2 bytes of its input."""

    def __init__(self, limit: int) -> None:
        self._half = max(limit // 2, 1)
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    @property
    def has_any(self) -> bool:
        """Whether there has been any output."""
        return bool(self._head)

    def feed(self, data: bytes) -> None:
        """Append output."""
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        excess = len(self._tail) - self._half
        if excess > 0:
            self._dropped += excess
            del self._tail[:excess]

    def text(self) -> str:
        """Return what is kept, with a line that counts the dropped bytes."""
        gap = b"\n... %d bytes left out ...\n" % self._dropped if self._dropped else b""
        return (bytes(self._head) + gap + bytes(self._tail)).decode("utf-8", "backslashreplace")


class Child:
    """One child process, with the worker's ends of its connection and log. One thread."""

    def __init__(self, fork_server: ForkServer, log_bytes: int) -> None:
        self._fork_server = fork_server
        self._connection, theirs = socket.socketpair()
        theirs.setblocking(True)  # whatever the default timeout in this process is
        self._log_fd, log_write = os.pipe()
        self._connection.setblocking(False)
        os.set_blocking(self._log_fd, False)
        try:
            with theirs:
                self.pid = fork_server.fork(theirs, log_write)
        except ChildStartError:
            self._close()
            raise
        finally:
            os.close(log_write)
        self._connection_fd = self._connection.fileno()
        self._poll = select.poll()
        self._poll.register(self._connection_fd, select.POLLIN)  # before the log: see `wait`
        self._poll.register(self._log_fd, select.POLLIN)
        self._inbox = wire.Inbox()
        self._log_bytes = log_bytes
        self._log = LogTail(log_bytes)
        self._outsiders: list[int] = []
        self._unread = b""
        self.has_ended = False
        self.has_read_request = True
        self.functions: set[str] = set()
        self.preparation: wire.Prepare | None = None
        self.n_items = 0
        self.first_bytes = self.peak_bytes = resident_bytes(self.pid)

    def send(self, data: bytes, seconds: float) -> None:
        """Send a request; only a part of it where the child does not read all within `seconds`.

        Raises
        ------
        OSError
            If the child has ended.
        """
        self.has_read_request = False
        n_sent = self._connection.send(data)
        if n_sent < len(data):
            self._connection.settimeout(seconds)
            try:
                with contextlib.suppress(TimeoutError):
                    self._connection.sendall(memoryview(data)[n_sent:])
            finally:
                self._connection.setblocking(False)
        self.has_read_request = True

    def wait(self, seconds: float) -> list[wire.Reply]:
        """Return the replies that have arrived, none after `seconds`; output is read as well.

        The child prints before it replies, and the poll checks the connection first: when a reply is returned, all
        output before it has been read.

        Raises
        ------
        EOFError
            When the child has ended.
        wire.WireError
            When it sent what is not a message.
        """
        ready = [fd for fd, _ in self._poll.poll(max(seconds, 0.0) * 1000.0)]
        if self._log_fd in ready:
            self._read_log()
        if self._connection_fd not in ready:
            return self._inbox.feed(b"")  # nothing, or the error behind the replies that were returned before
        data = self._receive()
        if not data:
            raise EOFError("the child has ended")
        return self._inbox.feed(data)

    @property
    def has_surplus(self) -> bool:
        """Whether it sent bytes that are not, or not yet, a message."""
        return not self._inbox.is_empty

    @property
    def output(self) -> str:
        """The bounded output since `take_output`."""
        return self._log.text()

    def take_output(self) -> str:
        """Return the bounded output since the last call."""
        if not self._log.has_any:  # most items print nothing
            return ""
        text, self._log = self._log.text(), LogTail(self._log_bytes)
        return text

    def stack(self) -> str:
        """Return the child's current Python stack, "" if it cannot write it. That ends the child: call `end` next."""
        self._outsiders = descendants(self.pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, DUMP_SIGNAL)
        deadline = time.monotonic() + _STACK_SECONDS
        stack = ""
        while time.monotonic() < deadline:
            time.sleep(0.02)
            self._read_log()
            before, stack = stack, split_stack(self._log.text())[1]
            if stack and stack == before:  # complete
                break
        return stack

    def end(self) -> int | None:
        """Kill the child and all processes that it started; return its wait status, None where that is unknown.

        Afterwards `last_replies` returns what it sent before, and `has_read_request` is whether it had read the last
        request.
        """
        outsiders = self._outsiders or descendants(self.pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        for pid in (self.pid, *outsiders):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            return self._fork_server.reap(self.pid)
        except ChildStartError:
            return None
        finally:
            self.has_ended = True
            self._read_log()
            self._unread = self._receive_rest()
            self._close()

    def last_replies(self) -> list[wire.Reply]:
        """Return the replies that it sent before its `end` and that `wait` has not returned.

        Raises
        ------
        wire.WireError
            When there are none, and it sent what is not a message.
        """
        data, self._unread = self._unread, b""
        return self._inbox.feed(data)

    def _receive(self) -> bytes:
        """Return the next bytes, b"" at the end."""
        try:
            return self._connection.recv(_READ_BYTES)
        except ConnectionResetError:  # Linux: the other end was closed with unread bytes
            self.has_read_request = False
            return b""

    def _receive_rest(self) -> bytes:
        pieces: list[bytes] = []
        with contextlib.suppress(OSError):
            while len(pieces) < _MOST_READS and (data := self._receive()):
                pieces.append(data)
        return b"".join(pieces)

    def _read_log(self) -> None:
        """Read output, a bounded number of times: a flood may never end."""
        for _ in range(_MOST_READS):
            try:
                data = os.read(self._log_fd, _READ_BYTES)
            except BlockingIOError:
                return
            if not data:  # closed in the child and in all that it started
                with contextlib.suppress(KeyError):
                    self._poll.unregister(self._log_fd)
                return
            self._log.feed(data)
            if len(data) < _READ_BYTES:
                return

    def _close(self) -> None:
        self._connection.close()
        os.close(self._log_fd)
