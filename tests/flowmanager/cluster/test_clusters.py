"""What a local cluster of our own is like."""

from __future__ import annotations

import platform
import sys

import pytest


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
