"""Divide files into training, validation and test: pure functions of a membership matrix, and the stored split.

Stratification follows Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data" (ECML PKDD 2011):
the rarest label first, its files dealt to the subsets that still need most of it. The paper deals one file at a time;
here all files of a label are dealt at once, ordered by the other labels they have, so that equal files spread evenly.
That takes one step per label instead of one per file.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dflow.checksums import BLANK, MEMBER, parse_document, seal
from dflow.dataset.query.distribution import MAX_CATEGORIES, Binning, Scan, category_bins, choose_bins, membership
from dflow.dataset.query.reductions import finite_values, reduce_rows
from dflow.dataset.query.store import Column, DatasetStore
from dflow.errors import SplitError
from dflow.schema import FILE_GROUP
from dflow.storage.paths import read_regular

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


def stratified_split(membership: Array, fractions: Fractions, *, seed: int, groups: Array | None = None) -> Array:
    """Divide files so that every label has the requested share in every subset.

    Parameters
    ----------
    membership
        (n_files, n_labels) bool: which file has which label.
    groups
        (n_files,) int codes; files of one code stay in one subset, and sizes are near the targets instead of equal.

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
    """Assign every group of two files or more as a whole, the largest first, to the subset that needs it most."""
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


FORMAT = 1


@dataclass(frozen=True, slots=True)
class SplitMatch:
    """A stored split applied to samples.

    assigned : (n,) int8 subset numbers, −1 for none. unknown : names of the samples that the split does not list.
    missing : names in the split that match no sample.
    """

    assigned: Array
    unknown: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoredSplit:
    """A split as it is stored.

    `subsets` maps train, validation and test to sample names; `contents` maps them to the contents of the samples'
    files, in the same order ("" if not recorded); `request` holds the arguments of the split.
    """

    subsets: Mapping[str, tuple[str, ...]]
    request: Mapping[str, Any] = field(default_factory=dict)
    contents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, names: Sequence[str], assigned: Array, request: Mapping[str, Any], contents: Sequence[str] = ()
    ) -> StoredSplit:
        """Make the split of samples; `assigned` (n,) holds subset numbers, −1 for none; `contents` the content of each
        sample's file, if recorded.
        """
        known = contents if len(contents) else [""] * len(names)
        rows = sorted(zip(assigned.tolist(), names, known, strict=True))
        subsets = {s: tuple(name for k, name, _ in rows if k == i) for i, s in enumerate(SUBSETS)}
        found = {s: tuple(content for k, _, content in rows if k == i) for i, s in enumerate(SUBSETS)}
        return cls(subsets, dict(request), found if len(contents) else {})

    def __len__(self) -> int:
        return sum(map(len, self.subsets.values()))

    def match(self, names: Sequence[str], contents: Sequence[str] = ()) -> SplitMatch:
        """Assign samples by content, so that a renamed file stays in its subset, else by name.

        If the split divides files of equal content, those that kept their name keep their subset; the others take the
        remaining entries in turn.
        """
        by_name = self._by_name()
        by_content: dict[str, list[str]] = {}
        for name, (_, content) in by_name.items():
            if content:
                by_content.setdefault(content, []).append(name)
        known = contents if len(contents) else [""] * len(names)
        present = set(names)
        left = {c: deque(n for n in held if n not in present) or deque(held) for c, held in by_content.items()}
        taken: list[str | None] = []
        for name, content in zip(names, known, strict=True):
            held = by_content.get(content, ())
            if held and name not in held:
                left[content].rotate(-1)
                taken.append(left[content][-1])
            else:
                taken.append(name if name in by_name else None)
        assigned = np.array([UNASSIGNED if name is None else by_name[name][0] for name in taken], np.int8)
        unknown = tuple(name for name, found in zip(names, taken, strict=True) if found is None)
        return SplitMatch(assigned, unknown, tuple(sorted(by_name.keys() - set(taken))))

    def _by_name(self) -> dict[str, tuple[int, str]]:
        """Subset number and content of every name."""
        return {
            name: (number, content)
            for number, subset in enumerate(SUBSETS)
            for name, content in zip_longest(self.subsets[subset], self.contents.get(subset, ()), fillvalue="")
        }


def write_split(path: Path, split: StoredSplit) -> None:
    """Write a split file under a temporary name and rename it.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    document: dict[str, Any] = {
        MEMBER: BLANK,
        "format": FORMAT,
        "request": dict(split.request),
        "subsets": {k: list(v) for k, v in split.subsets.items()},
    }
    if split.contents:
        document["contents"] = {k: list(v) for k, v in split.contents.items()}
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    try:
        temporary.write_bytes(seal((json.dumps(document, indent=0, sort_keys=True) + "\n").encode()))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_split(path: Path) -> StoredSplit:
    """Read a split file.

    Raises
    ------
    SplitError
        If it is missing, not a split file, or puts a sample into two subsets.
    """
    try:
        document = parse_document(read_regular(path))
        subsets = {s: tuple(map(str, document["subsets"][s])) for s in SUBSETS}
        contents = {s: tuple(map(str, names)) for s, names in document.get("contents", {}).items()}
        if document["format"] != FORMAT:
            raise SplitError(f"{path} has format {document['format']}; this version reads format {FORMAT}")
    except FileNotFoundError as error:
        raise SplitError(f"no split file {path}; call split() first") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, SplitError):
            raise
        raise SplitError(
            f"{path} is damaged, or not a split file as save_split() writes them: {error}; make it again with split()"
        ) from error
    n_names = sum(map(len, subsets.values()))
    if len(set().union(*subsets.values())) != n_names:
        raise SplitError(f"{path} puts a sample into two subsets; make it again with split() and save_split()")
    if contents and any(len(contents.get(s, ())) != len(names) for s, names in subsets.items()):
        raise SplitError(
            f"{path} is not a split file: it has not as many contents as samples; make it again with split() and "
            "save_split()"
        )
    return StoredSplit(subsets, document.get("request", {}), contents)
