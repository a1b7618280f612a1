"""What a local cluster of our own is like."""

from __future__ import annotations

import gc
import os
import platform
import signal
import socket
import sys
import time

import dask
import pytest

from dflow.flowmanager.cluster import clusters
from dflow.flowmanager.cluster.clusters import resolve


def _faults_of_arrays() -> int:
    """Page faults of 100 arrays of 1 MiB that are made, filled and dropped one after the other, the first left out."""
    import resource

    def fill() -> None:
        assert len(b"x" * 1024**2) == 1024**2

    fill()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        fill()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="settings of glibc")
def test_workers_keep_the_memory_of_an_array_for_the_next(shared_client):
    """Dask's own setting returns it to the system: 256 faults an array."""
    for faults in shared_client.run(_faults_of_arrays).values():
        assert faults < 100 * 64


def test_a_worker_that_is_away_when_dask_looks_for_it_comes_back_all_the_same():
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "0s"}):  # always between its end and its return
        connection = resolve("local", max_workers=1)
        try:
            pids = [next(iter(connection.client.run(os.getpid).values()))]
            for _ in range(2):
                os.kill(pids[-1], signal.SIGKILL)
                end = time.monotonic() + 60.0
                while not (found := set(connection.client.run(os.getpid, on_error="ignore").values()) - set(pids)):
                    assert time.monotonic() < end, "no worker came back"
                    time.sleep(0.1)
                pids += found
            assert len(pids) == 3
        finally:
            connection.close()


def test_a_dashboard_port_that_is_taken_after_we_looked_is_not_worth_a_word(monkeypatch, recwarn):
    """Two flows that start at the same time; the socket that got no port is nobody's affair either."""
    monkeypatch.setattr(clusters, "free_port", lambda wanted: wanted)
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        monkeypatch.setattr(clusters, "DASHBOARD_PORT", taken)
        connection = resolve("local", max_workers=1)
        try:
            gc.collect()
            assert f":{taken}/" not in connection.client.dashboard_link
        finally:
            connection.close()
    told = [str(warning.message) for warning in recwarn]
    assert [text for text in told if "already in use" in text or "('0.0.0.0', 0)" in text] == []
