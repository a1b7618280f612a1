"""The law of worker and child: one record per item, its own, whatever the child does and however its bytes arrive.

The child is scripted: a thread plays it, over the real sockets and pipes, and sends its bytes in random pieces. A real
process stands in for the child's life: the thread stops where that process is killed, at any byte.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dflow.flowmanager.plan.batch import Batch
from dflow.flowmanager.worker import conversation, processes, wire, worker
from dflow.flowmanager.worker.conversation import Supervisor
from dflow.flowmanager.worker.outcome import ItemOutcome
from dflow.records import ItemRecord
from tests.flowmanager.batches import QUICK, double, make_batch

LARGE = "y" * 400_000
"""More than a socket's buffer takes."""


class _Killed(Exception):
    """The process is killed: the thread that plays it does nothing more."""


class ScriptedChild:
    """Plays a child on its ends of the lines; what an item does is its value: ``[number, behaviour]``."""

    def __init__(self, connection: socket.socket, log_fd: int, rng: random.Random, late: float) -> None:
        self.process = subprocess.Popen(["sleep", "600"], start_new_session=True)
        self._connection, self._log_fd = connection.dup(), os.dup(log_fd)
        self._connection.settimeout(0.005)
        os.set_blocking(self._log_fd, False)
        self._rng, self._late_seconds = rng, late
        self._killed = threading.Event()
        self._outbox = wire.Outbox()
        self.begun: Counter[int] = Counter()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    def reap(self) -> int:
        """Wait for the killed process, and stop where it stands."""
        self._killed.set()
        self._thread.join()
        _pid, status = os.waitpid(self.process.pid, 0)
        self.process.returncode = status
        return status

    def _live(self) -> None:
        try:
            requests = wire.Requests(_Patient(self._connection, self._look))  # type: ignore[arg-type]
            while True:
                request = requests.take()
                if isinstance(request, wire.Prepare):
                    self._answer(wire.Prepared())
                else:
                    self._run(*request.item.value)
        except (_Killed, OSError, EOFError):
            self._connection.close()
            os.close(self._log_fd)
            os.kill(self.process.pid, signal.SIGKILL)  # a zombie at worst: `reap` comes later

    def _look(self) -> None:
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        if self._killed.is_set() or os.waitid(os.P_PID, self.process.pid, flags) is not None:
            raise _Killed

    def _run(self, number: int, behaviour: str) -> None:
        self.begun[number] += 1
        self._print(b"line of %d\n" % number)
        {
            "die": self._die,
            "hang": lambda: self._sleep(600.0),
            "late": lambda: self._sleep(self._late_seconds * self._rng.uniform(0.85, 1.2)),
            "slow": lambda: self._sleep(self._rng.uniform(0.0, 0.06)),
            "nonsense": lambda: self._rave(self._rng.randbytes(self._rng.choice([1, 5, 200, 70_000]))),
            "flood": lambda: self._print(b"x" * 300_000),
            "preview": lambda: self._answer(wire.UnitDone(-1, "succeeded", number, preview=True)),
            "preview that hangs": lambda: self._hanging_preview(number),
        }.get(behaviour, lambda: None)()
        done = wire.ItemDone(0.0, 0.0, leaving=behaviour == "leave")
        if behaviour.startswith("preview"):
            self._answer(wire.PreviewDone(0.0), done)
            return
        value = LARGE if behaviour == "large" else number
        part = self._rng.random() if behaviour == "die amid its answer" else 1.0
        self._answer(wire.UnitDone(-1, "succeeded", value), done, part=part)
        if behaviour in ("die amid its answer", "answer and die", "leave"):
            self._die()
        if behaviour == "answer and talk nonsense":
            self._rave(self._rng.choice([2, 1000]) * b"garbage")

    def _rave(self, data: bytes) -> None:
        self._send(data + 12 * b"!")
        self._sleep(600.0)

    def _hanging_preview(self, number: int) -> None:
        self._answer(wire.UnitDone(-1, "succeeded", number, preview=True))
        self._sleep(600.0)

    def _die(self) -> None:
        raise EOFError

    def _answer(self, *messages: wire.Reply, part: float = 1.0) -> None:
        data = self._outbox.pack(messages)
        self._send(data[: int(part * (len(data) - 1))] if part < 1.0 else data)

    def _send(self, data: bytes) -> None:
        while data:
            self._look()
            n_bytes = self._rng.choice([1, 7, 100, 5_000, 1 << 20])
            if self._rng.random() < 0.05:
                self._sleep(self._rng.uniform(0.0, 0.01))
            try:
                data = data[self._connection.send(data[:n_bytes]) :]
            except TimeoutError:
                continue

    def _print(self, data: bytes) -> None:
        while data:
            self._look()
            try:
                data = data[os.write(self._log_fd, data[:4096]) :]
            except BlockingIOError:
                time.sleep(0.001)

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0.0:
            self._look()
            self._killed.wait(min(left, 0.01))


