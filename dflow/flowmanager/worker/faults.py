"""`Fault`: a failure as one stable word with a message, from an exception of user code or the end of a child."""

from __future__ import annotations

import errno
import os
import signal
import traceback
from dataclasses import dataclass

from dflow.errors import DflowError, UnreadableFileError
from dflow.localpath import is_address

MAX_TRACEBACK_CHARACTERS = 4096
MAX_MESSAGE_CHARACTERS = 2048

RETRYABLE_KINDS = frozenset({"crash", "timeout", "out_of_memory"})
"""Kinds that the machine may cause as well as the file: tried again, alone, with a larger allowance."""

_INFRASTRUCTURE_ERRNOS = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENFILE, errno.EMFILE, errno.ENOLINK),
        *(errno.EACCES, errno.EPERM, errno.ENOTCONN, errno.EHOSTDOWN, errno.ENODEV, errno.ENXIO),
    }
)
"""Errors that a host may cause as well as a file: the flow tries the item on another host."""


_OWN_MODULES = frozenset(
    {"dflow.flowmanager.worker.execution", "dflow.flowmanager.worker.injection", "dflow.flowmanager.worker.samples"}
)
"""Modules whose frames surround the user's function, and are left out of tracebacks."""

_STACK_HEADS = ("Fatal Python error:", "Current thread 0x", "Thread 0x")
_STACK_ENDS = ("\nExtension modules:", "/dflow/flowmanager/worker/execution.py")
"""Texts in a stack after which only dflow's own frames follow."""


class BadReturnError(Exception):
    """A task returned something that cannot travel: unpicklable, or enormous."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an item, or one of its units, failed: an exception, or the end of the child.

    `kind` is the stable word of `dflow.records.ErrorRecord`; `exception` the exception's type name, "" where there was
    none; `signal` the number of the signal that ended the child, 0 where none did; `errno` that of the operating
    system's error behind it, 0 where there is none.
    """

    kind: str
    message: str
    signal: int = 0
    traceback: str = ""
    exception: str = ""
    errno: int = 0


def describe_exception(error: BaseException, source: str | None = None) -> Fault:
    """Return the fault of an exception that user code did not catch.

    `source` is the path of the item's file, if it is one: an item whose file no longer exists has "vanished".
    """
    kind, message = error_kind(error), _message(error)
    about_file = isinstance(error, (FileNotFoundError, UnreadableFileError))
    if about_file and source is not None and not os.path.lexists(source):
        kind = "vanished"
        if not os.path.isabs(source) and not is_address(source):
            advice = f"; {source!r:.200} is relative to {_folder()}: let the extract task return absolute paths"
            message = _bounded(message, MAX_MESSAGE_CHARACTERS - len(advice)) + advice
    number = system_error(error)
    return Fault(kind, message, traceback=_traceback(error), exception=type(error).__name__, errno=number)


def _folder() -> str:
    """Return the working folder, which the user's code may have removed."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "a folder that no longer exists"


def error_kind(error: BaseException) -> str:
    """Return the stable word for an exception (see `dflow.records.ErrorRecord.kind`)."""
    if system_error(error) in _INFRASTRUCTURE_ERRNOS:
        return "infrastructure"
    if isinstance(error, DflowError):
        return error.kind
    if isinstance(error, BadReturnError):
        return "bad_return"
    if isinstance(error, MemoryError):
        return "out_of_memory"
    return "exception"


def system_error(error: BaseException | None) -> int:
    """Return the `errno` of an `OSError`, or of the one that an error was raised from; 0 where there is none."""
    for _ in range(8):
        if error is None:
            break
        if isinstance(error, OSError) and error.errno:
            return error.errno
        error = error.__cause__
    return 0


def describe_death(wait_status: int | None, output: str) -> Fault:
    """Return the fault of a child that ended by itself, by its wait status (None: unknown) and output."""
    if wait_status is None:
        return Fault("crash", "the process has ended; how is unknown, for its parent has ended too")
    _printed, text = split_stack(output)
    if "std::bad_alloc" in output:
        return Fault("out_of_memory", "native code could not allocate memory and aborted", _signal(wait_status), text)
    number = _signal(wait_status)
    if number:
        name = signal.Signals(number).name if number in signal.valid_signals() else str(number)
        hint = " (killed from outside, or by the system for want of memory)" if number == signal.SIGKILL else ""
        return Fault("crash", f"the process was ended by {name}{hint}", number, text)
    code = os.waitstatus_to_exitcode(wait_status)
    return Fault("crash", f"the process ended itself with exit code {code}", 0, text)


def _signal(wait_status: int) -> int:
    return os.WTERMSIG(wait_status) if os.WIFSIGNALED(wait_status) else 0


def split_stack(output: str) -> tuple[str, str]:
    """Return what was printed, and `faulthandler`'s stack after it ("" if none) without dflow's own frames."""
    starts = [start for start in map(output.find, _STACK_HEADS) if start >= 0]
    if not starts:
        return output, ""
    stack = output[min(starts) :].strip()
    for end in _STACK_ENDS:
        before, found, _after = stack.partition(end)
        stack = before.rpartition("\n")[0] if found else stack
    return output[: min(starts)], _bounded(stack, MAX_TRACEBACK_CHARACTERS)


def _message(error: BaseException) -> str:
    try:
        text = "".join(str(error))  # a plain str, even where a user's exception gives a subclass
    except Exception as failure:  # a user's exception whose __str__ raises
        text = f"its message cannot be shown: {type(failure).__name__}"
    return _bounded(text or type(error).__name__, MAX_MESSAGE_CHARACTERS)


def _traceback(error: BaseException) -> str:
    """Return the traceback without dflow's own frames; of a long one, the end."""
    stack = error.__traceback__
    while stack is not None and stack.tb_frame.f_globals.get("__name__") in _OWN_MODULES:
        stack = stack.tb_next
    lines = traceback.format_exception(type(error), error, stack, limit=-30)
    return _bounded("".join(lines), MAX_TRACEBACK_CHARACTERS, keep_end=True)


def _bounded(text: str, limit: int, *, keep_end: bool = False) -> str:
    if len(text) <= limit:
        return text
    return "…" + text[1 - limit :] if keep_end else text[: limit - 1] + "…"
