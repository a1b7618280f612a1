"""The folder's lock: a live owner is respected, a dead one never blocks."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from dflow.errors import FlowBusyError, OutputFolderError
from dflow.flowmanager.history import lock as lock_module
from dflow.flowmanager.history.lock import STALE_SECONDS, FolderLock, Owner
from tests.flowmanager.batches import wait_until

HOLD = """
import sys, time
from pathlib import Path
from dflow.flowmanager.history.lock import FolderLock
FolderLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
time.sleep(600)
"""


def test_two_live_owners_are_refused_and_the_message_names_the_first(tmp_path):
    folder = tmp_path / "flow" / ".dflow"
    with FolderLock(folder), pytest.raises(FlowBusyError, match=f"Process {os.getpid()} on .*flow"):
        FolderLock(folder).acquire()
    with FolderLock(folder):
        pass


def test_a_guard_that_cannot_be_opened_is_named_with_what_to_do(tmp_path):
    (tmp_path / "lock.guard").mkdir()  # or another user's file
    with pytest.raises(OutputFolderError, match=r"Cannot write .*lock\.guard.* permit writing there"):
        FolderLock(tmp_path).acquire()


def test_a_killed_owner_does_not_block(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(FlowBusyError, match=str(process.pid)):
        FolderLock(tmp_path).acquire()
    process.kill()
    process.wait()
    process.stdout.close()
    with FolderLock(tmp_path) as lock:
        assert lock.token


def test_a_process_that_took_over_the_id_is_not_the_owner():
    own = Owner.here()
    assert own.is_running_here()
    assert not replace(own, started=own.started - 1000).is_running_here()
    assert own.is_on_this_host
    assert psutil.pid_exists(own.pid)


@pytest.mark.parametrize("step_seconds", [-1_000_000, -2, 2, 1_000_000])
def test_a_stepped_clock_does_not_make_a_live_owner_look_dead(tmp_path, monkeypatch, step_seconds):
    """What the system calls a process's start time is its boot time plus an age, and moves with the clock."""
    with FolderLock(tmp_path):
        born = psutil.Process().create_time()
        stepped = SimpleNamespace(time=lambda: time.time() + step_seconds, monotonic=time.monotonic, sleep=time.sleep)
        monkeypatch.setattr(psutil.Process, "create_time", lambda self: born + step_seconds)
        monkeypatch.setattr(lock_module, "time", stepped)
        os.utime(tmp_path / "lock.json", (born - step_seconds,) * 2)
        with pytest.raises(FlowBusyError):
            FolderLock(tmp_path).acquire()


def test_an_owner_in_another_container_of_the_same_name_lives_by_its_heartbeat(tmp_path, monkeypatch):
    """Its process id means nothing here; the same goes for one that was there before the machine was started again."""
    monkeypatch.setattr(lock_module, "BEAT_SECONDS", 0.02)
    lock = tmp_path / "lock.json"
    lock.write_text(json.dumps(asdict(replace(Owner.here(), space="another", pid=2**22 - 1))))
    with pytest.raises(FlowBusyError):
        FolderLock(tmp_path).acquire()
    os.utime(lock, (1, 1))
    with FolderLock(tmp_path):
        pass


def owner_elsewhere(folder: Path) -> Path:
    """A lock file as an owner on another host leaves it, just touched."""
    lock = folder / "lock.json"
    lock.write_text(json.dumps(asdict(replace(Owner.here(), host="not-" + socket.gethostname(), pid=1))))
    return lock


def test_an_owner_on_another_host_lives_by_its_heartbeat(tmp_path, monkeypatch):
    monkeypatch.setattr(lock_module, "BEAT_SECONDS", 0.02)
    lock = owner_elsewhere(tmp_path)
    with pytest.raises(FlowBusyError):
        FolderLock(tmp_path).acquire()
    touched = lock.stat().st_mtime
    for silent_since in (touched - STALE_SECONDS - 1, touched + 3600):
        owner_elsewhere(tmp_path)
        os.utime(lock, (silent_since, silent_since))
        with FolderLock(tmp_path):
            pass


@pytest.mark.parametrize("step_seconds", [-3600, 3600])
def test_an_owner_on_another_host_whose_file_server_steps_its_clock_is_alive(tmp_path, monkeypatch, step_seconds):
    lock = owner_elsewhere(tmp_path)
    before = lock.stat().st_mtime + step_seconds
    os.utime(lock, (before, before))
    beating = SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: os.utime(lock))
    monkeypatch.setattr(lock_module, "time", beating)
    with pytest.raises(FlowBusyError):
        FolderLock(tmp_path).acquire()


def test_the_owner_goes_on_beating_when_its_file_server_was_away(tmp_path, monkeypatch):
    monkeypatch.setattr(lock_module, "BEAT_SECONDS", 0.02)
    utime, failures = os.utime, []

    def sometimes(path, *arguments):
        if path == tmp_path / "lock.json" and len(failures) < 3:
            failures.append(path)
            raise OSError(errno.EIO, "the server does not answer")
        utime(path, *arguments)

    with FolderLock(tmp_path):
        monkeypatch.setattr(os, "utime", sometimes)
        assert wait_until(lambda: len(failures) == 3)
        utime(tmp_path / "lock.json", (1, 1))
        assert wait_until(lambda: (tmp_path / "lock.json").stat().st_mtime > 1)


def test_a_torn_lock_file_does_not_block(tmp_path):
    (tmp_path / "lock.json").write_text('{"pid": 1')
    with FolderLock(tmp_path):
        assert json.loads((tmp_path / "lock.json").read_text())["pid"] == os.getpid()


def test_of_many_who_find_a_dead_owner_one_gets_the_lock(tmp_path):
    (tmp_path / "lock.json").write_text(json.dumps(asdict(replace(Owner.here(), started=0.0))))
    locks = [FolderLock(tmp_path) for _ in range(8)]
    got: list[FolderLock] = []

    def try_it(lock: FolderLock) -> None:
        try:
            got.append(lock.acquire())
        except FlowBusyError:
            pass

    threads = [threading.Thread(target=try_it, args=(lock,)) for lock in locks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    got[0].release()
