"""What items print: the beginning and the end of each, however much there was."""

from __future__ import annotations

from collections import deque


def end_mark(number: int) -> bytes:
    """What the child writes between what it printed for its request `number` and for the next one."""
    return b"\0dflow: end of request %d\0" % number


class LogTail:
    """Keeps the first and the last `limit` / 2 bytes of what is fed to it."""

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
        """What is kept, with a line that says how much is missing."""
        gap = b"\n... %d bytes left out ...\n" % self._dropped if self._dropped else b""
        return (bytes(self._head) + gap + bytes(self._tail)).decode("utf-8", "backslashreplace")


class RequestLog:
    """Cuts what a child prints where its requests end, which are numbered from 0; keeps `limit` bytes of each."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._ended: deque[str] = deque()
        self._n_ended = 0
        self._log = LogTail(limit)
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Append output, end marks in it."""
        rest = self._rest + data
        while True:
            mark = end_mark(self._n_ended)
            printed, found, after = rest.partition(mark)
            if not found:
                break
            if printed:
                self._log.feed(printed)
            self._end()
            rest = after
        keep = min(len(mark) - 1, len(rest))  # it may be the beginning of the mark
        self._log.feed(rest[: len(rest) - keep])
        self._rest = rest[len(rest) - keep :]

    def take(self) -> str:
        """What the oldest request printed that has ended and was not asked for; all there is where its mark is lost."""
        if not self._ended:
            self._log.feed(self._rest)
            self._rest = b""
            self._end()
        return self._ended.popleft()

    def text(self) -> str:
        """What was printed for requests that nobody has taken."""
        rest = LogTail(self._limit)
        rest.feed(self._rest)
        return "".join([*self._ended, self._log.text(), rest.text()])

    def _end(self) -> None:
        self._n_ended += 1
        if not self._log.has_any:  # most items print nothing
            self._ended.append("")
            return
        self._ended.append(self._log.text())
        self._log = LogTail(self._limit)
