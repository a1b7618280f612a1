"""An open dataset: where the rows of each sample are, how its columns are found, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from dflow.dataset.query.store import DatasetStore, RowSpan, find_column, open_store, real_group
from dflow.errors import DamagedDatasetError, UnknownKeyError
from tests.dataset.synthetic import Parts, random_parts, write_parts


@pytest.fixture(scope="module")
def parts() -> Parts:
    return random_parts(12)


@pytest.fixture(scope="module")
def store(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> DatasetStore:
    return open_store(write_parts(parts, tmp_path_factory.mktemp("store")).dataset)


@given(counts=st.lists(st.integers(0, 4), min_size=1, max_size=8), data=st.data())
def test_files_and_counts_of_any_rows_equal_a_loop(counts: list[int], data: st.DataObject) -> None:
    count = np.array(counts, np.int64)
    span = RowSpan(np.cumsum(count) - count, count)
    owner = np.repeat(np.arange(len(counts)), count)
    assert span.n_rows == len(owner)
    first = data.draw(st.integers(0, len(owner)))
    last = data.draw(st.integers(first, len(owner)))
    low, found = span.counts_within(first, last)
    expected = np.bincount(owner[first:last], minlength=len(counts))
    assert first == last or (low, low + len(found) - 1) == (owner[first], owner[last - 1])
    assert found.sum() == last - first
    assert np.array_equal(found, expected[low : low + len(found)])


def test_the_rows_of_a_sample(store: DatasetStore, parts: Parts) -> None:
    for file_id in range(12):
        start, stop = store.rows_of("faces", file_id)
        assert np.array_equal(
            store.read("faces", "face_areas", start, stop), parts.of_file("faces", "face_areas", file_id)
        )
    assert store.rows_of("file", 5) == (5, 6)
    for file_id in (-1, 12):
        with pytest.raises(UnknownKeyError, match=f"no file id {file_id}; the dataset has ids 0 to 11"):
            store.rows_of("faces", file_id)


def test_groups_columns_and_sizes(store: DatasetStore, parts: Parts) -> None:
    assert store.row_groups == ("edges", "faces", "graph")
    assert store.n_rows("file") == store.n_files == 12
    assert store.n_rows("faces") == parts.counts["faces"].sum()
    assert [store.row_dimension(group) for group in ("faces", "graph", "file")] == ["face", "arc", "file"]
    column = store.column("faces", "face_uv_grids")
    assert (column.key, column.dims) == ("faces/face_uv_grids", ("face", "uv_x", "uv_y", "component"))
    assert (column.row_bytes, column.n_bytes) == (3 * 3 * 7 * 4, store.n_rows("faces") * 3 * 3 * 7 * 4)


def test_unknown_groups_and_columns_are_refused_with_the_known_ones(store: DatasetStore) -> None:
    with pytest.raises(
        UnknownKeyError, match=r"no group 'face'; is 'faces' meant\? The dataset has edges, faces, graph, file"
    ):
        store.group("face")
    with pytest.raises(
        UnknownKeyError,
        match=r"no array 'areas' in group 'faces'; is 'face_areas' meant\? It has face_areas, face_centroids",
    ):
        store.column("faces", "areas")
    with pytest.raises(
        UnknownKeyError, match=r"no array or file value 'areas' in any group; is 'face_areas' of 'faces' meant"
    ):
        find_column(store, "areas", None)


def test_file_values_are_the_users_and_cannot_be_written(store: DatasetStore, parts: Parts) -> None:
    assert set(store.file_values) == set(parts.values)
    volumes = store.file_value("volume")
    assert volumes is store.file_value("volume")
    with pytest.raises(ValueError, match="read-only"):
        volumes[0] = 1


def test_categories_are_declared_or_have_words_in_the_table(tmp_path: Path) -> None:
    paths = write_parts(random_parts(5), tmp_path)
    assert open_store(paths.dataset).categorical == {"category"}
    assert open_store(paths.dataset, paths.infoset).categorical == {"category"}


def test_a_column_is_found_in_its_group_then_in_the_files_then_elsewhere(
    store: DatasetStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert find_column(store, "face_areas", "faces").group == "faces"
    assert find_column(store, "volume", "labels").group == "file"
    assert caplog.text == ""
    assert find_column(store, "edge_lengths", "faces").group == "edges"
    assert "'edge_lengths' is not in group 'faces'; found in fallback group 'edges'" in caplog.text
    assert real_group(store, "labels") == "file"
    with pytest.raises(UnknownKeyError, match="no group 'x'"):
        find_column(store, "volume", "x")


def test_arrays_of_row_numbers_name_their_group(store: DatasetStore) -> None:
    assert store.index_arrays["graph/edges_source"] == "faces"
    assert store.index_arrays["graph/arc_edge"] == "edges"


@pytest.mark.parametrize("harm", ["gap", "missing"])
def test_row_offsets_that_contradict_are_damage(tmp_path: Path, harm: str) -> None:
    dataset = write_parts(random_parts(6), tmp_path).dataset
    store = open_store(dataset)
    if harm == "gap":
        zarr.open_array(dataset, path="file/row_count_faces", mode="r+")[0] += 1
    else:
        del store.columns["file"]["row_count_faces"]
    with pytest.raises(
        DamagedDatasetError, match=r"row_count_faces, the rows|contradict each other; run `dflow validate --repair"
    ):
        store.span("faces")


def test_a_closed_store_reads_nothing_that_it_had_cached(tmp_path: Path) -> None:
    store = open_store(write_parts(random_parts(4), tmp_path).dataset)
    store.span("faces")
    store.close()
    with pytest.raises(DamagedDatasetError, match="was closed; open it again"):
        store.span("faces")
