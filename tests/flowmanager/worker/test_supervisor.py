"""`Supervisor`: a child is replaced when it has ended, is old or holds too much memory, and nothing leaks."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from dflow.config import machine_share_bytes
from dflow.flowmanager.plan.batch import Batch
from dflow.flowmanager.worker import processes
from dflow.flowmanager.worker.conversation import Answer, CancelledError, Supervisor
from dflow.flowmanager.worker.faults import Fault
from dflow.flowmanager.worker.limits import POLL_SECONDS, Allowance
from dflow.flowmanager.worker.processes import LogTail
from dflow.flowmanager.worker.wire import Inbox, ItemDone, Run, UnitDone
from tests.flowmanager.batches import QUICK, is_running, make_batch, open_descriptors, wait_until

ALLOWANCE = Allowance(20.0, machine_share_bytes())


@pytest.fixture(scope="module")
def shared_supervisor() -> Iterator[Supervisor]:
    supervisor = Supervisor()
    yield supervisor
    supervisor.close()


@pytest.fixture
def supervisor(shared_supervisor) -> Supervisor:
    shared_supervisor.retire()
    shared_supervisor.resume()  # an earlier test may have cancelled it
    return shared_supervisor


def child_pid(value):
    return os.getpid()


def abort(value):
    os.abort()


def grow(n_bytes):
    global _kept
    _kept = b"x" * n_bytes
    return os.getpid()


def wait_forever(marker):
    Path(marker).touch()
    time.sleep(600)


def letters(n_bytes):
    return "x" * n_bytes


def length(text):
    return len(text)


def print_letters(n_bytes):
    print("x" * n_bytes)
    return n_bytes


def close_pipes(value):
    """All descriptors that are pipes: the output's, and those that dflow keeps."""
    import stat

    for name in os.listdir("/proc/self/fd"):
        try:
            is_pipe = stat.S_ISFIFO(os.fstat(int(name)).st_mode)
        except OSError:
            continue
        if is_pipe:
            os.close(int(name))
    return value


@contextmanager
def when_there(marker: Path, strike: Callable[[], None]) -> Iterator[None]:
    """Strike as soon as a child has come to `wait_forever`."""

    def watch() -> None:
        if wait_until(marker.exists, 60.0):
            strike()

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield
    watcher.join()


def answer_to(supervisor: Supervisor, batch: Batch, index: int = 0) -> Answer:
    """The answer for one item."""
    return supervisor.ask(Run(batch.items[index]), ALLOWANCE)


def ask(supervisor: Supervisor, batch: Batch, index: int = 0) -> Fault | int:
    """The fault, or what the function returned, for one item."""
    answer = answer_to(supervisor, batch, index)
    if answer.fault is not None:
        return answer.fault
    unit, end = answer.replies
    assert isinstance(unit, UnitDone)
    assert isinstance(end, ItemDone)
    return unit.value


def ask_all(supervisor: Supervisor, batch: Batch) -> list[object]:
    """What the function returned for each item."""
    return [ask(supervisor, batch, index) for index in range(len(batch.items))]


def test_one_child_serves_many_items_and_batches(supervisor, tmp_path):
    pids = set()
    for _ in range(3):
        batch = make_batch(child_pid, range(5), tmp_path)
        assert supervisor.prepare(batch).fault is None
        pids |= {ask(supervisor, batch, index) for index in range(5)}
    assert pids == {supervisor.child_pid}


