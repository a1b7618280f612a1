"""Read samples of a `.dataset` as dictionaries of arrays: one by one, or many neighbours at once."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from dflow.dataset.format.folder import ArrayReader
from dflow.dataset.query.store import ID_PREFIX, Column, DatasetStore
from dflow.dataset.query.vocabulary import nearest
from dflow.errors import DatasetError, UnknownKeyError
from dflow.plaintext import get_logger
from dflow.schema import FILE_GROUP

logger = get_logger(__name__)

ID = "id"

CACHE_BYTES = 128 * 1024**2
"""Size of the decoded chunks of narrow columns that a reader keeps, since many samples share a chunk."""

_NARROW_ROW_BYTES = 64

Array = np.ndarray[Any, np.dtype[Any]]
Item = dict[str, Any]
Allocate = Callable[[tuple[int, ...], np.dtype[Any]], Array]


class IndexedItem(dict[str, Any]):
    """A sample with `index_arrays`: its arrays ``group/array`` that hold row numbers, and the group these refer to."""

    def __init__(self, values: Mapping[str, Any], index_arrays: Mapping[str, str]) -> None:
        super().__init__(values)
        self.index_arrays = dict(index_arrays)


def choose_columns(store: DatasetStore, columns: str | Sequence[str] | None) -> tuple[Column, ...]:
    """Choose columns by ``group/array`` or group name; by default all arrays and file values but face-pair arrays.

    Face-pair arrays grow with the square of the number of faces, so they are read only if they are named.
    """
    if isinstance(columns, str):
        columns = [columns]
    if columns is None:
        columns = [g for g in store.row_groups if g != "faceface"] + [FILE_GROUP]
    chosen: dict[str, Column] = {}
    for wanted in columns:
        group, _, name = wanted.partition("/")
        if name:
            chosen[wanted] = store.column(group, name)
            continue
        if group not in store.columns:
            raise _unknown_group(store, group)
        members = store.file_values if group == FILE_GROUP else store.group(group)
        chosen |= {c.key: c for n, c in members.items() if not n.startswith(ID_PREFIX)}
    return tuple(chosen.values())


def choose_labels(store: DatasetStore, labels: str | Sequence[str]) -> tuple[Column, ...]:
    """Choose columns of classes by ``group/array`` or ``file/name``.

    Raises
    ------
    DatasetError
        If one of them holds no whole numbers.
    """
    chosen = []
    for key in [labels] if isinstance(labels, str) else labels:
        group, _, name = key.partition("/")
        column = store.column(group, name)
        if column.dtype.kind not in "biu":
            raise DatasetError(
                f"labels={key!r} is {column.dtype}, and classes are whole numbers; name it in columns= of get_dataset()"
            )
        chosen.append(column)
    return tuple(chosen)


def _unknown_group(store: DatasetStore, name: str) -> UnknownKeyError:
    """Make the error that a name is no group; it names the array or file value that is most like it, if none of the
    groups is more so.
    """
    owners = dict.fromkeys(store.file_values, FILE_GROUP)
    owners |= {array: group for group in reversed(store.row_groups) for array in store.group(group)}
    near = nearest(name, [*store.columns, *owners])
    if near in store.columns:
        return store.unknown_group(name)
    return UnknownKeyError(
        f"columns={name!r} names no group; expected a group, or an array with its group: '{owners[near]}/{near}'"
    )


@dataclass(slots=True)
class Samples:
    """The columns of several samples, concatenated.

    ids : (n,) int64. rows : for every row column ``group/array`` the rows of all samples, in the order of `ids`.
    values : for every file value ``file/name`` an (n, …) array. counts : for every group the samples' numbers of rows,
    (n,) int64.
    """

    ids: Array
    rows: dict[str, Array]
    values: dict[str, Array]
    counts: dict[str, Array]

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, positions: Array, allocate: Allocate = np.empty) -> Samples:
        """Copy the samples at `positions`, in that order (positions may repeat), into memory from `allocate`."""
        gathers = {g: _gather_index(c, positions) for g, c in self.counts.items()}
        rows = {}
        for key, array in self.rows.items():
            index = gathers[key.partition("/")[0]]
            out = allocate((len(index), *array.shape[1:]), array.dtype)
            # "clip" writes straight into `out`, which "raise" does not; the indices are in range by construction.
            rows[key] = np.take(array, index, axis=0, out=out, mode="clip")
        values = {k: a[positions] for k, a in self.values.items()}
        return Samples(self.ids[positions], rows, values, {g: c[positions] for g, c in self.counts.items()})

    def bytes_of(self, positions: Array) -> int:
        """The bytes that `select` allocates for rows."""
        lengths = {g: int(c[positions].sum()) for g, c in self.counts.items()}
        return sum(lengths[k.partition("/")[0]] * (a[:1].nbytes or a.itemsize) for k, a in self.rows.items())

    def item(self, position: int) -> Item:
        """Return one sample as a dictionary of views."""
        item: Item = {ID: int(self.ids[position])}
        for key, array in self.rows.items():
            counts = self.counts[key.partition("/")[0]]
            start = int(counts[:position].sum())
            item[key] = array[start : start + int(counts[position])]
        item |= {key: array[position] for key, array in self.values.items()}
        return item


def _gather_index(counts: Array, positions: Array) -> Array:
    """Row numbers of the samples at `positions`, one after the other."""
    return _ranges((np.cumsum(counts) - counts)[positions], counts[positions])


def _ranges(starts: Array, lengths: Array) -> Array:
    """``start, start + 1, …`` of every range, one range after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - (ends - lengths), lengths)


