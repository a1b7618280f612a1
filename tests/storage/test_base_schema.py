"""What every storage must do with schemas and with arrays that have no group, run over all of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dflow.errors import BadKeyError, SchemaError
from dflow.schema import SchemaBuilder
from dflow.storage import DataStorage, convert_storage, describe
from tests.storage.stores import MAKERS, Maker, schema


def test_without_a_schema_there_is_an_empty_dictionary(storage: DataStorage) -> None:
    assert storage.get_schema() == {}
    assert storage.get_group_for_array("x") is None
    assert storage.validate_data_against_schema("rows/x", "anything")


def test_a_schema_comes_back_and_names_groups(storage: DataStorage) -> None:
    given = schema(dimensions=["row"])
    storage.set_schema(given)
    assert storage.get_schema() == given
    assert storage.get_group_for_array("x") == "rows"
    storage.save_data("x", [1.0])
    assert storage.array_keys() == ["rows/x"]
    storage.save_data("faces/face_areas", [1.0])
    assert storage.get_group_for_array("face_areas") == "faces"


def test_two_groups_that_declare_one_name_need_the_whole_key(storage: DataStorage) -> None:
    builder = SchemaBuilder()
    builder.create_group("a", "i").create_array("x")
    builder.create_group("b", "j").create_array("x")
    storage.set_schema(builder)
    with pytest.raises(BadKeyError, match="'a/x'"):
        storage.save_data("x", [1.0])
    assert storage.get_group_for_array("x") is None


def test_a_bare_name_stays_found_when_a_later_schema_gives_it_a_group(storage: DataStorage) -> None:
    storage.save_data("x", [1.0, 2.0])
    storage.set_schema(schema(dimensions=["row"]))
    assert storage.load_data("x").tolist() == [1, 2]
    storage.save_data("x", [3.0])
    assert storage.array_keys() == ["file/x"]
    storage.save_data("rows/x", [4.0])
    assert storage.load_data("rows/x").tolist() == [4]


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("face_scores", "faces"),
        ("n_faces_near", "faces"),
        ("FaceScores", "faces"),
        ("perFaceScore", "faces"),
        ("FACE_IDS", "faces"),
        ("face_edge_counts", "faces"),
        ("edge_weights", "edges"),
        ("my_edge", "edges"),
        ("edges_source", "graph"),
        ("edges_destination", "graph"),
        ("arc_edge", "graph"),
        ("num_nodes", "graph"),
        ("d2_distance", "faceface"),
        ("face_count", "file"),
        ("nonmanifold_edges", "file"),
        ("surface_finish", "file"),
        ("wedge_angles", "file"),
        ("scores", "file"),
    ],
)
def test_an_array_without_a_group_goes_where_its_name_says(storage: DataStorage, name: str, group: str) -> None:
    data: Any = 7 if name in ("face_count", "nonmanifold_edges") else np.arange(4.0).astype("float32")
    if group == "graph":
        data = np.arange(4)
    if group == "faceface":
        data = np.ones((2, 2, 3), np.float32)
    storage.save_data(name, data)
    assert storage.array_keys() == [f"{group}/{name}"]
    assert np.ravel(storage.load_data(name)).tolist() == np.ravel(data).tolist()
    assert {name, group} <= set(storage.get_keys())
    assert storage.has_data(name)
    assert storage.get_group_for_array(name) == group


def test_single_numbers_without_a_group_are_values_of_the_sample(storage: DataStorage) -> None:
    storage.save_data("faces/face_areas", [1.0, 2.0])
    for name in ("face_density", "num_nodes", "edge_weight"):
        storage.save_data(name, 2)
    assert storage.array_keys() == [
        "faces/face_areas",
        *(f"file/{n}" for n in ("edge_weight", "face_density", "num_nodes")),
    ]
    storage.save_data("face_density", [0.5, 1.5])
    assert "file/face_density" not in storage.array_keys()
    assert storage.load_data("face_density").tolist() == storage.load_data("faces/face_density").tolist() == [0.5, 1.5]
    storage.save_data("face_density", 9)
    assert "faces/face_density" not in storage.array_keys()
    assert storage.load_data("face_density") == 9


@pytest.mark.parametrize("order", [("areas", "scores"), ("scores", "areas"), ("scores", "areas", "scores")])
def test_an_array_without_a_group_and_with_other_rows_becomes_a_group_of_its_own(
    storage: DataStorage, order: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    for what in order:
        key = {"areas": "faces/face_areas", "scores": "face_scores"}[what]
        storage.save_data(key, np.ones(6 if what == "areas" else 4, np.float32))
    assert storage.array_keys() == ["face_scores/face_scores", "faces/face_areas"]
    assert storage.load_data("face_scores").shape == (4,)
    assert "'face_scores' has another number of rows than group 'faces'" in caplog.text
    assert storage.dimensions()["face_scores/face_scores"] == ("face_scores_row",)
    describe(storage, "s", "a")
    storage.save_data("face_scores", np.ones(6))
    assert storage.array_keys() == ["faces/face_areas", "faces/face_scores"]


def test_arrays_without_a_group_follow_the_groups_rows_whichever_came_first(storage: DataStorage) -> None:
    for name, n_rows in (("face_a", 3), ("face_b", 6), ("face_c", 3)):
        storage.save_data(name, np.full(n_rows, n_rows))
    assert storage.array_keys() == ["face_b/face_b", "faces/face_a", "faces/face_c"]
    storage.save_data("faces/face_areas", np.ones(6, np.float32))
    assert storage.array_keys() == ["face_a/face_a", "face_c/face_c", "faces/face_areas", "faces/face_b"]
    assert [storage.load_data(name).tolist() for name in ("face_a", "face_b")] == [[3] * 3, [6] * 6]


def test_what_was_saved_without_a_group_is_found_in_a_store_that_is_opened_again(maker: Maker, tmp_path: Path) -> None:
    with maker(tmp_path) as written:
        written.save_data("faces/face_areas", np.ones(6, np.float32))
        written.save_data("face_scores", [1.0])
        written.save_data("face_marks", np.arange(6))
    found = maker(tmp_path)
    assert found.load_data("face_scores").tolist() == [1]
    assert found.load_data("face_marks").tolist() == list(range(6))


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_a_later_stage_may_still_show_that_the_rows_do_not_fit(kind: str, tmp_path: Path) -> None:
    with MAKERS["zarr"](tmp_path) as first:
        first.save_data("face_scores", [1.0, 2.0])
        first.save_data("edge_scores", [1.0])
    later = MAKERS[kind](tmp_path / "later")
    convert_storage(MAKERS["zarr"](tmp_path), later)
    later.save_data("faces/face_areas", np.ones(6, np.float32))
    assert later.array_keys() == ["edges/edge_scores", "face_scores/face_scores", "faces/face_areas"]
    describe(later, "s", "a")


def test_a_declaration_beats_the_name(storage: DataStorage) -> None:
    builder = SchemaBuilder("test")
    builder.create_group("marks", "mark").create_array("face_scores", ["mark"], "float32")
    storage.set_schema(builder)
    storage.save_data("face_scores", [1.0])
    assert storage.array_keys() == ["marks/face_scores"]


@pytest.mark.parametrize(
    ("dtype", "data", "expected"),
    [
        ("float32", np.arange(3), np.arange(3, dtype=np.float32)),
        ("float32", [True, False], np.array([1, 0], np.float32)),
        ("float32", np.array([1e-3]), np.array([1e-3], np.float32)),
        ("int32", np.array([1.0, -2.0]), np.array([1, -2], np.int32)),
        ("int32", np.array([2**31 - 1]), np.array([2**31 - 1], np.int32)),
        ("int8", np.array([True]), np.array([1], np.int8)),
        ("bool", np.array([True]), np.array([True])),
        ("float64", np.array([1], np.uint8), np.array([1.0])),
    ],
)
def test_data_is_cast_to_the_declared_dtype(storage: DataStorage, dtype: str, data: Any, expected: np.ndarray) -> None:
    storage.set_schema(schema(dimensions=["row"], dtype=dtype))
    assert storage.validate_data_against_schema("rows/x", data)
    storage.save_data("rows/x", data)
    found = storage.load_data("rows/x")
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("dtype", "data"),
    [
        ("int32", [0.5]),
        ("int32", [2**31]),
        ("int32", [float(2**31)]),
        ("int32", [math.nan]),
        ("int64", [float(2**63)]),
        ("int64", [math.inf]),
        ("uint8", [-1]),
        ("uint64", [-1]),
        ("int32", ["1"]),
        ("float32", ["1"]),
        ("str", [1]),
        ("bool", [1]),
        ("float32", [1e300]),
        ("float32", [1j]),
        ("float32", [[1.0]]),
        ("float32", 1.0),
    ],
)
def test_data_that_contradicts_the_schema_is_refused(storage: DataStorage, dtype: str, data: Any) -> None:
    storage.set_schema(schema(dimensions=["row"], dtype=dtype, nan_policy="allow"))
    assert not storage.validate_data_against_schema("rows/x", data)
    with pytest.raises(SchemaError, match="rows/x"):
        storage.save_data("rows/x", data)
    assert storage.get_keys() == []


@pytest.mark.parametrize(("rule", "good", "bad"), [("min_value", [0, 1], [-1]), ("max_value", [9], [11, 10.5])])
def test_bounds_are_enforced_when_data_is_saved(storage: DataStorage, rule: str, good: Any, bad: Any) -> None:
    storage.set_schema(schema(dimensions=["row"], **{rule: 0 if rule == "min_value" else 10}))
    storage.save_data("rows/x", good)
    with pytest.raises(SchemaError, match=rule):
        storage.save_data("rows/x", bad)
    assert storage.load_data("rows/x").tolist() == good


def test_a_schema_that_comes_late_makes_the_data_fit_or_changes_nothing(storage: DataStorage) -> None:
    storage.save_data("rows/x", np.arange(3))
    storage.save_metadata("category", 1.0)
    builder = SchemaBuilder()
    builder.create_group("rows", "row").create_array("x", dtype="float32")
    builder.define_categorical_metadata("category", "int32")
    storage.set_schema(builder)
    assert storage.load_data("rows/x").dtype == np.float32
    assert type(storage.load_metadata("category")) is int
    before = storage.get_schema()
    with pytest.raises(SchemaError):
        storage.set_schema(schema(dimensions=["row"], dtype="str"))
    with pytest.raises(SchemaError):
        storage.set_schema({"groups": {"rows": {}}})
    assert storage.get_schema() == before


def test_a_schema_can_be_extended_but_not_against_itself(storage: DataStorage) -> None:
    storage.set_schema(schema(dimensions=["row"]))
    more = SchemaBuilder()
    more.create_group("more", "m").create_array("y")
    storage.extend_schema(more)
    assert sorted(storage.get_schema()["groups"]) == ["more", "rows"]
    with pytest.raises(SchemaError, match="dtype"):
        storage.extend_schema(schema(dimensions=["row"], dtype="int32"))


def test_face_pairs_are_flattened(storage: DataStorage) -> None:
    histogram = np.arange(2 * 2 * 3, dtype=np.float32).reshape(2, 2, 3)
    storage.save_data("faceface/d2_distance", histogram)
    storage.save_data("faceface/extended_adjacency", np.eye(2))
    assert np.array_equal(storage.load_data("faceface/d2_distance"), histogram.reshape(4, 3))
    assert storage.load_data("faceface/extended_adjacency").tolist() == [1, 0, 0, 1]
    assert describe(storage, "s", "a").row_count("faceface") == 4


def test_metadata_is_held_against_its_declaration(storage: DataStorage) -> None:
    builder = SchemaBuilder()
    builder.define_file_metadata("seconds", "float32", min_value=0)
    builder.define_categorical_metadata("kind", "int32", values=[3, 5], labels=["nut", "bolt"])
    builder.define_categorical_metadata("family", "int32")
    storage.set_schema(builder)
    storage.save_metadata("seconds", 3)
    storage.save_metadata("kind", "bolt")
    storage.save_metadata("family", "any text")
    assert [storage.load_metadata(k) for k in ("seconds", "kind", "family")] == [3.0, 5, "any text"]
    for name, bad in [
        ("seconds", -1),
        ("seconds", "1"),
        ("seconds", [1]),
        ("kind", 4),
        ("kind", "screw"),
        ("kind", 0.5),
    ]:
        with pytest.raises(SchemaError, match=name):
            storage.save_metadata(name, bad)
    assert storage.load_metadata("kind") == 5
