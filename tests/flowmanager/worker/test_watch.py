"""The clock over a child's requests: each has its own time, and previews have theirs."""

from __future__ import annotations

import pytest

from dflow.flowmanager.worker import watch
from dflow.flowmanager.worker.watch import Allowance
from dflow.flowmanager.worker.wire import ItemDone, PreviewDone, UnitDone
from tests.clock import Clock


@pytest.fixture
def time(monkeypatch) -> Clock:
    """The time, to be moved by hand."""
    found = Clock()
    monkeypatch.setattr(watch, "time", found)
    return found


def test_each_request_has_its_whole_time(time):
    clock = watch._Clock(Allowance(5.0, 0))
    time.now += 4.0
    assert clock.remaining() == pytest.approx(1.0)
    clock.note(ItemDone(4.0, 4.0))
    assert clock.remaining() == pytest.approx(5.0)
    time.now += 5.0
    fault = clock.fault()
    assert fault is not None
    assert fault.kind == "timeout"


def test_a_preview_that_begins_behind_another_items_end_has_its_own_time(time):
    clock = watch._Clock(Allowance(5.0, 0, preview_seconds=30.0))
    time.now += 3.0
    for message in (ItemDone(3.0, 3.0), UnitDone(-1, "succeeded", preview=True)):  # seen at one look
        clock.note(message)
    assert clock.remaining() == pytest.approx(30.0)
    time.now += 10.0
    clock.note(PreviewDone(10.0))
    assert clock.remaining() == pytest.approx(5.0)


def test_what_a_preview_left_over_is_not_the_next_requests(time):
    clock = watch._Clock(Allowance(5.0, 0, preview_seconds=30.0))
    clock.note(UnitDone(-1, "succeeded", preview=True))
    clock.note(ItemDone(1.0, 1.0))
    assert clock.remaining() == pytest.approx(5.0)
