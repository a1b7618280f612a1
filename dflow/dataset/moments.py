"""Mean and standard deviation of columns over chosen samples, in one pass that holds a block of samples at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dflow.dataset.items import SampleReader

Array = np.ndarray[Any, np.dtype[Any]]

_SAMPLES = 512


@dataclass(slots=True)
class Moments:
    """Of each component of the last dimension (a scalar for one-dimensional arrays): count, mean, sum of squared
    deviations.
    """

    count: Array
    mean: Array
    squares: Array

    @classmethod
    def of(cls, values: Array) -> Moments:
        """The moments of some rows; what is not finite is left out."""
        x = values.astype(np.float64).reshape(-1, values.shape[-1] if values.ndim > 1 else 1)
        finite = np.isfinite(x)
        count = finite.sum(axis=0)
        mean = np.where(finite, x, 0).sum(axis=0) / np.maximum(count, 1)
        squares = np.square(np.where(finite, x - mean, 0)).sum(axis=0)
        shape = values.shape[-1:] if values.ndim > 1 else ()
        return cls(count.reshape(shape), mean.reshape(shape), squares.reshape(shape))

    def join(self, other: Moments) -> Moments:
        """Moments of both together (Chan, Golub and LeVeque 1979)."""
        count = self.count + other.count
        shift = other.mean - self.mean
        share = other.count / np.maximum(count, 1)
        squares = self.squares + other.squares + shift**2 * self.count * share
        return Moments(count, self.mean + shift * share, squares)

    @property
    def std(self) -> Array:
        """The population's standard deviation."""
        return np.sqrt(self.squares / np.maximum(self.count, 1))


def column_moments(reader: SampleReader, ids: Array) -> dict[str, Moments]:
    """Moments of every column of a reader over the samples `ids`, ascending."""
    found: dict[str, Moments] = {}
    for start in range(0, len(ids), _SAMPLES):
        samples = reader.read_many(ids[start : start + _SAMPLES])
        for key, values in {**samples.rows, **samples.values}.items():
            part = Moments.of(values)
            found[key] = found[key].join(part) if key in found else part
    return found
