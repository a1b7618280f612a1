"""Reduce the rows of a column to one value per file, with a cache beside the dataset; statistics of a column."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from isal import isal_zlib

from dflow.dataset.query.distribution import Scan
from dflow.dataset.query.store import Column, DatasetStore
from dflow.errors import QueryError
from dflow.plaintext import get_logger
from dflow.storage.paths import read_regular

logger = get_logger(__name__)

How = Literal["max", "min", "sum", "mean", "std", "count", "any", "all"]

EXACT_QUANTILE_VALUES = 2**26
"""Up to this many values (half a GiB) quantiles are exact; of more values, within 2⁻²⁰ of the range."""

_CRC_BYTES = 4
"""A kept result ends in its CRC-32, after what ``np.load`` reads."""

Array = np.ndarray[Any, np.dtype[Any]]


def reduce_rows(store: DatasetStore, column: Column, how: str, *, cache: Path | None = None) -> Array:
    """Reduce the rows of each file to one value: (n_files, *trailing).

    NaN and the rows of samples that lack the array are left out. A file without rows gives NaN for max, min, mean and
    std (which are float64), 0 for sum and count, False for any and True for all. `std` is that of the population.

    Parameters
    ----------
    how
        One of `How`.
    cache
        A folder for results; ignored if it cannot be written.

    Raises
    ------
    QueryError
        If `how` is no reduction, or the column does not hold numbers.
    """
    if how not in get_args(How):
        raise QueryError(f"no reduction {how!r}; use one of {', '.join(get_args(How))}")
    entry = None if cache is None else cache / store.folder.token / f"{column.group}.{column.name}.{how}.npy"
    cached = None if entry is None else _load(entry, store.n_files)
    if cached is not None:
        return cached
    result = _reduce(store, column, how)
    if entry is not None:
        _save(entry, result)
    return result


def statistics(store: DatasetStore, column: Column) -> dict[str, float]:
    """mean, std, min, max, median, q25 and q75 of all finite values of a column; NaN if there are none."""
    scan = Scan(store, column, parallel=True)
    parts = list(scan.map(_moments_block))
    count = sum(p[0] for p in parts)
    names = ("mean", "std", "min", "max", "median", "q25", "q75")
    if not count:
        return dict.fromkeys(names, float("nan"))
    mean = sum(p[0] * p[1] for p in parts) / count
    variance = sum(p[2] + p[0] * (p[1] - mean) ** 2 for p in parts) / count
    low, high = min(p[3] for p in parts), max(p[4] for p in parts)
    median, q25, q75 = _quantiles(scan, count, low, high, (0.5, 0.25, 0.75))
    return dict(zip(names, (mean, float(np.sqrt(variance)), low, high, median, q25, q75), strict=True))


def _moments_block(scan: Scan, first_row: int, values: Array) -> tuple[int, float, float, float, float]:
    """Count, mean, sum of squared deviations, smallest, largest."""
    kept = finite_values(scan, first_row, values)
    if not len(kept):
        return 0, 0.0, 0.0, np.inf, -np.inf
    x = kept.astype(np.float64)
    mean = float(x.mean())
    return len(x), mean, float(np.square(x - mean).sum()), float(x.min()), float(x.max())


def finite_values(scan: Scan, first_row: int, values: Array) -> Array:
    """The finite values of the valid rows, flat."""
    valid = scan.valid(first_row, values)
    kept = (values if valid is None else values[valid]).reshape(-1)
    return kept[np.isfinite(kept)] if kept.dtype.kind == "f" else kept


def _quantiles(scan: Scan, count: int, low: float, high: float, shares: tuple[float, ...]) -> list[float]:
    if count <= EXACT_QUANTILE_VALUES:
        values = np.concatenate(list(scan.map(finite_values)))
        return [float(q) for q in np.quantile(values, shares)]
    edges = np.linspace(low, high, 2**20 + 1)
    hist = sum(scan.map(_histogram_block, edges))
    cumulative = np.cumsum(hist)
    return [float(edges[np.searchsorted(cumulative, share * count)]) for share in shares]


def _histogram_block(scan: Scan, first_row: int, values: Array, edges: Array) -> Array:
    return np.histogram(finite_values(scan, first_row, values), edges)[0]


def _reduce(store: DatasetStore, column: Column, how: str) -> Array:
    mean = _reduce(store, column, "mean") if how == "std" else None
    state = {
        name: np.full((store.n_files, *column.shape[1:]), _NEUTRAL[name], _state_dtype(name, column))
        for name in _NEEDS[how]
    }
    for first, part in Scan(store, column, parallel=True).map(_reduce_block, how, mean):
        for name, values in part.items():
            target = state[name][first : first + len(values)]
            _JOIN[name](target, values, out=target)
    if how not in ("mean", "std"):
        return state[how]
    with np.errstate(invalid="ignore", divide="ignore"):
        return state["sum"] / state["count"] if how == "mean" else np.sqrt(state["squares"] / state["count"])


_NEEDS: Mapping[str, tuple[str, ...]] = {
    "max": ("max",),
    "min": ("min",),
    "sum": ("sum",),
    "mean": ("sum", "count"),
    "std": ("squares", "count"),
    "count": ("count",),
    "any": ("any",),
    "all": ("all",),
}
_NEUTRAL: Mapping[str, float] = {"max": np.nan, "min": np.nan, "sum": 0, "count": 0, "squares": 0, "any": 0, "all": 1}
_JOIN: Mapping[str, np.ufunc] = {
    "max": np.fmax,
    "min": np.fmin,
    "sum": np.add,
    "count": np.add,
    "squares": np.add,
    "any": np.logical_or,
    "all": np.logical_and,
}


def _state_dtype(name: str, column: Column) -> Any:
    if name in ("any", "all"):
        return np.bool_
    whole = name == "count" or (name == "sum" and column.dtype.kind != "f")
    return np.int64 if whole else np.float64


def _reduce_block(
    scan: Scan, first_row: int, values: Array, how: str, mean: Array | None
) -> tuple[int, dict[str, Array]]:
    """Partial results for the files with rows in a block; `mean` (n_files, …) is needed for squares."""
    first, counts = scan.store.span(scan.column.group).counts_within(first_row, first_row + len(values))
    valid = scan.valid(first_row, values)
    missing = None if valid is None else ~valid.reshape(-1, *(1 for _ in values.shape[1:]))
    if mean is not None:
        values = values - np.repeat(mean[first : first + len(counts)], counts, axis=0)
    filled = counts > 0
    offsets = (np.cumsum(counts) - counts)[filled]
    found: dict[str, Array] = {}
    for name in _NEEDS[how]:
        rows = _prepared(name, values, missing, _state_dtype(name, scan.column))
        part = np.full((len(counts), *values.shape[1:]), _NEUTRAL[name], _state_dtype(name, scan.column))
        if filled.any():
            part[filled] = _JOIN[name].reduceat(rows, offsets, axis=0)
        found[name] = part
    return first, found


def _prepared(name: str, values: Array, missing: Array | None, dtype: Any) -> Array:
    """Rows for the reduction `name`, with missing rows and NaN replaced by its neutral element."""
    if name in ("max", "min"):  # fmax and fmin ignore NaN
        return values if missing is None else np.where(missing, np.nan, values)
    gone = missing
    if values.dtype.kind == "f":
        gone = np.isnan(values) if missing is None else missing | np.isnan(values)
    if name == "count":
        return np.ones(values.shape, dtype) if gone is None else np.broadcast_to(~gone, values.shape).astype(dtype)
    wide = (values != 0) if dtype is np.bool_ else values.astype(dtype)
    wide = wide * wide if name == "squares" else wide
    return wide if gone is None else np.where(gone, dtype(_NEUTRAL[name]), wide)


def _load(entry: Path, n_files: int) -> Array | None:
    try:
        content = read_regular(entry)
        if isal_zlib.crc32(content[:-_CRC_BYTES]).to_bytes(_CRC_BYTES, "little") != content[-_CRC_BYTES:]:
            return None
        values: Array = np.load(io.BytesIO(content), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None  # missing, unreadable or incomplete: computed again
    return values if len(values) == n_files else None


def _save(entry: Path, values: Array) -> None:
    """Write under a temporary name and rename, and remove results of an earlier dataset of this name."""
    temporary = entry.with_name(f".tmp-{entry.name}-{os.getpid()}")
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        np.save(content, values)
        whole = content.getvalue()
        temporary.write_bytes(whole + isal_zlib.crc32(whole).to_bytes(_CRC_BYTES, "little"))
        os.replace(temporary, entry)
    except OSError as error:
        logger.debug("results are not cached in %s: %s", entry.parent, error)
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        return
    for sibling in entry.parent.parent.iterdir():
        if sibling != entry.parent:
            shutil.rmtree(sibling, ignore_errors=True)
