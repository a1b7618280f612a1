"""Variables that can be plotted and brushed: one value per file, or many rows per file.

A variable has bins, counts the entries in each (of all files, or some), and finds the files of a brushed range. All
work is bounded by files × bins, so that 162,000 parts with millions of faces take milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

N_BINS = 40
MAX_CATEGORIES = 40
"""Integers with at most this many distinct values get one bar per value; others are binned."""
SKEW = 30.0
"""Positive numbers whose maximum is more than this many times the median get bins of equal ratio: bins of equal width
would put nearly all of them into one bar."""


class Variable(Protocol):
    """A variable with a histogram. `edges` (n + 1,) ascending; `labels` (n,) for bars that stand for categories."""

    @property
    def key(self) -> str: ...
    @property
    def edges(self) -> Floats: ...
    @property
    def labels(self) -> Sequence[str] | None: ...
    @property
    def unit(self) -> str: ...
    def counts(self, files: Mask | None = None) -> Counts:
        """Count the entries in each bin, of all files or of those in the mask: (n,) int64."""

    def snap(self, low: float, high: float) -> tuple[float, float] | None:
        """Return the range to apply for a brushed one; None if it holds no bar."""

    def files_within(self, low: float, high: float) -> Mask:
        """Return which files have an entry in [low, high] (a result of `snap`): (n_files,) bool."""


@dataclass(frozen=True)
class FileVariable:
    """One number or one category per file.

    `values` (n_files,) float64, NaN where missing; `categories` (code, label) pairs by ascending code, or None.
    """

    key: str
    values: Floats
    categories: tuple[tuple[int, str], ...] | None = None
    unit: str = "files"

    @cached_property
    def edges(self) -> Floats:
        if self.categories is not None:
            return category_edges([code for code, _ in self.categories])
        return number_edges(self.values)

    @cached_property
    def labels(self) -> Sequence[str] | None:
        return None if self.categories is None else [label for _, label in self.categories]

    @cached_property
    def _is_whole(self) -> bool:
        finite = self.values[np.isfinite(self.values)]
        return bool((finite == np.rint(finite)).all())

    @cached_property
    def _bins(self) -> npt.NDArray[np.intp]:
        """The bin of each file, n for no bin: (n_files,)."""
        values = self.values
        if self.categories is not None:
            codes = np.array([code for code, _ in self.categories], np.float64)
            found = np.searchsorted(codes, values)
            known = codes[np.minimum(found, len(codes) - 1)] == values if len(codes) else np.zeros(len(values), bool)
            return np.where(known, found, len(codes))
        n = len(self.edges) - 1
        found = np.searchsorted(self.edges, values, side="right") - 1
        found = np.where(values == self.edges[-1], n - 1, found)
        return np.where(np.isfinite(values) & (found >= 0), np.minimum(found, n), n)

    def counts(self, files: Mask | None = None) -> Counts:
        bins = self._bins if files is None else self._bins[files]
        return np.bincount(bins, minlength=len(self.edges))[: len(self.edges) - 1]

    def snap(self, low: float, high: float) -> tuple[float, float] | None:
        if self.categories is not None:
            return snap_to_bins(self.edges, low, high)
        if not self._is_whole:
            return low, high
        first, last = float(np.ceil(low)), float(np.floor(high))
        return (first, last) if first <= last else (float(np.rint((low + high) / 2)),) * 2

    def files_within(self, low: float, high: float) -> Mask:
        if self.categories is not None:
            inside = bins_within(self.edges, low, high)
            return np.append(inside, False)[self._bins]
        return (self.values >= low) & (self.values <= high)

    def names_within(self, low: float, high: float) -> list[tuple[int, str]]:
        """The categories of a range."""
        inside = bins_within(self.edges, low, high)
        return [category for category, chosen in zip(self.categories or (), inside, strict=True) if chosen]


@dataclass(frozen=True)
class RowVariable:
    """Many numbers per file, kept as counts per file and bin.

    `matrix` (n_files, n) int32; `edges` (n + 1,); `labels` for categories; `codes` (n,) the categories' codes.
    """

    key: str
    matrix: npt.NDArray[np.int32]
    edges: Floats
    labels: Sequence[str] | None = None
    codes: tuple[int, ...] | None = None
    unit: str = "rows"

    def counts(self, files: Mask | None = None) -> Counts:
        chosen = self.matrix if files is None else self.matrix[files]
        return chosen.sum(axis=0, dtype=np.int64)

    def snap(self, low: float, high: float) -> tuple[float, float] | None:
        return snap_to_bins(self.edges, low, high)

    def files_within(self, low: float, high: float) -> Mask:
        chosen: Mask = np.asarray(self.matrix[:, bins_within(self.edges, low, high)].any(axis=1))
        return chosen

    def names_within(self, low: float, high: float) -> list[tuple[int, str]]:
        """The categories of a range."""
        inside = bins_within(self.edges, low, high)
        pairs = zip(self.codes or (), self.labels or (), strict=True)
        return [category for category, chosen in zip(pairs, inside, strict=True) if chosen]


def number_edges(values: Floats, n_bins: int = N_BINS) -> Floats:
    """Return edges of equal bins over the finite values; of whole width for whole numbers, with the first value in the
    middle of a bin of width 1.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.array([0.0, 1.0])
    low, high = float(finite.min()), float(finite.max())
    if max(-low, high) < 2**50 and (finite == np.rint(finite)).all():
        width = max(1.0, float(np.ceil((high - low + 1) / n_bins)))
        n = int((high - low) // width) + 1
        return np.asarray(low - 0.5 + width * np.arange(n + 1), np.float64)
    return row_edges(low, float(np.median(finite)), high, n_bins)


def row_edges(low: float, median: float, high: float, n_bins: int = N_BINS) -> Floats:
    """Return the edges of bins from minimum, median and maximum (NaN without values)."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return np.array([0.0, 1.0])
    if high <= low:
        return np.array([low - 0.5, low + 0.5]) if abs(low) < 1e15 else np.array([low, np.nextafter(low, np.inf)])
    if is_skewed(low, median, high):
        return np.geomspace(low, high, n_bins + 1)
    # Numbers that differ in their last digits only have fewer steps between them than bins.
    return np.unique(np.linspace(low, high, n_bins + 1))


def is_skewed(low: float, median: float, high: float) -> bool:
    """Whether bins of equal ratio show these numbers better than bins of equal width."""
    return low > 0 and high > SKEW * median


def is_logarithmic(edges: Floats) -> bool:
    """Whether the bins are of equal ratio."""
    return len(edges) > 2 and edges[0] > 0 and bool(np.allclose(edges[1:] / edges[:-1], edges[1] / edges[0], rtol=1e-6))


def category_edges(codes: Sequence[int]) -> Floats:
    """Return edges of bars of width 1 around 0, 1, 2 …: categories lie side by side, whatever their codes are."""
    return np.arange(len(codes) + 1, dtype=np.float64) - 0.5


def bins_within(edges: Floats, low: float, high: float) -> Mask:
    """Return which bins have their middle in [low, high]: (n,) bool."""
    middle = np.sqrt(edges[:-1] * edges[1:]) if is_logarithmic(edges) else (edges[:-1] + edges[1:]) / 2
    inside: Mask = (middle >= low) & (middle <= high)
    return inside


def snap_to_bins(edges: Floats, low: float, high: float) -> tuple[float, float] | None:
    """Return the range of the bins whose middle it holds, else that of the one bin that holds it; None without one."""
    chosen = np.flatnonzero(bins_within(edges, low, high))
    if not len(chosen):
        inside = np.flatnonzero((edges[:-1] <= low) & (high <= edges[1:]))
        if not len(inside):
            return None
        chosen = inside[:1]
    return float(edges[chosen[0]]), float(edges[chosen[-1] + 1])
