"""Records: small frozen values that cross process boundaries, about how an item ended and what its sample holds.

Batches return these, never arrays. All of them pickle, compare by value, and consist of builtins.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any, Literal, TypeVar

_Class = TypeVar("_Class", bound=type)


def pickled_by_place(cls: _Class) -> _Class:
    """Make a slotted dataclass pickle as a call of itself with its fields in order.

    The standard library lists the fields of a frozen dataclass with slots for each object, on both sides: 30 µs per
    sample's record instead of 4.
    """
    names: tuple[str, ...] = tuple(cls.__dataclass_fields__)  # type: ignore[attr-defined]  # a dataclass
    get: Callable[[Any], Any] = attrgetter(*names)

    def reduce(self: Any) -> tuple[type, tuple[Any, ...]]:
        return cls, get(self) if len(names) > 1 else (get(self),)

    cls.__reduce__ = reduce  # type: ignore[assignment]
    return cls


Status = Literal["succeeded", "skipped", "failed"]
"""Every submitted item ends in exactly one of these."""

Scalar = bool | int | float | str
"""A file value: one per sample."""


@pickled_by_place
@dataclass(frozen=True, slots=True)
class ArrayLayout:
    """The properties of one array that (nearly) all samples share.

    `group` and `name` make its key ``group/name``; `dtype` is numpy's string ("float32", "int32", "bool", "str");
    `dims` are all dimension names, the group's row dimension first (for the group ``file`` there is no row
    dimension: the whole array is one sample's value); `trailing` is the shape after the row dimension.
    `fill_value` fills missing rows (None: -1 for integers, NaN for floats, False for bool).
    """

    group: str
    name: str
    dtype: str
    dims: tuple[str, ...]
    trailing: tuple[int, ...]
    fill_value: Scalar | None = None

    @property
    def key(self) -> str:
        """``group/name``."""
        return f"{self.group}/{self.name}"


@pickled_by_place
@dataclass(frozen=True, slots=True)
class SampleLayout:
    """The properties that thousands of samples share, so that the record of one sample is small.

    `arrays` sorted by key; `schema` is the canonical JSON text of the sample's schema ("" when none was set);
    `tables` are the description tables for `.attribset`: (table, ((id, name, description), …)), sorted.
    """

    arrays: tuple[ArrayLayout, ...] = ()
    schema: str = ""
    tables: tuple[tuple[str, tuple[tuple[int, str, str], ...]], ...] = ()

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the row groups, sorted; ``file`` is not one of them."""
        return tuple(sorted({a.group for a in self.arrays if a.group != "file"}))


@pickled_by_place
@dataclass(frozen=True, slots=True)
class SampleRecord:
    """One sample: a sealed `.data` file and what the merge needs to know without opening it.

    `name` is the sample's stable name, the stem of its `.data` file (see `dflow.storage.paths.sample_name`);
    `source` the item it came from (a path relative to the flow's folder in POSIX form, or canonical JSON);
    `body` the body index, -1 when the sample is the whole file; `rows` the number of rows of each group, in the order
    of ``layout.groups``; `values` the sample's scalar metadata, routed or not, sorted by name; `n_bytes` the size of
    the `.data` file without its seal; `data_crc` the CRC-32 of the whole `.data` file's central directory, so that a
    swapped or damaged file is noticed at the merge.
    """

    name: str
    source: str
    body: int
    layout: SampleLayout
    rows: tuple[int, ...]
    values: tuple[tuple[str, Scalar], ...] = ()
    n_bytes: int = 0
    data_crc: int = 0

    def row_count(self, group: str) -> int:
        """Return the rows of `group` in this sample, 0 where it has none."""
        groups = self.layout.groups
        return self.rows[groups.index(group)] if group in groups else 0

    def value_map(self) -> dict[str, Scalar]:
        """Return the scalar metadata as a dictionary."""
        return dict(self.values)


@pickled_by_place
@dataclass(frozen=True, slots=True)
class ErrorRecord:
    """Why an item failed: one entry of ``error_summary.json``.

    `kind` is a stable word: a `DflowError.kind` of `dflow.errors` ("unreadable", "no_geometry", "schema", "too_big",
    …), or "exception" (the user's own), "crash", "timeout", "out_of_memory", "infrastructure", "vanished",
    "bad_return". `exception` is the exception's type name, "" where there was none; `signal` the signal number of a
    crash, 0 otherwise.
    """

    kind: str
    message: str
    task: str
    file: str
    item_index: int
    exception: str = ""
    traceback: str = ""
    seconds: float = 0.0
    signal: int = 0
    worker_pid: int = 0
    host: str = ""
    attempts: int = 1
    logs: tuple[str, ...] = ()


