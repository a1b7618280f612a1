"""Samples as dictionaries, alone and many at once, and ragged batches, against the arrays that were stored."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dflow.dataset.query.store import DatasetStore, open_store
from dflow.dataset.training.samples import CACHE_BYTES, SampleReader, _ChunkCache, choose_columns, with_targets
from dflow.errors import DatasetError, UnknownKeyError
from tests.dataset.synthetic import Parts, random_parts, write_parts


@pytest.fixture(scope="module")
def parts() -> Parts:
    return random_parts(60, seed=7)


@pytest.fixture(scope="module")
def store(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> DatasetStore:
    return open_store(write_parts(parts, tmp_path_factory.mktemp("items")).dataset)


def check_item(item: dict[str, Any], parts: Parts, file_id: int) -> None:
    assert item["id"] == file_id
    for key, value in item.items():
        group, _, name = key.partition("/")
        if group in parts.rows:
            np.testing.assert_array_equal(value, parts.of_file(group, name, file_id), err_msg=key)
        elif group == "file":
            np.testing.assert_array_equal(value, parts.values[name][file_id], err_msg=key)


def test_every_sample_is_what_was_stored(store: DatasetStore, parts: Parts) -> None:
    reader = pickle.loads(pickle.dumps(SampleReader(store)))
    for file_id in [*range(parts.n_files), 3, 3]:
        item = reader.read(file_id)
        check_item(item, parts, file_id)
        assert {"faces/face_uv_grids", "edges/edge_lengths", "graph/arc_edge", "file/category"} <= set(item)
        assert not any("file_id_code" in key or "row_start" in key for key in item)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(chosen=st.sets(st.integers(0, 59), max_size=25))
def test_many_at_once_are_the_same_as_one_by_one(store: DatasetStore, parts: Parts, chosen: set[int]) -> None:
    ids = np.array(sorted(chosen), np.int64)
    samples = SampleReader(store).read_many(ids)
    assert len(samples) == len(ids)
    for position, file_id in enumerate(ids.tolist()):
        check_item(samples.item(position), parts, file_id)


def test_selecting_keeps_rows_with_their_samples(store: DatasetStore, parts: Parts) -> None:
    samples = SampleReader(store).read_many(np.arange(10, 40))
    chosen = samples.select(np.array([5, 0, 29, 5]))
    for position, file_id in enumerate([15, 10, 39, 15]):
        check_item(chosen.item(position), parts, file_id)
    assert len(samples.select(np.array([], np.int64))) == 0


def test_columns_by_name_or_group(store: DatasetStore) -> None:
    keys = [c.key for c in choose_columns(store, ["graph", "faces/face_areas", "file/category", "graph/arc_edge"])]
    assert keys == [
        "graph/arc_edge",
        "graph/edges_destination",
        "graph/edges_source",
        "faces/face_areas",
        "file/category",
    ]
    with pytest.raises(UnknownKeyError, match="no array 'nope' in group 'faces'"):
        choose_columns(store, ["faces/nope"])
    with pytest.raises(UnknownKeyError, match="no group 'verts'"):
        choose_columns(store, ["verts"])


def test_ids_outside(store: DatasetStore) -> None:
    with pytest.raises(UnknownKeyError, match="no file id 60"):
        SampleReader(store).read(60)
    with pytest.raises(UnknownKeyError, match="ascending file ids"):
        SampleReader(store).read_many(np.array([3, 2]))


def test_face_pairs_are_read_only_when_asked_for(tmp_path: Path) -> None:
    parts = random_parts(5)
    parts.counts["faceface"] = parts.counts["faces"] ** 2
    parts.rows["faceface"] = {"extended_adjacency": np.zeros(int(parts.counts["faceface"].sum()), np.float32)}
    store = open_store(write_parts(parts, tmp_path).dataset)
    assert "faceface/extended_adjacency" not in SampleReader(store).read(0)
    assert (
        len(SampleReader(store, ["faceface"]).read(0)["faceface/extended_adjacency"]) == parts.counts["faces"][0] ** 2
    )


def test_cached_chunks_are_bounded_and_items_never_share_memory(store: DatasetStore) -> None:
    cache = _ChunkCache(100)
    for i in range(10):
        cache.put(("a", i), np.zeros(30, np.uint8))
        assert cache.n_bytes <= 100
    assert cache.get(("a", 0)) is None
    assert cache.get(("a", 9)) is not None
    reader = SampleReader(store, ["faces/face_areas"])
    first = reader.read(4)["faces/face_areas"]
    first[:] = -1
    assert np.all(reader.read(4)["faces/face_areas"] > 0)
    assert reader._cache.n_bytes <= CACHE_BYTES


def test_row_numbers_come_with_their_rows(store: DatasetStore, caplog: pytest.LogCaptureFixture) -> None:
    """Named without them they are refused; unnamed they are left out with a warning, once their rows are not there."""
    whole = SampleReader(store)
    assert with_targets(whole) is whole
    for columns, fix in (
        (
            ["graph"],
            r"add 'edges/edge_dihedral_angles' or all of 'edges', or leave out graph/arc_edge, .*edges_source$",
        ),
        (["faces", "graph"], r"leave out graph/arc_edge: columns=\['faces/.*'graph/edges_source'\]"),
        (["faces/face_areas", "graph/arc_edge"], r"leave out graph/arc_edge: columns=\['faces/face_areas'\]"),
    ):
        with pytest.raises(
            DatasetError, match=f"columns= has graph/arc_edge, which holds row numbers of 'edges'.*{fix}"
        ):
            with_targets(SampleReader(store, columns))
    again = pickle.loads(pickle.dumps(whole))
    assert (again.named, pickle.loads(pickle.dumps(SampleReader(store, "faces"))).named) == (False, True)


def test_row_numbers_of_a_group_that_the_dataset_lacks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts = random_parts(8)
    del parts.rows["edges"], parts.counts["edges"]
    store = open_store(write_parts(parts, tmp_path).dataset)
    found = with_targets(SampleReader(store))
    assert {c.key for c in found.columns if c.group == "graph"} == {"graph/edges_source", "graph/edges_destination"}
    assert not found.named
    assert "graph/arc_edge hold row numbers of groups that are not read (edges)" in caplog.text
    with pytest.raises(DatasetError, match="the dataset has no array, so that a batch cannot shift them; leave out"):
        with_targets(SampleReader(store, ["graph", "faces"]))


def test_labels_are_int64_with_minus_one_where_there_is_none(tmp_path: Path) -> None:
    parts = random_parts(10, seed=4)
    lacks = np.arange(10) % 3 == 0
    parts.values |= {"has_faces_face_labels": ~lacks, "has_file_category": ~lacks}
    store = open_store(write_parts(parts, tmp_path).dataset)
    reader = SampleReader(store, ["faces/face_areas"], ["faces/face_labels", "file/category"])
    assert [column.key for column in reader.columns] == ["faces/face_areas", "faces/face_labels", "file/category"]
    together = pickle.loads(pickle.dumps(reader)).read_many(np.arange(10))
    for file_id in range(10):
        item = reader.read(file_id)
        expected = parts.of_file("faces", "face_labels", file_id) if not lacks[file_id] else None
        assert item["faces/face_labels"].dtype == np.int64
        assert (item["faces/face_labels"] == (-1 if expected is None else expected)).all()
        assert item["file/category"] == (-1 if expected is None else parts.values["category"][file_id])
        for key, value in together.item(file_id).items():
            np.testing.assert_array_equal(value, item[key], err_msg=key)
