"""Figures with their errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

LEVELS = 3


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and how far off it may be."""

    value: float
    error: float

    def allows(self, value: float, slack: float = 0.0) -> bool:
        """Whether `value` is right as far as the arbiter can tell."""
        return abs(value - self.value) <= self.error + slack


def extrapolate(values: list[float]) -> Estimate:
    """The limit of values whose error falls to a quarter from each to the next."""
    if len(values) < 2 or not np.isfinite(values).all():
        return Estimate(values[-1] if values else math.nan, math.inf)
    if len(values) == 2:
        step = (values[1] - values[0]) / 3
        return Estimate(values[1] + step, abs(step))
    before = values[-2] + (values[-2] - values[-3]) / 3
    after = values[-1] + (values[-1] - values[-2]) / 3
    rounding = 1e-10 * max(map(abs, values))
    first, second = abs(values[-2] - values[-3]), abs(values[-1] - values[-2])
    falling = second <= max(0.5 * first, rounding)  # else the finest steps are still too coarse
    return Estimate(after, abs(after - before) + (1e-3 if falling else 10.0) * second + rounding)
