"""Published splits: lists of file names by subset, read from what they come as and found among a dataset's samples."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dflow.config import CAD_SUFFIXES
from dflow.dataset.format.stored_split import NO_SUBSET, SUBSETS, UNASSIGNED
from dflow.errors import SplitError
from dflow.localpath import local_path
from dflow.storage.paths import read_regular

Array = np.ndarray[Any, np.dtype[Any]]

_ALIASES = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("validation", "val", "valid", "validate", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "eval"), "test"),
}
_ENDINGS = ("_set", "_split", "_files", "_list", "_ids", "_names")

_FAMILIES = {".stp": ".step", ".p21": ".step", ".igs": ".iges", ".brp": ".brep"}
"""Suffixes that are another spelling of one format."""

_SUFFIXES = (
    *CAD_SUFFIXES,
    *(".p21", ".sat", ".smt", ".x_t", ".obj", ".stl", ".off"),
    *(".json", ".seg", ".npz", ".npy", ".bin", ".pt", ".h5", ".txt", ".data"),
)
"""Suffixes behind a part's name: of CAD files, of meshes, and of what networks' scripts make of them."""


def subset_of(word: object) -> str | None:
    """Return the subset that a word means (``val``, ``Training``, ``test_set``); None if it is none's name."""
    text = str(word).strip().lower().replace("-", "_").replace(" ", "_")
    for ending in _ENDINGS:
        text = text.removesuffix(ending)
    return _ALIASES.get(text)


@dataclass(frozen=True, slots=True)
class Listing:
    """Published lists: the entries of each subset, and where they come from, for messages."""

    entries: Mapping[str, tuple[str, ...]]
    source: str


@dataclass(frozen=True)
class ListedSplit:
    """What came of published lists.

    Attributes
    ----------
    sizes : samples of the train, validation and test subsets.
    not_found : entries that are no sample, as they are listed.
    ambiguous : entries that fit several files, with those files; none of them is taken.
    unlisted : files that no list has, which are in no subset.
    """

    sizes: tuple[int, int, int]
    not_found: tuple[str, ...]
    ambiguous: Mapping[str, tuple[str, ...]]
    unlisted: tuple[str, ...]
    source: str

    @property
    def is_complete(self) -> bool:
        """Whether every entry was found, and every sample is listed."""
        return not (self.not_found or self.ambiguous or self.unlisted)

    def __str__(self) -> str:
        train, validation, test = self.sizes
        lines = [f"{self.source}: {train} train, {validation} validation, {test} test"]
        if self.not_found:
            lines.append(f"{len(self.not_found)} entries are no sample: {_some(self.not_found)}")
        for entry, files in list(self.ambiguous.items())[:3]:
            lines.append(f"{entry!r} fits {len(files)} files, list it with its folder and suffix: {_some(files)}")
        if len(self.ambiguous) > 3:
            lines.append(f"and {len(self.ambiguous) - 3} more entries fit several files")
        if self.unlisted:
            lines.append(f"{len(self.unlisted)} files are in no list and belong to no subset: {_some(self.unlisted)}")
        return "; ".join(lines)


@dataclass(frozen=True, slots=True)
class FoundEntries:
    """Lists applied to samples: `assigned` (n,) subset numbers, −1 for none; what was not found or fits several."""

    assigned: Array
    not_found: tuple[str, ...]
    ambiguous: Mapping[str, tuple[str, ...]]
    n_entries: int
    source: str

    def unlisted(self, names: Sequence[str]) -> list[str]:
        """Return the names without a subset."""
        return [names[row] for row in np.flatnonzero(self.assigned == UNASSIGNED).tolist()]

    def report(self, sizes: tuple[int, int, int], unlisted: Iterable[str]) -> ListedSplit:
        """Return what the user is told."""
        return ListedSplit(sizes, self.not_found, self.ambiguous, tuple(unlisted), self.source)


def read_lists(lists: object) -> Listing:
    """Read lists of names by subset.

    Parameters
    ----------
    lists
        A mapping of subsets to names, or to the text or JSON files that list them; a mapping of names to subsets; the
        path of a JSON file with either; or of a folder with ``train.txt`` and the like.

    Raises
    ------
    SplitError
        If it is nothing of this, a file cannot be read, or a list's subset is unknown.
    """
    if isinstance(lists, Mapping):
        return Listing(_by_subset(lists, "the dictionary"), "the dictionary")
    if not isinstance(lists, (str, os.PathLike)):
        raise SplitError(
            f"found a {type(lists).__name__}, expected a dictionary of names by subset, a JSON file, a folder with "
            "train.txt and test.txt, or a column of the .infoset"
        )
    path = Path(local_path(lists))
    if path.is_dir():
        files = {file.stem: file for file in sorted(path.iterdir()) if file.suffix in (".txt", ".lst", "")}
        known = {name: file for name, file in files.items() if file.is_file() and subset_of(name)}
        if not known:
            raise SplitError(
                f"{path} has no train.txt, val.txt or test.txt; pass the files as train=, validation=, test="
            )
        return Listing(_by_subset(known, str(path)), str(path))
    content = _read_json(path) if path.suffix.lower() == ".json" else None
    if not isinstance(content, dict):
        raise SplitError(
            f"{path} is one list; pass it as train=, validation= or test=, or a JSON file with a dictionary of lists "
            "by subset"
        )
    return Listing(_by_subset(content, str(path)), str(path))


