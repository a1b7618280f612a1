"""What isolation costs: no-op items through `run_batch`, in a child and in this process, and the replacing of a child.

Run ``python tests/benchmarks/isolation.py``. Wall time and CPU time of worker and child together, per item; CPU time
is what counts on a machine that does other things, too.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

from dflow.flowmanager.plan.batch import Batch, Limits
from dflow.flowmanager.worker import worker
from dflow.flowmanager.worker.conversation import Supervisor
from tests.flowmanager.batches import make_batch

N_ITEMS = 2000
N_ROUNDS = 3
N_RESTARTS = 20
ONE_CHILD = Limits(max_files_per_child=10**9)


def nothing(value):
    return value


def small_store(value, storage):
    storage.save_data("faces/areas", np.zeros(100, np.float32))


def child_cpu_seconds(pid: int) -> float:
    """CPU time of the child so far."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def per_item(batch: Batch, pid: int | None) -> tuple[float, float]:
    """Wall and CPU milliseconds per item, the best of some rounds."""
    rounds = []
    for _ in range(N_ROUNDS):
        wall, cpu = time.perf_counter(), time.process_time() + (child_cpu_seconds(pid) if pid else 0.0)
        result = worker.run_batch(batch)
        assert all(record.status == "succeeded" for record in result.items), result.items[0]
        cpu = time.process_time() + (child_cpu_seconds(pid) if pid else 0.0) - cpu
        rounds.append((time.perf_counter() - wall, cpu))
    return tuple(1000 * min(column) / len(batch.items) for column in zip(*rounds, strict=True))  # type: ignore[return-value]


def restart_milliseconds() -> float:
    """From a child's violent end to the next one's being ready."""
    supervisor = Supervisor()
    supervisor.prewarm(previews=False)
    started = time.perf_counter()
    for _ in range(N_RESTARTS):
        pid = supervisor.child_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.0005)
        supervisor.retire()
        supervisor.prewarm(previews=False)
    elapsed = time.perf_counter() - started
    supervisor.close()
    return 1000 * elapsed / N_RESTARTS


RESTORING = """
import os, sys, time
from dflow.flowmanager.worker.surroundings import Surroundings

printed = os.dup(1)
surroundings = Surroundings(os.open(os.devnull, os.O_WRONLY))
surroundings.remember()
rounds = []
for _ in range(10):
    started = time.process_time()
    for _ in range(2000):
        surroundings.restore()
    rounds.append((time.process_time() - started) / 2000)
os.write(printed, b"%.1f" % (1e6 * min(rounds)))
"""


def restoring_microseconds() -> float:
    """CPU time of restoring the process's state after an item that has changed nothing, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", RESTORING], capture_output=True, text=True, check=True)
    return float(done.stdout)


def report(title: str, function: Callable[..., object], root: Path, *feeds: str) -> float:
    """Print one line per way to run `function`; the CPU milliseconds that isolation adds per item."""
    cpu = {}
    for isolation in ("inline", "process"):
        pid = worker.prewarm(previews=False) if isolation == "process" else None
        batch = make_batch(function, range(N_ITEMS), root, *feeds, limits=ONE_CHILD, isolation=isolation)  # type: ignore[arg-type]
        wall, cpu[isolation] = per_item(batch, pid)
        print(f"{title:12} {isolation:8} {wall:7.3f} ms wall  {cpu[isolation]:7.3f} ms CPU per item")
    return cpu["process"] - cpu["inline"]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        overhead = report("no-op", nothing, root, "item")
        report("small store", small_store, root, "item", "storage")
    print(f"isolation adds {overhead:.3f} ms of CPU time to an item; the limit is 0.5")
    print(f"restoring the state after an item takes {restoring_microseconds():.1f} µs of it; the limit is 10")
    print(f"a dead child is replaced in {restart_milliseconds():.1f} ms")
    worker.shutdown()
    sys.exit(overhead >= 0.5)


if __name__ == "__main__":
    main()
