"""Reading the samples behind a block of rows.

Every block is read straight from the `.data` files it covers. N stores are never opened to concatenate them: that is
ten million graph nodes and hours of opening for a million samples.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dflow.dataset.plan import Block
from dflow.errors import DamagedStoreError, StorageError
from dflow.schema import FILE_GROUP
from dflow.storage.paths import DATA_SUFFIX
from dflow.storage.quickread import read_expected
from dflow.storage.zarrzip import read_zip_store

_DAMAGE = frozenset({None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO})
"""Errors that say something about one file, not about the process or the file system."""


class Locator(Protocol):
    """Where a sample's `.data` file lies. Pickles."""

    def __call__(self, sample: str) -> str: ...


@dataclass(frozen=True, slots=True)
class InFolder:
    """All `.data` files in one folder."""

    folder: str

    def __call__(self, sample: str) -> str:
        return os.path.join(self.folder, sample + DATA_SUFFIX)


@dataclass(frozen=True, slots=True)
class Listed:
    """`.data` files of several runs: sample name → path."""

    files: Mapping[str, str]

    def __call__(self, sample: str) -> str:
        return self.files[sample]


@dataclass(frozen=True, slots=True, eq=False)
class SampleRows:
    """The part of one sample that lies in a block.

    `arrays` maps names to (rows, *trailing); a name that the sample lacks is not there. `n_rows` rows belong to the
    block, from `start` on in the sample's own count.
    """

    sample_id: int
    start: int
    n_rows: int
    arrays: Mapping[str, NDArray[Any]]

    def rows(self, name: str) -> NDArray[Any] | None:
        """The block's rows of one array, None when the sample lacks it."""
        array = self.arrays.get(name)
        return None if array is None else array[self.start : self.start + self.n_rows]


def read_block(
    block: Block, names: tuple[str, ...], locate: Locator, damaged: list[tuple[str, str]]
) -> Iterator[SampleRows]:
    """The samples of a block in id order, each with its arrays `names`; one sample is in memory at a time.

    A sample whose file is missing, damaged or not the one that its record describes is appended to `damaged` with the
    reason and not yielded; the others are still read, so that one pass finds all damage.
    """
    lacking = [(name, block.absent[name]) for name in names if name in block.absent]
    for k, sample in enumerate(block.names):
        missing = {name for name, mask in lacking if mask[k]}
        wanted = [name for name in names if name not in missing]
        try:
            arrays = _read_sample(locate(sample), block, k, wanted) if wanted else {}
        except (StorageError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _DAMAGE:
                raise
            damaged.append((sample, f"{type(error).__name__}: {error}"))
            continue
        first = int(block.first_rows[k])
        start = max(block.start - first, 0)
        stop = min(block.stop - first, int(block.counts[k]))
        yield SampleRows(int(block.ids[k]), start, stop - start, arrays)


def _read_sample(path: str, block: Block, k: int, names: list[str]) -> dict[str, NDArray[Any]]:
    found = None if block.odd[k] else _read_quickly(path, block, k, names)
    arrays = _read_carefully(path, block, k, names) if found is None else dict(zip(names, found, strict=True))
    if block.group == FILE_GROUP:
        return {name: array[None] for name, array in arrays.items()}
    return arrays


def _read_quickly(path: str, block: Block, k: int, names: list[str]) -> list[NDArray[Any]] | None:
    rows = () if block.group == FILE_GROUP else (int(block.counts[k]),)
    forms = block.forms
    expected = [(f"{block.group}/{name}", forms[name][0], rows + forms[name][1]) for name in names]
    return read_expected(path, expected, n_bytes=int(block.n_bytes[k]), crc=int(block.crcs[k]))


def _read_carefully(path: str, block: Block, k: int, names: list[str]) -> dict[str, NDArray[Any]]:
    contents = read_zip_store(path, [f"{block.group}/{name}" for name in names])
    if block.crcs[k] and contents.crc != block.crcs[k]:
        raise DamagedStoreError(f"{path} is not the file that its record describes: its directory has another checksum")
    arrays = {name: contents.arrays[f"{block.group}/{name}"].data for name in names}
    for name, array in arrays.items():
        if block.group != FILE_GROUP and len(array) != block.counts[k]:
            raise DamagedStoreError(f"{path}: {name} has {len(array)} rows, its record says {block.counts[k]}")
    return arrays


def encode_words(array: NDArray[Any], words: Mapping[str, int]) -> NDArray[np.int32]:
    """Text as codes of the vocabulary, in the array's shape."""
    codes = (words[str(word)] for word in array.ravel().tolist())
    return np.fromiter(codes, np.int32, array.size).reshape(array.shape)
