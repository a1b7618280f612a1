"""A split kept in a file: which sample is in which subset, by the content of its source and by its name, so that it
outlives a merge, can be shared, and holds for the same files wherever they lie.
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

from dflow.dataset.split import SUBSETS, UNASSIGNED
from dflow.errors import SplitError
from dflow.storage.paths import read_regular

FORMAT = 1

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class SplitMatch:
    """A stored split applied to samples.

    assigned : (n,) int8 subset numbers, −1 for none. unknown : names of the samples that the split does not know.
    missing : names in the split of which there is no sample.
    """

    assigned: Array
    unknown: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoredSplit:
    """`subsets` maps train, validation and test to sample names; `contents` to what the samples were made of, in the
    same order ("" where that is not known); `request` says how the split was asked for.
    """

    subsets: Mapping[str, tuple[str, ...]]
    request: Mapping[str, Any] = field(default_factory=dict)
    contents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, names: Sequence[str], assigned: Array, request: Mapping[str, Any], contents: Sequence[str] = ()
    ) -> StoredSplit:
        """The split of samples; `assigned` (n,) holds subset numbers, −1 for none; `contents` says what each was made
        of, where that is known.
        """
        known = contents if len(contents) else [""] * len(names)
        rows = sorted(zip(assigned.tolist(), names, known, strict=True))
        subsets = {s: tuple(name for k, name, _ in rows if k == i) for i, s in enumerate(SUBSETS)}
        found = {s: tuple(content for k, _, content in rows if k == i) for i, s in enumerate(SUBSETS)}
        return cls(subsets, dict(request), found if len(contents) else {})

    def __len__(self) -> int:
        return sum(map(len, self.subsets.values()))

    def match(self, names: Sequence[str], contents: Sequence[str] = ()) -> SplitMatch:
        """Find the samples of the split: by content, so that a file stays in its subset under any name, else by name.

        Of equal files that the split divides, those that kept their name stay where they were; the others take the
        places that are left, in turn.
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
    """Write by temporary name and rename.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    document = {
        "format": FORMAT,
        "request": dict(split.request),
        "subsets": {k: list(v) for k, v in split.subsets.items()},
    }
    if split.contents:
        document["contents"] = {k: list(v) for k, v in split.contents.items()}
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    try:
        temporary.write_text(json.dumps(document, indent=0, sort_keys=True) + "\n", encoding="utf-8")
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
        document = json.loads(read_regular(path))
        subsets = {s: tuple(map(str, document["subsets"][s])) for s in SUBSETS}
        contents = {s: tuple(map(str, names)) for s, names in document.get("contents", {}).items()}
        if document["format"] != FORMAT:
            raise SplitError(f"{path} has format {document['format']}; this version reads format {FORMAT}")
    except FileNotFoundError as error:
        raise SplitError(f"no split file {path}; call split() first") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, SplitError):
            raise
        raise SplitError(f"{path} is no split file: {error!r}") from error
    n_names = sum(map(len, subsets.values()))
    if len(set().union(*subsets.values())) != n_names:
        raise SplitError(f"{path} puts a sample into two subsets")
    if contents and any(len(contents.get(s, ())) != len(names) for s, names in subsets.items()):
        raise SplitError(f"{path} is no split file: its contents are not as many as its samples")
    return StoredSplit(subsets, document.get("request", {}), contents)