def cause(message: str, file: str) -> str:
    """Return the first line of a failure's message, without a leading path of the failed file.

    `file` is as in ``error_summary.json``: relative to the flow's folder, while messages have the absolute path.
    """
    folder, name = os.path.split(file)
    head, found, rest = message.partition(f"{name}: ") if name else (message, "", "")
    parents = ("", ".", "..", os.path.basename(folder))
    is_path = bool(found) and (not head or (head[-1] in "/\\" and os.path.basename(head[:-1]) in parents))
    return (rest if is_path else message).partition("\n")[0]


def reason(kind: str, exception: str, message: str, file: str) -> str:
    """Return the `cause` of a failure, led by the exception's type where the user's own code raised it.

    Without its type ``KeyError: 'a.step'`` would read ``'a.step'``.
    """
    first = cause(message, file)
    return f"{exception}: {first}" if kind == "exception" and exception and first != exception else first


@pickled_by_place
@dataclass(frozen=True, slots=True)
class ItemRecord:
    """How one item of one task ended.

    `item` is its identity (path relative to the flow's folder, or canonical JSON); `value` is what the user's function
    returned, only where a later task needs it; `samples` are those it left in `encoded/`; `seconds` is wall time in the
    child, `cpu_seconds` CPU time there; `reused` is true when an earlier run's sample was up to date; `fingerprint` and
    `content_hash` decide that; `parked` names the unfinished samples that a later transform continues;
    `preview_seconds` is wall time of previews, not in `seconds`; `logs` is what the item printed, bounded.
    """

    item_index: int
    item: str
    status: Status
    samples: tuple[SampleRecord, ...] = ()
    error: ErrorRecord | None = None
    value: Any = None
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    reused: bool = False
    fingerprint: str = ""
    content_hash: str = ""
    notes: tuple[str, ...] = ()
    parked: tuple[str, ...] = ()
    preview_seconds: float = 0.0
    logs: tuple[str, ...] = ()


@pickled_by_place
@dataclass(frozen=True, slots=True)
class BatchResult:
    """The result of one Dask node: the records of its items, in item order, and where they were made.

    `worker` is the Dask worker's address, "" without one; `host_fault` is why the host cannot work on the flow, ""
    where it can; `unread` are the indices of failed items whose sources the host cannot read.
    """

    task: str
    batch_index: int
    items: tuple[ItemRecord, ...]
    host: str = ""
    worker_pid: int = 0
    seconds: float = 0.0
    child_restarts: int = 0
    peak_child_bytes: int = 0
    worker: str = ""
    host_fault: str = ""
    unread: tuple[int, ...] = ()


@pickled_by_place
@dataclass(frozen=True, slots=True)
class ShardRecord:
    """One finished shard task of the merge: CRC-32 and bytes of each file that it wrote, by path in the dataset.

    `damaged` names samples whose `.data` could not be read, with the reason; nothing is written then. `words` are the
    distinct texts of each text array, from the tasks that gather vocabularies. `digest` is the hash of the shard's
    inputs, and `reused` is true where an earlier dataset's files were taken.
    """

    group: str
    shard_index: int
    n_bytes: int
    crcs: Mapping[str, int] = field(default_factory=dict)
    damaged: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0
    sizes: Mapping[str, int] = field(default_factory=dict)
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    digest: str = ""
    reused: bool = False


def share_layouts(records: Iterable[ItemRecord], known: dict[SampleLayout, SampleLayout]) -> tuple[ItemRecord, ...]:
    """Return the records with equal layouts as one object, that in `known`, to which new layouts are added.

    Pickled together, they then hold each layout once.
    """
    by_id: dict[int, SampleLayout] = {}
    return tuple(_shared(record, known, by_id) for record in records)


def _shared(record: ItemRecord, known: dict[SampleLayout, SampleLayout], by_id: dict[int, SampleLayout]) -> ItemRecord:
    if not record.samples:
        return record
    return replace(record, samples=tuple([_lean(sample, record.item, known, by_id) for sample in record.samples]))


def _lean(
    sample: SampleRecord, item: str, known: dict[SampleLayout, SampleLayout], by_id: dict[int, SampleLayout]
) -> SampleRecord:
    layout = by_id.get(id(sample.layout))
    if layout is None:
        layout = known.setdefault(sample.layout, sample.layout)
        by_id[id(sample.layout)] = layout
    source = item if sample.source == item else sample.source
    return replace(
        sample, source=source, layout=layout, values=tuple([(sys.intern(name), value) for name, value in sample.values])
    )
