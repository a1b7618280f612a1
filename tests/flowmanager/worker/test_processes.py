"""The worker's handle of a child whose other end the test holds: nothing that was replied or printed gets lost."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dflow.flowmanager.worker import processes, wire
from dflow.flowmanager.worker.processes import Child, LogTail

DONE = wire.ItemDone(0.5, 0.25)


class HeldForkServer:
    """Starts nothing, but keeps a child's ends."""

    def __init__(self) -> None:
        self.connection: socket.socket | None = None
        self.log_fd = -1

    def fork(self, connection: socket.socket, log_fd: int) -> int:
        self.connection, self.log_fd = connection.dup(), os.dup(log_fd)
        return os.getpid()

    def send(self, data: bytes) -> None:
        assert self.connection is not None
        self.connection.sendall(data)

    def close(self) -> None:
        assert self.connection is not None
        self.connection.close()
        os.close(self.log_fd)


@pytest.fixture
def fork_server() -> Iterator[HeldForkServer]:
    found = HeldForkServer()
    yield found
    found.close()


@pytest.fixture
def child(fork_server) -> Iterator[Child]:
    found = Child(fork_server, log_bytes=1000)
    yield found
    found._close()


@pytest.mark.parametrize("n_nonsense", [1, 1000, 5_000])
def test_answers_are_told_before_nonsense_that_arrives_in_a_later_piece(child, fork_server, monkeypatch, n_nonsense):
    answers = wire.Outbox().pack([DONE, DONE])
    monkeypatch.setattr(processes, "_READ_BYTES", len(answers))
    fork_server.send(answers + n_nonsense * b"garbage ahoy")
    assert child.wait(10.0) == [DONE, DONE]
    for _ in range(2):
        with pytest.raises(wire.WireError, match="garbage"):
            child.wait(0.1)


def test_answers_are_told_before_nonsense_that_goes_on_in_a_later_piece(child, fork_server, monkeypatch):
    answers = wire.Outbox().pack([DONE, DONE])
    monkeypatch.setattr(processes, "_READ_BYTES", len(answers) + 40)
    fork_server.send(answers + 1000 * b"garbage ahoy")
    assert child.wait(10.0) == [DONE, DONE]
    with pytest.raises(wire.WireError, match="garbage"):
        child.wait(0.1)


def test_answers_are_told_before_the_end_behind_them(child, fork_server):
    fork_server.send(wire.Outbox().pack([DONE]))
    fork_server.connection.shutdown(socket.SHUT_RDWR)
    assert child.wait(10.0) == [DONE]
    with pytest.raises(EOFError):
        child.wait(0.1)


def test_what_was_printed_before_a_reply_is_read_with_it(child, fork_server):
    for number in range(200):
        os.write(fork_server.log_fd, b"x" * (number % 3) * 20_000)
        fork_server.send(wire.Outbox().pack([DONE]))
        assert child.wait(10.0) == [DONE]
        assert bool(child.take_output()) is (number % 3 > 0)


@pytest.mark.parametrize("n_read", [0, 3, 1 << 20])
def test_a_child_that_ends_has_read_its_request_or_not(child, fork_server, n_read):
    request = b"request" * 10_000
    fork_server.connection.setblocking(False)
    child.send(request, 1.0)
    if n_read:
        fork_server.connection.recv(n_read)
    fork_server.connection.close()
    with pytest.raises(EOFError):
        child.wait(10.0)
    assert child.has_read_request is (n_read > len(request))


def test_a_request_to_a_child_that_has_ended_was_not_read(child, fork_server):
    fork_server.connection.close()
    with pytest.raises(OSError, match="Broken pipe"):
        child.send(b"request", 1.0)
    assert not child.has_read_request


def test_output_goes_on_without_a_child_that_has_closed_its_end(child, fork_server):
    os.write(fork_server.log_fd, b"last words")
    os.close(fork_server.log_fd)
    fork_server.log_fd = os.open(os.devnull, os.O_WRONLY)
    for _ in range(3):
        child.wait(0.0)
    fork_server.send(wire.Outbox().pack([DONE]))
    assert child.wait(10.0) == [DONE]
    assert child.take_output() == "last words"


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_a_short_log_is_kept_whole(pieces):
    log = LogTail(4000)
    for piece in pieces:
        log.feed(piece)
    assert log.text() == b"".join(pieces).decode("utf-8", "backslashreplace")


@given(st.lists(st.integers(1, 300), min_size=1, max_size=30))
def test_a_long_log_keeps_both_ends_and_says_what_is_missing(sizes):
    whole = b"".join(b"%d," % number for number in range(2000))
    log, at = LogTail(100), 0
    while at < len(whole):
        size = sizes[at % len(sizes)]
        log.feed(whole[at : at + size])
        at += size
    text = log.text()
    assert text.startswith("0,1,2,3,")
    assert text.endswith("1998,1999,")
    assert f"... {len(whole) - 100} bytes left out ..." in text
