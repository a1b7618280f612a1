"""Read the samples of a block of rows, directly from their `.data` files."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dflow.dataset.merge.chunk_reader import ChunkForm, ChunkReader, join_chunks
from dflow.dataset.merge.plan import TEXT_BYTES, Block, cut_runs
from dflow.errors import DamagedStoreError, StorageError
from dflow.schema import FILE_GROUP
from dflow.storage.paths import DATA_SUFFIX, Below
from dflow.storage.zarrzip import read_zip_store

_DAMAGE = frozenset({None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO, errno.ESPIPE})
"""Numbers of errors that concern one file, not the process or the file system."""

Piece: TypeAlias = tuple[NDArray[Any] | None, int]
"""Rows of an array, None if the samples lack it, and their number."""

_Content: TypeAlias = bytes | NDArray[Any] | None
"""A sample's part of an array: its chunk, or its rows if it was read carefully; None if it has none."""


class Locator(Protocol):
    """Returns the path of a sample's `.data` file. Pickles."""

    def __call__(self, sample: str) -> str: ...


@dataclass(frozen=True, slots=True)
class InFolder:
    """All `.data` files in one folder."""

    folder: str

    def __call__(self, sample: str) -> str:
        return f"{self.folder}{os.sep}{sample}{DATA_SUFFIX}"  # os.path.join takes as long as opening the file

    def check(self, path: str) -> None:
        """Raise `DamagedStoreError` for a link that leads out of the flow's folder."""
        if os.path.islink(path) and Below(os.path.dirname(self.folder)).path(path) is None:
            raise DamagedStoreError(f"{path} is a link out of the flow's folder; put the file itself there")


