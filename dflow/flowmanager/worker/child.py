"""The child process: runs users' functions on items, one at a time, and answers over its own socket.

Nothing that user code or the kernel prints can reach that socket: descriptors 1 and 2 are a pipe that the worker keeps
as the items' log, with a mark at each item's end. The worker does not wake at every answer; the child rings where it is
asked to, and before an answer that may not fit into the socket's buffer.

The child is the leader of its own process group, so that whatever the user's code starts is killed with it, ignores
``SIGINT`` (Ctrl-C is the worker's affair), dies with its parent, and offers itself first to the kernel's out-of-memory
killer.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import resource
import signal
import socket
import sys
from typing import NoReturn

import numpy as np

from dflow.flowmanager.worker import wire
from dflow.flowmanager.worker.execution import PreparedCall, prepare_call, run_item
from dflow.flowmanager.worker.faults import describe_exception
from dflow.flowmanager.worker.limits import MIN_CHILD_BYTES, data_bytes
from dflow.flowmanager.worker.logtail import end_mark
from dflow.flowmanager.worker.surroundings import Surroundings

PR_SET_PDEATHSIG = 1
DUMP_SIGNAL = signal.SIGUSR2
"""Makes the child write the Python stack of its threads to its log, even while native code holds the interpreter, and
end as soon as that gives it back: the signal may have cut a native call short, whose result is not to be trusted.
"""

QUIET_BYTES = 32 * 1024
"""Replies up to this much wait in the connection for the worker to wake; before more it is woken to read them."""

_OOM_SCORE = b"500"
_LIBC = ctypes.CDLL(None)


def run_child(connection_fd: int, log_fd: int, bell_fd: int, *, parent_pid: int) -> NoReturn:
    """Serve requests until the worker closes the connection. Called in a freshly forked process, which it ends."""
    status = 1
    try:
        surroundings = Surroundings(log_fd)
        _settle(parent_pid)
        for descriptor in (connection_fd, log_fd, bell_fd):
            os.set_inheritable(descriptor, False)
        _Child(socket.socket(fileno=connection_fd), log_fd, bell_fd, surroundings).serve()
        status = 0
    except (EOFError, ConnectionError):
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        _flush_output()
        os._exit(status)  # no destructors: the kernel's can hang or crash


def _settle(parent_pid: int) -> None:
    """Make this process a proper child: group, death with the parent, signals."""
    os.setpgid(0, 0)
    if sys.platform == "linux":
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
            file.write(_OOM_SCORE)
    if os.getppid() != parent_pid:  # it died between the fork and the line above
        os._exit(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    np.random.seed()  # or all children would draw the numbers that follow their common parent's
    faulthandler.enable(file=2)
    signal.signal(DUMP_SIGNAL, _stop)
    faulthandler.register(DUMP_SIGNAL, file=2, all_threads=True, chain=True)


def _stop(*_: object) -> NoReturn:
    os._exit(1)


def _flush_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # user code may have replaced or closed them
            stream.flush()
    _LIBC.fflush(None)


def _write(descriptor: int, data: bytes) -> None:
    """Write to the worker, who does without where user code has closed all descriptors that it found."""
    with contextlib.suppress(OSError):
        os.write(descriptor, data)


class _Child:
    """The loop and what it remembers between batches: the functions it has been given."""

    def __init__(self, connection: socket.socket, log_fd: int, bell_fd: int, surroundings: Surroundings) -> None:
        self._connection = connection
        self._log_fd = log_fd  # the end marks' own: the user's code may do what it likes to 1 and 2
        self._bell_fd = bell_fd
        self._surroundings = surroundings
        self._is_copy = False
        os.register_at_fork(after_in_child=self._part)
        self._outbox = wire.Outbox()
        self._functions: dict[str, bytes] = {}
        self._call: PreparedCall | None = None
        self._held: list[wire.Reply] = []
        self._n_answered = self._quiet_bytes = 0
        self._data_bytes = data_bytes()
        self._memory_bytes = 0

    def serve(self) -> NoReturn:
        """Answer until the connection ends, which raises EOFError."""
        requests = wire.Requests(self._connection)
        while True:
            request = requests.take()
            if isinstance(request, wire.Run):
                self._limit_memory(request.memory_bytes)
                self._run(request)
            elif isinstance(request, wire.Prepare):
                self._reply(self._prepare(request))
            elif isinstance(request, wire.Ring):
                self._ring()
            else:
                raise wire.WireError(f"a worker does not send {type(request).__name__}")

    def _run(self, request: wire.Run) -> None:
        """Do an item. Where what items left behind hinders the next ones, its answer is the last one."""
        done = run_item(self._require_call(), request.item, request.skip, self._reply)
        self._surroundings.restore()
        if not self._surroundings.is_used_up:
            self._reply(done)
            return
        self._reply(done, wire.Leaving())
        raise EOFError("a fresh process goes on")

    def _part(self) -> None:
        """In a copy of this process that user code has forked: it answers nothing, and its life keeps no line open."""
        self._is_copy = True
        self._connection.close()
        for descriptor in (self._log_fd, self._bell_fd):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._log_fd = self._bell_fd = -1

    def _reply(self, message: wire.Reply, *rest: wire.Reply) -> None:
        """Answer; the end of a whole file without a preview waits for the item's own, which follows at once."""
        if self._is_copy:  # the user's function has returned in both
            _flush_output()
            os._exit(0)
        self._held += (message, *rest)
        if isinstance(message, wire.UnitDone) and message.body == wire.WHOLE_FILE and not message.preview:
            return
        _flush_output()
        if isinstance(message, wire.LAST):
            _write(self._log_fd, end_mark(self._n_answered))
            self._n_answered += 1
        data = self._outbox.pack(self._held)
        self._held.clear()
        self._quiet_bytes += len(data)
        if self._quiet_bytes > QUIET_BYTES:
            self._ring()
        self._connection.sendall(data)

    def _ring(self) -> None:
        """Wake the worker."""
        _write(self._bell_fd, b"!")
        self._quiet_bytes = 0

    def _prepare(self, request: wire.Prepare) -> wire.Prepared:
        sys.path[:] = request.sys_path
        if request.function:
            self._functions[request.digest] = request.function
        self._call = None
        try:
            self._call = prepare_call(request.batch, self._functions[request.digest])
        except BaseException as error:  # the user's module may raise anything, SystemExit too
            return wire.Prepared(describe_exception(error, request.batch.call.task_name))
        finally:
            self._surroundings.remember()
        return wire.Prepared()

    def _require_call(self) -> PreparedCall:
        if self._call is None:
            raise wire.WireError("an item came before its task")
        return self._call

    def _limit_memory(self, memory_bytes: int) -> None:
        """A stop for single allocations far beyond the allowance; the worker's polling is the fine measure.

        ``RLIMIT_DATA`` counts private writable pages, touched or not, so it is set to twice the allowance.
        """
        if memory_bytes != self._memory_bytes:
            _soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
            wanted = self._data_bytes + 2 * max(memory_bytes, MIN_CHILD_BYTES)
            soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
            self._memory_bytes = memory_bytes
