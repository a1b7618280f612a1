"""`Ahead`: a child always has its next requests, and never more than its connection takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dflow.flowmanager.plan.batch import Item
from dflow.flowmanager.worker import wire
from dflow.flowmanager.worker.ahead import AHEAD_BYTES, MOST_AHEAD, Ahead

RING = wire.packed(wire.Ring())


def requests(sizes: list[int]) -> list[wire.Run]:
    return [wire.Run(Item(index, "x", "v" * size)) for index, size in enumerate(sizes)]


def cut(data: bytes) -> list[bytes]:
    """The single messages in what is sent."""
    messages = []
    while data:
        length = 12 + int.from_bytes(data[4:12], "little")
        messages.append(data[:length])
        data = data[length:]
    return messages


@given(
    st.lists(st.sampled_from([0, 10, 20_000, 40_000, 300_000]), max_size=80),
    st.lists(st.tuples(st.integers(1, 5), st.floats(0.01, 100.0)), min_size=1, max_size=40),
)
def test_every_request_goes_out_once_in_order_and_fits_the_buffer(sizes, steps):
    asked = requests(sizes)
    ahead = Ahead(iter(asked))
    sent: list[bytes] = []
    under_way: list[bytes] = []
    step = 0
    while data := cut(ahead.take()) or under_way:
        if data is not under_way:
            assert data[-1] == RING  # or the child could be done and the worker asleep
            new = [message for message in data if message != RING]
            sent += new
            under_way += new
        assert ahead.n_under_way == len(under_way)
        assert len(under_way) == 1 or sum(map(len, under_way)) <= AHEAD_BYTES
        assert len(under_way) <= 3 * MOST_AHEAD
        n_answers, portion = steps[step % len(steps)]
        step += 1
        for _ in range(min(n_answers, len(under_way))):
            under_way.pop(0)
            ahead.answered()
        ahead.adapt(portion)
    assert sent == [wire.packed(request) for request in asked]


def test_a_second_portion_is_under_way_before_the_first_is_answered():
    ahead = Ahead(iter(requests([0] * 20)))
    assert len(cut(ahead.take())) == 4  # two portions of one request each, each with its ring
    ahead.answered()
    ahead.adapt(5.0)
    portion = cut(ahead.take())
    assert len(portion) == 6
    assert ahead.n_under_way == 6
    assert ahead.take() == b""


def test_an_answer_that_nobody_asked_for_is_nonsense():
    ahead = Ahead(iter(requests([0])))
    ahead.take()
    ahead.answered()
    with pytest.raises(wire.WireError):
        ahead.answered()
