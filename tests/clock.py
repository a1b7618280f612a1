"""A clock that is moved by hand."""

from __future__ import annotations


class Clock:
    """What a module that is tested gets for its `time`.

    Never the functions of `time` themselves: the event loop of a cluster that another test left open in this process
    would go by them, and what it puts off meanwhile comes late by as much as the clock was moved, or never.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def monotonic(self) -> float:
        return self.now