def column_lists(values: Iterable[Any], names: Sequence[str], source: str) -> Listing:
    """Return the lists that a column holds: one subset per sample; nothing and ``N/A`` are none.

    Raises
    ------
    SplitError
        If another value is no subset.
    """
    entries: dict[str, list[str]] = {subset: [] for subset in SUBSETS}
    for name, value in zip(names, values, strict=True):
        if value is None or value != value or str(value).strip() in ("", NO_SUBSET):
            continue
        subset = subset_of(value)
        if subset is None:
            raise SplitError(f"{source} has {value!r}, expected train, validation (val) or test in each sample")
        entries[subset].append(name)
    return Listing({subset: tuple(found) for subset, found in entries.items()}, source)


def _by_subset(lists: Mapping[Any, Any], source: str) -> dict[str, tuple[str, ...]]:
    by_name = bool(lists) and all(isinstance(value, str) and subset_of(value) for value in lists.values())
    if by_name and not all(subset_of(key) for key in lists):
        inverted: dict[str, list[str]] = defaultdict(list)
        for name, subset in lists.items():
            inverted[str(subset_of(subset))].append(str(name))
        return {subset: tuple(names) for subset, names in inverted.items()}
    found: dict[str, tuple[str, ...]] = {}
    for key, value in lists.items():
        subset = subset_of(key)
        if subset is None:
            if _are_names(value):
                raise SplitError(f"{source} has a list {key!r}, expected train, validation (val) and test; rename it")
            continue  # such as the statistics that BRepNet keeps beside its lists
        found[subset] = found.get(subset, ()) + _names_of(value, f"{source}, {key!r}")
    if not found:
        raise SplitError(
            f"{source} has no list train, validation (val) or test; found {_some([str(k) for k in lists])}"
        )
    return found


def _names_of(value: object, source: str) -> tuple[str, ...]:
    if isinstance(value, (str, os.PathLike)):
        path = Path(local_path(value))
        value = _read_json(path) if path.suffix.lower() == ".json" else _read_lines(path)
    if isinstance(value, (np.ndarray, tuple, list, set, frozenset)) or hasattr(value, "tolist"):
        plain: Any = value.tolist() if hasattr(value, "tolist") else value
        names = sorted(plain) if isinstance(plain, (set, frozenset)) else list(plain)
        wrong = next((name for name in names if not isinstance(name, (str, os.PathLike))), None)
        if wrong is None:
            return tuple(os.fspath(name) for name in names)
        raise SplitError(f"{source} has {wrong!r}, expected names of files")
    raise SplitError(
        f"{source} is a {type(value).__name__}, expected a list of names of files, or the file that lists them"
    )


def _are_names(value: object) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(name, str) for name in value)


