"""Histograms of a column and the files of each bin, block by block: one pass for the range, one for the counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.base import compute
from dask.delayed import delayed

from dflow.dataset.query.store import Column, DatasetStore
from dflow.dataset.query.xarrays import EAGER_BYTES, block_rows, blocks
from dflow.errors import QueryError
from dflow.plaintext import get_logger
from dflow.schema import FILE_GROUP

logger = get_logger(__name__)

MAX_CATEGORIES = 1000
"""Integers with at most this many different values are categories."""

MAX_CODE_BINS = 10_000
"""With `bins=None`, integers up to this range have one bin each."""

_DENSE_CELLS = 2**25
_LARGEST = np.iinfo(np.int64).max

Array = np.ndarray[Any, np.dtype[Any]]
Bins = int | Sequence[float] | Array | None


@dataclass(frozen=True, slots=True)
class Binning:
    """The bins of a distribution: `edges` (n + 1,) float64; `categories` (n,) if each bin is one value."""

    edges: Array
    categories: Array | None = None
    uniform: bool = False

    @property
    def n_bins(self) -> int:
        return len(self.edges) - 1

    def index(self, values: Array) -> Array:
        """(n,) int64: the bin number of each value, `n_bins` for a value in no bin (NaN, or outside)."""
        if self.categories is not None:
            return self._category_index(values)
        x = values.astype(np.float64, copy=False)
        n = self.n_bins
        with np.errstate(invalid="ignore"):
            if not self.uniform:
                index = np.searchsorted(self.edges, x, side="right") - 1
            else:
                scaled = (x - self.edges[0]) * (n / (self.edges[-1] - self.edges[0]))
                index = np.clip(scaled, -1, n).astype(np.int64)  # NaN becomes any number, corrected below
                inside = np.clip(index, 0, n - 1)
                index = inside - (x < self.edges[inside]) + ((x >= self.edges[inside + 1]) & (inside != n - 1))
            index[x == self.edges[-1]] = n - 1
            index[~((x >= self.edges[0]) & (x <= self.edges[-1]))] = n
        return index

    def _category_index(self, values: Array) -> Array:
        assert self.categories is not None
        low, high = int(self.categories[0]), int(self.categories[-1])
        if values.dtype.kind not in "iub" or high - low > 2**20 or high > _LARGEST:
            index = np.clip(np.searchsorted(self.categories, values), 0, self.n_bins - 1)
            return np.where(self.categories[index] == values, index, self.n_bins)
        table = np.full(high - low + 2, self.n_bins, np.int64)
        table[self.categories.astype(np.int64) - low] = np.arange(self.n_bins)
        shifted = values.astype(np.int64) - low
        return table[np.where((shifted >= 0) & (shifted <= high - low), shifted, high - low + 1)]


@dataclass(frozen=True, slots=True)
class Distribution:
    """Row counts per bin, and the ascending ids of the files with a row in it. `n_missing` rows are in no bin."""

    binning: Binning
    hist: Array
    files: list[Array]
    n_missing: int


def distribution(store: DatasetStore, column: Column, bins: Bins = 10, *, parallel: bool = True) -> Distribution:
    """Compute the distribution of a column.

    Parameters
    ----------
    bins
        A number of equal bins between the smallest and the largest finite value; edges; or None. With None,
        categories, booleans and integers have one bin per integer from the lowest to the highest, of width 1 and
        centred on it; if these would be more than `MAX_CODE_BINS`, categories, and integers of at most
        `MAX_CATEGORIES` values, have one bin per value that occurs, from the value − 0.5 on. Other values have as many
        equal bins as Sturges' rule gives.
    parallel
        Whether the active client or threads may compute blocks.

    Notes
    -----
    Missing values (fill rows, code −1 of a categorical value) and NaN are counted in `n_missing` and are in no bin. All
    entries of a row with several values count.
    """
    scan = Scan(store, column, parallel=parallel)
    binning = choose_bins(scan, bins, fill=True)
    hist = np.zeros(binning.n_bins + 1, np.int64)
    files: list[list[Array]] = [[] for _ in range(binning.n_bins)]
    for counts, found in scan.map(_bin_block, binning):
        hist += counts
        for collected, ids in zip(files, found, strict=True):
            collected.append(ids)
    joined = [_join(parts) for parts in files]
    return Distribution(binning, hist[:-1], joined, int(hist[-1]))


def membership(
    store: DatasetStore, column: Column, bins: Bins, *, binning: Binning | None = None, parallel: bool = True
) -> tuple[Array, Binning]:
    """Count the values of each file in each bin (or given category): (n_files, n_bins) int64."""
    scan = Scan(store, column, parallel=parallel)
    binning = choose_bins(scan, bins) if binning is None else binning
    counts = np.zeros((store.n_files, binning.n_bins), np.int64)
    for first, part in scan.map(_count_block, binning):
        counts[first : first + len(part)] += part
    return counts, binning


class Scan:
    """The blocks of rows of one column."""

    def __init__(self, store: DatasetStore, column: Column, *, parallel: bool) -> None:
        if column.dtype.kind not in "iufb":
            raise QueryError(f"{column.key} holds {column.dtype} values; use a column of numbers")
        self.store, self.column = store, column
        self.ranges = blocks(column.n_rows, block_rows(column.row_bytes))
        self.parallel = parallel and column.n_bytes > EAGER_BYTES
        self.categorical = column.group == FILE_GROUP and column.name in store.categorical

    def map(self, function: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
        """Yield `function(scan, first row, values, *arguments)` for every block, in order."""
        calls = [(self, low, high, function, arguments) for low, high in self.ranges]
        if not self.parallel:
            yield from (_apply(*call) for call in calls)
            return
        task = delayed(_apply, pure=False)
        results = compute(*(task(*call) for call in calls))  # type: ignore[no-untyped-call]  # dask publishes no types
        yield from results

    def values(self, low: int, high: int) -> Array:
        return self.store.read(self.column.group, self.column.name, low, high)

    def valid(self, first_row: int, values: Array) -> Array | None:
        """(n_rows,) bool: which rows are of samples with the array, and not of code −1; None if all are."""
        mask: Array | None = None
        present = self.store.present(self.column.group, self.column.name)
        if present is not None:
            first, counts = self.store.span(self.column.group).counts_within(first_row, first_row + len(values))
            mask = np.repeat(present[first : first + len(counts)], counts)
            mask = None if mask.all() else mask
        if self.categorical and values.dtype.kind == "i":
            known = values.reshape(len(values), -1)[:, 0] >= 0
            mask = known if mask is None else mask & known
        return mask


def choose_bins(scan: Scan, bins: Bins, *, fill: bool = False) -> Binning:
    """The binning for the requested bins; `fill` adds the integers between the categories."""
    if bins is not None and not isinstance(bins, (int, np.integer)):
        return _given_edges(scan, bins)
    kind = scan.column.dtype.kind
    if bins is None and kind in "iub":
        categories = _categories(scan)
        if fill and len(categories) and int(categories[-1]) - int(categories[0]) < MAX_CODE_BINS:
            every = range(int(categories[0]), int(categories[-1]) + 1)
            return category_bins(np.array(every, categories.dtype))
        if len(categories) <= MAX_CATEGORIES or scan.categorical:
            return category_bins(categories)
    low, high, count = np.inf, -np.inf, 0
    for block_low, block_high, block_count in scan.map(_range_block):
        low, high, count = min(low, block_low), max(high, block_high), count + block_count
    if not count:
        low, high = 0.0, 1.0
    elif low == high:
        low, high = low - 0.5, high + 0.5  # as in numpy.histogram
    n_bins = int(np.ceil(np.log2(max(count, 1)) + 1)) if bins is None else int(bins)
    if n_bins < 1:
        raise QueryError(f"bins={bins!r}: use a number of at least 1, ascending edges, or None")
    return Binning(np.linspace(low, high, n_bins + 1), uniform=True)


def category_bins(categories: Array) -> Binning:
    """One bin per value, from the value − 0.5 on: ``int(edges[i] + 0.5)`` is the value if it is an integer."""
    values = np.asarray(categories)
    x = values.astype(np.float64)
    if not len(x):
        return Binning(np.array([0.0]), values)
    return Binning(np.append(x - 0.5, x[-1] + 0.5), values)


def _given_edges(scan: Scan, bins: Sequence[float] | Array) -> Binning:
    edges = np.asarray(bins, np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not np.all(np.diff(edges) > 0):
        raise QueryError(f"bins={bins!r} of {scan.column.key}: use ascending edges, a number of bins, or None")
    return Binning(edges)


def _categories(scan: Scan) -> Array:
    found = [part for part in scan.map(_unique_block) if len(part)]
    return np.unique(np.concatenate(found)) if found else np.empty(0, scan.column.dtype)


def _apply(scan: Scan, low: int, high: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return function(scan, low, scan.values(low, high), *arguments)


def _kept(scan: Scan, first_row: int, values: Array) -> Array:
    valid = scan.valid(first_row, values)
    return (values if valid is None else values[valid]).reshape(-1)


def _unique_block(scan: Scan, first_row: int, values: Array) -> Array:
    kept = _kept(scan, first_row, values)
    if not len(kept) or kept.dtype == bool:
        return np.unique(kept)
    low, high = int(kept.min()), int(kept.max())
    if high - low < 2**20 and high <= _LARGEST:  # counting beats sorting
        return (np.flatnonzero(np.bincount(kept.astype(np.int64) - low)) + low).astype(kept.dtype)
    return np.unique(kept)


def _range_block(scan: Scan, first_row: int, values: Array) -> tuple[float, float, int]:
    kept = _kept(scan, first_row, values)
    if kept.dtype.kind == "f" and not np.isfinite(kept.sum()):
        kept = kept[np.isfinite(kept)]
    if not len(kept):
        return np.inf, -np.inf, 0
    return float(kept.min()), float(kept.max()), len(kept)


def _bin_index(scan: Scan, first_row: int, values: Array, binning: Binning) -> Array:
    index = binning.index(values.reshape(-1))
    valid = scan.valid(first_row, values)
    if valid is not None:
        index.reshape(len(values), -1)[~valid] = binning.n_bins
    return index


def _file_cells(scan: Scan, first_row: int, values: Array, binning: Binning) -> tuple[int, int, Array, Array]:
    """The first file, the number of files, and for every value the number of its (file, bin) cell and of its bin."""
    index = _bin_index(scan, first_row, values, binning)
    first, counts = scan.store.span(scan.column.group).counts_within(first_row, first_row + len(values))
    width = len(index) // max(len(values), 1)
    cells = np.repeat(np.arange(len(counts)) * (binning.n_bins + 1), counts * width) + index
    return first, len(counts), cells, index


def _bin_block(scan: Scan, first_row: int, values: Array, binning: Binning) -> tuple[Array, list[Array]]:
    first, n_files, cells, index = _file_cells(scan, first_row, values, binning)
    width = binning.n_bins + 1
    hist = np.bincount(index, minlength=width)
    if n_files * width <= _DENSE_CELLS:
        dense = np.zeros(n_files * width, bool)
        dense[cells] = True
        table = np.ascontiguousarray(dense.reshape(n_files, width).T)
        return hist, [np.flatnonzero(row) + first for row in table[:-1]]
    file_index, bin_index = np.divmod(np.unique(cells), width)
    order = np.argsort(bin_index, kind="stable")
    ends = np.searchsorted(bin_index[order], np.arange(1, width))
    return hist, [part + first for part in np.split(file_index[order], ends)[:-1]]


def _count_block(scan: Scan, first_row: int, values: Array, binning: Binning) -> tuple[int, Array]:
    first, n_files, cells, _ = _file_cells(scan, first_row, values, binning)
    width = binning.n_bins + 1
    return first, np.bincount(cells, minlength=n_files * width).reshape(n_files, width)[:, :-1]


def _join(parts: list[Array]) -> Array:
    """Join ascending ids of consecutive blocks; a file in two blocks is kept once."""
    ids = np.concatenate(parts) if parts else np.empty(0, np.int64)
    return ids[np.concatenate([[True], ids[1:] != ids[:-1]])] if len(ids) else ids
