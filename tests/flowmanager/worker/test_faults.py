"""One word and one message for whatever goes wrong."""

from __future__ import annotations

import errno
import signal

import pytest

from dflow.errors import NoGeometryError, TooBigError, UnreadableFileError
from dflow.flowmanager.worker.faults import (
    BadReturnError,
    describe_death,
    describe_exception,
    error_kind,
    split_stack,
)

SEGV_OUTPUT = """reading part 7
Fatal Python error: Segmentation fault

Current thread 0x00007f0d57253b80 (most recent call first):
  File "/home/me/tasks.py", line 13 in encode
  File "/home/me/dflow/flowmanager/worker/execution.py", line 166 in _call_function

Extension modules: numpy (total: 1)
"""


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("cannot say")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("x"), "exception"),
        (NoGeometryError("x"), "no_geometry"),
        (TooBigError("x"), "too_big"),
        (MemoryError(), "out_of_memory"),
        (BadReturnError("x"), "bad_return"),
        (OSError(errno.ENOSPC, "No space left on device"), "infrastructure"),
        (PermissionError(errno.EACCES, "Permission denied"), "infrastructure"),
        (SystemExit(3), "exception"),
    ],
)
def test_every_exception_has_its_kind(error, kind):
    assert error_kind(error) == kind
    fault = describe_exception(error)
    assert (fault.kind, fault.exception) == (kind, type(error).__name__)
    assert fault.message


def test_an_item_whose_file_is_gone_has_vanished(tmp_path):
    there = tmp_path / "there.step"
    there.touch()
    gone = str(tmp_path / "gone.step")
    assert describe_exception(UnreadableFileError("x"), gone).kind == "vanished"
    assert describe_exception(FileNotFoundError(errno.ENOENT, "x"), gone).kind == "vanished"
    assert describe_exception(UnreadableFileError("x"), str(there)).kind == "unreadable"
    assert describe_exception(ValueError("x"), gone).kind == "exception"


def test_a_message_that_cannot_be_shown_is_said_to_be_so():
    assert describe_exception(Mute()).message == "its message cannot be shown: RuntimeError"


def test_a_message_of_a_class_of_its_own_becomes_plain_text():
    class Lazy(str):
        __slots__ = ()

    class Translated(Exception):
        def __str__(self) -> str:
            return Lazy("no good")

    message = describe_exception(Translated()).message
    assert type(message) is str
    assert message == "no good"


def test_long_messages_and_tracebacks_are_bounded_and_keep_what_matters():
    def descend(depth: int) -> None:
        if depth == 0:
            raise ValueError("x" * 10_000)
        descend(depth - 1)

    with pytest.raises(ValueError) as caught:
        descend(200)
    record = describe_exception(caught.value)
    assert len(record.message) == 2048
    assert len(record.traceback) == 4096
    assert describe_exception(KeyError("k")).traceback.strip() == "KeyError: 'k'"


def test_death_by_signal_names_it_and_says_where():
    fault = describe_death(signal.SIGSEGV, SEGV_OUTPUT)
    assert (fault.kind, fault.signal) == ("crash", signal.SIGSEGV)
    assert "SIGSEGV" in fault.message
    assert fault.traceback.splitlines()[-1] == '  File "/home/me/tasks.py", line 13 in encode'


def test_death_by_exit_names_the_code():
    fault = describe_death(3 << 8, "bye")
    assert (fault.kind, fault.signal, fault.message) == ("crash", 0, "the process ended itself with exit code 3")


def test_a_kill_that_was_not_ours_says_who_may_have_done_it():
    assert "from outside" in describe_death(signal.SIGKILL, "").message


def test_an_abort_for_want_of_memory_is_no_crash():
    output = "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n"
    assert describe_death(signal.SIGABRT, output).kind == "out_of_memory"


def test_stacks_are_taken_out_of_the_log():
    printed, stack = split_stack(SEGV_OUTPUT)
    assert printed == "reading part 7\n"
    assert stack.startswith("Fatal Python error: Segmentation fault")
    assert "dflow" not in stack
    assert "Extension modules" not in stack
    assert split_stack("only prints\n") == ("only prints\n", "")


def test_a_relative_path_is_explained_even_where_the_folder_is_gone(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    fault = describe_exception(FileNotFoundError("no part.step"), "part.step")
    assert fault.kind == "vanished"
    assert "a folder that no longer exists" in fault.message
