"""From a column to what a split needs: which file has which label, and which files belong together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from dflow.dataset.distribution import MAX_CATEGORIES, Binning, Scan, category_bins, choose_bins, membership
from dflow.dataset.reduce import finite_values, reduce_rows
from dflow.dataset.store import Column, DatasetStore
from dflow.errors import SplitError
from dflow.schema import FILE_GROUP

GEOMETRY = "geometry"
_COUNTS = ("face_count", "edge_count", "body_count")
_MEASURES = ("area", "volume")
_ROW_MEASURES = (("faces", "face_areas"), ("edges", "edge_lengths"))
_SIGNIFICANT_DIGITS = 6
_QUANTILES = 10

Array = np.ndarray[Any, np.dtype[Any]]


def stratification_labels(store: DatasetStore, column: Column, categories: Sequence[Any] | None = None) -> Array:
    """(n_files, n_labels) bool: which file has which label of a column.

    Codes, booleans and integers of at most 1,000 values are labels themselves; other numbers are cut at their deciles.
    Files that have none (no rows, NaN, a missing category) share one more label where the column has one value a file.
    `categories` restricts the labels to these.

    Raises
    ------
    SplitError
        If the column has no value, or `categories` are no numbers.
    """
    if categories is not None:
        wanted = np.unique(np.asarray(categories))
        if wanted.dtype.kind not in "biuf":
            raise SplitError(
                f"categories={list(categories)!r} are no numbers, but {column.key} holds numbers: pass the codes; "
                "DatasetExplorer.get_descriptions tells the code of a word"
            )
        binning = category_bins(wanted)
    else:
        binning = _binning(Scan(store, column, parallel=True))
    if not binning.n_bins:
        raise SplitError(f"{column.key} has no value at all to stratify by; use key='random'")
    counts: Array = membership(store, column, None, binning=binning)[0]
    found: Array = counts.astype(bool)
    none: Array = ~np.any(found, axis=1)
    if column.group == FILE_GROUP and none.any():
        found = np.concatenate([found, none[:, None]], axis=1)
    some: Array = np.any(found, axis=0)
    return found[:, some]


def _binning(scan: Scan) -> Binning:
    if scan.column.dtype.kind in "iub":
        binning = choose_bins(scan, None)
        if binning.categories is not None and len(binning.categories) <= MAX_CATEGORIES:
            return binning
    values = np.concatenate([np.empty(0), *scan.map(finite_values)])
    edges = np.unique(np.quantile(values, np.linspace(0, 1, _QUANTILES + 1))) if len(values) else np.empty(0)
    return Binning(edges) if len(edges) > 1 else category_bins(edges)


def group_codes(store: DatasetStore, files: pd.DataFrame, group_by: str | Sequence[Any]) -> Array:
    """(n_files,) int64: equal numbers for files that must stay together.

    Parameters
    ----------
    group_by
        ``"content_hash"`` or any other column of the `.infoset`; ``"geometry"``, files of equal counts, areas and
        volumes (to six digits), which a copy under another name, place or STEP header still has; or one value a file.

    Raises
    ------
    SplitError
        If there is no such column, or the number of values is wrong.
    """
    if not isinstance(group_by, str):
        values = pd.Series(list(group_by))
    elif group_by in files:
        values = files[group_by]
    elif group_by == GEOMETRY:
        return _geometry_codes(store)
    else:
        raise SplitError(f"group_by={group_by!r}: no such column in the .infoset ({', '.join(files.columns)})")
    if len(values) != store.n_files:
        raise SplitError(f"group_by gives {len(values)} values for {store.n_files} files")
    codes = pd.factorize(values, use_na_sentinel=True)[0].astype(np.int64)
    alone = codes < 0  # an unknown value says nothing about who belongs together
    codes[alone] = codes.max(initial=-1) + 1 + np.arange(int(alone.sum()))
    return codes


def _geometry_codes(store: DatasetStore) -> Array:
    values = store.file_values
    counts = [store.file_value(n).astype(np.float64) for n in _COUNTS if n in values]
    measures = [store.file_value(n).astype(np.float64) for n in _MEASURES if n in values]
    for group, name in _ROW_MEASURES:
        if group in store.columns and name in store.group(group):
            measures.append(reduce_rows(store, store.column(group, name), "sum"))
            counts.append(store.span(group).count.astype(np.float64))
    if not measures:
        raise SplitError(
            "group_by='geometry' needs the file values area or volume, or the arrays face_areas or edge_lengths"
        )
    table = np.stack([*counts, *(_rounded(m) for m in measures)], axis=1)
    table = np.nan_to_num(table, nan=-1.0) + 0.0  # one NaN, one zero
    return np.unique(table, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _rounded(values: Array) -> Array:
    """Numbers to six significant digits."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 10.0 ** (_SIGNIFICANT_DIGITS - 1 - np.floor(np.log10(np.abs(values))))
        return np.where(values == 0, 0.0, np.round(values * scale) / scale)
