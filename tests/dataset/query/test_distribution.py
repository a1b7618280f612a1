"""Distributions and membership, against numpy's histogram and loops over the files."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dflow.dataset.explorer import DatasetExplorer
from dflow.dataset.query import distribution
from dflow.dataset.query.distribution import Binning, category_bins
from dflow.errors import QueryError, UnknownKeyError
from tests.dataset.synthetic import Parts, random_parts, write_parts


@pytest.fixture(scope="module")
def parts() -> Parts:
    return random_parts(90, seed=11)


@pytest.fixture(scope="module")
def explorer(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> DatasetExplorer:
    return DatasetExplorer(write_parts(parts, tmp_path_factory.mktemp("distribution")).flow_file)


@pytest.fixture(params=["one block", "blocks of 16 rows", "many categories"])
def cutting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "one block":
        monkeypatch.setattr(distribution, "block_rows", lambda _: 16)
        monkeypatch.setattr(distribution, "EAGER_BYTES", 0)
    if request.param == "many categories":
        monkeypatch.setattr(distribution, "_DENSE_CELLS", 0)


def check_files(found: dict[str, Any], file_of_value: np.ndarray[Any, Any], index: np.ndarray[Any, Any]) -> None:
    for i, ids in enumerate(found["file_id_codes_in_bins"]):
        np.testing.assert_array_equal(ids, np.unique(file_of_value[index == i]))


@pytest.mark.usefixtures("cutting")
@pytest.mark.parametrize("bins", [1, 10, 37])
def test_equal_bins_are_numpys(explorer: DatasetExplorer, parts: Parts, bins: int) -> None:
    areas = parts.rows["faces"]["face_areas"]
    found = explorer.create_distribution(key="face_areas", bins=bins, group="faces")
    hist, edges = np.histogram(areas.astype(np.float64), bins)
    np.testing.assert_array_equal(found["hist"], hist)
    np.testing.assert_allclose(found["bin_edges"], edges)
    index = np.clip(np.searchsorted(edges, areas, side="right") - 1, 0, bins - 1)
    check_files(found, parts.file_of_row("faces"), index)


@pytest.mark.usefixtures("cutting")
def test_codes_get_a_bin_each_and_their_names(explorer: DatasetExplorer, parts: Parts) -> None:
    types = parts.rows["faces"]["face_types"]
    found = explorer.create_distribution("face_types", bins=None, group="faces")
    assert found["categories"].tolist() == list(range(15))
    np.testing.assert_array_equal(found["hist"], np.bincount(types))
    assert found["labels"] == ["Plane", "Cylinder", "Cone", *map(str, range(3, 15))]
    np.testing.assert_array_equal(found["bin_edges"], np.arange(16) - 0.5)
    check_files(found, parts.file_of_row("faces"), types)


def codes_explorer(folder: Path, values: np.ndarray[Any, Any], per_file: int = 2) -> DatasetExplorer:
    """A dataset whose files have `per_file` rows of the group `faces` each, with the array `code`; `first` is that
    of a file's first row.
    """
    counts = np.full(len(values) // per_file, per_file)
    parts = Parts({"faces": counts}, {"faces": {"code": values}}, {"first": values[::per_file]})
    return DatasetExplorer(write_parts(parts, folder).flow_file)


@pytest.mark.usefixtures("cutting")
@pytest.mark.parametrize("in_core", [False, True])
@pytest.mark.parametrize(
    "values",
    [
        np.array([7, 3, 3, -2, 7, 7], np.int32),
        np.array([5, 5], np.int64),
        np.array([-128, 127], np.int8),
        np.array([2**64 - 2, 2**64 - 9], np.uint64),
        np.array([0, 9999], np.uint16),
        np.array([True, False]),
        np.arange(2000, dtype=np.int32) * 4,
    ],
    ids=str,
)
def test_every_integer_between_the_lowest_and_the_highest_has_a_bin_of_its_own(
    tmp_path: Path, values: np.ndarray[Any, Any], in_core: bool
) -> None:
    explorer = codes_explorer(tmp_path, values)
    ask = explorer.create_distribution_incore if in_core else explorer.create_distribution
    for key, group, of_file in (("code", "faces", values), ("first", "labels", values[::2])):
        found = ask(key, bins=None, group=group)
        low, high = int(of_file.min()), int(of_file.max())
        codes = range(low, high + 1)
        assert [int(code) for code in found["categories"]] == list(codes)
        if high < 2**52:
            np.testing.assert_array_equal(found["bin_edges"], np.arange(low, high + 2) - 0.5)
            assert all(int(edge + 0.5) == code for edge, code in zip(found["bin_edges"][:-1], codes, strict=True))
        assert found["hist"].tolist() == [int((of_file == code).sum()) for code in codes]
        assert found["n_missing"] == 0
        check_files(found, np.arange(len(of_file)) // (2 if group == "faces" else 1), of_file.astype(object) - low)


def test_codes_far_apart_have_a_bin_for_each_that_occurs(tmp_path: Path) -> None:
    values = np.array([-5, 10**9, 3, 3], np.int64)
    found = codes_explorer(tmp_path, values).create_distribution("code", bins=None)
    assert found["categories"].tolist() == [-5, 3, 10**9]
    assert [int(edge + 0.5) for edge in found["bin_edges"][:-1]] == [-5, 3, 10**9]
    assert found["hist"].tolist() == [1, 2, 1]


def test_many_integers_far_apart_have_equal_bins(tmp_path: Path) -> None:
    values = np.arange(2000, dtype=np.int64) * 10**6
    found = codes_explorer(tmp_path, values).create_distribution("code", bins=None)
    assert "categories" not in found
    np.testing.assert_array_equal(found["hist"], np.histogram(values, len(found["hist"]))[0])
    assert len(found["hist"]) == 12


def test_the_membership_matrix_has_the_codes_that_occur(tmp_path: Path) -> None:
    matrix, _, categories = codes_explorer(tmp_path, np.array([9, 0, 9, 9])).build_membership_matrix("faces", "code")
    assert categories.tolist() == [0, 9]
    assert matrix.tolist() == [[True, True], [False, True]]


def test_a_categorical_file_value_through_the_labels_group(explorer: DatasetExplorer, parts: Parts) -> None:
    found = explorer.create_distribution(key="category", group="labels", bins=None)
    values = parts.values["category"]
    np.testing.assert_array_equal(found["hist"], [(values == i).sum() for i in range(4)])
    assert found["labels"] == ["bolt", "nut", "plate", "shaft"]
    assert found["n_missing"] == (values == -1).sum() > 0
    check_files(found, np.arange(parts.n_files), values)
    assert explorer.create_distribution(key="category", group="labels", bins=10)["hist"].sum() == (values >= 0).sum()


def test_given_edges_and_what_lies_outside(explorer: DatasetExplorer, parts: Parts) -> None:
    areas = parts.rows["faces"]["face_areas"].astype(np.float64)
    edges = [10.0, 50.0, 90.0, 200.0]
    found = explorer.create_distribution("face_areas", bins=edges)
    np.testing.assert_array_equal(found["hist"], np.histogram(areas, edges)[0])
    assert found["n_missing"] == ((areas < 10) | (areas > 200)).sum()
    with pytest.raises(QueryError, match="ascending edges"):
        explorer.create_distribution("face_areas", bins=[3.0, 1.0])
    with pytest.raises(QueryError, match="number of at least 1"):
        explorer.create_distribution("face_areas", bins=0)


def test_nan_is_counted_apart(explorer: DatasetExplorer, parts: Parts) -> None:
    angles = parts.rows["edges"]["edge_dihedral_angles"]
    found = explorer.create_distribution("edge_dihedral_angles", 8, "edges")
    assert found["hist"].sum() == np.isfinite(angles).sum()
    assert found["n_missing"] == np.isnan(angles).sum() > 0


def test_every_component_of_a_row_counts(explorer: DatasetExplorer, parts: Parts) -> None:
    centroids = parts.rows["faces"]["face_centroids"].astype(np.float64)
    found = explorer.create_distribution("face_centroids", 5)
    np.testing.assert_array_equal(found["hist"], np.histogram(centroids, 5)[0])


def test_in_core_is_the_same(explorer: DatasetExplorer) -> None:
    a, b = explorer.create_distribution("face_areas"), explorer.create_distribution_incore("face_areas")
    np.testing.assert_array_equal(a["hist"], b["hist"])
    np.testing.assert_array_equal(a["bin_edges"], b["bin_edges"])


def test_a_key_of_another_group_is_found_with_a_log_line(
    explorer: DatasetExplorer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="dflow.dataset"):
        assert explorer.create_distribution("edge_lengths", group="faces")["group"] == "edges"
        assert explorer.create_distribution("volume", group="faces")["group"] == "file"
    assert "'edge_lengths' is not in group 'faces'; found in fallback group 'edges'" in caplog.text
    with pytest.raises(UnknownKeyError, match="no array or file value 'nope' in any group"):
        explorer.create_distribution("nope")


def test_one_value_only(tmp_path: Path) -> None:
    parts = Parts({"faces": np.array([2, 1])}, {"faces": {"x": np.full(3, 7.0, np.float32)}}, {"n": np.zeros(2)})
    found = DatasetExplorer(write_parts(parts, tmp_path).flow_file).create_distribution("x", 4)
    np.testing.assert_array_equal(found["hist"], np.histogram(np.full(3, 7.0), 4)[0])


@pytest.mark.parametrize("as_counts", [False, True])
def test_membership_matrix(explorer: DatasetExplorer, parts: Parts, as_counts: bool) -> None:
    matrix, files, categories = explorer.build_membership_matrix("faces", "face_labels", as_counts=as_counts)
    assert files.tolist() == list(range(parts.n_files))
    assert categories.tolist() == list(range(6))
    for i in range(parts.n_files):
        counts = np.bincount(parts.of_file("faces", "face_labels", i), minlength=6)
        np.testing.assert_array_equal(matrix[i], counts if as_counts else counts > 0)
    assert matrix.dtype == (np.int64 if as_counts else bool)


def test_membership_of_chosen_categories_keeps_their_order(explorer: DatasetExplorer, parts: Parts) -> None:
    whole, _, _ = explorer.build_membership_matrix("faces", "face_labels")
    some, _, categories = explorer.build_membership_matrix("faces", "face_labels", [4, 0])
    assert categories.tolist() == [4, 0]
    np.testing.assert_array_equal(some, whole[:, [4, 0]])


@settings(max_examples=200)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=60),
    st.integers(1, 20),
)
def test_bin_numbers_are_numpys_for_any_values(values: list[float], bins: int) -> None:
    x = np.array(values)
    hist, edges = np.histogram(x, bins)
    if edges[-1] - edges[0] < 1e-3:
        return  # numpy itself refuses ranges below the spacing of floats
    index = Binning(edges, uniform=True).index(x)
    np.testing.assert_array_equal(np.bincount(index, minlength=bins + 1)[:-1], hist)


def test_categories_far_apart_are_still_found() -> None:
    binning = category_bins(np.array([-(2**40), 0, 2**40]))
    found = binning.index(np.array([2**40, 5, -(2**40), 0, 2**50]))
    assert found.tolist() == [2, 3, 0, 1, 3]