class SampleReader:
    """Reads samples of chosen columns.

    Belongs to one thread (each loader worker has its own); pickles without its cache. Items hold fresh arrays.

    Parameters
    ----------
    store : the open dataset
    columns : see `choose_columns`
    labels : columns of classes, which are read too: as int64, with -1 for the samples that lack them
    """

    def __init__(
        self, store: DatasetStore, columns: str | Sequence[str] | None = None, labels: Sequence[str] = ()
    ) -> None:
        self.store = store
        self.labels = choose_labels(store, labels)
        chosen = {column.key: column for column in choose_columns(store, columns)}
        self.columns = tuple((chosen | {column.key: column for column in self.labels}).values())
        self.named = columns is not None
        self._rows = [c for c in self.columns if c.group != FILE_GROUP]
        self._values = [c for c in self.columns if c.group == FILE_GROUP]
        self.groups = tuple(dict.fromkeys(c.group for c in self._rows))
        self._cache = _ChunkCache(CACHE_BYTES)

    def __reduce__(self) -> tuple[Any, ...]:
        keys, labels = [c.key for c in self.columns], [c.key for c in self.labels]
        return partial(_reopened, named=self.named), (self.store, keys, labels)

    def read(self, file_id: int) -> Item:
        """Read one sample: ``{"id", "group/array": rows, "file/name": value}``.

        Raises
        ------
        UnknownKeyError
            If there is no such id.
        """
        item: Item = {ID: int(file_id)}
        ranges = {g: self.store.rows_of(g, file_id) for g in self.groups}
        for column in self._rows:
            rows = self._read_rows(column, *ranges[column.group])
            item[column.key] = rows if rows.base is None else rows.copy()
        for column in self._values:
            item[column.key] = self.store.file_value(column.name)[file_id]
        for column in self.labels:
            present = self.store.present(column.group, column.name)
            known = present is None or bool(present[file_id])
            item[column.key] = _as_labels(np.asarray(item[column.key]), np.full(np.shape(item[column.key]), known))[()]
        return item

    def read_many(self, ids: Array, buffers: dict[str, Array] | None = None) -> Samples:
        """Read several samples, in ascending id order; neighbours are read together, rows between them skipped.

        With `buffers` (an empty dictionary at first) the rows lie in memory that the next call with the same buffers
        overwrites, since new memory for tens of megabytes takes a large part of the time of decoding them.

        Raises
        ------
        UnknownKeyError
            If the ids are not ascending, or one of them does not exist.
        """
        ids = np.asarray(ids, np.int64)
        if len(ids) and not (ids[0] >= 0 and ids[-1] < self.store.n_files and np.all(np.diff(ids) > 0)):
            raise UnknownKeyError(f"expected ascending file ids of 0 to {self.store.n_files - 1}, found {ids[:8]}")
        counts, rows = {}, {}
        for group in self.groups:
            span = self.store.span(group)
            counts[group] = span.count[ids]
            wanted = _Wanted(span.start[ids], counts[group])
            for column in self._rows:
                if column.group == group:
                    rows[column.key] = out = _buffer(column, wanted.n_rows, buffers)
                    self._read_wanted(column, wanted, out)
        values = {c.key: self.store.file_value(c.name)[ids] for c in self._values}
        for column in self.labels:
            present = self.store.present(column.group, column.name)
            known = np.ones(len(ids), bool) if present is None else present[ids]
            if column.group == FILE_GROUP:
                values[column.key] = _as_labels(values[column.key], known)
            else:
                rows[column.key] = _as_labels(rows[column.key], np.repeat(known, counts[column.group]))
        return Samples(ids, rows, values, counts)

    def _read_rows(self, column: Column, start: int, stop: int) -> Array:
        """Read rows of a column; of a narrow one a view of a kept chunk if they lie in one chunk."""
        reader = self.store.reader(column.group, column.name)
        if not _keeps_chunks(reader) or start == stop:
            return reader.read(start, stop)
        step = _step(reader)
        first, last = start // step, (stop - 1) // step
        parts = [
            self._chunk(reader, number)[max(start - number * step, 0) : stop - number * step]
            for number in range(first, last + 1)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _read_wanted(self, column: Column, wanted: _Wanted, out: Array) -> None:
        reader = self.store.reader(column.group, column.name)
        if _keeps_chunks(reader):
            for low, high, number, inside in wanted.by_chunk(_step(reader)):
                np.take(self._chunk(reader, number), inside, axis=0, out=out[low:high], mode="clip")
            return
        done = 0
        for start, stop, keep in wanted.pieces:
            target = out[done : done + (stop - start if keep is None else len(keep))]
            done += len(target)
            if keep is None:
                reader.read_into(start, target)
            else:
                np.take(reader.read(start, stop), keep, axis=0, out=target, mode="clip")

    def _chunk(self, reader: ArrayReader, number: int) -> Array:
        """Return a whole inner chunk, from the cache or read into it."""
        chunk = self._cache.get((reader.path, number))
        if chunk is None:
            step = _step(reader)
            chunk = reader.read(number * step, min((number + 1) * step, reader.shape[0]))
            self._cache.put((reader.path, number), chunk)
        return chunk


def _reopened(store: DatasetStore, columns: Sequence[str], labels: Sequence[str], *, named: bool) -> SampleReader:
    reader = SampleReader(store, columns, labels)
    reader.named = named
    return reader


def with_targets(reader: SampleReader) -> SampleReader:
    """Return the reader without row numbers that have not their rows, if nobody named them: with a warning.

    Raises
    ------
    DatasetError
        If a named column holds row numbers of a group of which no column is chosen.
    """
    store, keys = reader.store, [column.key for column in reader.columns]
    targets = store.index_arrays
    lost = {key: targets[key] for key in keys if key in targets and targets[key] not in reader.groups}
    if not lost:
        return reader
    rest = [key for key in keys if key not in lost]
    if not reader.named:
        logger.warning(
            "%s: %s hold row numbers of groups that are not read (%s), and are left out; name columns of both groups "
            "in columns= of get_dataset() to read them",
            store.folder.path,
            ", ".join(lost),
            ", ".join(sorted(set(lost.values()))),
        )
        return with_targets(_reopened(store, rest, [column.key for column in reader.labels], named=False))
    key, target = next(iter(lost.items()))
    there = sorted(name for name in store.columns.get(target, {}) if not name.startswith(ID_PREFIX))
    if there:
        fix = (
            f"no array is chosen, so that a batch cannot shift them; add '{target}/{there[0]}' or all of {target!r}, or"
        )
    else:
        fix = "the dataset has no array, so that a batch cannot shift them;"
    raise DatasetError(
        f"columns= has {key}, which holds row numbers of {target!r}, of which {fix} leave out {', '.join(lost)}"
        + (f": columns={rest}" if rest else "")
    )


def _as_labels(codes: Array, known: Array) -> Array:
    """Codes as int64; negative ones, and those that are not known, are -1."""
    labels = codes.astype(np.int64)
    labels[~known] = -1
    labels[labels < 0] = -1
    return labels


def _keeps_chunks(reader: ArrayReader) -> bool:
    """Whether a column's rows are so narrow that many samples share a chunk."""
    return reader.rows_per_chunk is not None and reader.row_bytes <= _NARROW_ROW_BYTES


def _step(reader: ArrayReader) -> int:
    assert reader.rows_per_chunk is not None
    return reader.rows_per_chunk


def _buffer(column: Column, n_rows: int, buffers: dict[str, Array] | None) -> Array:
    """Memory for rows of a column: new, or the beginning of a kept buffer, which grows if it is too small."""
    if buffers is None:
        return np.empty((n_rows, *column.shape[1:]), column.dtype)
    kept = buffers.get(column.key)
    if kept is None or len(kept) < n_rows:
        kept = buffers[column.key] = np.empty((n_rows + n_rows // 4, *column.shape[1:]), column.dtype)
    return kept[:n_rows]


class _Wanted:
    """The rows of several samples of one group, ascending: as ranges to read, or by chunk."""

    def __init__(self, starts: Array, counts: Array) -> None:
        self.starts, self.counts = starts, counts
        self.n_rows = int(counts.sum())
        self._by_chunk: dict[int, list[tuple[int, int, int, Array]]] = {}

    @cached_property
    def pieces(self) -> list[tuple[int, int, Array | None]]:
        """Ranges of rows, and which of their rows to keep (None: all)."""
        return _pieces(self.starts, self.counts)

    def by_chunk(self, step: int) -> list[tuple[int, int, int, Array]]:
        """For chunks of `step` rows: positions from and to, the chunk's number, and the rows within it."""
        if step not in self._by_chunk:
            rows = _ranges(self.starts, self.counts)
            numbers = rows // step
            cuts = (np.flatnonzero(numbers[1:] != numbers[:-1]) + 1).tolist()
            inside = rows - numbers * step
            self._by_chunk[step] = [
                (low, high, int(numbers[low]), inside[low:high])
                for low, high in itertools.pairwise([0, *cuts, len(rows)])
                if high > low
            ]
        return self._by_chunk[step]


def _pieces(starts: Array, counts: Array) -> list[tuple[int, int, Array | None]]:
    """Ranges of rows to read, and which of their rows to keep (None: all).

    Samples are read in one range while the gap between them is at most four times their mean number of rows, or 64.
    """
    filled = counts > 0
    starts, ends = starts[filled], (starts + counts)[filled]
    if not len(starts):
        return []
    gaps = starts[1:] - ends[:-1]
    limit = max(int((ends - starts).mean()) * 4, 64)
    cuts = np.concatenate([[0], np.flatnonzero(gaps > limit) + 1, [len(starts)]])
    pieces: list[tuple[int, int, Array | None]] = []
    for low, high in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        start, stop = int(starts[low]), int(ends[high - 1])
        sizes = ends[low:high] - starts[low:high]
        whole = int(sizes.sum()) == stop - start
        pieces.append((start, stop, None if whole else _ranges(starts[low:high] - start, sizes)))
    return pieces


class _ChunkCache:
    """Decoded chunks up to a number of bytes; the least recently used are dropped first."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.n_bytes = 0
        self._chunks: OrderedDict[tuple[str, int], Array] = OrderedDict()

    def get(self, key: tuple[str, int]) -> Array | None:
        chunk = self._chunks.get(key)
        if chunk is not None:
            self._chunks.move_to_end(key)
        return chunk

    def put(self, key: tuple[str, int], chunk: Array) -> None:
        self._chunks[key] = chunk
        self.n_bytes += chunk.nbytes
        while self.n_bytes > self.limit_bytes and len(self._chunks) > 1:
            _, dropped = self._chunks.popitem(last=False)
            self.n_bytes -= dropped.nbytes