class Waits:
    """Counts a worker's waits for its child by what ended them; a child that is slow to say anything counts as none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.n_woken = self.n_overslept = self._n_bytes = 0
        for kind in (Inbox, LogTail):
            monkeypatch.setattr(kind, "feed", self._counting(kind.feed))
        monkeypatch.setattr(processes.Child, "wait", self._watching(processes.Child.wait))

    def _counting(self, feed):
        def counted(receiver, data):
            self._n_bytes += len(data)
            return feed(receiver, data)

        return counted

    def _watching(self, wait):
        def watched(child, seconds):
            began, before = time.monotonic(), self._n_bytes
            replies = wait(child, seconds)
            lasted = time.monotonic() - began > 0.9 * POLL_SECONDS
            self.n_woken += not lasted
            self.n_overslept += lasted and not replies and self._n_bytes > before
            return replies

        return watched


@pytest.fixture
def waits(monkeypatch) -> Waits:
    """`n_overslept` is how often something lay there until the worker looked anyway."""
    return Waits(monkeypatch)


def test_large_answers_are_read_at_once(supervisor, tmp_path, waits):
    batch = make_batch(letters, [20_000_000] * 3, tmp_path)
    supervisor.prepare(batch)
    assert [len(each) for each in ask_all(supervisor, batch)] == [20_000_000] * 3
    assert waits.n_overslept < 40  # 2, and 150 where the worker does not wake for the rest


def test_a_flood_of_output_is_read_at_once(supervisor, tmp_path, waits):
    batch = make_batch(print_letters, [20_000_000, 10], tmp_path)
    supervisor.prepare(batch)
    flood, few = answer_to(supervisor, batch), answer_to(supervisor, batch, 1)
    assert waits.n_overslept < 15  # 1, and 31 where the worker does not wake for a full pipe
    assert (flood.fault, few.fault) == (None, None)
    assert 4000 < sum(map(len, flood.output)) < 5000
    assert few.output == ("x" * 10,)


def test_a_child_whose_pipes_are_closed_by_user_code_goes_on(supervisor, tmp_path):
    batch = make_batch(close_pipes, range(100), tmp_path)
    supervisor.prepare(batch)
    assert ask_all(supervisor, batch) == list(range(100))


def test_requests_larger_than_the_connections_buffer_arrive(supervisor, tmp_path):
    values = ["x", "y" * 1_000_000, "z", *["w" * 100_000] * 20]
    batch = make_batch(length, values, tmp_path)
    supervisor.prepare(batch)
    assert ask_all(supervisor, batch) == [len(value) for value in values]


def test_a_function_is_sent_once_to_a_child(supervisor, tmp_path, monkeypatch):
    sent = []
    converse = Supervisor._converse

    def spy(self, child, request, allowance):
        sent.append(getattr(request, "function", None))
        return converse(self, child, request, allowance)

    monkeypatch.setattr(Supervisor, "_converse", spy)
    batch = make_batch(child_pid, [1], tmp_path)
    for _ in range(2):
        supervisor.prepare(batch)
        ask(supervisor, batch)
    supervisor.retire()
    ask(supervisor, batch)
    code = batch.call.function
    assert sent == [code, None, b"", None, code, None]


def lazily_imported(value):
    from lazily_imported_module import NUMBER

    return NUMBER


def test_a_module_that_a_task_imports_as_it_runs_is_loaded_anew_where_it_has_changed(supervisor, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    found = []
    for number, state in [(1, "a"), (22, "b"), (22, "b")]:
        (tmp_path / "lazily_imported_module.py").write_text(f"NUMBER = {number}\n")
        batch = make_batch(lazily_imported, [0], tmp_path, imports=state)
        assert supervisor.prepare(batch).fault is None
        found.append((ask(supervisor, batch), supervisor.child_pid))
    assert [number for number, _ in found] == [1, 22, 22]
    assert found[1][1] == found[2][1], "the same state, the same child"


def test_a_child_killed_between_items_is_replaced_without_loss(supervisor, tmp_path):
    batch = make_batch(child_pid, [1], tmp_path)
    supervisor.prepare(batch)
    before = ask(supervisor, batch)
    os.kill(before, signal.SIGKILL)
    assert wait_until(lambda: not is_running(before))
    after = ask(supervisor, batch)
    assert isinstance(after, int)
    assert after not in (before, os.getpid())
    assert supervisor.restarts == 0


def test_a_child_killed_during_an_item_is_a_crash(supervisor, tmp_path):
    marker = tmp_path / "waiting"
    batch = make_batch(wait_forever, [str(marker)], tmp_path)
    supervisor.prepare(batch)
    pid = supervisor.child_pid
    with when_there(marker, lambda: os.kill(pid, signal.SIGKILL)):
        fault = ask(supervisor, batch)
    assert isinstance(fault, Fault)
    assert (fault.kind, fault.signal) == ("crash", 9)


def test_losing_the_process_that_children_come_from_costs_one_item(supervisor, tmp_path):
    marker = tmp_path / "waiting"
    batch = make_batch(wait_forever, [str(marker)], tmp_path)
    supervisor.prepare(batch)
    pid = supervisor.child_pid
    with when_there(marker, lambda: os.kill(supervisor._fork_server.pid, signal.SIGKILL)):
        fault = ask(supervisor, batch)
    assert isinstance(fault, Fault)
    assert fault.kind == "crash"
    assert wait_until(lambda: not is_running(pid))
    batch = make_batch(child_pid, [1], tmp_path)
    supervisor.prepare(batch)
    assert ask(supervisor, batch) == supervisor.child_pid


def test_a_silent_process_behind_the_children_is_replaced(supervisor, tmp_path, monkeypatch):
    batch = make_batch(child_pid, [1], tmp_path)
    supervisor.prepare(batch)
    fork_server, child = supervisor._fork_server.pid, supervisor.child_pid
    os.kill(fork_server, signal.SIGSTOP)
    monkeypatch.setattr(processes, "_ANSWER_SECONDS", 0.2)
    supervisor.retire()
    monkeypatch.undo()
    assert isinstance(ask(supervisor, batch), int)
    assert supervisor._fork_server.pid != fork_server
    assert not is_running(fork_server)
    assert not is_running(child)


def test_a_child_is_replaced_after_its_share_of_items(supervisor, tmp_path):
    batch = make_batch(child_pid, range(7), tmp_path, limits=replace(QUICK, max_files_per_child=3))
    supervisor.prepare(batch)
    pids = [ask(supervisor, batch, index) for index in range(7)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]
    assert wait_until(lambda: not any(map(is_running, pids[:6])))


def test_a_child_that_does_not_give_memory_back_is_replaced(supervisor, tmp_path):
    sizes = [0, 0, 64 * 1024**2, 0]
    batch = make_batch(grow, sizes, tmp_path, limits=replace(QUICK, max_growth_bytes=32 * 1024**2))
    supervisor.prepare(batch)
    pids = [ask(supervisor, batch, index) for index in range(4)]
    assert pids[0] == pids[1] == pids[2] != pids[3]


@pytest.mark.parametrize("n_deaths", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_deaths_leak_no_descriptor_and_no_process(supervisor, tmp_path, n_deaths):
    batch = make_batch(abort, [1], tmp_path)
    supervisor.prepare(batch)
    ask(supervisor, batch)
    before = open_descriptors()
    for _ in range(n_deaths):
        fault = ask(supervisor, batch)
        assert isinstance(fault, Fault)
    assert open_descriptors() <= before
    assert supervisor.restarts == n_deaths + 1
    fork_server = supervisor._fork_server.pid
    with open(f"/proc/{fork_server}/task/{fork_server}/children") as file:
        assert file.read().split() == []
    assert len(os.listdir(f"/proc/{fork_server}/fd")) < 10


def test_cancelling_ends_the_request_and_its_child(supervisor, tmp_path):
    marker = tmp_path / "waiting"
    batch = make_batch(wait_forever, [str(marker)], tmp_path)
    supervisor.prepare(batch)
    pid = supervisor.child_pid
    with when_there(marker, supervisor.cancel), pytest.raises(CancelledError):
        ask(supervisor, batch)  # or it would end as a fault, after the allowance of 20 s
    assert not is_running(pid)


def test_a_cancelled_supervisor_asks_nothing_until_it_is_resumed(supervisor, tmp_path):
    batch = make_batch(child_pid, [1], tmp_path)
    supervisor.prepare(batch)
    supervisor.cancel()
    for _ in range(20):  # even if the child would answer at once
        with pytest.raises(CancelledError):
            ask(supervisor, batch)
    supervisor.resume()
    assert ask(supervisor, batch) == supervisor.child_pid


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_whatever_interrupts_the_worker_ends_the_child(supervisor, tmp_path, monkeypatch, error):
    def interrupt(child, seconds):
        raise error

    batch = make_batch(child_pid, [1], tmp_path)
    supervisor.prepare(batch)
    pid, before = supervisor.child_pid, open_descriptors()
    monkeypatch.setattr(processes.Child, "wait", interrupt)
    with pytest.raises(error):
        supervisor.ask(Run(batch.items[0]), ALLOWANCE)
    monkeypatch.undo()
    assert not is_running(pid)
    assert open_descriptors() < before
    assert isinstance(ask(supervisor, batch), int)


def note_call(path):
    with open(path, "a") as file:
        file.write("x")
    return os.getpid()


def kill_as_it_is_asked(monkeypatch: pytest.MonkeyPatch, pid: int) -> None:
    """Let the stopped child `pid` get its next request, and kill it before it can read that."""
    send = processes.Child.send

    def send_and_kill(child, data, seconds):
        send(child, data, seconds)
        if child.pid == pid:
            os.kill(pid, signal.SIGKILL)

    monkeypatch.setattr(processes.Child, "send", send_and_kill)


def test_an_item_that_a_child_died_without_reading_goes_to_another(supervisor, tmp_path, monkeypatch):
    path = tmp_path / "calls"
    batch = make_batch(note_call, [str(path)] * 2, tmp_path)
    supervisor.prepare(batch)
    before = ask(supervisor, batch)
    os.kill(before, signal.SIGSTOP)
    kill_as_it_is_asked(monkeypatch, before)
    after = ask(supervisor, batch, 1)
    assert isinstance(after, int), after
    assert after != before
    assert path.read_text() == "xx"
    assert supervisor.restarts == 0


def test_children_that_die_before_they_read_anything_end_in_a_fault(supervisor, tmp_path, monkeypatch):
    """Or a machine that kills every child would be asked for ever."""
    batch = make_batch(child_pid, [1, 2], tmp_path)
    supervisor.prepare(batch)
    ask(supervisor, batch)
    send, pids = processes.Child.send, []

    def kill_and_send(child, data, seconds):
        if child.preparation is not None:
            pids.append(child.pid)
            os.kill(child.pid, signal.SIGKILL)
        send(child, data, seconds)

    monkeypatch.setattr(processes.Child, "send", kill_and_send)
    fault = ask(supervisor, batch, 1)
    assert isinstance(fault, Fault)
    assert (fault.kind, fault.signal) == ("crash", 9)
    assert len(pids) == 2


def test_closing_ends_everything(tmp_path):
    supervisor = Supervisor()
    supervisor.prewarm(previews=False)
    child, fork_server = supervisor.child_pid, supervisor._fork_server.pid
    assert is_running(child)
    assert is_running(fork_server)
    supervisor.close()
    assert not is_running(child)
    assert not is_running(fork_server)
