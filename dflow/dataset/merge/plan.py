"""The merge plan: the arrays of the dataset and the samples that each node reads, from the samples' records alone.

Pure functions: no file is opened. Samples are sorted by (source, body) and numbered 0..N-1. Each group's rows are the
samples' rows in that order, so a sample is a slice, and its first row a cumulative sum. A shard is a range of rows; a
binary search in the offsets finds its samples. Columns are numpy arrays: a plan of ten million samples holds eight
bytes per sample and group besides the names, and a `Block` is made only together with its node.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dflow.dataset.format import layout as disk
from dflow.dataset.format.layout import ArrayTarget
from dflow.dataset.merge import settings as sizes
from dflow.dataset.merge.arrays import ResolvedArray, resolve_arrays, take_census, union_schema
from dflow.dataset.merge.attributes import ROW_SAMPLE, described
from dflow.dataset.merge.columns import FileColumn, Vocabulary, build_columns, gather_values, resolve_fields
from dflow.dataset.merge.settings import MergeSettings
from dflow.errors import DatasetError
from dflow.plaintext import get_logger
from dflow.records import ArrayLayout, SampleLayout, SampleRecord
from dflow.schema import FILE_GROUP, Schema
from dflow.schema.names import free_name, has_array, id_array, row_count, row_start

logger = get_logger(__name__)

_BASE_BYTES = 4 * 1024**2
"""Memory of a shard node besides its arrays: the compressor's window, file buffers, the block's columns."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """The merged samples in id order. `bodies` (N,) int32, `n_bytes` (N,) int64, `crcs` (N,) uint32."""

    names: tuple[str, ...]
    sources: tuple[str, ...]
    bodies: NDArray[np.int32]
    n_bytes: NDArray[np.int64]
    crcs: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True, eq=False)
class ArrayPlan:
    """One array that shard nodes write. `present` is (N,) bool, None if every sample has it; `coded` is true for text,
    which becomes codes.
    """

    target: ArrayTarget
    present: NDArray[np.bool_] | None = None
    coded: bool = False

    @property
    def stored_dtype(self) -> str:
        """The dtype in the samples' files."""
        return "str" if self.coded else self.target.dtype


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The input of one shard node: rows `start` to `stop` of a group, and the samples that have them.

    For each of the k samples with rows there, in id order: `ids` (k,) int64, `first_rows` (k,) int64 (the first row of
    the sample, which may be before `start`), `counts` (k,) int64, `names`, `n_bytes` and `crcs` of its `.data` file.
    `absent` maps the name of an array that samples lack to (k,) bool; `forms` maps each name to the stored dtype and
    trailing shape, from which only samples marked in `odd`, (k,) bool, may differ.
    """

    group: str
    index: int
    start: int
    stop: int
    ids: NDArray[np.int64]
    first_rows: NDArray[np.int64]
    counts: NDArray[np.int64]
    names: tuple[str, ...]
    n_bytes: NDArray[np.int64]
    crcs: NDArray[np.uint32]
    absent: Mapping[str, NDArray[np.bool_]]
    forms: Mapping[str, tuple[str, tuple[int, ...]]]
    odd: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class GroupPlan:
    """One group.

    `offsets` is (N+1,) int64: sample i has the rows ``offsets[i]:offsets[i + 1]``. `odd` is (N,) bool: whether the
    sample has an array of the group in a narrower dtype than the merged one.
    """

    name: str
    dimension: str
    offsets: NDArray[np.int64]
    shard_rows: int
    arrays: tuple[ArrayPlan, ...]
    odd: NDArray[np.bool_]

    @property
    def n_rows(self) -> int:
        """Rows of all samples together."""
        return int(self.offsets[-1])

    @property
    def n_shards(self) -> int:
        """Shard nodes: none if there is no array to read."""
        return -(-self.n_rows // self.shard_rows) if self.arrays else 0

    def counts(self) -> NDArray[np.int64]:
        """(N,) int64: rows of each sample."""
        return np.diff(self.offsets)


@dataclass(frozen=True, slots=True, eq=False)
class MergePlan:
    """The plan of a merge.

    `groups` has every row group, and ``file`` with the arrays of the `.data` files; `columns` are the file values of
    the records; `tables` are the description tables for `.attribset`; `rejected` has the names of the samples that
    contradict the others or the schema, with the reasons, sorted.
    """

    samples: Samples
    groups: Mapping[str, GroupPlan]
    columns: tuple[FileColumn, ...]
    column_targets: tuple[ArrayTarget, ...]
    tables: Mapping[str, Vocabulary]
    schema: Schema
    rejected: tuple[tuple[str, str], ...]
    settings: MergeSettings

    @property
    def n_shards(self) -> int:
        """Shard nodes of all groups."""
        return sum(group.n_shards for group in self.groups.values())

    def targets(self) -> dict[str, list[ArrayTarget]]:
        """All arrays of the dataset, by group."""
        by_group = {name: [array.target for array in group.arrays] for name, group in self.groups.items()}
        by_group[FILE_GROUP] = [*by_group[FILE_GROUP], *self.column_targets]
        return by_group

    def declared_words(self) -> dict[str, tuple[str, ...]]:
        """The declared texts of each array of text, by ``group/name``."""
        coded = [array.target for group in self.groups.values() for array in group.arrays if array.coded]
        specs = {target.path: self.schema.array(target.group, target.name) for target in coded}
        return {key: tuple(map(str, spec.class_names)) if spec is not None else () for key, spec in specs.items()}

    def block(self, group: str, index: int) -> Block:
        """The samples and rows of one shard; O(log N + samples of the shard)."""
        plan = self.groups[group]
        start = index * plan.shard_rows
        return self.block_of_rows(group, start, min(start + plan.shard_rows, plan.n_rows), index=index)

    def block_of_rows(self, group: str, start: int, stop: int, *, index: int = 0) -> Block:
        """The samples of the rows `start` to `stop` of a group; there is at least one row."""
        plan, samples = self.groups[group], self.samples
        first = int(np.searchsorted(plan.offsets, start, "right")) - 1
        last = int(np.searchsorted(plan.offsets, stop, "left"))
        ids = first + np.flatnonzero(np.diff(plan.offsets[first : last + 1]))
        absent = {a.target.name: ~a.present[ids] for a in plan.arrays if a.present is not None}
        return Block(
            group=group,
            index=index,
            start=start,
            stop=stop,
            ids=ids.astype(np.int64),
            first_rows=plan.offsets[ids],
            counts=plan.offsets[ids + 1] - plan.offsets[ids],
            names=tuple(samples.names[i] for i in ids),
            n_bytes=samples.n_bytes[ids],
            crcs=samples.crcs[ids],
            absent={name: mask for name, mask in absent.items() if mask.any()},
            forms={a.target.name: (a.stored_dtype, a.target.trailing) for a in plan.arrays},
            odd=plan.odd[ids],
        )


def plan_merge(records: Sequence[SampleRecord], settings: MergeSettings | None = None) -> MergePlan:
    """Plan the merge of `records`; their order does not matter.

    Raises
    ------
    DatasetError
        If two records have the same sample name.
    SchemaError
        If a declared fill value or code does not fit its dtype.
    """
    settings = settings or MergeSettings()
    ordered = sorted(records, key=lambda record: (record.source, record.body, record.name))
    _refuse_duplicates(ordered)
    census = take_census(ordered)
    schema, refused = union_schema(census)
    faults = {int(i): [reason] for layout, reason in refused.items() for i in census.members(layout)}
    arrays, array_faults = resolve_arrays(census, schema)
    values = gather_values(ordered)
    fields, value_faults = resolve_fields(values, schema)
    for more in (array_faults, value_faults):
        for index, reasons in more.items():
            faults.setdefault(index, []).extend(reasons)
    kept = np.array([i for i in range(len(ordered)) if i not in faults], np.intp)
    samples = _samples([ordered[i] for i in kept])
    groups = _group_plans(census.rows, arrays, census.layouts, census.layout_index[kept], kept, schema, settings)
    columns = _file_columns(build_columns(values, fields, kept), groups)
    return MergePlan(
        samples=samples,
        groups=groups,
        columns=columns,
        column_targets=tuple(_column_target(c, groups, schema, settings) for c in columns if not c.is_text),
        tables=_union_tables([ordered[i] for i in kept]),
        schema=schema,
        rejected=tuple(sorted((ordered[i].name, "; ".join(reasons)) for i, reasons in faults.items())),
        settings=settings,
    )


def _refuse_duplicates(ordered: Sequence[SampleRecord]) -> None:
    seen: set[str] = set()
    for record in ordered:
        if record.name in seen:
            raise DatasetError(
                f"two records have the sample name {record.name!r} (the second from {record.source!r}, body "
                f"{record.body}); pass each sample once"
            )
        seen.add(record.name)


def _samples(records: Sequence[SampleRecord]) -> Samples:
    n = len(records)
    return Samples(
        names=tuple(record.name for record in records),
        sources=tuple(record.source for record in records),
        bodies=np.fromiter((record.body for record in records), np.int32, n),
        n_bytes=np.fromiter((record.n_bytes for record in records), np.int64, n),
        crcs=np.fromiter((record.data_crc for record in records), np.uint32, n),
    )


def _group_plans(
    rows: Mapping[str, NDArray[np.int64]],
    arrays: Mapping[str, ResolvedArray],
    layouts: Sequence[SampleLayout],
    layout_index: NDArray[np.int32],
    kept: NDArray[np.intp],
    schema: Schema,
    settings: MergeSettings,
) -> dict[str, GroupPlan]:
    names = sorted((schema.groups.keys() | {array.layout.group for array in arrays.values()}) - {FILE_GROUP})
    plans = {}
    for group in [*names, FILE_GROUP]:
        offsets = np.zeros(len(kept) + 1, np.int64)
        if group == FILE_GROUP:
            offsets[:] = np.arange(len(kept) + 1)
        elif group in rows:
            np.cumsum(rows[group][kept], out=offsets[1:])
        members = {key: array for key, array in arrays.items() if array.layout.group == group}
        present = {key: _presence(key, layouts, layout_index) for key in members}
        odd = np.array([_is_odd(layout, members) for layout in layouts], bool)
        in_samples = odd[layout_index] if len(layouts) else np.zeros(0, bool)
        plans[group] = _group_plan(group, offsets, members, present, in_samples, schema, settings)
    return plans


def _is_odd(layout: SampleLayout, members: Mapping[str, ResolvedArray]) -> bool:
    """Whether a sample of this layout stores an array in another dtype than the merged one."""
    wanted = {key: "str" if array.coded else array.layout.dtype for key, array in members.items()}
    return any(array.key in wanted and wanted[array.key] != array.dtype for array in layout.arrays)


def _presence(key: str, layouts: Sequence[SampleLayout], layout_index: NDArray[np.int32]) -> NDArray[np.bool_] | None:
    has = np.array([any(array.key == key for array in layout.arrays) for layout in layouts], bool)
    mask = has[layout_index] if len(layouts) else np.zeros(0, bool)
    return None if mask.all() else mask


def _group_plan(
    group: str,
    offsets: NDArray[np.int64],
    members: Mapping[str, ResolvedArray],
    present: Mapping[str, NDArray[np.bool_] | None],
    odd: NDArray[np.bool_],
    schema: Schema,
    settings: MergeSettings,
) -> GroupPlan:
    n_rows, n_samples = int(offsets[-1]), len(offsets) - 1
    layouts = [array.layout for array in members.values()]
    row_bytes = sum(np.dtype(a.dtype).itemsize * math.prod(a.trailing) for a in layouts) + 8
    shard_rows = sizes.shard_rows(row_bytes, n_rows, n_samples, settings)
    dimension = layouts[0].dims[0] if layouts else FILE_GROUP if group == FILE_GROUP else schema.groups[group].dimension
    plans = [
        ArrayPlan(
            _target(array.layout, n_rows, shard_rows, settings, described(schema, group, array.layout.name)),
            present[key],
            array.coded,
        )
        for key, array in members.items()
    ]
    if group != FILE_GROUP:
        ids = ArrayLayout(group, id_array(group), "int64", (dimension,), ())
        plans.append(ArrayPlan(_target(ids, n_rows, shard_rows, settings, ROW_SAMPLE)))
    return GroupPlan(group, dimension, offsets, shard_rows, tuple(plans), odd)


def _target(
    layout: ArrayLayout, n_rows: int, shard_rows: int, settings: MergeSettings, attributes: Mapping[str, str]
) -> ArrayTarget:
    """The array on disk; `layout.dims` has the row dimension, also in group ``file``."""
    row_bytes = np.dtype(layout.dtype).itemsize * math.prod(layout.trailing)
    chunk_rows = min(sizes.chunk_rows(row_bytes, n_rows, settings), shard_rows)
    fill = disk.json_fill(disk.fill_scalar(layout.dtype, layout.fill_value, what=f"array {layout.key}"))
    shape = (n_rows, *layout.trailing)
    return ArrayTarget(
        layout.group,
        layout.name,
        layout.dtype,
        layout.dims,
        shape,
        chunk_rows,
        shard_rows,
        fill,
        settings.level_of(layout.dtype),
        tuple(attributes.items()),
    )


def _file_columns(columns: Sequence[FileColumn], groups: Mapping[str, GroupPlan]) -> tuple[FileColumn, ...]:
    """The samples' values, and the values that the plan adds: first row, row count, and which arrays are present.

    A user's value with the name of an added one is renamed, because it would break every reader of the dataset.
    Storages refuse such names, except those that result from groups of other samples.
    """
    out: dict[str, FileColumn] = {}

    def derive(name: str, values: NDArray[Any]) -> None:
        out[name] = FileColumn(name, values, derived=True)

    for group, plan in groups.items():
        if group != FILE_GROUP:
            derive(row_start(group), plan.offsets[:-1])
            derive(row_count(group), plan.counts())
        for array in plan.arrays:
            if array.present is not None:
                derive(has_array(group, array.target.name), array.present)
    arrays = {array.target.name for array in groups[FILE_GROUP].arrays}
    for column in columns:
        if column.name in arrays:
            logger.warning("the metadata value %r is left out: an array of group 'file' has that name", column.name)
            continue
        if column.name in out:
            column = replace(column, name=free_name(column.name))
            logger.warning("a metadata value is renamed to %r: the merge adds one of its name", column.name)
        out[column.name] = column
        if column.present is not None and not column.is_text:
            derive(has_array(FILE_GROUP, column.name), column.present)
    return tuple(out[name] for name in sorted(out))


def _column_target(
    column: FileColumn, groups: Mapping[str, GroupPlan], schema: Schema, settings: MergeSettings
) -> ArrayTarget:
    n_samples = len(column.values)
    layout = ArrayLayout(FILE_GROUP, column.name, column.values.dtype.name, (FILE_GROUP,), ())
    shard_rows = sizes.shard_rows(column.values.itemsize, n_samples, n_samples, settings)
    # CF conventions 9.3.3: the counts of a contiguous ragged array name the dimension that they count.
    counted = {row_count(name): {"sample_dimension": plan.dimension} for name, plan in groups.items()}
    attributes = counted.get(column.name, {}) if column.derived else described(schema, FILE_GROUP, column.name)
    return _target(layout, n_samples, shard_rows, settings, attributes)


def _union_tables(records: Sequence[SampleRecord]) -> dict[str, Vocabulary]:
    """The union of the samples' description tables; of several names of an id the most frequent wins."""
    layouts = {id(record.layout): record.layout for record in records}  # the records of a batch share one
    weight: Counter[tuple[tuple[str, tuple[tuple[int, str, str], ...]], ...]] = Counter()
    for identity, count in Counter(id(record.layout) for record in records).items():
        weight[layouts[identity].tables] += count
    votes: dict[str, dict[int, dict[tuple[str, str], int]]] = {}
    for tables, count in weight.items():
        for table, rows in tables:
            for code, name, description in rows:
                entry = votes.setdefault(table, {}).setdefault(code, {})
                entry[name, description] = entry.get((name, description), 0) + count
    union = {}
    for table in sorted(votes):
        best = {code: min(names, key=lambda entry: (-names[entry], entry)) for code, names in votes[table].items()}
        disputed = [code for code, names in votes[table].items() if len({name for name, _ in names}) > 1]
        if disputed:
            logger.warning(
                "table %r: samples have different names for the ids %s; the most frequent name is kept", table, disputed
            )
        union[table] = tuple((code, *best[code]) for code in sorted(best))
    return union


