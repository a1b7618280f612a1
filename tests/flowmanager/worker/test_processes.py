"""The worker's handle of a child whose other end the test holds: nothing that was answered gets lost."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from dflow.flowmanager.worker import processes, wire
from dflow.flowmanager.worker.processes import Child

DONE = wire.ItemDone(0.5, 0.25)


class HeldNursery:
    """Starts nothing, but keeps a child's ends."""

    def __init__(self) -> None:
        self.connection: socket.socket | None = None
        self.bell_fd = -1

    def fork(self, connection: socket.socket, log_fd: int, bell_fd: int) -> int:
        self.connection, self.bell_fd = connection.dup(), os.dup(bell_fd)
        return os.getpid()

    def send(self, data: bytes) -> None:
        assert self.connection is not None
        self.connection.sendall(data)
        os.write(self.bell_fd, b"!")

    def close(self) -> None:
        assert self.connection is not None
        self.connection.close()
        os.close(self.bell_fd)


@pytest.fixture
def nursery() -> Iterator[HeldNursery]:
    found = HeldNursery()
    yield found
    found.close()


@pytest.fixture
def child(nursery) -> Iterator[Child]:
    found = Child(nursery, log_bytes=1000)
    yield found
    found._close()


@pytest.mark.parametrize("n_nonsense", [1, 1000, 5_000])
def test_answers_are_told_before_nonsense_that_arrives_in_a_later_piece(child, nursery, monkeypatch, n_nonsense):
    answers = wire.Outbox().pack([DONE, DONE])
    monkeypatch.setattr(processes, "_READ_BYTES", len(answers))
    nursery.send(answers + n_nonsense * b"garbage ahoy")
    assert child.wait(10.0) == [DONE, DONE]
    for _ in range(2):
        with pytest.raises(wire.WireError, match="garbage"):
            child.wait(0.1)


def test_answers_are_told_before_nonsense_that_goes_on_in_a_later_piece(child, nursery, monkeypatch):
    answers = wire.Outbox().pack([DONE, DONE])
    monkeypatch.setattr(processes, "_READ_BYTES", len(answers) + 40)
    nursery.send(answers + 1000 * b"garbage ahoy")
    assert child.wait(10.0) == [DONE, DONE]
    with pytest.raises(wire.WireError, match="garbage"):
        child.wait(0.1)


def test_answers_are_told_before_the_end_behind_them(child, nursery):
    nursery.send(wire.Outbox().pack([DONE]))
    nursery.connection.shutdown(socket.SHUT_RDWR)
    assert child.wait(10.0) == [DONE]
    with pytest.raises(EOFError):
        child.wait(0.1)