class _Patient:
    """A connection that is read in turns with looking whether one is still alive."""

    def __init__(self, connection: socket.socket, look: Callable[[], None]) -> None:
        self._connection, self._look = connection, look

    def recv(self, n_bytes: int) -> bytes:
        while True:
            self._look()
            try:
                return self._connection.recv(n_bytes)
            except TimeoutError:
                continue


class ScriptedForkServer:
    """Stands in for `ForkServer`."""

    rng: ClassVar[random.Random]
    late_seconds: ClassVar[float]
    children: ClassVar[list[ScriptedChild]] = []

    def __init__(self, startup_seconds: float, *, previews: bool) -> None:
        self._running: dict[int, ScriptedChild] = {}

    def fork(self, connection: socket.socket, log_fd: int) -> int:
        child = ScriptedChild(connection, log_fd, self.rng, self.late_seconds)
        self.children.append(child)
        self._running[child.process.pid] = child
        return child.process.pid

    def reap(self, pid: int) -> int:
        return self._running.pop(pid).reap()

    def close(self) -> None:
        for pid in list(self._running):
            os.kill(pid, signal.SIGKILL)
            self.reap(pid)


FINE = ("fine", "slow", "large", "flood", "preview", "leave", "answer and talk nonsense")
FATAL = {"die": "crash", "nonsense": "crash", "die amid its answer": "crash", "hang": "timeout"}
TIMED = ("hang", "late", "preview that hangs")
UNTIMED = (*FINE, *FINE, *[each for each in FATAL if each not in TIMED], "answer and die")


def law_of(number: int, behaviours: list[str], max_retries: int) -> tuple[set[str], range]:
    """What may become of an item ("succeeded" or the kind of its error), and how often it may be begun."""
    behaviour = behaviours[number]
    outcomes = {FATAL.get(behaviour, "succeeded")}
    n_begun = (1, 1) if behaviour not in FATAL else (1 + max_retries,) * 2
    if behaviour == "late":
        outcomes, n_begun = {"succeeded", "timeout"}, (1, 1 + max_retries)
    return outcomes, range(n_begun[0], n_begun[1] + 1)


def run(
    behaviours: list[str], seed: int, max_retries: int, seconds: float, folder: Path
) -> tuple[list[ItemRecord], Counter[int]]:
    """The records of a batch whose items do this, and how often each was begun."""
    ScriptedForkServer.rng, ScriptedForkServer.late_seconds = random.Random(seed), seconds
    ScriptedForkServer.children = []
    limits = replace(
        QUICK, timeout_seconds=seconds, preview_seconds=seconds, max_retries=max_retries, retry_timeouts=True
    )
    batch: Batch = make_batch(double, list(map(list, enumerate(behaviours))), folder, kind="custom", limits=limits)
    outcomes = [ItemOutcome(batch, item) for item in batch.items]
    supervisor = Supervisor()
    try:
        worker._run_isolated(batch, outcomes, supervisor, lambda _: None)
    finally:
        supervisor.close()
    begun: Counter[int] = sum((child.begun for child in ScriptedForkServer.children), Counter())
    return [outcome.record() for outcome in outcomes], begun


def check(behaviours: list[str], seed: int, max_retries: int, seconds: float, folder: Path) -> None:
    """Run it with `seconds` an item and hold it against the law."""
    began = time.monotonic()
    records, begun = run(behaviours, seed, max_retries, seconds, folder)
    assert time.monotonic() - began < 60.0 + 4.0 * seconds * sum(each in TIMED for each in behaviours)
    for number, (behaviour, record) in enumerate(zip(behaviours, records, strict=True)):
        found = record.error.kind if record.error else record.status
        outcomes, n_begun = law_of(number, behaviours, max_retries)
        told = number, behaviour, found, record.error, begun[number]
        assert found in outcomes, told
        assert begun[number] in n_begun, told
        if found == "succeeded":
            assert record.value == (LARGE if behaviour == "large" else number), told
        if begun[number]:
            assert f"line of {number}" in record.logs, told
        others = [line for line in record.logs if line.startswith("line of ") and line != f"line of {number}"]
        assert others == [], told
        if behaviour == "preview that hangs" and found == "succeeded":
            assert "timeout" in record.notes[0], told


@pytest.fixture
def _scripted(monkeypatch) -> None:
    monkeypatch.setattr(conversation, "ForkServer", ScriptedForkServer)
    monkeypatch.setattr(processes, "_STACK_SECONDS", 0.03)


@pytest.mark.usefixtures("_scripted")
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    behaviours=st.lists(st.sampled_from(UNTIMED), min_size=1, max_size=12),
    seed=st.integers(0, 1 << 32),
    max_retries=st.sampled_from([0, 1]),
)
def test_every_item_gets_its_own_record_and_is_done_once(tmp_path, behaviours, seed, max_retries):
    check(behaviours, seed, max_retries, 60.0, tmp_path)


@pytest.mark.usefixtures("_scripted")
@pytest.mark.parametrize("max_retries", [0, 1])
def test_time_that_runs_out_is_the_right_items(tmp_path, max_retries):
    behaviours = ["fine", "hang", "large", "preview that hangs", "leave", "late", "fine"]
    check(behaviours, 5, max_retries, 2.0, tmp_path)