def _read_lines(path: Path) -> list[str]:
    try:
        text = read_regular(path).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise SplitError(
            f"{path} cannot be read as a list of names: {error}; pass a text file with a name a line"
        ) from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _read_json(path: Path) -> Any:
    try:
        return json.loads(read_regular(path).decode("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise SplitError(f"{path} cannot be read as JSON: {error}; pass a file that holds lists of names") from error


def find_listed(
    listing: Listing, sources: Sequence[str], names: Sequence[str], contents: Sequence[str] = ()
) -> FoundEntries:
    """Find the samples that lists mean.

    Parameters
    ----------
    sources, names, contents
        Of each sample: the path of its file ("" if unknown), its name, and the content hash of its file with the body.

    Raises
    ------
    SplitError
        If a sample is listed in two subsets.
    """
    index = _Index(sources, names, contents)
    meant: dict[int, list[tuple[_Rank, int, str]]] = defaultdict(list)  # by sample: how near, subset, entry
    not_found: list[str] = []
    ambiguous: dict[str, tuple[str, ...]] = {}
    entries = [(number, entry) for number, s in enumerate(SUBSETS) for entry in listing.entries.get(s, ())]
    for number, entry in entries:
        samples, rank = index.find(entry)
        files = sorted({sources[sample] or names[sample] for sample in samples})
        if not samples:
            not_found.append(entry)
        elif len(files) > 1 and not index.are_equal(samples):
            ambiguous[entry] = tuple(files)
        else:
            for sample in samples:
                meant[sample].append((rank, number, entry))
    assigned = np.full(len(names), UNASSIGNED, np.int8)
    lost: set[str] = set()
    won: set[str] = set()
    for sample, claims in meant.items():
        nearest = max(rank for rank, _, _ in claims)
        best = [(number, entry) for rank, number, entry in claims if rank == nearest]
        lost.update(entry for rank, _, entry in claims if rank < nearest)
        if len({number for number, _ in best}) > 1:
            if len({tuple(_parts(entry)) for _, entry in best}) > 1:  # of other folders: which it is cannot be told
                lost.update(entry for _, entry in best)
                continue
            first, other = best[0], next(claim for claim in best if claim[0] != best[0][0])
            raise SplitError(
                f"{listing.source} has {sources[sample] or names[sample]} in two subsets: as {first[1]!r} in "
                f"{SUBSETS[first[0]]}, as {other[1]!r} in {SUBSETS[other[0]]}; remove it from one"
            )
        assigned[sample] = best[0][0]
        won.update(entry for _, entry in best)
    not_found += [entry for _, entry in entries if entry in lost - won]
    return FoundEntries(assigned, tuple(dict.fromkeys(not_found)), ambiguous, len(entries), listing.source)


_Rank = tuple[int, int]
"""How near an entry is to a file: how strictly the names are compared, and how many folders they have in common."""


class _Index:
    """Samples by what a list may call them."""

    def __init__(self, sources: Sequence[str], names: Sequence[str], contents: Sequence[str]) -> None:
        self._folders = [_parts(source)[:-1] for source in sources]
        self._contents = contents
        self._exact: dict[str, list[int]] = defaultdict(list)
        self._levels: list[dict[str, list[int]]] = [defaultdict(list) for _ in range(4)]
        for sample, (source, name) in enumerate(zip(sources, names, strict=True)):
            self._exact[name].append(sample)
            if len(contents) and contents[sample]:
                self._exact[contents[sample].rpartition("_")[0]].append(sample)
                self._exact[contents[sample]].append(sample)
            if source:
                file = _parts(source)[-1]
                for level, keys in zip(self._levels, _keys(file), strict=True):
                    for key in keys:
                        level[key].append(sample)

    def find(self, entry: str) -> tuple[list[int], _Rank]:
        """Return the samples that an entry fits best, and how near it is to them."""
        if entry in self._exact:
            return self._exact[entry], (1, 0)
        parts = _parts(entry)
        for strictness, (level, keys) in enumerate(zip(self._levels, _keys(parts[-1] if parts else ""), strict=True)):
            samples = sorted({sample for key in keys for sample in level.get(key, ())})
            if samples:
                common = [_n_common(self._folders[sample], parts[:-1]) for sample in samples]
                return [s for s, n in zip(samples, common, strict=True) if n == max(common)], (-strictness, max(common))
        return [], (0, 0)

    def are_equal(self, samples: Sequence[int]) -> bool:
        """Whether the files of samples have one content."""
        if not len(self._contents):
            return False
        hashes = {self._contents[sample].rpartition("_")[0] for sample in samples}
        return len(hashes) == 1 and "" not in hashes


def _keys(file: str) -> tuple[tuple[str, ...], ...]:
    """What a file's name is compared by, the strictest first: the name; without case; its stem and format; its stem.

    Both a listed name and a file's may lack a suffix, or have one that is part of the name (``D6.5mm``).
    """
    folded = file.casefold()
    plain = folded.removesuffix(".gz")
    stem, suffix = os.path.splitext(plain)
    if suffix not in _SUFFIXES:
        return (file,), (folded,), (plain,), (plain,)
    return (file,), (folded,), (stem + _FAMILIES.get(suffix, suffix),), (stem,)


def _parts(path: str) -> list[str]:
    return [part for part in path.strip().replace("\\", "/").split("/") if part not in ("", ".", "..")]


def _n_common(one: Sequence[str], other: Sequence[str]) -> int:
    """The number of last folders that two paths have in common, without regard to case."""
    n = 0
    while n < min(len(one), len(other)) and one[-1 - n].casefold() == other[-1 - n].casefold():
        n += 1
    return n


def _some(texts: Sequence[str]) -> str:
    return ", ".join(texts[:3]) + (", …" if len(texts) > 3 else "")
