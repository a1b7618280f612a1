"""The child process: runs users' functions on items, one at a time, and replies over its own socket.

Nothing that user code or the kernel prints can reach that socket: descriptors 1 and 2 are a pipe, from which the worker
keeps the item's log.

The child leads its own process group and adopts orphans, so that whatever the user's code starts is killed with its
item, ignores ``SIGINT`` (Ctrl-C is handled by the worker), dies with its parent, and is the first choice of the
kernel's out-of-memory killer.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import socket
import sys
from contextvars import copy_context
from dataclasses import replace
from typing import NoReturn

import numpy as np

from dflow.flowmanager.worker import wire
from dflow.flowmanager.worker.execution import PreparedCall, prepare_call, run_item
from dflow.flowmanager.worker.faults import describe_exception
from dflow.flowmanager.worker.memory import MIN_CHILD_BYTES, adopt_orphans, data_bytes
from dflow.flowmanager.worker.surroundings import PROCESS, Surroundings, listen_for_dump

PR_SET_PDEATHSIG = 1
_OOM_SCORE = b"500"
_LIBC = ctypes.CDLL(None)


def run_child(connection_fd: int, log_fd: int, *, parent_pid: int) -> NoReturn:
    """Serve requests until the worker closes the connection. Called in a freshly forked process, which it ends."""
    status = 1
    try:
        surroundings = Surroundings(log_fd)
        _settle(parent_pid)
        for descriptor in (connection_fd, log_fd):
            os.set_inheritable(descriptor, False)
        _Child(socket.socket(fileno=connection_fd), log_fd, surroundings).serve()
        status = 0
    except (EOFError, ConnectionError):
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        _flush_output()
        os._exit(status)  # without destructors: the kernel's can hang or crash


def _settle(parent_pid: int) -> None:
    """Set up this process: its group, its end with the parent, its signals."""
    os.setpgid(0, 0)
    if sys.platform == "linux":
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        adopt_orphans()
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
            file.write(_OOM_SCORE)
    if os.getppid() != parent_pid:  # it died between the fork and the line above
        os._exit(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    np.random.seed()  # otherwise all children would continue their common parent's sequence
    listen_for_dump()


def _flush_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # user code may have replaced or closed them
            stream.flush()
    _LIBC.fflush(None)


class _Child:
    """The loop over requests, with the functions that were sent so far."""

    def __init__(self, connection: socket.socket, log_fd: int, surroundings: Surroundings) -> None:
        self._connection = connection
        self._log_fd = log_fd
        self._surroundings = surroundings
        self._is_copy = False
        os.register_at_fork(after_in_child=self._disconnect)
        self._outbox = wire.Outbox()
        self._functions: dict[str, bytes] = {}
        self._call: PreparedCall | None = None
        self._held: list[wire.Reply] = []
        self._data_bytes = data_bytes()
        self._memory_bytes = 0

    def serve(self) -> NoReturn:
        """Reply until the connection ends, which raises EOFError."""
        requests = wire.Requests(self._connection)
        while True:
            request = requests.take()
            if isinstance(request, wire.Run):
                self._limit_memory(request.memory_bytes)
                self._run(request)
            else:
                self._reply(self._prepare(request))

    def _run(self, request: wire.Run) -> None:
        """Run an item in a copy of the context, which numpy's error state is part of, and restore all else.

        A process that was left may belong to a pool that a module keeps, which cannot be used again: the child ends.
        """
        done = copy_context().run(run_item, self._require_call(), request.item, request.skip, self._reply)
        if self._is_copy:
            self._reply(done)
        left = self._surroundings.restore()
        if left:
            leaving = PROCESS in left or self._surroundings.is_used_up
            done = replace(done, left=left, leaving=leaving)
        self._reply(done)

    def _disconnect(self) -> None:
        """In a copy of this process that user code has forked: close what would hide the end of the child."""
        self._is_copy = True
        self._connection.close()
        with contextlib.suppress(OSError):
            os.close(self._log_fd)

    def _reply(self, message: wire.Reply) -> None:
        """Send a reply; that of a whole file without a preview is sent with `ItemDone`, which follows at once."""
        if self._is_copy:  # the user's function has returned in both processes
            _flush_output()
            os._exit(0)
        self._held.append(message)
        if isinstance(message, wire.UnitDone) and message.body == wire.WHOLE_FILE and not message.preview:
            return
        _flush_output()  # before the reply: the worker takes what is printed until then as this item's
        data = self._outbox.pack(self._held)
        self._held.clear()
        self._connection.sendall(data)

    def _prepare(self, request: wire.Prepare) -> wire.Prepared:
        sys.path[:] = request.sys_path
        if request.function:
            self._functions[request.digest] = request.function
        self._call = None
        try:
            self._call = prepare_call(request.batch, self._functions[request.digest])
        except BaseException as error:  # the user's module may raise anything, also SystemExit
            return wire.Prepared(describe_exception(error))
        finally:
            self._surroundings.remember()
        return wire.Prepared()

    def _require_call(self) -> PreparedCall:
        if self._call is None:
            raise wire.WireError("an item was sent before its task")
        return self._call

    def _limit_memory(self, memory_bytes: int) -> None:
        """Refuse single allocations far beyond the allowance; the worker's polling measures more finely.

        ``RLIMIT_DATA`` counts private writable pages, touched or not, so it is set to twice the allowance.
        """
        if memory_bytes != self._memory_bytes:
            _soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
            wanted = self._data_bytes + 2 * max(memory_bytes, MIN_CHILD_BYTES)
            soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
            self._memory_bytes = memory_bytes
            self._surroundings.remember()