@dataclass(frozen=True, slots=True)
class Listed:
    """`.data` files of several runs: sample name → path."""

    files: Mapping[str, str]

    def __call__(self, sample: str) -> str:
        return self.files[sample]


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Consecutive samples of a block that are read together.

    `ids` (k,) int64, and `counts` (k,) int64, the rows of each within the block. `pieces` maps each array's name
    to its rows in order: arrays (rows, *trailing), or None for samples that lack the array, each with its row count.
    """

    ids: NDArray[np.int64]
    counts: NDArray[np.int64]
    pieces: Mapping[str, Sequence[Piece]]

    @property
    def n_rows(self) -> int:
        """Rows of all its samples together."""
        return int(self.counts.sum())

    def sample_ids(self) -> NDArray[np.int64]:
        """(n_rows,) int64: the sample of each row."""
        return np.repeat(self.ids, self.counts)


def read_block(block: Block, names: tuple[str, ...], locate: Locator, damaged: list[tuple[str, str]]) -> Iterator[Run]:
    """Yield the samples of a block in id order, with their arrays `names`, one run at a time.

    A sample whose file is missing, damaged or contradicts its record is appended to `damaged` with the reason and left
    out; the others are still read, so that one pass finds all damage.
    """
    whole = block.group == FILE_GROUP
    forms = tuple(ChunkForm(f"{block.group}/{name}", *block.forms[name], whole=whole) for name in names)
    numbers = (block.counts.tolist(), block.n_bytes.tolist(), block.crcs.tolist())
    reader = _Reader(block, names, forms, locate, damaged, *numbers)
    row_bytes = sum(form.row_items * TEXT_BYTES if form.dtype == "str" else form.row_bytes for form in forms)
    for first, stop in cut_runs(block.counts.tolist(), row_bytes):
        yield reader.run(first, stop)


@dataclass(frozen=True, slots=True, eq=False)
class _Reader:
    """Reads runs of one block; `counts`, `n_bytes` and `crcs` are those of the block, as Python numbers."""

    block: Block
    names: tuple[str, ...]
    forms: tuple[ChunkForm, ...]
    locate: Locator
    damaged: list[tuple[str, str]]
    counts: Sequence[int]
    n_bytes: Sequence[int]
    crcs: Sequence[int]
    readers: dict[tuple[int, ...], ChunkReader] = field(default_factory=dict)

    def run(self, first: int, stop: int) -> Run:
        """Read the samples `first` to `stop` of the block."""
        kept, pieces = list(range(first, stop)), self._plain_pieces(first, stop)
        if pieces is None:
            found = self._samples(first, stop, quick=True)
            try:
                pieces = self._pieces(found)
            except DamagedStoreError:  # a chunk with a right checksum cannot be expanded: find the sample
                found = self._samples(first, stop, quick=False)
                pieces = self._pieces(found)
            kept = list(found)
        block = self.block
        counts = block.counts[kept]
        if kept == [first] and stop == first + 1:
            start = max(block.start - int(block.first_rows[first]), 0)
            rows = slice(start, min(block.stop - int(block.first_rows[first]), int(counts[0])))
            pieces = {name: [_cut(piece, rows) for piece in own] for name, own in pieces.items()}
            counts = np.array([rows.stop - rows.start])
        return Run(block.ids[kept], counts, pieces)

    def _plain_pieces(self, first: int, stop: int) -> dict[str, list[Piece]] | None:
        """All pieces at once if every sample has every array in the expected form, else None."""
        if self.block.absent or self.block.odd[first:stop].any() or not self.names:
            return None
        read = self._reader(tuple(range(len(self.names)))).read
        counts = self.counts[first:stop]
        try:
            chunks = [
                read(self.locate(self.block.names[k]), n_bytes=self.n_bytes[k], crc=self.crcs[k])
                for k in range(first, stop)
            ]
            columns = list(zip(*chunks, strict=True)) if None not in chunks else []
            if columns and all(form.all_fit(column, counts) for form, column in zip(self.forms, columns, strict=True)):
                joined = (join_chunks(form, column, counts) for form, column in zip(self.forms, columns, strict=True))
                return {name: [(rows, len(rows))] for name, rows in zip(self.names, joined, strict=True)}
        except (DamagedStoreError, OSError):  # reading the samples one by one reports it, or succeeds
            pass
        return None

    def _reader(self, places: tuple[int, ...]) -> ChunkReader:
        reader = self.readers.get(places)
        if reader is None:
            reader = self.readers[places] = ChunkReader(self.forms[i].member for i in places)
        return reader

    def _samples(self, first: int, stop: int, *, quick: bool) -> dict[int, Sequence[_Content]]:
        found: dict[int, Sequence[_Content]] = {}
        for k, sample in enumerate(self.block.names[first:stop], first):
            try:
                found[k] = self._contents(k, self.locate(sample), quick=quick)
            except (StorageError, OSError) as error:
                if isinstance(error, OSError) and error.errno not in _DAMAGE:
                    raise
                self.damaged.append((sample, f"{type(error).__name__}: {error}"))
        return found

    def _contents(self, k: int, path: str, *, quick: bool) -> Sequence[_Content]:
        absent = self.block.absent
        if not absent:
            return self._read(k, path, tuple(range(len(self.names))), quick=quick)
        places = tuple(i for i, name in enumerate(self.names) if name not in absent or not absent[name][k])
        found = dict(zip(places, self._read(k, path, places, quick=quick), strict=True))
        return [found.get(i) for i in range(len(self.names))]

    def _read(self, k: int, path: str, places: tuple[int, ...], *, quick: bool) -> Sequence[_Content]:
        if not places:
            return []
        chunks = self._read_quickly(k, path, places) if quick and not self.block.odd[k] else None
        return self._read_carefully(k, path, places) if chunks is None else chunks

    def _read_quickly(self, k: int, path: str, places: tuple[int, ...]) -> Sequence[bytes] | None:
        n_rows = self.counts[k]
        chunks = self._reader(places).read(path, n_bytes=self.n_bytes[k], crc=self.crcs[k])
        if chunks is None:
            return None
        fit = [self.forms[i].fits(chunk, n_rows) for i, chunk in zip(places, chunks, strict=True)]
        return chunks if all(fit) else None

    def _read_carefully(self, k: int, path: str, places: tuple[int, ...]) -> Sequence[NDArray[Any]]:
        block, names = self.block, [self.names[i] for i in places]
        if isinstance(self.locate, InFolder):  # the quick way follows no link
            self.locate.check(path)
        contents = read_zip_store(path, [f"{block.group}/{name}" for name in names])
        if block.crcs[k] and contents.crc != block.crcs[k]:
            raise DamagedStoreError(
                f"{path} is not the file that its record describes: its directory has another checksum; "
                "run the flow again to encode it anew"
            )
        arrays = [contents.arrays[f"{block.group}/{name}"].data for name in names]
        if block.group == FILE_GROUP:
            return [array[None] for array in arrays]
        for name, array in zip(names, arrays, strict=True):
            if len(array) != block.counts[k]:
                raise DamagedStoreError(
                    f"{path}: {name} has {len(array)} rows, its record states {block.counts[k]}; run the flow again"
                )
        return arrays

    def _pieces(self, found: Mapping[int, Sequence[_Content]]) -> dict[str, list[Piece]]:
        counts = [self.counts[k] for k in found]
        columns = list(zip(*found.values(), strict=True)) or [()] * len(self.names)
        return {
            name: list(_join(form, zip(column, counts, strict=True)))
            for name, form, column in zip(self.names, self.forms, columns, strict=True)
        }


def _join(form: ChunkForm, contents: Iterable[tuple[_Content, int]]) -> Iterator[Piece]:
    """The pieces of one array: consecutive chunks joined, and consecutive absent rows."""
    for kind, members in groupby(contents, lambda content: type(content[0])):
        own, counts = zip(*members, strict=True)
        if kind is bytes:
            yield join_chunks(form, own, counts), sum(counts)
        elif kind is type(None):
            yield None, sum(counts)
        else:
            yield from zip(own, counts, strict=True)


def _cut(piece: Piece, rows: slice) -> Piece:
    return None if piece[0] is None else piece[0][rows], rows.stop - rows.start


def encode_words(array: NDArray[Any], words: Mapping[str, int]) -> NDArray[np.int32]:
    """Encode text as int32 codes of a vocabulary, in the array's shape."""
    codes = (words[str(word)] for word in array.ravel().tolist())
    return np.fromiter(codes, np.int32, array.size).reshape(array.shape)
