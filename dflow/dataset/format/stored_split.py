"""The file of a split, ``<name>.split``: which samples are in which subset, by content and name."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from dflow.checksums import BLANK, MEMBER, parse_document, seal
from dflow.errors import SplitError
from dflow.storage.atomic import write_whole
from dflow.storage.paths import read_regular

SUBSETS = ("train", "validation", "test")
UNASSIGNED = -1

SPLIT_SUFFIX = ".split"

NO_SUBSET = "N/A"
"""The `.infoset`'s word for a sample that no subset has."""

Array = np.ndarray[Any, np.dtype[Any]]

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

    @property
    def names(self) -> list[str]:
        """All names, subset by subset."""
        return [name for subset in SUBSETS for name in self.subsets[subset]]

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

    def with_entries(self, other: StoredSplit, names: Iterable[str]) -> StoredSplit:
        """Add another split's entries of some names, so that a sample that comes back finds its subset. A name that
        this split has stays as it is.
        """
        own, more = self._by_name(), other._by_name()
        own = {**{name: more[name] for name in names}, **own}
        rows = [(number, name, content) for name, (number, content) in own.items()]
        assigned = np.array([number for number, _, _ in rows], np.int8)
        contents = [content for _, _, content in rows]
        return StoredSplit.of([name for _, name, _ in rows], assigned, self.request, contents if any(contents) else ())

    def _by_name(self) -> dict[str, tuple[int, str]]:
        """Subset number and content of every name."""
        return {
            name: (number, content)
            for number, subset in enumerate(SUBSETS)
            for name, content in zip_longest(self.subsets[subset], self.contents.get(subset, ()), fillvalue="")
        }


def body_contents(hashes: Sequence[str | None], bodies: Sequence[int]) -> list[str]:
    """Return what tells samples apart by content: the hash of each sample's file with the body's number; "" without."""
    return [f"{found}_{body}" if found else "" for found, body in zip(hashes, bodies, strict=True)]


def subset_words(assigned: Array) -> list[str]:
    """Return the `.infoset`'s words of (n,) subset numbers."""
    return [SUBSETS[i] if i >= 0 else NO_SUBSET for i in assigned.tolist()]


def write_split(path: Path, split: StoredSplit) -> None:
    """Write a split file under a temporary name, flush it to the disk and rename it.

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
    content = seal((json.dumps(document, indent=0, sort_keys=True) + "\n").encode())
    write_whole(path, [content], synced=True)


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
