"""Messages between worker and child: whole, in order, and nothing but messages."""

from __future__ import annotations

import pickle
import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dflow.flowmanager import wire
from dflow.flowmanager.batch import BodyValues, PackedValue
from dflow.records import ArrayLayout, ErrorRecord, SampleLayout, SampleRecord

LAYOUT = SampleLayout((ArrayLayout("faces", "areas", "float32", ("face",), ()),))
SAMPLE = SampleRecord("abc_0", "a.step", -1, LAYOUT, (6,), (("face_count", 6),))
ERROR = ErrorRecord("exception", "no", "encode", "", 0)
REPLIES = [
    wire.Prepared(),
    wire.Prepared(ERROR),
    wire.UnitStarted(3),
    wire.UnitDone(3, "succeeded", PackedValue(b"x" * 5000), SAMPLE, preview=True),
    wire.UnitDone(-1, "failed", BodyValues(((0, 1),)), error=ERROR),
    wire.PreviewDone(0.5, "note"),
    wire.ItemDone(1.0, 0.5, None, 10**9),
]


def frames(*messages: object) -> bytes:
    """The bytes that `send` puts on the wire."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for message in messages:
            wire.send(ours, message)
        ours.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: theirs.recv(1 << 20), b""))


def frame(data: bytes) -> bytes:
    return frames(wire.Prepared())[:4] + struct.pack("<Q", len(data)) + data


@given(st.lists(st.sampled_from(REPLIES), max_size=6), st.integers(1, 700))
def test_messages_survive_any_cutting(replies, step):
    data = frames(*replies)
    inbox = wire.Inbox()
    received = [message for at in range(0, len(data), step) for message in inbox.feed(data[at : at + step])]
    assert received == replies


def test_the_child_receives_what_was_sent_and_notices_the_end():
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            wire.send(ours, wire.Run(item=None, skip=(1, 2)))  # type: ignore[arg-type]
        assert wire.receive(theirs) == wire.Run(None, (1, 2))  # type: ignore[arg-type]
        with pytest.raises(EOFError):
            wire.receive(theirs)


@pytest.mark.parametrize(
    "data",
    [
        b"hello, world, this is a print",
        frame(b"not a pickle"),
        frame(b""),
        frame(pickle.dumps({"a": "dictionary"})),
        frame(pickle.dumps(wire.Run(None))),  # type: ignore[arg-type]
        frames(wire.Prepared())[:4] + struct.pack("<Q", 1 << 60),
    ],
)
def test_nonsense_is_recognised(data):
    with pytest.raises(wire.WireError):
        wire.Inbox().feed(data)


def test_the_worker_calls_nothing_that_a_message_names(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    with pytest.raises(wire.WireError, match="pathlib"):
        wire.Inbox().feed(frame(pickle.dumps(Trap())))
    assert not (tmp_path / "sprung").exists()
