"""Messages between worker and child: whole, in order, and nothing but messages."""

from __future__ import annotations

import pickle
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dflow.flowmanager.plan.batch import BodyValues, Item, PackedValue
from dflow.flowmanager.worker import wire
from dflow.flowmanager.worker.faults import Fault
from dflow.records import ArrayLayout, SampleLayout, SampleRecord

LAYOUT = SampleLayout((ArrayLayout("faces", "areas", "float32", ("face",), ()),))
SAMPLE = SampleRecord("abc_0", "a.step", -1, LAYOUT, (6,), (("face_count", 6),))
ERROR = Fault("exception", "no", exception="ValueError")
ITEM = Item(3, "a.step", "/x/a.step", (("k", 2.0),), ("abc_0",), "hash")
REPLIES = [
    wire.Prepared(),
    wire.Prepared(ERROR),
    wire.UnitStarted(3),
    wire.UnitDone(3, "succeeded", PackedValue(b"x" * 5000), SAMPLE, preview=True),
    wire.UnitDone(-1, "failed", BodyValues(((0, 1),)), error=ERROR),
    wire.PreviewDone(0.5, "note"),
    wire.ItemDone(1.0, 0.5, None, 10**9, leaving=True),
]


def frames(*messages: object) -> bytes:
    return b"".join(map(wire.packed, messages))  # type: ignore[arg-type]  # replies have the same form


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
            ours.sendall(wire.packed(wire.Run(ITEM, skip=(1, 2))))
        requests = wire.Requests(theirs)
        assert requests.take() == wire.Run(ITEM, (1, 2))
        with pytest.raises(EOFError):
            requests.take()


@pytest.mark.parametrize("sizes", [[0, 1, 2] * 40, [100_000, 0, 70_000, 1, 400_000]])
def test_the_child_receives_small_and_large_requests_in_their_order(sizes):
    sent = [wire.Run(Item(at, "x", "v" * size)) for at, size in enumerate(sizes)]
    ours, theirs = socket.socketpair()
    with theirs, ours, ThreadPoolExecutor(1) as sender:
        done = sender.submit(ours.sendall, b"".join(map(wire.packed, sent)))
        requests = wire.Requests(theirs)
        assert [requests.take() for _ in sent] == sent
        done.result()


def test_a_request_that_breaks_off_is_the_workers_end():
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            ours.sendall(wire.packed(wire.Run(ITEM))[:-1])
        with pytest.raises(EOFError):
            wire.Requests(theirs).take()


@pytest.mark.parametrize(
    "data",
    [
        b"hello, world, this is a print",
        frame(b"not a pickle"),
        frame(b""),
        frame(pickle.dumps({"a": "dictionary"})),
        frame(pickle.dumps((2, (2, None)))),
        frame(pickle.dumps((((2, None),),))),
        frame(pickle.dumps(wire.Run(ITEM))),
        wire.packed(wire.Run(ITEM)),
        frame(pickle.dumps((wire.ItemDone(1.0, 0.5),))),
        frame(pickle.dumps(((6, 1.0),))),
        frame(pickle.dumps(((6, 1.0, 0.5, None, 10, False, (), "more"),))),
        frame(pickle.dumps(((4, -1, "succeeded", None, (1, 2)),))),
        frame(pickle.dumps((("x",),))),
        frames(wire.Prepared())[:4] + struct.pack("<Q", 1 << 60),
    ],
)
def test_nonsense_is_recognised(data):
    with pytest.raises(wire.WireError):
        wire.Inbox().feed(data)


def test_answers_before_nonsense_are_told_before_it():
    inbox = wire.Inbox()
    assert inbox.feed(frames(*REPLIES) + b"hello, world, this is a print") == REPLIES
    for _ in range(2):
        with pytest.raises(wire.WireError, match="hello"):
            inbox.feed(b"")


def test_an_answer_before_nonsense_in_one_frame_is_told_before_it():
    inbox = wire.Inbox()
    assert inbox.feed(frame(pickle.dumps(((2, None), 2)))) == [wire.Prepared()]
    with pytest.raises(wire.WireError, match="cannot be read"):
        inbox.feed(b"")


def test_the_worker_calls_nothing_that_a_message_names(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    with pytest.raises(wire.WireError, match="pathlib"):
        wire.Inbox().feed(frame(pickle.dumps(Trap())))
    assert not (tmp_path / "sprung").exists()


def outbox_frames(*batches: list[wire.Reply]) -> list[bytes]:
    """What one `Outbox` makes of each list of replies."""
    outbox = wire.Outbox()
    return [outbox.pack(replies) for replies in batches]


@given(st.lists(st.lists(st.sampled_from(REPLIES), min_size=1, max_size=3), max_size=5), st.integers(1, 700))
def test_replies_that_are_packed_together_arrive_one_by_one(batches, step):
    data = b"".join(outbox_frames(*batches))
    inbox = wire.Inbox()
    received = [message for at in range(0, len(data), step) for message in inbox.feed(data[at : at + step])]
    assert received == [reply for batch in batches for reply in batch]


def unit_with(layout: SampleLayout, body: int) -> wire.UnitDone:
    return wire.UnitDone(body, "succeeded", sample=SampleRecord("abc_0", "a.step", body, layout, (6,), ()))


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.booleans()), max_size=12), st.integers(1, 500))
def test_layouts_arrive_whole_however_they_are_shared(plan, step):
    known = {name: SampleLayout((), schema=name * 50) for name in "xyz"}
    replies = [
        unit_with(SampleLayout((), schema=name * 50) if fresh else known[name], at)
        for at, (name, fresh) in enumerate(plan)
    ]
    data = b"".join(outbox_frames(*([reply, wire.ItemDone(1.0, 1.0, None, 1)] for reply in replies)))
    inbox = wire.Inbox()
    received = [message for at in range(0, len(data), step) for message in inbox.feed(data[at : at + step])]
    assert [message for message in received if isinstance(message, wire.UnitDone)] == replies


def test_a_layout_is_sent_to_the_worker_once():
    layout = SampleLayout((), schema="s" * 10_000)
    first, second = outbox_frames([unit_with(layout, 0)], [unit_with(layout, 1)])
    assert len(first) > 10_000
    assert len(second) < 500
    inbox = wire.Inbox()
    (one,), (other,) = inbox.feed(first), inbox.feed(second)
    assert one.sample.layout is other.sample.layout


@pytest.mark.parametrize("message", [wire.NewLayout([], LAYOUT), wire.NewLayout(0, ERROR)])  # type: ignore[arg-type]
def test_a_layout_that_is_none_is_nonsense(message):
    with pytest.raises(wire.WireError, match="layout"):
        wire.Inbox().feed(frames(message))


def test_a_layout_that_was_never_sent_is_nonsense():
    layout = SampleLayout((), schema="s")
    _, later = outbox_frames([unit_with(layout, 0)], [unit_with(layout, 1)])
    with pytest.raises(wire.WireError):
        wire.Inbox().feed(later)
