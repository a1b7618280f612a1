"""Faults of hosts are counted, and a wait without workers is never silent: with a clock of the test's own."""

from __future__ import annotations

import pytest

from dflow.errors import ClusterError
from dflow.flowmanager.cluster.hosts import FAULT_SECONDS, HostFaults, WorkerWait, host_of


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def note_at(faults: HostFaults, clock: Clock, now: float, begun: float | None = None) -> bool:
    clock.now = now
    return faults.note("10.0.0.2", "node7", "no space", now if begun is None else begun)


def test_a_host_is_shunned_and_named_at_its_third_fault(clock):
    lines: list[str] = []
    faults = HostFaults(lines.append, clock)
    assert [note_at(faults, clock, now) for now in (1.0, 2.0, 3.0, 4.0)] == [False, False, True, False]
    assert faults.shunned == {"10.0.0.2": "node7 (10.0.0.2): no space"}
    assert "fault 2 of 3" in lines[1]
    assert "does no more work" in lines[2]
    assert len(lines) == 3
    assert "node7 (10.0.0.2): no space" in str(faults.none_left())
    assert "run the flow again" in str(faults.none_left())


def test_what_was_under_way_at_a_fault_belongs_to_it_and_old_faults_are_forgotten(clock):
    faults = HostFaults(lambda _: None, clock)
    assert [note_at(faults, clock, now, begun=0.5) for now in (1.0, 1.1, 1.2, 1.3)] == [False] * 4
    assert list(faults.suspects) == ["10.0.0.2"]
    assert not note_at(faults, clock, 2.0)
    assert not note_at(faults, clock, 2.0 + FAULT_SECONDS)
    assert faults.shunned == {}


def test_lines_come_at_growing_intervals_with_the_reasons_until_the_limit(clock):
    lines: list[tuple[float, str]] = []
    wait = WorkerWait(
        "tcp://s:1",
        300.0,
        lambda text: lines.append((clock.now, text)),
        lambda: "squeue prints:\n 7 PENDING (Priority)\n",
        clock=clock,
    )
    for second in range(300):
        clock.now = float(second)
        wait.note(0, {})
    clock.now = 300.0
    with pytest.raises(ClusterError, match=r"no worker for 300 s\. squeue prints: \| 7 PENDING .*no_worker_timeout"):
        wait.note(0, {})
    assert [at for at, _ in lines] == [15.0, 45.0, 105.0, 225.0]
    assert lines[0][1].startswith("0 workers at tcp://s:1 for 15 s, waiting up to 300 s")
    assert "7 PENDING (Priority)" in lines[0][1]


def test_a_worker_ends_the_wait_and_unfit_ones_have_their_own_limit(clock):
    lines: list[str] = []
    wait = WorkerWait("tcp://s:1", 1000.0, lines.append, unfit_seconds=30.0, clock=clock)
    for second, n_workers in ((0, 0), (16, 0), (20, 2), (21, 0), (35, 0)):
        clock.now = float(second)
        wait.note(n_workers, {})
    assert [line[:9] for line in lines] == ["0 workers", "Workers a"]
    clock.now = 60.0
    with pytest.raises(ClusterError, match=r"no fit worker for 39 s.*tcp://w:1: other numpy"):
        wait.note(0, {"tcp://w:1": "other numpy"})


def test_the_host_is_that_of_the_address():
    assert (host_of("tcp://10.0.0.2:4000"), host_of("")) == ("10.0.0.2", "")
