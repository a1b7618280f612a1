"""The folder's lock: a live owner is respected, a dead one never blocks."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from dataclasses import asdict, replace

import psutil
import pytest

from dflow.errors import FlowBusyError
from dflow.flowmanager.lock import STALE_SECONDS, FolderLock, Owner

HOLD = """
import sys, time
from pathlib import Path
from dflow.flowmanager.lock import FolderLock
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
    assert own.is_alive(0.0)
    assert not replace(own, started=own.started - 1000).is_alive(0.0)
    assert psutil.pid_exists(own.pid)


def test_an_owner_on_another_host_lives_by_its_heartbeat(tmp_path):
    there = replace(Owner.here(), host="not-" + socket.gethostname(), pid=1)
    assert there.is_alive(STALE_SECONDS - 1)
    assert not there.is_alive(STALE_SECONDS + 1)
    lock = tmp_path / "lock.json"
    lock.write_text(json.dumps(asdict(there)))
    with pytest.raises(FlowBusyError):
        FolderLock(tmp_path).acquire()
    os.utime(lock, (1, 1))
    with FolderLock(tmp_path):
        pass


def test_a_torn_lock_file_does_not_block(tmp_path):
    (tmp_path / "lock.json").write_text('{"pid": 1')
    with FolderLock(tmp_path):
        pass


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
