"""The Dask nodes of the merge: each reads the samples of one block and writes one shard of every array of the group.

Reading and writing are one node because Dask does not fuse `Delayed`: blocks would be sent between workers. A node gets
a compact `Block` and returns a small `ShardRecord`; it may run on any worker, in any order, and more than once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import overload

from dask.delayed import Delayed, delayed

from dflow.dataset.format.layout import ArrayTarget
from dflow.dataset.format.manifest import Manifest
from dflow.dataset.format.shards import ShardWriter, WrittenFile, finish_together
from dflow.dataset.merge.block_reader import Locator, Run, encode_words, read_block
from dflow.dataset.merge.columns import Vocabularies
from dflow.dataset.merge.plan import Block, GroupPlan, MergePlan
from dflow.dataset.merge.publish import OldShard, block_digest, link_shard, old_shard
from dflow.records import ShardRecord
from dflow.schema.names import id_array

_OPENING_BYTES = 8192
"""The cost of opening a sample, as the number of bytes that are coded in the same time."""

Published = tuple[Manifest, str]
"""Manifest and folder of the dataset that a merge will replace; its shards may be reused."""


@dataclass(frozen=True, slots=True, eq=False)
class ShardJob:
    """The input of one node; its size does not depend on that of the dataset.

    `codes` has an entry for each text array; `old` is the published shard of the same index, None if there is none.
    """

    root: str
    block: Block
    targets: tuple[ArrayTarget, ...]
    locate: Locator
    codes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    old: OldShard | None = None

    def names_to_read(self) -> tuple[str, ...]:
        """Names of the arrays in the `.data` files: all but the ids."""
        return tuple(target.name for target in self.targets if target.name != id_array(self.block.group))


class Nodes(Sequence[Delayed]):
    """Nodes that are made on access, because all blocks of ten million samples would fill the client's memory."""

    def __init__(self, jobs: Sequence[tuple[str, int]], make: Callable[[str, int], Delayed]) -> None:
        self._jobs, self._make = jobs, make

    def __len__(self) -> int:
        return len(self._jobs)

    @overload
    def __getitem__(self, index: int) -> Delayed: ...
    @overload
    def __getitem__(self, index: slice) -> Nodes: ...
    def __getitem__(self, index: int | slice) -> Delayed | Nodes:
        if isinstance(index, slice):
            return Nodes(self._jobs[index], self._make)
        return self._make(*self._jobs[index])


def shard_nodes(
    plan: MergePlan,
    root: str,
    locate: Locator,
    *,
    vocabularies: Vocabularies | None = None,
    published: Published | None = None,
    suffix: str = "",
) -> Nodes:
    """One node per shard, the longest first; keys are ``merge-<group>-000012`` and `suffix`.

    Unchanged shards of `published` are reused.
    """
    vocabularies = vocabularies or Vocabularies()

    def make(group: str, index: int) -> Delayed:
        targets = tuple(array.target for array in plan.groups[group].arrays)
        block = plan.block(group, index)
        old = old_shard(*published, block, targets) if published is not None else None
        job = ShardJob(root, block, targets, locate, vocabularies.codes(group, index), old)
        return _node(partial(run_shard, job), f"merge-{group}-{index:06d}{suffix}")

    return Nodes(_by_work(plan, plan.groups.values()), make)


def word_nodes(plan: MergePlan, locate: Locator, *, suffix: str = "") -> Nodes:
    """One node per block of each group with text arrays; keys are ``words-<group>-000012`` and `suffix`."""
    coded = {g.name: tuple(a.target for a in g.arrays if a.coded) for g in plan.groups.values()}

    def make(group: str, index: int) -> Delayed:
        job = ShardJob("", plan.block(group, index), coded[group], locate)
        return _node(partial(gather_words, job), f"words-{group}-{index:06d}{suffix}")

    return Nodes(_by_work(plan, [group for group in plan.groups.values() if coded[group.name]]), make)


def _by_work(plan: MergePlan, groups: Iterable[GroupPlan]) -> list[tuple[str, int]]:
    """All blocks, (group, index), of some groups, the longest first: long nodes at the end would leave workers idle."""
    costs = {(g.name, i): _cost(plan, g, i) for g in groups for i in range(g.n_shards)}
    return sorted(costs, key=lambda block: (-costs[block], block))


def _cost(plan: MergePlan, group: GroupPlan, index: int) -> float:
    """The cost of a block as bytes that are decoded and coded again; its samples are assumed to be of mean size."""
    rows = min(group.shard_rows, group.n_rows - index * group.shard_rows)
    row_bytes = sum(array.target.row_bytes for array in group.arrays)
    return rows * (row_bytes + _OPENING_BYTES * len(plan.samples) / group.n_rows)


def _node(function: Callable[[], ShardRecord], key: str) -> Delayed:
    # With traverse=True dask would search for collections in every field of the job, sample by sample.
    return delayed(function, pure=False, traverse=False)(dask_key_name=key)


def run_shard(job: ShardJob) -> ShardRecord:
    """Write one shard of every array of the group, or reuse the published ones that are unchanged and whole.

    Raises
    ------
    OSError
        If the shard cannot be written: the disk is full, or the build's folder was removed after its flow was killed.
    """
    begin = time.perf_counter()
    block, damaged = job.block, list[tuple[str, str]]()
    digest = block_digest(block, job.targets, job.codes)
    linked = link_shard(job.old, job.root) if job.old is not None and job.old.digest == digest else []
    paths = {file.path for file in linked}
    rest = tuple(target for target in job.targets if target.shard_key(block.index) not in paths)
    files = [*linked, *(_write(replace(job, targets=rest), damaged) if rest else ())]
    return ShardRecord(
        block.group,
        block.index,
        sum(file.n_bytes for file in files),
        crcs={file.path: file.crc for file in files},
        sizes={file.path: file.n_bytes for file in files},
        damaged=tuple(damaged),
        seconds=time.perf_counter() - begin,
        digest=digest,
        reused=not rest,
    )


def _write(job: ShardJob, damaged: list[tuple[str, str]]) -> list[WrittenFile]:
    """Write the shards and return their files; none if samples are damaged, which are appended to `damaged`."""
    with ExitStack() as stack:
        writers = [stack.enter_context(ShardWriter(job.root, target, job.block.index)) for target in job.targets]
        for run in read_block(job.block, job.names_to_read(), job.locate, damaged):
            if not damaged:
                _append(writers, run, job.codes)
        return [] if damaged else finish_together(writers)


def _append(writers: Sequence[ShardWriter], run: Run, codes: Mapping[str, Mapping[str, int]]) -> None:
    for writer in writers:
        target = writer.target
        if target.name == id_array(target.group):
            writer.append(run.sample_ids())
            continue
        for rows, n_rows in run.pieces[target.name]:
            if rows is None:
                writer.repeat(target.fill_scalar(), n_rows)
            else:
                writer.append(encode_words(rows, codes[target.path]) if target.path in codes else rows)


def gather_words(job: ShardJob) -> ShardRecord:
    """Gather the distinct words of the group's text arrays in one block."""
    damaged: list[tuple[str, str]] = []
    words: dict[str, set[str]] = {target.name: set() for target in job.targets}
    for run in read_block(job.block, tuple(words), job.locate, damaged):
        for name, found in words.items():
            for rows, _ in run.pieces[name]:
                if rows is not None:
                    found.update(map(str, rows.ravel().tolist()))
    gathered = {target.path: tuple(sorted(words[target.name])) for target in job.targets}
    return ShardRecord(job.block.group, job.block.index, 0, damaged=tuple(damaged), words=gathered)
