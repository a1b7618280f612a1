"""Dividing files into training, validation and test: pure functions over a membership matrix.

Stratification follows Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data" (ECML PKDD 2011):
the rarest label first, its files dealt to the subsets that still want most of it. Where the paper deals one file at a
time, all files of a label are dealt at once here, ordered by the other labels they carry, so that equal files spread
evenly; that takes one step a label instead of one a file. One label a file is the special case in which no later
label is touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dflow.errors import SplitError

SUBSETS = ("train", "validation", "test")
UNASSIGNED = -1

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Fractions:
    """Shares of the three subsets; they sum to 1."""

    train: float
    validation: float
    test: float

    def __post_init__(self) -> None:
        try:
            shares = self.as_array()
        except (TypeError, ValueError) as error:
            raise SplitError(f"train, validation and test are numbers: {error}") from error
        if not np.all(np.isfinite(shares)) or np.any(shares < 0) or self.train <= 0:
            raise SplitError(
                f"train={self.train}, validation={self.validation}, test={self.test}: shares of 0 to 1 with a train "
                "share above 0 were expected"
            )
        if abs(float(shares.sum()) - 1) > 1e-6:
            raise SplitError(
                f"train={self.train}, validation={self.validation} and test={self.test} sum to {shares.sum():g}, "
                "not to 1"
            )

    def as_array(self) -> Array:
        return np.array([self.train, self.validation, self.test], np.float64)


def target_sizes(n_files: int, fractions: Fractions) -> Array:
    """(3,) int64 sizes that sum to `n_files`, nearest to the shares; a share above 0 gets a file where there are
    enough.

    Raises
    ------
    SplitError
        If there are fewer files than subsets that want some.
    """
    shares = fractions.as_array()
    wanted = int((shares > 0).sum())
    if n_files < wanted:
        raise SplitError(f"{n_files} files cannot fill {wanted} subsets; set the share of some to 0")
    sizes = apportion(n_files, shares)
    for subset in np.flatnonzero((sizes == 0) & (shares > 0)):
        sizes[int(np.argmax(sizes))] -= 1
        sizes[subset] = 1
    return sizes


def apportion(total: int, weights: Array, debt: Array | None = None) -> Array:
    """Whole numbers that sum to `total`, nearest to the weights' shares (largest remainder; ties to the first).

    `debt` (n,) is what earlier roundings withheld from each: it decides who gets the remainders, and is updated.
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


def stratified_split(membership: Array, fractions: Fractions, *, seed: int, groups: Array | None = None) -> Array:
    """Divide files so that every label has the asked share in every subset.

    Parameters
    ----------
    membership
        (n_files, n_labels) bool: which file has which label.
    groups
        (n_files,) int codes; files of one code stay together. Then sizes are near the targets instead of equal to them.

    Returns
    -------
    np.ndarray
        (n_files,) int8: 0 train, 1 validation, 2 test. The same for the same arguments on any machine.
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
    """What is dealt and what is still to deal.

    assigned (n_files,) subset or −1; capacity (3,) files that fit still; wanted (n_labels, 3) files of each label,
    still; debt (3,) what rounding has withheld, so that it does not add up over many rare labels.
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
    """Give ordered files to subsets: as many to each as is wanted and fits, evenly along the order."""
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
    """Assign every group of two files or more as a whole, the largest first, to the subset that wants it most."""
    if groups.shape != state.assigned.shape:
        raise SplitError(f"group_by gives {groups.shape[0]} values for {len(state.assigned)} files")
    _, codes, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(counts)
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
