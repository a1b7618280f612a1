"""A split kept in a file: which sample is in which subset, by sample name, so that it outlives a merge and can be
shared.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dflow.dataset.split import SUBSETS, UNASSIGNED
from dflow.errors import SplitError
from dflow.storage.paths import read_regular

FORMAT = 1

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class StoredSplit:
    """`subsets` maps train, validation and test to sample names; `request` says how the split was asked for."""

    subsets: Mapping[str, tuple[str, ...]]
    request: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, names: Sequence[str], assigned: Array, request: Mapping[str, Any]) -> StoredSplit:
        """The split of samples by name; `assigned` (n,) holds subset numbers, −1 for none."""
        array = np.asarray(names)
        return cls({s: tuple(sorted(array[assigned == i].tolist())) for i, s in enumerate(SUBSETS)}, dict(request))

    def assign(self, names: Sequence[str]) -> Array:
        """(n,) int8 subset numbers of samples; −1 for samples that the split does not know (encoded later)."""
        number = {name: i for i, s in enumerate(SUBSETS) for name in self.subsets[s]}
        return np.array([number.get(name, UNASSIGNED) for name in names], np.int8)


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
        if document["format"] != FORMAT:
            raise SplitError(f"{path} has format {document['format']}; this version reads format {FORMAT}")
    except FileNotFoundError as error:
        raise SplitError(f"no split file {path}; call split() first") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, SplitError):
            raise
        raise SplitError(f"{path} is no split file: {error!r}") from error
    n_names = sum(map(len, subsets.values()))
    if len(set().union(*subsets.values())) != n_names:
        raise SplitError(f"{path} puts a sample into two subsets")
    return StoredSplit(subsets, document.get("request", {}))
