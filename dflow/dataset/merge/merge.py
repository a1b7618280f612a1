"""The merge of sealed samples into a published dataset.

The plan is made from the records alone (`dflow.dataset.merge.plan`). Each block of it is one `dask.delayed` node,
``merge-<group>-000012``, that reads the block's samples and writes one shard of every array of its group
(`dflow.dataset.merge.nodes`); no two nodes write the same file, so there are no locks.

The client writes the file values and offsets, which it has in memory. Everything is written into a build beside the
dataset, which is published when it is complete (`dflow.dataset.merge.publish`).

Nothing is merged while files are still encoded: the merge keeps all workers busy, so overlapping the two saves nothing,
and a shard needs all samples up to its last in sorted order, so files would have to be encoded in the order of their
paths, not the largest first.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from operator import attrgetter
from pathlib import Path
from typing import Any

from dask.delayed import Delayed

from dflow._version import __version__
from dflow.dataset.format.layout import FORMAT, MANIFEST, metadata_files
from dflow.dataset.format.manifest import (
    Manifest,
    TableSum,
    make_manifest,
    missing_files,
    read_sums,
    table_sum,
    write_file,
    write_sums,
)
from dflow.dataset.format.shards import WrittenFile, write_whole
from dflow.dataset.format.stored_split import SPLIT_SUFFIX, StoredSplit, read_split
from dflow.dataset.format.tables import table_build, table_rows
from dflow.dataset.merge.attributes import with_flags
from dflow.dataset.merge.block_reader import InFolder, Locator
from dflow.dataset.merge.columns import Vocabularies, Vocabulary, unite
from dflow.dataset.merge.nodes import Nodes, Published, shard_nodes, word_nodes
from dflow.dataset.merge.plan import MergePlan, plan_merge
from dflow.dataset.merge.publish import Build, Outputs, block_name, recover
from dflow.dataset.merge.published import Noted, damaged_files, note_published, published, write_note
from dflow.dataset.merge.settings import MergeSettings
from dflow.dataset.merge.table_writer import attribute_tables, write_attribset, write_infoset
from dflow.errors import DamagedDatasetError, DatasetError, DflowError, OutputFolderError, SplitError
from dflow.plaintext import get_logger
from dflow.records import SampleRecord, ShardRecord
from dflow.schema import schema_to_dict
from dflow.storage.paths import ATTRIBSET_SUFFIX, INFOSET_SUFFIX, FlowPaths, read_regular

logger = get_logger(__name__)

_MADE_ANEW = "checksums"
"""What metadata and tables have that an older version left out: its datasets get them from the next run, and keep their
shards."""

Compute = Callable[[Sequence[Delayed]], Iterator[ShardRecord]]
"""Runs nodes, on a cluster in a sliding window or one after the other, and yields their records in any order."""


@dataclass(frozen=True, slots=True)
class MergeReport:
    """The result of a merge.

    `rejected`: (sample, "schema", reason) of samples that contradict the schema or the others. `damaged`: (sample,
    reason) of samples whose `.data` file was missing or unreadable; the dataset is without both. `reused`: the
    published dataset was up to date and nothing was written. `seconds` is wall time.
    """

    n_samples: int
    rejected: tuple[tuple[str, str, str], ...] = ()
    damaged: tuple[tuple[str, str], ...] = ()
    n_bytes: int = 0
    seconds: float = 0.0
    reused: bool = False


def _sums_before(dataset: Path) -> Mapping[str, tuple[TableSum, ...]]:
    """The checksums of the tables that are replaced: they stay valid until the new ones have their names."""
    try:
        return read_sums(dataset)
    except DatasetError:
        return {}


def merge_dataset(
    records: Sequence[SampleRecord],
    paths: FlowPaths,
    *,
    flow_name: str,
    compute: Compute,
    settings: MergeSettings | None = None,
    content_hashes: Mapping[str, str] | None = None,
) -> MergeReport:
    """Merge a flow's samples into its `.dataset`, `.infoset` and `.attribset`.

    `content_hashes` maps sample names to the hash of their file. The caller holds the lock of the flow's folder.

    Raises
    ------
    DatasetError
        If two records have one sample name, no sample can be read, or the build is not complete.
    OutputFolderError
        If the folder cannot be written or the disk is full; the published dataset stays unchanged.
    """
    merger = Merger(Outputs.of(paths), InFolder(str(paths.encoded)), compute, settings or MergeSettings())
    return merger.run(records, flow_name=flow_name, content_hashes=content_hashes or {})


def compute_inline(nodes: Sequence[Delayed]) -> Iterator[ShardRecord]:
    """Run the nodes one after the other in this thread: the default of merges without a flow."""
    for node in nodes:
        yield node.compute(scheduler="synchronous")  # type: ignore[no-untyped-call]  # dask


@dataclass(frozen=True, slots=True)
class Merger:
    """Merges samples into `outputs`. One process at a time may merge into the same outputs.

    Parameters
    ----------
    outputs : the paths to publish
    locate : returns the path of a sample's `.data` file
    compute : runs the nodes
    settings : of chunks, shards and compression
    keep_all : whether a sample that is damaged or contradicts the others ends the merge, instead of being left out
    """

    outputs: Outputs
    locate: Locator
    compute: Compute
    settings: MergeSettings
    keep_all: bool = False

    @property
    def stream_cache(self) -> Path:
        """The folder of the previews, beside the dataset."""
        return self.outputs.dataset.parent / "stream_cache"

    def run(self, records: Sequence[SampleRecord], *, flow_name: str, content_hashes: Mapping[str, str]) -> MergeReport:
        """Merge and publish, without damaged samples; see `merge_dataset`."""
        begin = time.perf_counter()
        damaged: dict[str, str] = {}
        try:
            recover(self.outputs)
            while True:
                remaining = [record for record in records if record.name not in damaged]
                inputs = cache(partial(self._inputs_digest, remaining, flow_name, content_hashes))
                reused = self._up_to_date(inputs, flow_name)
                if reused and table_rows(self.outputs.infoset) == len(remaining):  # so none was rejected
                    return self._report(reused, len(remaining), (), damaged, begin, reused=True)
                plan = plan_merge(remaining, self.settings)
                if self.keep_all:
                    _refuse_loss(dict(plan.rejected))
                try:
                    manifest = reused or self._build(plan, inputs, flow_name, content_hashes, suffix=_suffix(damaged))
                    break
                except _Damaged as found:
                    if self.keep_all:
                        _refuse_loss(found.samples)
                    damaged |= found.samples
                    _refuse_total_loss(damaged, records)
        except OSError as error:
            if isinstance(error, DflowError):
                raise
            raise OutputFolderError(
                f"the merge cannot read or write below {self.outputs.dataset.parent}: {error}. The published dataset "
                "and the encoded samples are unchanged; free space or permit access, and run again"
            ) from error
        rejected = tuple((name, "schema", reason) for name, reason in plan.rejected)
        return self._report(manifest, len(plan.samples), rejected, damaged, begin, reused=reused is not None)

    @staticmethod
    def _report(
        manifest: Manifest,
        n_samples: int,
        rejected: tuple[tuple[str, str, str], ...],
        damaged: Mapping[str, str],
        begin: float,
        *,
        reused: bool,
    ) -> MergeReport:
        seconds = time.perf_counter() - begin
        return MergeReport(n_samples, rejected, tuple(sorted(damaged.items())), manifest.n_bytes, seconds, reused)

    def _up_to_date(self, inputs: Callable[[], str], flow_name: str) -> Manifest | None:
        """The published manifest, if it was made from the same inputs and no file is damaged; else None."""
        try:
            manifest, noted = published(self.outputs)
            if manifest.inputs != inputs():
                return None
            tables = {table_build(path) for path in (self.outputs.infoset, self.outputs.attribset)}
        except DatasetError:
            return None
        if tables != {manifest.build}:
            return None
        damaged, states = damaged_files(self.outputs, manifest, noted)
        if damaged:
            logger.warning(
                "%d files of the dataset are damaged or missing and are merged again: %s",
                len(damaged),
                ", ".join(damaged[:3]),
            )
            return None
        if noted is None or states != noted.states:
            write_note(self.outputs, Noted(manifest, flow_name, self.settings, states))
        return manifest

    def _inputs_digest(self, records: Iterable[SampleRecord], flow_name: str, content_hashes: Mapping[str, str]) -> str:
        """A digest of everything that the outputs depend on, including which previews exist: `.infoset` names them."""
        digest = hashlib.blake2b(
            repr((FORMAT, _MADE_ANEW, __version__, self.settings, flow_name)).encode(), digest_size=16
        )
        previews = set(os.listdir(self.stream_cache)) if self.stream_cache.is_dir() else set()
        ordered = sorted(records, key=_ORDER)  # nearly their order of arrival: six times faster than sorting by name
        layouts = {id(record.layout): record.layout for record in ordered}
        digests = {key: hashlib.blake2b(_bytes_of(layout)).digest() for key, layout in layouts.items()}
        for record in ordered:
            name = record.name
            shown = (f"{name}.png" in previews, f"{name}.glb" in previews, content_hashes.get(name))
            digest.update(_bytes_of((digests[id(record.layout)], _OWN(record), shown)))
        return digest.hexdigest()

    def _build(
        self,
        plan: MergePlan,
        inputs: Callable[[], str],
        flow_name: str,
        content_hashes: Mapping[str, str],
        *,
        suffix: str,
    ) -> Manifest:
        """Build, verify and publish; raise `_Damaged` before publishing if samples cannot be read."""
        build = Build.begin(self.outputs)
        try:
            vocabularies = self._gather_words(plan, suffix)
            root = str(build.dataset)
            make_folders(root, plan)
            files: list[WrittenFile] = []

            tables = attribute_tables(plan, vocabularies.words)

            def meanwhile() -> None:
                files.extend(write_client_files(root, plan, tables))
                inputs()

            nodes = shard_nodes(
                plan, root, self.locate, vocabularies=vocabularies, published=self._existing(), suffix=suffix
            )
            shards = self._undamaged(nodes, meanwhile)
            files += [WrittenFile(path, r.sizes[path], crc) for r in shards for path, crc in r.crcs.items()]
            manifest = make_manifest(files, inputs(), {block_name(r.group, r.shard_index): r.digest for r in shards})
            verify(root, plan, manifest)
            write_infoset(
                build.infoset,
                plan,
                flow_name=flow_name,
                stream_cache=self.stream_cache,
                content_hashes=content_hashes,
                manifest=manifest,
                split=_kept_split(self.outputs.dataset.with_suffix(SPLIT_SUFFIX)),
            )
            write_attribset(build.attribset, tables, build=manifest.build)
            places = {INFOSET_SUFFIX: build.infoset, ATTRIBSET_SUFFIX: build.attribset}
            sums = {suffix: (table_sum(read_regular(place)),) for suffix, place in places.items()}
            manifest = replace(manifest, tables=sums)
            write_file(root, MANIFEST, manifest.to_bytes())
            earlier = _sums_before(self.outputs.dataset)
            write_sums(self.outputs.dataset, {suffix: (*earlier.get(suffix, ()), *sums[suffix]) for suffix in sums})
            build.publish()
            write_sums(self.outputs.dataset, sums)
            note_published(self.outputs, manifest, flow_name, self.settings)
            return manifest
        finally:
            if not build.is_ready():
                build.discard()

    def _existing(self) -> Published | None:
        """The dataset that will be replaced, whose unchanged shards the merge reuses; None if there is none."""
        try:
            return published(self.outputs)[0], str(self.outputs.dataset)
        except DatasetError:
            return None

    def _gather_words(self, plan: MergePlan, suffix: str) -> Vocabularies:
        """The vocabularies of the text arrays, by another pass over the samples if there are text arrays."""
        declared = plan.declared_words()
        return unite(declared, self._undamaged(word_nodes(plan, self.locate, suffix=suffix)) if declared else ())

    def _undamaged(self, nodes: Nodes, meanwhile: Callable[[], None] = lambda: None) -> list[ShardRecord]:
        """Run all nodes and return their records; raise `_Damaged` after all have run if some found damage.

        `meanwhile` is called once, after the first record, while this process would only wait for the other nodes.
        """
        done: list[ShardRecord] = []
        for record in self.compute(nodes):
            if not done:
                meanwhile()
            done.append(record)
        if not done:
            meanwhile()
        if damaged := {name: reason for record in done for name, reason in record.damaged}:
            raise _Damaged(damaged)
        return done


_ORDER = attrgetter("source", "body", "name")
_OWN = attrgetter("name", "source", "body", "rows", "values", "n_bytes", "data_crc")
"""The fields of a record, except its layout, that the outputs depend on."""


def _bytes_of(value: object) -> bytes:
    return repr(value).encode("utf-8", "surrogatepass")


class _Damaged(Exception):
    """Samples that cannot be read, with the reasons; the merge is planned again without them."""

    def __init__(self, samples: dict[str, str]) -> None:
        super().__init__(f"{len(samples)} damaged samples")
        self.samples = samples


def _suffix(damaged: Mapping[str, str]) -> str:
    """A suffix for the keys of nodes of another attempt, because a cluster may still hold results of the first."""
    return f"-without-{len(damaged)}" if damaged else ""


def _refuse_loss(left_out: Mapping[str, str]) -> None:
    if left_out:
        name, reason = min(left_out.items())
        raise DatasetError(
            f"{len(left_out)} of its samples cannot be read, the first is {name}: {reason}. The dataset is unchanged; "
            "run the flow again to encode them anew"
        )


def _kept_split(path: Path) -> StoredSplit | None:
    """The split of the dataset that will be replaced; None without one, or where it cannot be read."""
    if not path.exists():
        return None
    try:
        return read_split(path)
    except SplitError as error:
        logger.warning("the new .infoset has no subsets: %s", error)
        return None


def _refuse_total_loss(damaged: Mapping[str, str], records: Sequence[SampleRecord]) -> None:
    if len(damaged) >= len(records):
        name, reason = min(damaged.items())
        raise DatasetError(
            f"none of the {len(records)} samples can be read, the first is {name}: {reason}. The dataset is unchanged; "
            "bring the folder of the encoded samples back, or run the flow again to encode them anew"
        )
    logger.warning("%d samples cannot be read: planning again without them", len(damaged))


def make_folders(root: str, plan: MergePlan) -> None:
    """Make every folder of the dataset. Nodes make none, so that those of a removed build cannot write into it."""
    targets = plan.targets()
    for group in targets:
        for target in targets[group]:
            os.makedirs(os.path.join(root, target.path))
        os.makedirs(os.path.join(root, group), exist_ok=True)


def write_client_files(root: str, plan: MergePlan, tables: Mapping[str, Vocabulary]) -> list[WrittenFile]:
    """Write all Zarr metadata, with the classes of `tables`, and the columns of the plan."""
    targets = {group: [with_flags(target, tables) for target in found] for group, found in plan.targets().items()}
    metadata = metadata_files(targets, root_attributes(plan), _group_attributes(plan))
    files = [write_file(root, path, content) for path, content in metadata.items()]
    columns = {column.name: column for column in plan.columns}
    for target in plan.column_targets:
        files += write_whole(root, target, columns[target.name].values)
    return files


def root_attributes(plan: MergePlan) -> dict[str, Any]:
    """The attributes of the dataset's root."""
    groups = {name: {"dimension": g.dimension, "n_rows": g.n_rows} for name, g in plan.groups.items()}
    head = {"format": FORMAT, "groups": groups, "n_files": len(plan.samples), "version": __version__}
    return {"dflow": head, "schema": schema_to_dict(plan.schema)}


def _group_attributes(plan: MergePlan) -> dict[str, dict[str, Any]]:
    """The declared descriptions of the groups."""
    described = {name: spec.description for name, spec in plan.schema.groups.items() if spec.description}
    return {name: {"description": text} for name, text in described.items()}


def verify(root: str, plan: MergePlan, manifest: Manifest) -> None:
    """Compare the build with the plan before it is published.

    Raises
    ------
    DamagedDatasetError
        If the manifest lacks a shard, a file is missing on the disk, or a size differs.
    """
    shards = {t.shard_key(i) for group in plan.targets().values() for t in group for i in range(t.n_shards)}
    if absent := sorted(shards - manifest.files.keys()):
        raise DamagedDatasetError(
            f"the merge left {len(absent)} shards unwritten, the first is {absent[0]}; run it again"
        )
    if faults := missing_files(root, manifest):
        raise DamagedDatasetError(f"the merge's files are not as written: {'; '.join(faults[:5])}; run it again")
