"""Divide files into training, validation and test: pure functions of a membership matrix.

Stratification follows Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data" (ECML PKDD 2011):
the rarest label first, its files dealt to the subsets that still need most of it. The paper deals one file at a time;
here all files of a label are dealt at once, ordered by the other labels they have, so that equal files spread evenly.
That takes one step per label instead of one per file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dflow.dataset.format.stored_split import UNASSIGNED
from dflow.dataset.query.distribution import MAX_CATEGORIES, Binning, Scan, category_bins, choose_bins, membership
from dflow.dataset.query.reductions import finite_values, reduce_rows
from dflow.dataset.query.store import Column, DatasetStore
from dflow.errors import SplitError
from dflow.schema import FILE_GROUP

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Fractions:
    """Shares of the three subsets; they sum to 1."""

    train: float
    validation: float
    test: float

    def __post_init__(self) -> None:
        given = {"train": self.train, "validation": self.validation, "test": self.test}
        for name, share in given.items():
            if isinstance(share, (str, bytes)):
                raise SplitError(
                    f"found {name}={share!r}; train, validation and test must be numbers that sum to 1: pass {name}= "
                    "without quotation marks"
                )
        try:
            shares = self.as_array()
        except (TypeError, ValueError) as error:
            raise SplitError(f"train, validation and test must be numbers that sum to 1: {error}") from error
        if not np.all(np.isfinite(shares)) or np.any(shares < 0) or self.train <= 0:
            raise SplitError(
                f"train={self.train}, validation={self.validation}, test={self.test}: expected shares of 0 to 1 with a "
                "train share above 0, such as train=0.7, validation=0.15, test=0.15"
            )
        if abs(float(shares.sum()) - 1) > 1e-6:
            raise SplitError(
                f"train={self.train}, validation={self.validation} and test={self.test} sum to {shares.sum():g}, "
                "not to 1; pass shares such as train=0.7, validation=0.15, test=0.15"
            )

    def as_array(self) -> Array:
        return np.array([self.train, self.validation, self.test], np.float64)


def target_sizes(n_files: int, fractions: Fractions) -> Array:
    """Return (3,) int64 sizes that sum to `n_files`, nearest to the shares; at least 1 for a share above 0.

    Raises
    ------
    SplitError
        If there are fewer files than subsets that need some.
    """
    shares = fractions.as_array()
    wanted = int((shares > 0).sum())
    if n_files < wanted:
        raise SplitError(
            f"{n_files} files cannot fill {wanted} subsets; set a share to 0 (validation=0 or test=0), or add files"
        )
    sizes = apportion(n_files, shares)
    for subset in np.flatnonzero((sizes == 0) & (shares > 0)):
        sizes[int(np.argmax(sizes))] -= 1
        sizes[subset] = 1
    return sizes


def apportion(total: int, weights: Array, debt: Array | None = None) -> Array:
    """Return whole numbers that sum to `total`, nearest to the weights' shares (largest remainder; ties to the first).

    `debt` (n,) sums what earlier roundings withheld from each entry; the remainders go to the largest. It is updated.
    """
    if total <= 0 or not weights.sum() > 0:
        return np.zeros(len(weights), np.int64)
    exact = weights * (total / weights.sum())
    sizes = np.floor(exact + 1e-9).astype(np.int64)
    claim = exact - sizes if debt is None else np.where(weights > 0, exact - sizes + debt, -np.inf)
    sizes[np.argsort(-np.round(claim, 9), kind="stable")[: total - int(sizes.sum())]] += 1
    if debt is not None:
        debt += exact - sizes
    return sizes


def stratified_split(
    membership: Array,
    fractions: Fractions,
    *,
    seed: int,
    groups: Array | None = None,
    kept: Array | None = None,
) -> Array:
    """Divide files so that every label has the requested share in every subset.

    Parameters
    ----------
    membership
        (n_files, n_labels) bool: which file has which label.
    groups
        (n_files,) int codes; files of one code stay in one subset, and sizes are near the targets instead of equal.
    kept
        (n_files,) subset numbers of an earlier split, −1 for files that it does not have: only those are dealt, so that
        all files together come near the shares; one in a group with earlier members goes where most of them are.

    Returns
    -------
    np.ndarray
        (n_files,) int8: 0 train, 1 validation, 2 test; equal for equal arguments on any machine.
    """
    n_files = len(membership)
    rng = np.random.default_rng(seed)
    member = membership.astype(bool)
    state = _State(
        assigned=np.full(n_files, UNASSIGNED, np.int8),
        capacity=target_sizes(n_files, fractions),
        wanted=member.sum(axis=0)[:, None] * fractions.as_array()[None, :],
        debt=np.zeros(3),
    )
    if kept is not None:
        for subset in range(3):
            state.put(np.flatnonzero(kept == subset), subset, member)
    if groups is not None:
        _deal_groups(state, member, np.asarray(groups), rng)
    for label in _rarest_first(state, member):
        files = np.flatnonzero(member[:, label] & (state.assigned == UNASSIGNED))
        _deal(state, member, _spread(member[files], rng, files), state.wanted[label])
    rest = np.flatnonzero(state.assigned == UNASSIGNED)
    _deal(state, member, rng.permutation(rest), np.maximum(state.capacity, 0).astype(np.float64))
    return state.assigned


@dataclass(slots=True)
class _State:
    """The files dealt so far, and how many are still to deal.

    assigned (n_files,) subset or −1; capacity (3,) files that still fit; wanted (n_labels, 3) files of each label
    still to deal; debt (3,) the sum of rounding errors, so that they do not add up over many rare labels.
    """

    assigned: Array
    capacity: Array
    wanted: Array
    debt: Array

    def put(self, files: Array, subset: int, member: Array) -> None:
        self.assigned[files] = subset
        self.capacity[subset] -= len(files)
        self.wanted[:, subset] -= member[files].sum(axis=0)


def _rarest_first(state: _State, member: Array) -> Sequence[int]:
    """Labels that unassigned files have, rarest first; ties in label order."""
    counts = member[state.assigned == UNASSIGNED].sum(axis=0)
    return [int(label) for label in np.argsort(counts, kind="stable") if counts[label]]


def _spread(member: Array, rng: np.random.Generator, files: Array) -> Array:
    """Files ordered so that those with equal labels are neighbours, in random order among themselves."""
    keys = np.packbits(member, axis=1)
    return files[np.lexsort((rng.random(len(files)), *keys.T))]


def _deal(state: _State, member: Array, files: Array, wanted: Array) -> None:
    """Deal ordered files to subsets: to each as many as are wanted and fit, evenly along the order."""
    if not len(files):
        return
    room = np.maximum(state.capacity, 0)
    quota = np.minimum(apportion(len(files), np.maximum(wanted, 0), state.debt), room)
    missing = len(files) - int(quota.sum())
    while missing > 0:
        left = room - quota
        more = np.minimum(
            apportion(missing, (left if left.any() else np.ones(3)).astype(np.float64)), np.maximum(left, 0)
        )
        if not more.any():  # groups have overfilled the subsets: the largest takes the rest
            more = np.eye(3, dtype=np.int64)[int(np.argmax(room))] * missing
        quota = quota + more
        missing = len(files) - int(quota.sum())
    sequence = _interleave(quota)
    for subset in range(3):
        state.put(files[sequence == subset], subset, member)


def _interleave(quota: Array) -> Array:
    """(sum,) subset numbers, each subset spread evenly: the k-th of n comes at (k + ½)/n."""
    places = np.concatenate([(np.arange(n) + 0.5) / max(n, 1) for n in quota])
    return np.repeat(np.arange(len(quota)), quota)[np.argsort(places, kind="stable")]


def _deal_groups(state: _State, member: Array, groups: Array, rng: np.random.Generator) -> None:
    """Assign every group of two files or more as a whole, the largest first, to the subset that needs it most, and the
    files of a group with members to the subset of most of them.
    """
    if groups.shape != state.assigned.shape:
        raise SplitError(f"group_by gives {groups.shape[0]} values for {len(state.assigned)} files")
    _, codes = np.unique(groups, return_inverse=True)
    _follow_members(state, member, codes)
    codes[state.assigned != UNASSIGNED] = -1
    values, codes, counts = np.unique(codes, return_inverse=True, return_counts=True)
    counts[values < 0] = 0
    order = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[order], np.arange(len(values)), side="right")
    several = np.flatnonzero(counts > 1)
    several = several[np.lexsort((rng.random(len(several)), -counts[several]))]
    open_subsets = state.capacity > 0
    for group in several.tolist():
        files = order[ends[group] - counts[group] : ends[group]]
        labels = np.flatnonzero(member[files].any(axis=0))
        fits = (state.capacity >= len(files)) & open_subsets
        candidates = np.flatnonzero(fits if fits.any() else open_subsets)
        need = state.capacity.astype(np.float64)
        if len(labels):
            total = np.maximum(state.wanted[labels].sum(axis=1, keepdims=True), 1.0)
            need = (state.wanted[labels] / total).sum(axis=0) + 1e-6 * state.capacity
        state.put(files, int(candidates[np.argmax(need[candidates])]), member)


def _follow_members(state: _State, member: Array, codes: Array) -> None:
    """Assign the files whose group has members already to the subset that has most of them, the first of equals."""
    has = state.assigned != UNASSIGNED
    counts = np.zeros((int(codes.max(initial=-1)) + 1, 3), np.int64)
    np.add.at(counts, (codes[has], state.assigned[has]), 1)
    for subset in range(3):
        follows = counts.any(axis=1) & (counts.argmax(axis=1) == subset)
        state.put(np.flatnonzero(follows[codes] & ~has), subset, member)


GEOMETRY = "geometry"
_COUNTS = ("face_count", "edge_count", "body_count")
_MEASURES = ("area", "volume")
_ROW_MEASURES = (("faces", "face_areas"), ("edges", "edge_lengths"))
_SIGNIFICANT_DIGITS = 6
_QUANTILES = 10


def stratification_labels(store: DatasetStore, column: Column, categories: Sequence[Any] | None = None) -> Array:
    """Return the (n_files, n_labels) bool matrix of which file has which label of a column.

    Codes, booleans and integers of at most 1,000 values are labels themselves; other numbers are cut at their deciles.
    If the column has one value per file, files without one (NaN, a missing category) share one more label.
    `categories` restricts the labels.

    Raises
    ------
    SplitError
        If the column has no value, or `categories` are no numbers.
    """
    if categories is not None:
        wanted = np.unique(np.asarray(categories))
        if wanted.dtype.kind not in "biuf":
            raise SplitError(
                f"categories={list(categories)!r} are not numbers, but {column.key} holds numbers; pass its values"
            )
        binning = category_bins(wanted)
    else:
        binning = _binning(Scan(store, column, parallel=True))
    if not binning.n_bins:
        raise SplitError(f"{column.key} has no value to stratify by; choose another key, or key='random'")
    counts: Array = membership(store, column, None, binning=binning)[0]
    found: Array = counts.astype(bool)
    if categories is not None and not found.any():
        raise SplitError(
            f"no file has one of categories={list(categories)!r} in {column.key}; pass values that occur, or leave "
            "categories= out"
        )
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
    """Return (n_files,) int64 codes, equal for files that must stay in one subset.

    Parameters
    ----------
    group_by
        ``"content_hash"`` or any other column of the `.infoset`; ``"geometry"``, files of equal counts, areas and
        volumes (to six digits), such as a copy under another name, in another place or with another STEP header; or
        one value per file.

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
        raise SplitError(
            f"group_by={group_by!r}: no such column in the .infoset; expected 'geometry', one value per file, or one "
            f"of {', '.join(files.columns)}"
        )
    if len(values) != store.n_files:
        raise SplitError(f"group_by gives {len(values)} values for {store.n_files} files")
    codes = pd.factorize(values, use_na_sentinel=True)[0].astype(np.int64)
    alone = codes < 0  # an unknown value makes no group
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
    """Round numbers to six significant digits."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 10.0 ** (_SIGNIFICANT_DIGITS - 1 - np.floor(np.log10(np.abs(values))))
        return np.where(values == 0, 0.0, np.round(values * scale) / scale)
