"""What an item printed: the beginning and the end, however much there was."""

from __future__ import annotations


class LogTail:
    """Keeps the first and the last `limit` / 2 bytes of what is fed to it."""

    def __init__(self, limit: int) -> None:
        self._half = max(limit // 2, 1)
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

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
