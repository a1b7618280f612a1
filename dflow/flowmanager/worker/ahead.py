"""How far ahead of its answers a child is asked: pure bookkeeping, no process and no clock.

A child that has its next requests already never waits for the worker, and a worker that is woken once for many answers
spends a fraction of the time: both are awake on one processor, and every change between them costs as much as reading
a small message. Only requests that fit into the connection's buffer are sent ahead, so that sending never blocks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from dflow.flowmanager.worker import wire

MOST_AHEAD = 32
"""Requests in one portion; two portions are under way at most."""

AHEAD_BYTES = 32 * 1024
"""Requests under way together; a larger one is sent when all before it are answered."""

_RING = wire.packed(wire.Ring())


class Ahead:
    """Takes requests from `requests` as the child can use them. One thread.

    They go out in portions that end with a `Ring`; the next one follows when a portion or less is under way.
    """

    def __init__(self, requests: Iterator[wire.Request]) -> None:
        self._requests = requests
        self._sizes: deque[int] = deque()
        self._n_bytes = 0
        self._held: bytes | None = None
        self._portion = 1

    @property
    def n_under_way(self) -> int:
        """Requests that are sent and not answered."""
        return len(self._sizes)

    def take(self) -> bytes:
        """What to send now, b"" for nothing."""
        frames: list[bytes] = []
        while self.n_under_way <= self._portion and (portion := self._take_portion()):
            frames += portion
        return b"".join(frames)

    def answered(self) -> None:
        """The oldest request has had its last answer.

        Raises
        ------
        WireError
            If there is none.
        """
        if not self._sizes:
            raise wire.WireError("an answer to nothing")
        self._n_bytes -= self._sizes.popleft()

    def adapt(self, n_requests: float) -> None:
        """From now on a portion is about so many."""
        self._portion = max(1, min(MOST_AHEAD, int(n_requests)))

    def _take_portion(self) -> list[bytes]:
        frames: list[bytes] = []
        while len(frames) < self._portion and (frame := self._next()) is not None:
            if self._sizes and self._n_bytes + len(frame) > AHEAD_BYTES:
                self._held = frame
                break
            self._sizes.append(len(frame))
            self._n_bytes += len(frame)
            frames.append(frame)
        return [*frames, _RING] if frames else []

    def _next(self) -> bytes | None:
        if self._held is not None:
            frame, self._held = self._held, None
            return frame
        request = next(self._requests, None)
        return None if request is None else wire.packed(request)
