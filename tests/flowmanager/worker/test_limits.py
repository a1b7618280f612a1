"""An item's limits: when its time is up, also around previews, and when its child holds too much memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dflow.flowmanager.worker import limits
from dflow.flowmanager.worker.faults import Fault
from dflow.flowmanager.worker.limits import POLL_SECONDS, TREE_SECONDS, Allowance, Clock, Memory
from dflow.flowmanager.worker.memory import MIN_CHILD_BYTES
from dflow.flowmanager.worker.wire import PreviewDone, UnitDone

MIB = 1024**2


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that stands still until a test moves it."""
    state = SimpleNamespace(now=100.0)
    monkeypatch.setattr(limits.time, "monotonic", lambda: state.now)
    return state


def test_the_time_is_up_after_the_allowed_seconds(clock: SimpleNamespace) -> None:
    watch = Clock(Allowance(10.0, 0))
    clock.now += 9.9
    assert watch.fault() is None
    clock.now += 0.2
    fault = watch.fault()
    assert fault is not None
    assert (fault.kind, fault.message) == ("timeout", "not finished within 10 s")


def test_what_was_spent_before_is_taken_off(clock: SimpleNamespace) -> None:
    watch = Clock(Allowance(10.0, 0, spent_seconds=4.0))
    assert watch.remaining() == 6.0
    assert Clock(Allowance(10.0, 0, spent_seconds=11.0)).fault() == Fault("timeout", "not finished within 10 s")


def test_a_preview_has_time_of_its_own(clock: SimpleNamespace) -> None:
    watch = Clock(Allowance(10.0, 0, preview_seconds=3.0))
    clock.now += 8.0
    watch.note(UnitDone(0, "done", preview=True))
    assert watch.remaining() == pytest.approx(3.0)
    clock.now += 2.9
    assert watch.fault() is None
    watch.note(PreviewDone(2.9, ""))
    assert watch.remaining() == pytest.approx(2.0)  # what the item had left
    watch.note(UnitDone(1, "done", preview=True))
    clock.now += 3.1
    fault = watch.fault()
    assert fault is not None
    assert fault.message == "not finished within 3 s"


def used_bytes(monkeypatch: pytest.MonkeyPatch, used: dict[Any, int], children: list[int]) -> list[int]:
    """Let processes hold what a test says; the list grows by the process whose children are looked for."""
    looked: list[int] = []
    monkeypatch.setattr(limits, "resident_bytes", lambda pid="self": used[pid])
    monkeypatch.setattr(limits, "descendants", lambda pid: looked.append(pid) or children)
    return looked


def test_a_child_may_hold_what_the_worker_leaves_of_the_budget(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: dict[Any, int] = {"self": 300 * MIB, 7: 700 * MIB, 8: 100 * MIB}
    looked = used_bytes(monkeypatch, used, [8])
    child: Any = SimpleNamespace(pid=7, peak_bytes=0, first_bytes=50 * MIB)
    watch = Memory(child, 1000 * MIB)
    assert watch.fault() is None  # not read yet
    clock.now += POLL_SECONDS
    assert watch.fault() is None
    assert (child.peak_bytes, looked) == (700 * MIB, [])
    clock.now += TREE_SECONDS
    fault = watch.fault()  # with the process that the child has started
    assert looked == [7]
    assert fault is not None
    assert (fault.kind, fault.message) == ("out_of_memory", "800 MiB in use, 700 MiB allowed")
    used[8] = 0
    assert watch.fault() is None  # memory is read once per `POLL_SECONDS`
    clock.now += POLL_SECONDS
    assert watch.fault() is None
    assert child.peak_bytes == 800 * MIB


def test_a_child_may_always_grow_by_a_little(clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    used_bytes(monkeypatch, {"self": 900 * MIB, 7: 50 * MIB + MIN_CHILD_BYTES}, [])
    child: Any = SimpleNamespace(pid=7, peak_bytes=0, first_bytes=50 * MIB)
    watch = Memory(child, 100 * MIB)
    clock.now += POLL_SECONDS
    assert watch.fault() is None
