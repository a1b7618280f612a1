"""Blocks that are merged while the last files are still encoded.

A plan of the samples that are there so far is right for each block before the first file that is not: ids, rows and
files are what they will be. It is a guess all the same. A sample in front may turn out to be damaged, a later one may
widen a dtype or lack an array. So the shards made here lie in a build of their own, which is never published, and the
merge takes one over only where its digest is that of the final plan's block, as it does with the shards of the dataset
that it replaces (`dflow.dataset.reuse`). What does not fit is written again.

Blocks with text wait for the merge: their codes depend on the words of all samples.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

from dflow.dataset.blocks import InFolder
from dflow.dataset.layout import MergeSettings
from dflow.dataset.manifest import make_manifest
from dflow.dataset.nodes import Nodes, Published, shard_nodes
from dflow.dataset.plan import MergePlan, plan_merge
from dflow.dataset.publish import Build, Outputs
from dflow.dataset.reuse import block_name
from dflow.dataset.shards import WrittenFile
from dflow.records import SampleRecord, ShardRecord
from dflow.storage.paths import FlowPaths


class EarlyBuild:
    """The shards made ahead of a flow's merge. One thread; the caller owns the flow's folder.

    Each block is tried once. The folder is there from the first node to `discard`; that of a killed run is swept as
    every unfinished build is.

    Parameters
    ----------
    paths : of the flow
    settings : those of the merge that will follow
    """

    def __init__(self, paths: FlowPaths, settings: MergeSettings | None = None) -> None:
        self._outputs = Outputs.of(paths)
        self._locate = InFolder(str(paths.encoded))
        self._settings = settings or MergeSettings()
        self._build: Build | None = None
        self._begun: set[tuple[str, int]] = set()
        self._made: list[ShardRecord] = []

    @property
    def folder(self) -> Path | None:
        """Where the shards lie, None while there are none."""
        return self._build.folder if self._build is not None else None

    def nodes(self, records: Sequence[SampleRecord], before: str, *, suffix: str) -> Nodes:
        """Nodes for the blocks that are complete and were not tried yet; keys ``merge-<group>-000012`` and `suffix`.

        Parameters
        ----------
        records : of all samples that are there, also behind `before`: they tell how large the dataset will be
        before : the first source, in sorted order, whose samples are not known
        suffix : of the keys

        Raises
        ------
        DatasetError, SchemaError
            If the samples cannot be planned.
        OSError
            If the build's folder cannot be made.
        """
        plan = plan_merge(records, self._settings)
        blocks = [block for block in complete_blocks(plan, before) if block not in self._begun]
        self._begun.update(blocks)
        if blocks and self._build is None:
            self._build = Build.begin(self._outputs)
        root = "" if self._build is None else str(self._build.dataset)
        for group in {group for group, _ in blocks}:
            for array in plan.groups[group].arrays:
                os.makedirs(os.path.join(root, array.target.path), exist_ok=True)
        return shard_nodes(plan, root, self._locate, suffix=suffix, blocks=blocks)

    def add(self, record: ShardRecord) -> None:
        """A node of `nodes` has ended; where it found damage the block is left to the merge."""
        if not record.damaged:
            self._made.append(record)

    def shards(self) -> Published | None:
        """What the merge may take over: a manifest and its folder."""
        if self._build is None or not self._made:
            return None
        files = [WrittenFile(path, r.sizes[path], crc) for r in self._made for path, crc in r.crcs.items()]
        blocks = {block_name(record.group, record.shard_index): record.digest for record in self._made}
        return make_manifest(files, "", blocks), str(self._build.dataset)

    def discard(self) -> None:
        """Remove what was made; a shard that the merge took over is its own by then."""
        if self._build is not None:
            self._build.discard()
        self._build = None
        self._begun.clear()
        self._made.clear()


def complete_blocks(plan: MergePlan, before: str) -> list[tuple[str, int]]:
    """The blocks, (group, index), whose rows all belong to samples of sources before `before`; those with text left
    out.
    """
    n_known = bisect_left(plan.samples.sources, before)
    groups = [group for group in plan.groups.values() if group.arrays and not any(a.coded for a in group.arrays)]
    return [(g.name, i) for g in groups for i in range(int(g.offsets[n_known]) // g.shard_rows)]
