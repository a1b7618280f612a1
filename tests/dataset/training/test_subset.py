"""One subset as a sequence: positions, transforms, items of a user's function, and what it refuses."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dflow.dataset.query.store import DatasetStore, open_store
from dflow.dataset.training.collate import collate
from dflow.dataset.training.samples import IndexedItem, SampleReader
from dflow.dataset.training.shuffle import BlockPlan
from dflow.dataset.training.subset import CADDataset, FileItems, default_graph_files
from dflow.dataset.training.transforms import RandomRotation
from dflow.errors import DamagedDatasetError, UnknownKeyError
from tests.dataset.synthetic import Parts, random_parts, write_parts

CODES = np.array([2, 3, 5, 7, 11, 13])
KEYS = ["faces/face_areas", "faces/face_centroids", "file/volume"]


@pytest.fixture(scope="module")
def parts() -> Parts:
    return random_parts(20, seed=2)


@pytest.fixture(scope="module")
def store(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> DatasetStore:
    return open_store(write_parts(parts, tmp_path_factory.mktemp("subset")).dataset)


@pytest.fixture
def subset(store: DatasetStore) -> CADDataset:
    return CADDataset(SampleReader(store, KEYS), CODES, name="train")


def of_files() -> CADDataset:
    source = FileItems(lambda graph, label, number: (graph, label, number), tuple("abcdefghijklmn"), ())
    return CADDataset(source, CODES)


def test_positions_lead_to_the_samples_in_id_order(subset: CADDataset, parts: Parts) -> None:
    assert [item["id"] for item in subset] == CODES.tolist()
    assert (subset[-1]["id"], subset[np.int64(1)]["id"], len(subset)) == (13, 3, 6)
    np.testing.assert_array_equal(subset[2]["faces/face_areas"], parts.of_file("faces", "face_areas", 5))
    for outside in (6, -7):
        with pytest.raises(IndexError, match=f"no sample {outside}: the subset has 6"):
            subset[outside]
    with pytest.raises(TypeError):
        subset["0"]  # type: ignore[index]


def test_several_at_once_equal_one_by_one_in_any_order(subset: CADDataset) -> None:
    positions = [4, 0, 4, 1]
    together = subset.get_items(positions)
    single = subset.collate([subset[i] for i in positions])
    for key, value in subset.collate(together).items():
        np.testing.assert_array_equal(value, single[key], err_msg=key)
    assert subset.get_items([]) == []


def test_removed_samples_are_gone_and_the_others_move_up(subset: CADDataset) -> None:
    assert subset.remove_indices([1, -1, 1]) == {0: 0, 2: 1, 3: 2, 4: 3}
    assert subset.get_file_codes().tolist() == [2, 5, 7, 11]
    subset.get_file_codes()[:] = 0  # a copy
    assert subset[0]["id"] == 2
    with pytest.raises(IndexError, match="no sample 4"):
        subset.remove_indices([4])


def test_random_transforms_follow_the_epoch_and_nothing_else(store: DatasetStore) -> None:
    subset = CADDataset(SampleReader(store, KEYS), CODES, transform=RandomRotation(seed=1))

    def centroids(item: Any) -> Any:
        return item["faces/face_centroids"].tolist()

    raw = centroids(subset.get_raw_data(0))
    first, second = ([centroids(item) for item in subset] for _ in range(2))
    assert first[0] != raw
    assert first != second
    subset.set_epoch(0)
    assert [centroids(item) for item in subset] == first
    assert centroids(subset.get_item(3, epoch=1)) == second[3]
    assert centroids(subset.get_items([3], epoch=1)[0]) == second[3]  # type: ignore[index]


def test_items_state_their_row_numbers_also_after_a_transform(store: DatasetStore) -> None:
    subset = CADDataset(SampleReader(store), CODES, transform=dict)
    assert isinstance(subset[0], IndexedItem)
    assert subset[0].index_arrays["graph/edges_source"] == "faces"
    batch = collate([subset[0], subset[1]])
    assert batch["graph/edges_source"].max() >= batch["faces/ptr"][1]


def test_batches_of_all_workers_and_ranks_are_the_subset(subset: CADDataset) -> None:
    plan = BlockPlan(2, block_size=1, fetch_blocks=1, shuffle=True)
    seen = [
        int(i)
        for rank in range(2)
        for worker in range(2)
        for batch in subset.iter_batches(plan, rank=rank, n_ranks=2, worker=worker, n_workers=2)
        for i in batch["id"]
    ]
    assert sorted(set(seen)) == CODES.tolist()


def test_rows_of_a_batch_go_where_the_allocator_says(subset: CADDataset) -> None:
    sizes: list[int] = []

    def allocator(n_bytes: int) -> Any:
        sizes.append(n_bytes)
        return np.empty

    batches = list(subset.iter_batches(BlockPlan(6, shuffle=False), allocator=allocator))
    assert sizes == [sum(batches[0][key].nbytes for key in KEYS[:2])]


def test_a_pickle_is_small_and_reads_the_same(subset: CADDataset) -> None:
    subset[0]
    content = pickle.dumps(subset)
    again = pickle.loads(content)
    assert len(content) < 20_000
    np.testing.assert_array_equal(again[5]["faces/face_areas"], subset[5]["faces/face_areas"])


def test_a_users_function_loads_items_by_id() -> None:
    subset = of_files()
    assert subset[1] == ("d", "", 3)
    assert subset.data_files == ["c", "d", "f", "h", "l", "n"]
    assert subset.label_datas == []
    subset.set_item_loader_func(lambda graph, label, number: number)
    assert list(subset) == CODES.tolist()
    with pytest.raises(UnknownKeyError, match=r"get_dataloader\(\) instead of get_block_loader\(\)"):
        next(subset.iter_batches(BlockPlan(2)))


def test_a_dataset_takes_no_loader_of_files(subset: CADDataset) -> None:
    assert (subset.data_files, subset.label_datas) == ([], [])
    with pytest.raises(UnknownKeyError, match="item_loader_func= and graph_files= to DatasetLoader"):
        subset.set_item_loader_func(lambda graph, label, number: None)


def test_default_graph_files_lie_below_the_flow(tmp_path: Path) -> None:
    assert default_graph_files(tmp_path, ["a"]) == (str(tmp_path / "graph_data" / "a.pt"),)
    with pytest.raises(DamagedDatasetError, match="lies outside of the flow's folder"):
        default_graph_files(tmp_path, ["a", "../../etc/passwd"])
