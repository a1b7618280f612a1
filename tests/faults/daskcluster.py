"""A Dask cluster of separate processes: a scheduler, and workers each below a nanny of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from dflow.flowmanager.cluster.clusters import free_port
from tests.faults.gates import wait_until

N_WORKERS = 2


class DaskCluster:
    """Started at once; `close` kills what is left."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._log = (folder / "log").open("wb")
        port = unused_port()
        self.address = f"tcp://127.0.0.1:{port}"
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        self.nannies = [
            self._start(
                "worker", self.address, "--nthreads", "1", "--no-dashboard", "--local-directory", str(folder / str(n)),
                "--death-timeout", "5",
            )
            for n in range(N_WORKERS)
        ]  # fmt: skip

    def kill_scheduler(self) -> None:
        """Without a word to anybody."""
        self.scheduler.kill()
        self.scheduler.wait()

    def kill_node(self, process_id: int) -> None:
        """Kill the nanny and the worker above a process at once, as a machine that loses its power."""
        nanny = next(n for n in self.nannies if process_id in [p.pid for p in family(n.pid)])
        for process in reversed(family(nanny.pid)):
            if process.is_running() and "dflow" not in " ".join(process.cmdline()):
                os.kill(process.pid, signal.SIGKILL)
        nanny.wait()

    def close(self) -> None:
        """End everything, and see that nothing stays."""
        started = [self.scheduler, *self.nannies]
        below = [p for process in started if process.poll() is None for p in family(process.pid)]
        for process in started:
            process.kill()
            process.wait()
        _, alive = psutil.wait_procs(below, timeout=20)
        for process in alive:
            process.kill()
        self._log.close()
        assert alive == [], f"processes stayed when their nannies died: {alive}"

    def _start(self, command: str, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_" + command, *arguments],
            stdout=self._log,
            stderr=self._log,
            cwd=self._log.name.removesuffix("/log"),
        )


def family(process_id: int) -> list[psutil.Process]:
    """A process and all below it."""
    try:
        process = psutil.Process(process_id)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def worker_above(process_id: int) -> int:
    """The Dask worker that a child belongs to: the fork server's parent."""
    return psutil.Process(process_id).parents()[1].pid


def fork_server_above(process_id: int) -> int:
    """The process that a child was forked from."""
    return psutil.Process(process_id).parents()[0].pid


def kill_and_wait(process_id: int) -> None:
    """SIGKILL, and wait until the process is gone."""
    process = psutil.Process(process_id)
    process.kill()
    wait_until(lambda: _is_gone(process), "it lives on", 20)


def _is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it went between the two questions
        return True


def unused_port() -> int:
    """A port that nobody listens at now."""
    for port in range(18_786 + os.getpid() % 1000, 30_000):
        if free_port(port):
            return port
    raise AssertionError("no port is free")
