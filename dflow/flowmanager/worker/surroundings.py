"""What an item finds in its process, whatever the item before did to it: output, current folder, alarm, descriptors.

A function that leaves an alarm running, closes what it printed to or goes to a folder that it then deletes is at fault
once: the items after it in the same process have no part in that.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import resource
import signal
import sys
from typing import TextIO


class Surroundings:
    """Sends descriptors 1 and 2 to `log_fd`. Belongs to the process's main thread."""

    def __init__(self, log_fd: int) -> None:
        self._log_fd = log_fd
        self._folder_fd = -1
        self._most_descriptors = 0
        self._redirect()
        self._streams: tuple[TextIO, TextIO] = _text_stream(1), _text_stream(2)
        sys.stdout, sys.stderr = self._streams

    def remember(self) -> None:
        """Take streams, folder and number of descriptors as they are: a task's module may change them when loaded."""
        self._streams = sys.stdout, sys.stderr
        with contextlib.suppress(OSError):
            os.close(self._folder_fd)
        self._folder_fd = -1
        with contextlib.suppress(OSError):  # the folder may be gone
            self._folder_fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
        soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most_descriptors = (self._lowest_free(default=0) + soft) // 2

    def restore(self) -> None:
        """Put all back after an item, in a few microseconds."""
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        self._redirect()
        stdout, stderr = self._streams
        if getattr(stdout, "closed", True) or getattr(stderr, "closed", True):
            stdout, stderr = self._streams = _text_stream(1), _text_stream(2)
        sys.stdout, sys.stderr = stdout, stderr
        try:
            os.fchdir(self._folder_fd)
        except OSError:  # there was none, or user code has closed all descriptors that it found
            pass

    @property
    def is_used_up(self) -> bool:
        """Whether items have left so many descriptors open that one of the next could get none."""
        return self._lowest_free(default=sys.maxsize) > self._most_descriptors

    def _redirect(self) -> None:
        try:
            os.dup2(self._log_fd, 1)
            os.dup2(self._log_fd, 2)
        except OSError:  # closed by user code: what is printed is lost
            pass

    def _lowest_free(self, *, default: int) -> int:
        """The number that the next descriptor gets: what is left open fills them from below."""
        try:
            descriptor = os.dup(self._log_fd)
        except OSError as error:
            return default if error.errno == errno.EMFILE else 0
        os.close(descriptor)
        return descriptor


def _text_stream(descriptor: int) -> io.TextIOWrapper:
    """A new stream: the parent's may believe that it writes to a file, and seek."""
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
