"""Ragged batches: rows one after the other, row numbers shifted, and errors for items that do not match."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.dataset.query.store import DatasetStore, open_store
from dflow.dataset.training.collate import collate, collate_samples, stack
from dflow.dataset.training.samples import SampleReader, Samples
from dflow.errors import DatasetError
from tests.dataset.synthetic import Parts, random_parts, write_parts


@pytest.fixture(scope="module")
def parts() -> Parts:
    return random_parts(60, seed=7)


@pytest.fixture(scope="module")
def store(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> DatasetStore:
    return open_store(write_parts(parts, tmp_path_factory.mktemp("items")).dataset)


def test_a_batch_concatenates_rows_and_shifts_row_numbers(store: DatasetStore, parts: Parts) -> None:
    reader = SampleReader(store)
    ids = [4, 9, parts.n_files // 2, 1]  # the third has no rows at all
    batch = collate([reader.read(i) for i in ids])
    counts = parts.counts["faces"][ids]
    assert batch["faces/ptr"].tolist() == [0, *np.cumsum(counts)]
    assert batch["faces/batch"].tolist() == np.repeat(np.arange(4), counts).tolist()
    assert batch["id"].tolist() == ids
    np.testing.assert_array_equal(batch["file/bounding_box"], parts.values["bounding_box"][ids])
    for position, file_id in enumerate(ids):
        arcs = batch["graph/batch"] == position
        source = batch["graph/edges_source"][arcs]
        np.testing.assert_array_equal(
            source - batch["faces/ptr"][position], parts.of_file("graph", "edges_source", file_id)
        )
        np.testing.assert_array_equal(
            batch["graph/arc_edge"][arcs] - batch["edges/ptr"][position],
            parts.of_file("graph", "arc_edge", file_id),
        )
        assert np.all(batch["faces/batch"][source] == position)  # an arc stays within its sample


def test_missing_row_numbers_stay_missing() -> None:
    items = [
        {"id": i, "edges/e": np.zeros(3), "faceface/face_pair_edges_path": np.array([[0, 2], [1, -1]], np.int32)}
        for i in range(2)
    ]
    found = collate(items)["faceface/face_pair_edges_path"]
    assert found.tolist() == [[0, 2], [1, -1], [3, 5], [4, -1]]


def test_row_numbers_of_a_group_that_is_not_there_are_refused(store: DatasetStore) -> None:
    reader = SampleReader(store, ["graph"])
    with pytest.raises(DatasetError, match=r"'edges'.* add a column of 'edges' to columns= of get_dataset\(\)"):
        collate([reader.read(0)])
    assert len(collate([reader.read(0)], index_arrays={})["graph/ptr"]) == 2


def test_items_that_do_not_fit_together() -> None:
    with pytest.raises(DatasetError, match="different columns"):
        collate([{"id": 0, "a/b": np.ones(1)}, {"id": 1}])
    with pytest.raises(DatasetError, match="another number of rows"):
        collate([{"id": 0, "a/b": np.ones(1), "a/c": np.ones(2)}])
    with pytest.raises(DatasetError, match="empty list"):
        collate([])


def test_a_batch_falls_back_into_its_items(store: DatasetStore) -> None:
    reader = SampleReader(store)
    items = [reader.read(i) for i in (3, 8)]
    batch = collate(items, index_arrays={})
    for position, item in enumerate(items):
        for key, array in item.items():
            group = key.partition("/")[0]
            rows = slice(*batch[f"{group}/ptr"][position : position + 2]) if f"{group}/ptr" in batch else position
            np.testing.assert_array_equal(batch[key][rows], array)


def test_stacking_inverts_taking_apart(store: DatasetStore) -> None:
    samples = SampleReader(store).read_many(np.array([2, 5, 6]))
    again = stack([samples.item(i) for i in range(3)])
    assert isinstance(again, Samples)
    for key, value in collate_samples(samples).items():
        np.testing.assert_array_equal(collate_samples(again)[key], value, err_msg=key)


def test_row_numbers_beyond_the_rows_are_refused() -> None:
    """They would be rows of the next sample."""
    items = [
        {"id": i, "faces/a": np.ones(n), "labels/of_face": np.array(numbers, np.int32)}
        for i, (n, numbers) in enumerate([(3, [0, 2, -1]), (2, [1, 2]), (4, [3])])
    ]
    with pytest.raises(
        DatasetError, match="labels/of_face of the batch's sample 1 holds numbers beyond its rows of 'faces'"
    ):
        collate(items, {"labels/of_face": "faces"})
    items[1]["labels/of_face"][1] = 0
    assert collate(items, {"labels/of_face": "faces"})["labels/of_face"].tolist() == [0, 2, -1, 4, 3, 8]