def predict_peak_bytes(plan: MergePlan) -> int:
    """Predict the largest memory of a shard node in bytes; it does not depend on the size of the dataset.

    A node streams: it holds a run of samples (a `.data` file, the run's chunks, its decoded arrays, one array's chunks
    joined) and one inner chunk per array (raw, and compressed while it is written), never a shard.
    """
    return max((_group_peak(plan, group) for group in plan.groups.values()), default=0) + _BASE_BYTES


def _group_peak(plan: MergePlan, group: GroupPlan) -> int:
    if not len(plan.samples):
        return 0
    chunks = sum(array.target.chunk_bytes for array in group.arrays)
    largest_chunk = max((array.target.chunk_bytes for array in group.arrays), default=0)
    row = sum(array.target.row_bytes for array in group.arrays)
    largest_row = max((array.target.row_bytes for array in group.arrays), default=0)
    text = sum(math.prod(array.target.trailing) for array in group.arrays if array.coded) * TEXT_BYTES
    rows = run_rows(group.counts(), row + text)
    samples_per_shard = min(len(plan.samples), -(-len(plan.samples) * group.shard_rows // max(group.n_rows, 1)) + 1)
    held = chunks + 2 * largest_chunk + rows * (2 * row + largest_row + text)
    return held + int(plan.samples.n_bytes.max()) + 400 * samples_per_shard


RUN_BYTES = 512 * 1024
"""Limit of the decoded bytes of a run of several samples, so that they stay in the processor's cache."""

RUN_SAMPLES = 64
"""Limit of the samples of a run; longer runs save nothing."""

TEXT_BYTES = 256
"""Memory of one text while it becomes a code: in the file's chunk, in numpy and in Python."""


def cut_runs(counts: Sequence[int], row_bytes: int) -> Iterator[tuple[int, int]]:
    """Divide the samples of a block, with `counts` rows each, into runs: (first, stop) indices.

    The first and the last sample are runs of their own, because the block may contain only a part of their rows.
    """
    first, n_bytes, last = 0, 0, len(counts) - 1
    for k, count in enumerate(counts):
        n_bytes += count * row_bytes
        if first < k and (n_bytes > RUN_BYTES or k - first >= RUN_SAMPLES or k in (1, last)):
            yield first, k
            first, n_bytes = k, count * row_bytes
    if counts:
        yield first, len(counts)


def run_rows(counts: NDArray[np.int64], row_bytes: int) -> int:
    """The largest number of rows of a run of samples with `counts` rows, of which there is at least one."""
    return max(int(counts.max()), min(int(counts.sum()), RUN_BYTES // max(row_bytes, 1)))
