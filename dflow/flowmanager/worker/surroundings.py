"""The process state that every item starts with, whatever the items before it did.

Read after each item, compared, and set again where it has changed. What cannot be set again is reported, and the worker
replaces the child (`dflow.flowmanager.worker.conversation`).
"""

from __future__ import annotations

# The functions of `signal` make members of enumerations: ten times the time.
import _signal  # type: ignore[import-not-found]
import _thread
import contextlib
import copy
import errno
import faulthandler
import gc
import io
import locale
import os
import resource
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

from dflow.flowmanager.worker.memory import children, end_orphans, has_children

DUMP_SIGNAL = signal.SIGUSR2
"""Makes the child write the Python stacks of its threads to its log, even while native code holds the interpreter, and
end as soon as Python code runs again: the signal may have cut a native call short, whose result cannot be trusted.
"""

THREAD = "a running thread"
PROCESS = "a running process"
OPENED = "open files or sockets"
CLOSED = "closed files or sockets that were not its own"

_THREAD_SECONDS = 0.05
"""How long a thread may take to end after its item has."""

_SIGNALS = tuple(n for n in range(1, 32) if n not in (signal.SIGKILL, signal.SIGSTOP))
_LIMITS = tuple(
    getattr(resource, f"RLIMIT_{name}") for name in ("AS", "CPU", "DATA", "FSIZE", "NOFILE", "NPROC", "STACK")
)
_ENVIRONMENT: Any = os.environ
_VARIABLES: dict[bytes, bytes] = _ENVIRONMENT._data
"""The environment itself: comparing `os.environ` decodes every variable."""


def listen_for_dump() -> None:
    """Install the handlers of `DUMP_SIGNAL` and of crashes."""
    signal.signal(DUMP_SIGNAL, _stop)
    faulthandler.unregister(DUMP_SIGNAL)  # so that it is installed over the handler of the line before
    faulthandler.register(DUMP_SIGNAL, file=2, all_threads=True, chain=True)
    faulthandler.enable(file=2)


def _stop(*_: object) -> None:
    os._exit(1)


def _set_environment(wanted: dict[bytes, bytes]) -> None:
    os.environ = _ENVIRONMENT  # noqa: B003 (a task may have put another object there)
    for name in [name for name in os.environb if name not in wanted]:
        del os.environb[name]
    os.environb.update(wanted)
    time.tzset()  # TZ may be among them


