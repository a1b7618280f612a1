"""`get_file_list`: which files satisfy a condition, against plain numpy on the same arrays."""

from __future__ import annotations

import logging
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from dflow.dataset.explorer import DatasetExplorer
from dflow.dataset.query.conditions import plan
from dflow.dataset.query.store import open_store
from dflow.dataset.query.vocabulary import Vocabularies
from dflow.errors import QueryError, UnknownKeyError
from tests.dataset.synthetic import Parts, random_parts, write_parts

NO_WORDS = Vocabularies(None)


@pytest.fixture(scope="module")
def parts() -> Parts:
    return random_parts(120, seed=3)


@pytest.fixture(scope="module")
def explorer(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> DatasetExplorer:
    return DatasetExplorer(write_parts(parts, tmp_path_factory.mktemp("query")).flow_file)


@pytest.fixture(params=["at once", "in blocks"])
def blockwise(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once as small data are read, once as large ones are: through dask, here in blocks of 64 rows."""
    if request.param == "in blocks":
        monkeypatch.setattr("dflow.dataset.query.xarrays.EAGER_BYTES", 0)
        for function in ("column_data", "gathered_data"):
            original = getattr(__import__("dflow.dataset.query.xarrays", fromlist=[function]), function)

            def small(*args: Any, rows: int, original: Any = original, **options: Any) -> Any:
                return original(*args, rows=64, eager_bytes=0)

            monkeypatch.setattr(f"dflow.dataset.query.conditions.{function}", small)


def files_with(parts: Parts, group: str, mask: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.unique(parts.file_of_row(group)[mask])


@pytest.mark.usefixtures("blockwise")
def test_a_condition_on_rows_matches_files_with_any_such_row(explorer: DatasetExplorer, parts: Parts) -> None:
    found = explorer.get_file_list(group="faces", where=lambda ds: (ds["face_areas"] > 150) & (ds.face_types != 5))
    rows = parts.rows["faces"]
    np.testing.assert_array_equal(
        found, files_with(parts, "faces", (rows["face_areas"] > 150) & (rows["face_types"] != 5))
    )
    assert found.dtype == np.int64
    assert 0 < len(found) < parts.n_files


@pytest.mark.parametrize("group", ["faces", "edges", "graph", "labels", "file"])
def test_a_condition_on_file_values_counts_files_without_rows_too(
    explorer: DatasetExplorer, parts: Parts, group: str
) -> None:
    found = explorer.get_file_list(group=group, where=lambda ds: ds["face_count"] < 4)
    np.testing.assert_array_equal(found, np.flatnonzero(parts.values["face_count"] < 4))
    assert parts.n_files // 2 in found  # the sample without any row


@pytest.mark.usefixtures("blockwise")
def test_rows_and_file_values_mix(explorer: DatasetExplorer, parts: Parts) -> None:
    found = explorer.get_file_list(group="faces", where=lambda ds: (ds["face_areas"] > 100) & (ds["category"] == 2))
    gathered = np.repeat(parts.values["category"], parts.counts["faces"])
    expected = files_with(parts, "faces", (parts.rows["faces"]["face_areas"] > 100) & (gathered == 2))
    np.testing.assert_array_equal(found, expected)
    assert len(found)


def test_two_file_values_through_the_virtual_labels_group(explorer: DatasetExplorer, parts: Parts) -> None:
    found = explorer.get_file_list(group="labels", where=lambda ds: (ds["face_count"] > 5) & (ds["category"] == 2))
    expected = np.flatnonzero((parts.values["face_count"] > 5) & (parts.values["category"] == 2))
    np.testing.assert_array_equal(found, expected)


def test_a_real_labels_group_wins(tmp_path: Path) -> None:
    parts = random_parts(30)
    parts.counts["labels"] = np.full(30, 2)
    parts.rows["labels"] = {"category": np.arange(60, dtype=np.int32)}
    explorer = DatasetExplorer(write_parts(parts, tmp_path).flow_file)
    found = explorer.get_file_list(group="labels", where=lambda ds: ds["category"] >= 50)
    np.testing.assert_array_equal(found, np.arange(25, 30))


@pytest.mark.usefixtures("blockwise")
def test_trailing_dimensions_count_as_any(explorer: DatasetExplorer, parts: Parts) -> None:
    found = explorer.get_file_list(group="faces", where=lambda ds: ds["face_centroids"] > 2.5)
    mask = (parts.rows["faces"]["face_centroids"] > 2.5).any(axis=1)
    np.testing.assert_array_equal(found, files_with(parts, "faces", mask))


@pytest.mark.usefixtures("blockwise")
def test_a_condition_may_look_at_the_whole_column(explorer: DatasetExplorer, parts: Parts) -> None:
    found = explorer.get_file_list(group="faces", where=lambda ds: ds.face_areas > 0.8 * ds.face_areas.max())
    areas = parts.rows["faces"]["face_areas"]
    np.testing.assert_array_equal(found, files_with(parts, "faces", areas > 0.8 * areas.max()))


def test_a_file_condition_may_look_at_rows(explorer: DatasetExplorer, parts: Parts) -> None:
    found = explorer.get_file_list(group="faces", where=lambda ds: ds["volume"] > ds["face_areas"].mean())
    expected = np.flatnonzero(parts.values["volume"] > parts.rows["faces"]["face_areas"].mean())
    np.testing.assert_array_equal(found, expected)


@pytest.mark.usefixtures("blockwise")
def test_nan_matches_nothing_and_can_be_asked_for(explorer: DatasetExplorer, parts: Parts) -> None:
    angles = parts.rows["edges"]["edge_dihedral_angles"]
    found = explorer.get_file_list(group="edges", where=lambda ds: ds["edge_dihedral_angles"] > 0)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(found, files_with(parts, "edges", angles > 0))
    found = explorer.get_file_list(group="edges", where=lambda ds: ds["edge_dihedral_angles"].isnull())
    np.testing.assert_array_equal(found, files_with(parts, "edges", np.isnan(angles)))


def test_a_dictionary_of_conditions_is_an_intersection(explorer: DatasetExplorer, parts: Parts) -> None:
    found = explorer.get_file_list(
        where={
            "faces": lambda ds: ds["face_areas"] > 150,
            "edges": lambda ds: ds["edge_lengths"] > 20,
            "labels": lambda ds: ds["category"] >= 1,
        }
    )
    expected = set(files_with(parts, "faces", parts.rows["faces"]["face_areas"] > 150).tolist())
    expected &= set(files_with(parts, "edges", parts.rows["edges"]["edge_lengths"] > 20).tolist())
    expected &= set(np.flatnonzero(parts.values["category"] >= 1).tolist())
    assert found.tolist() == sorted(expected)
    assert expected


def test_without_a_condition_all_files_of_the_group(explorer: DatasetExplorer, parts: Parts) -> None:
    assert explorer.get_file_list().tolist() == list(range(parts.n_files))
    np.testing.assert_array_equal(explorer.get_file_list(group="edges"), np.flatnonzero(parts.counts["edges"]))


def test_an_array_of_another_group_is_found_with_a_log_line(
    explorer: DatasetExplorer, parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="dflow.dataset"):
        found = explorer.get_file_list(group="faces", where=lambda ds: ds["edge_lengths"] > 30)
    np.testing.assert_array_equal(found, files_with(parts, "edges", parts.rows["edges"]["edge_lengths"] > 30))
    assert "'edge_lengths' is not in group 'faces'; taken from group 'edges'" in caplog.text


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (lambda ds: (ds["face_areas"] > 1) & (ds["edge_lengths"] > 1), "two row dimensions, .*one condition per group"),
        (lambda ds: ds["face_areas"], "float32 values, booleans were expected"),
        (lambda ds: ds["face_areas"].max() > 3, "neither files nor rows"),
        (lambda ds: True, "returned bool"),
        (lambda ds: np.isin(ds["face_types"], [1, 2]), "returned ndarray.*isin"),
        (lambda ds: ds["nope"] > 1, "cannot be evaluated.*nope.*It may use: .*face_areas"),
        (lambda ds: ds["face_areas"] > 1 and ds["face_count"] > 1, "use|&"),
        (lambda ds: 1 / 0, "division by zero"),
    ],
)
def test_bad_conditions_are_told_what_to_do(explorer: DatasetExplorer, where: Any, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        explorer.get_file_list(group="faces", where=where)


def test_an_unknown_group_is_told_which_there_are(explorer: DatasetExplorer) -> None:
    with pytest.raises(UnknownKeyError, match=r"no group 'vertices'\. The dataset has edges, faces, graph, file"):
        explorer.get_file_list(group="vertices", where=lambda ds: ds["x"] > 1)


def test_groups_with_the_same_dimension_and_rows_can_be_combined(tmp_path: Path) -> None:
    """Labels a face in a group of their own, as HOOPS AI's tutorials save them."""
    parts = random_parts(40)
    parts.counts["labels"] = parts.counts["faces"]
    parts.rows["labels"] = {"task_A": parts.rows["faces"]["face_labels"].copy()}
    paths = write_parts(parts, tmp_path)
    explorer = DatasetExplorer(paths.flow_file)
    explorer._store.attributes["groups"]["labels"]["dimension"] = "face"  # type: ignore[index]
    for column in explorer._store.columns["labels"].values():
        object.__setattr__(column, "dims", ("face", *column.dims[1:]))
    found = explorer.get_file_list(group="faces", where=lambda ds: (ds["task_A"] == 3) & (ds["face_areas"] > 50))
    mask = (parts.rows["faces"]["face_labels"] == 3) & (parts.rows["faces"]["face_areas"] > 50)
    np.testing.assert_array_equal(found, files_with(parts, "faces", mask))


def test_only_the_touched_columns_are_planned(explorer: DatasetExplorer) -> None:
    decided = plan(explorer._store, "faces", lambda ds: (ds["face_areas"] > 1) & (ds["category"] == 1), NO_WORDS)
    assert decided.names == {"face_areas", "category"}
    assert decided.row_group == "faces"
    assert plan(explorer._store, "faces", lambda ds: ds.face_count > 1, NO_WORDS).row_group is None


def test_no_file_by_row_array_is_built_for_100_000_files(tmp_path: Path) -> None:
    n_files = 100_000
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 4, n_files)
    areas = rng.random(int(counts.sum())).astype(np.float32)
    parts = Parts(
        counts={"faces": counts},
        rows={"faces": {"face_areas": areas}},
        values={"face_count": counts.astype(np.int32), "category": rng.integers(0, 9, n_files).astype(np.int32)},
        categories={"category": [str(i) for i in range(9)]},
    )
    from dflow.dataset.merge.settings import MergeSettings

    explorer = DatasetExplorer(write_parts(parts, tmp_path, settings=MergeSettings()).flow_file)
    tracemalloc.start()
    found = explorer.get_file_list(group="faces", where=lambda ds: (ds["face_areas"] > 0.99) & (ds["category"] == 5))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    mask = (areas > 0.99) & (np.repeat(parts.values["category"], counts) == 5)
    np.testing.assert_array_equal(found, files_with(parts, "faces", mask))
    assert peak < 40 * len(areas)  # bytes a row; a (file × row) array would be 100,000 times as many


def test_a_file_that_spans_blocks_is_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts(
        counts={"faces": np.array([0, 200, 0, 3, 0])},
        rows={"faces": {"face_areas": np.arange(203, dtype=np.float32)}},
        values={"face_count": np.array([0, 200, 0, 3, 0], np.int32)},
    )
    store = open_store(write_parts(parts, tmp_path).dataset)
    from dflow.dataset.query import conditions

    mask = xr.DataArray(np.arange(203) % 50 == 0, dims="face").chunk({"face": 7})
    assert conditions._files_of_mask(store, "faces", mask, "face").tolist() == [1, 3]


@pytest.mark.parametrize(
    "condition",
    [
        lambda ds: ds["face_types"] == "plane",
        lambda ds: ds["face_types"] != "plane",
        lambda ds: "plane" == ds["face_types"],  # noqa: SIM300 -- text on the left is the case
        lambda ds: (ds["face_areas"] > 1) & (ds["face_types"].astype("int64") + 0 == "plane"),
        lambda ds: ds["face_types"].isin(["plane", "cone"]),
        lambda ds: ds["face_types"] == np.array(["plane"]),
        lambda ds: ds["face_types"] == xr.DataArray("plane"),
        lambda ds: ds["face_types"] == b"plane",
        lambda ds: ds["face_types"].isin({1, "plane"}),
        # These need rows: a maximum of nothing fails, and an index behind the end.
        lambda ds: (ds["face_areas"] == ds["face_areas"].max()) & (ds["face_types"] == "plane"),
        lambda ds: (ds["face_types"] == "plane") & (ds["face_areas"] > ds["face_areas"][0]),
        lambda ds: (ds["face_areas"] < ds["face_areas"].max()) & ds["face_types"].isin(["plane"]),
    ],
)
def test_an_unknown_word_or_text_beside_numbers_is_refused_with_what_to_do(
    explorer: DatasetExplorer, condition: Any
) -> None:
    with pytest.raises(
        QueryError, match=r"'face_types'; is 'Plane' meant|numbers of 'face_types' with the text .*plane.* == "
    ):
        explorer.get_file_list(group="faces", where=condition)


@pytest.mark.parametrize(
    "condition",
    [
        lambda ds: ds["face_types"].isin([1, 2]),
        lambda ds: ds["face_types"].astype("int64").where(ds["face_areas"] > 10, -1) > 0,
        lambda ds: ds["face_areas"] == ds["face_areas"].max(),
        lambda ds: xr.where(ds["face_types"] > 1, ds["face_areas"], 0.0) > 5,
        lambda ds: ds["face_areas"].clip(1.0, 150.0).round() == 150,
    ],
)
def test_looking_for_text_disturbs_no_other_condition(
    explorer: DatasetExplorer, condition: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = explorer.get_file_list(group="faces", where=condition)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    monkeypatch.setattr("dflow.dataset.query.conditions._refuse_text", lambda *_: None)
    np.testing.assert_array_equal(found, explorer.get_file_list(group="faces", where=condition))
    assert len(found)


def test_a_condition_that_cannot_be_checked_for_text_is_answered_with_a_warning(
    explorer: DatasetExplorer, caplog: pytest.LogCaptureFixture
) -> None:
    def plain_arrays_only(ds: xr.Dataset) -> xr.DataArray:
        data = ds["face_types"].data
        if isinstance(data, np.ndarray) and type(data) is not np.ndarray:
            raise TypeError("a plain array was expected")
        return ds["face_types"] > 1

    found = explorer.get_file_list(group="faces", where=plain_arrays_only)
    np.testing.assert_array_equal(found, explorer.get_file_list(group="faces", where=lambda ds: ds["face_types"] > 1))
    assert "could not be checked for comparisons of numbers with text (TypeError: a plain array" in caplog.text


@pytest.mark.usefixtures("blockwise")
def test_words_of_the_vocabulary_select_what_their_codes_do(explorer: DatasetExplorer, parts: Parts) -> None:
    rows = parts.rows["faces"]
    found = explorer.get_file_list(group="faces", where=lambda ds: (ds["face_types"] == "Cone") & (ds.face_areas > 90))
    np.testing.assert_array_equal(
        found, files_with(parts, "faces", (rows["face_types"] == 2) & (rows["face_areas"] > 90))
    )
    found = explorer.get_file_list(where=lambda ds: ds["category"].isin(["bolt", "plate"]))
    np.testing.assert_array_equal(found, np.flatnonzero(np.isin(parts.values["category"], [0, 2])))
    found = explorer.get_file_list(group="faces", where=lambda ds: (ds["category"] == "nut") & (ds["face_types"] == 1))
    of_row = parts.values["category"][parts.file_of_row("faces")]
    np.testing.assert_array_equal(found, files_with(parts, "faces", (of_row == 1) & (rows["face_types"] == 1)))
