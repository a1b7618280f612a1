"""The nodes of a merge: one per shard, in the order of their cost, and what one of them writes and returns."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import zarr

from dflow.dataset.format.manifest import file_crc
from dflow.dataset.merge.block_reader import InFolder
from dflow.dataset.merge.merge import make_folders, write_client_files
from dflow.dataset.merge.nodes import ShardJob, gather_words, run_shard, shard_nodes, word_nodes
from dflow.dataset.merge.plan import MergePlan, plan_merge
from dflow.dataset.merge.settings import MergeSettings
from dflow.records import ShardRecord
from dflow.schema.names import id_array
from dflow.storage.paths import FlowPaths
from tests.dataset.samples import SMALL, make_samples, record_of


@pytest.fixture
def paths(tmp_path: Path) -> FlowPaths:
    return FlowPaths.of(tmp_path, "parts")


def _job(plan: MergePlan, paths: FlowPaths, root: Path, group: str, index: int = 0) -> ShardJob:
    targets = tuple(array.target for array in plan.groups[group].arrays)
    return ShardJob(str(root), plan.block(group, index), targets, InFolder(str(paths.encoded)))


def test_a_node_writes_its_rows_of_every_array_and_their_ids(paths: FlowPaths, tmp_path: Path) -> None:
    plan = plan_merge(make_samples(paths, [(2, 3), (1, 4), (3, 2)]), MergeSettings())
    root = tmp_path / "build"
    make_folders(str(root), plan)
    write_client_files(str(root), plan, {})
    job = _job(plan, paths, root, "edges")
    record = run_shard(job)
    assert (record.group, record.shard_index, record.damaged, record.reused) == ("edges", 0, (), False)
    lengths = np.concatenate([np.arange(n) - 100 * i for i, n in enumerate([3, 4, 2])])
    assert np.array_equal(zarr.open_array(root, path="edges/edge_lengths")[...], lengths.astype("f4"))
    ids = zarr.open_array(root, path=f"edges/{id_array('edges')}")[...]
    assert ids.tolist() == [0] * 3 + [1] * 4 + [2] * 2
    assert job.names_to_read() == ("edge_lengths",)
    assert record.n_bytes == sum(record.sizes.values())
    assert {path: file_crc(root / path) for path in record.crcs} == record.crcs


def test_a_node_with_a_damaged_sample_names_it_and_leaves_no_file(paths: FlowPaths, tmp_path: Path) -> None:
    records = make_samples(paths, [(2, 3), (1, 4), (3, 2)])
    plan = plan_merge(records, MergeSettings())
    make_folders(str(tmp_path / "build"), plan)
    paths.data_file(records[1].name).write_bytes(b"")
    record = run_shard(_job(plan, paths, tmp_path / "build", "edges"))
    ((name, reason),) = record.damaged
    assert name == records[1].name
    assert reason.startswith("DamagedStoreError: ")
    assert record.crcs == record.sizes == {}
    assert os.listdir(tmp_path / "build" / "edges" / "edge_lengths") == []


def test_words_are_gathered_per_block_and_sorted(paths: FlowPaths) -> None:
    plan = plan_merge(make_samples(paths, [(2, 1), (4, 1), (5, 1), (1, 1)]), MergeSettings())
    targets = tuple(array.target for array in plan.groups["faces"].arrays if array.coded)
    job = ShardJob("", plan.block_of_rows("faces", 0, 2), targets, InFolder(str(paths.encoded)))
    assert gather_words(job).words == {"faces/colour": ("blue", "red")}


def test_without_text_there_are_no_word_nodes() -> None:
    plan = plan_merge([record_of("a.step", {"faces/a": ("int32", ())}, {"faces": 3})])
    assert len(word_nodes(plan, InFolder(""))) == 0


def test_keys_of_another_attempt_have_its_suffix_and_slices_are_made_on_access() -> None:
    plan = plan_merge([record_of(f"{i}.step", {"faces/a": ("int32", ())}, {"faces": 300}) for i in range(4)], SMALL)
    nodes = shard_nodes(plan, "", InFolder(""), suffix="-without-1")
    assert len(nodes[1:3]) == 2
    assert nodes[1:3][0].key == nodes[1].key == "merge-faces-000001-without-1"
    with pytest.raises(IndexError):
        nodes[len(nodes)]


def test_jobs_and_records_cross_a_process_boundary(paths: FlowPaths) -> None:
    plan = plan_merge(make_samples(paths, [(9, 3), (8, 5)]), SMALL)
    nodes = word_nodes(plan, InFolder(str(paths.encoded)))
    (task,) = dict(nodes[0].dask).values()
    record = pickle.loads(pickle.dumps(task))()
    assert record == ShardRecord("faces", 0, 0, seconds=record.seconds, words={"faces/colour": ("blue", "grün", "red")})
    assert pickle.loads(pickle.dumps(record)) == record
    assert [node.key for node in nodes[:1]] == ["words-faces-000000"]


def test_one_node_writes_each_shard_and_bears_its_name(paths: FlowPaths) -> None:
    plan = plan_merge(make_samples(paths, [(9, 3), (8, 5), (7, 2)]), SMALL)
    nodes = shard_nodes(plan, "", InFolder(str(paths.encoded)))
    keys = [node.key for node in nodes]
    assert len(set(keys)) == len(keys) == plan.n_shards
    assert "merge-faces-000001" in keys
    assert all(len(dict(node.dask)) == 1 for node in nodes)


def test_the_longest_node_comes_first_and_the_rest_of_a_group_last() -> None:
    forms = {"faces/grid": ("float32", (10, 10, 7)), "graph/a": ("int32", ())}
    rows = {"faces": 2, "graph": 1}
    plan = plan_merge([record_of(f"{i:04d}.step", forms, rows) for i in range(9000)], MergeSettings())
    keys = [node.key.removeprefix("merge-") for node in shard_nodes(plan, "", InFolder(""))]
    # The graph's one block is few bytes of all samples: opening them takes longer than coding a block of grids.
    assert keys == ["graph-000000", "faces-000000", "faces-000001", "faces-000002"]
