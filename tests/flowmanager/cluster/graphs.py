"""Independent nodes for tests of engines."""

from __future__ import annotations

from dask.delayed import Delayed, delayed


def numbers(n: int) -> list[Delayed]:
    """Nodes that give 0, 1, … n - 1."""
    return [delayed(int, pure=False)(number, dask_key_name=f"number-{number}") for number in range(n)]