def _set_signals(wanted: tuple[Any, ...]) -> None:
    for number, handler in zip(_SIGNALS, wanted, strict=True):
        if _signal.getsignal(number) != handler:
            signal.signal(number, handler)
    for timer in (signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
        signal.setitimer(timer, 0.0)
    listen_for_dump()


def _set_limits(wanted: tuple[tuple[int, int], ...]) -> None:
    for name, values in zip(_LIMITS, wanted, strict=True):
        if resource.getrlimit(name) != values:
            resource.setrlimit(name, values)


def _set_filters(wanted: list[Any]) -> None:
    warnings.resetwarnings()  # makes the interpreter read the list anew
    warnings.filters[:] = wanted  # type: ignore[index]


def _set_path(wanted: list[str]) -> None:
    sys.path = wanted


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of the state. `write` raises where it may not be set. `is_of_modules`: modules set it for good as well."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    is_of_modules: bool = False


_PARTS = (
    _Part("environment variables", lambda: os.environ is _ENVIRONMENT and _VARIABLES, _set_environment),
    _Part("the module search path", lambda: sys.path, _set_path),
    _Part("signal handlers", lambda: tuple(map(_signal.getsignal, _SIGNALS)), _set_signals),
    _Part("resource limits", lambda: tuple(map(resource.getrlimit, _LIMITS)), _set_limits),
    _Part("the recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    _Part("the locale", lambda: locale.setlocale(locale.LC_ALL), lambda was: locale.setlocale(locale.LC_ALL, was)),
    _Part("the default time-out of sockets", socket.getdefaulttimeout, socket.setdefaulttimeout),
    _Part("the priority", lambda: os.getpriority(0, 0), lambda was: os.setpriority(0, 0, was)),
    _Part("the user", os.geteuid, os.seteuid),
    _Part("the trace function", sys.gettrace, sys.settrace),
    _Part("the profile function", sys.getprofile, sys.setprofile),
    _Part("garbage collection", gc.isenabled, lambda was: gc.enable() if was else gc.disable()),
    _Part("the handler of crashes", faulthandler.is_enabled, lambda _: listen_for_dump()),
    _Part("warning filters", lambda: warnings.filters, _set_filters, is_of_modules=True),
)


_READS = tuple(part.read for part in _PARTS)


class Surroundings:
    """Output, folder, umask, timers, signals, limits, descriptors and further state. Belongs to the main thread.

    Sends descriptors 1 and 2 to `log_fd`.
    """

    def __init__(self, log_fd: int) -> None:
        self._log_fd = log_fd
        self._folder_fd = -1
        self._redirect()
        self._streams: tuple[TextIO, TextIO] = _text_stream(1), _text_stream(2)
        sys.stdout, sys.stderr = self._streams

    def remember(self) -> None:
        """Keep the state as it is now: loading a task's module may change it."""
        self._streams = sys.stdout, sys.stderr
        with contextlib.suppress(OSError):
            os.close(self._folder_fd)
        self._folder_fd = -1
        with contextlib.suppress(OSError):  # the folder may be gone
            self._folder_fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
        self._umask = os.umask(0o022)
        os.umask(self._umask)
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._state = [copy.copy(read()) for read in _READS]
        self._n_modules = len(sys.modules)
        self._n_threads = _thread._count()
        self._processes = set(children()) if has_children() else set()
        self._descriptor = self._lowest_free(default=0)
        soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most_descriptors = (self._descriptor + soft) // 2

    def restore(self) -> tuple[str, ...]:
        """Restore the state after an item, in a few microseconds; return what cannot be restored."""
        _signal.setitimer(_signal.ITIMER_REAL, 0.0)
        self._redirect()
        stdout, stderr = self._streams
        if getattr(stdout, "closed", True) or getattr(stderr, "closed", True):
            stdout, stderr = self._streams = _text_stream(1), _text_stream(2)
        sys.stdout, sys.stderr = stdout, stderr
        try:
            os.fchdir(self._folder_fd)
        except OSError:  # there was none, or user code has closed all descriptors that it found
            pass
        os.umask(self._umask)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, self._mask)
        self._n_modules, n_before = len(sys.modules), self._n_modules
        left = [] if [read() for read in _READS] == self._state else self._restore_parts(self._n_modules != n_before)
        if _thread._count() > self._n_threads and not _has_ended(lambda: _thread._count() <= self._n_threads):
            left.append(THREAD)
        if has_children() and end_orphans(self._processes | _resource_tracker()):
            left.append(PROCESS)
        return (*left, *self._descriptors_left())

    @property
    def is_used_up(self) -> bool:
        """Whether items have left so many descriptors open that a later item might get none."""
        return self._lowest_free(default=sys.maxsize) > self._most_descriptors

    def _restore_parts(self, loaded: bool) -> list[str]:
        """Set again what has changed; return what cannot be, and what `loaded` modules, which stay, may have set."""
        left = []
        for index, part in enumerate(_PARTS):
            was = self._state[index]
            now = part.read()
            if now == was:
                continue
            if loaded:
                self._state[index] = copy.copy(now)
                if not part.is_of_modules:
                    left.append(part.name)
                continue
            try:
                part.write(copy.copy(was))
            except (OSError, ValueError, TypeError):
                self._state[index] = copy.copy(part.read())
                left.append(part.name)
        return left

    def _descriptors_left(self) -> tuple[str, ...]:
        free = self._lowest_free(default=sys.maxsize)
        if free == self._descriptor:
            return ()
        if free > self._descriptor:
            gc.collect()  # an open file may hang in a cycle
            free = self._lowest_free(default=sys.maxsize)
        was, self._descriptor = self._descriptor, free
        return () if free == was else (OPENED if free > was else CLOSED,)

    def _redirect(self) -> None:
        try:
            os.dup2(self._log_fd, 1)
            os.dup2(self._log_fd, 2)
        except OSError:  # closed by user code: what it prints is lost
            pass

    def _lowest_free(self, *, default: int) -> int:
        """Return the number of the next descriptor: descriptors that are left open fill the numbers from below."""
        try:
            descriptor = os.dup(self._log_fd)
        except OSError as error:
            return default if error.errno == errno.EMFILE else 0
        os.close(descriptor)
        return descriptor


def _has_ended(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _THREAD_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def _resource_tracker() -> set[int]:
    """Return the process of `multiprocessing` that removes shared memory: it serves all items."""
    module = sys.modules.get("multiprocessing.resource_tracker")
    pid = getattr(getattr(module, "_resource_tracker", None), "_pid", None)
    return {pid} if pid else set()


def _text_stream(descriptor: int) -> io.TextIOWrapper:
    """Return a new stream: the parent's may be in the state of one that writes to a file, and seek."""
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
