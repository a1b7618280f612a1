"""`Pool`: one for each process, whatever is forked and however many threads ask for it."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from dflow.flowmanager.worker import pool as pool_module
from dflow.flowmanager.worker.pool import Pool, pool

COPY = """
import os
import sys
import warnings

from dflow.flowmanager.worker import worker
from dflow.flowmanager.worker.pool import pool
from tests.flowmanager.batches import is_running

warnings.simplefilter("ignore", DeprecationWarning)  # a fork in a process with threads
pid = worker.prewarm(previews=False)
original = pool()
copy = os.fork()
if copy == 0:
    worker.cancel()
    own = pool() is not original and pool().child_pids() == []
    sys.exit(7 if own else 1)  # with all that is to be done at exit
_, status = os.waitpid(copy, 0)
print(os.waitstatus_to_exitcode(status), pool() is original, pool().child_pids() == [pid], is_running(pid))
"""


def test_a_forked_copy_leaves_the_originals_children_alone():
    done = subprocess.run([sys.executable, "-c", COPY], capture_output=True, text=True, check=True, timeout=280)
    assert done.stdout.split() == ["7", "True", "True", "True"], done.stderr


def test_all_threads_of_a_process_share_one_pool(monkeypatch):
    monkeypatch.setattr(pool_module, "_POOLS", {})
    with ThreadPoolExecutor(16) as threads:
        found = set(threads.map(lambda _: pool(), range(64)))
    assert len(found) == 1


def test_a_lease_gives_an_idle_supervisor_first_and_never_one_twice():
    one = Pool()
    with one.lease() as first, one.lease() as second:
        assert first is not second
    with one.lease() as third:
        assert third in (first, second)
    one.close()


def test_what_is_leased_when_a_pool_is_closed_is_cancelled_and_not_kept():
    one = Pool()
    with one.lease() as leased:
        one.close()
        assert leased._cancelled.is_set()
    with one.lease() as fresh:
        assert fresh is not leased
        assert not fresh._cancelled.is_set()
