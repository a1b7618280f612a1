"""What every storage must do with arrays and schemas, run over all of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dflow.errors import (
    BadKeyError,
    KeyNotFoundError,
    NonFiniteError,
    SchemaError,
    StorageError,
    UnsupportedDataError,
)
from dflow.storage import DataStorage, convert_storage, describe
from tests.storage.stores import MAKERS, Maker, schema

ARRAYS = {
    "int32": np.arange(6, dtype=np.int32),
    "int8": np.array([-128, 127], np.int8),
    "uint64": np.array([2**64 - 1, 0], np.uint64),
    "int64": np.array([-(2**63), 2**63 - 1]),
    "float16": np.array([1.5, -2], np.float16),
    "float32": np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 3, 4),
    "float64": np.array([1e-300, math.pi]),
    "complex": np.array([1 + 2j, -3.5j]),
    "bool": np.array([[True, False], [False, True]]),
    "no rows": np.empty((0,), np.float32),
    "no rows of seven": np.empty((0, 7), np.int32),
    "rows of nothing": np.empty((4, 0), np.float64),
    "large": np.arange(50_000, dtype=np.int64) % 7,
    "text": np.array(["", "a", "größer", "面", "\N{BLACK CHESS KNIGHT}", "with\0nul"], dtype=np.dtypes.StringDType()),
    "text matrix": np.array([["a", "b"], ["c", ""]], dtype=np.dtypes.StringDType()),
    "no text": np.empty((0,), np.dtypes.StringDType()),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_comes_back_as_it_went_in(storage: DataStorage, name: str) -> None:
    storage.save_data("rows/x", ARRAYS[name])
    found = storage.load_data("rows/x")
    assert found.dtype == ARRAYS[name].dtype
    assert found.shape == ARRAYS[name].shape
    assert np.array_equal(found, ARRAYS[name])


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_comes_back_from_the_disk(maker: Maker, tmp_path: Path, name: str) -> None:
    with maker(tmp_path) as written:
        written.save_data("rows/x", ARRAYS[name])
    found = maker(tmp_path).load_data("rows/x")
    assert found.dtype == ARRAYS[name].dtype
    assert found.shape == ARRAYS[name].shape
    assert np.array_equal(found, ARRAYS[name])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.arange(5, dtype=">i4"), np.arange(5, dtype=np.int32)),
        (np.arange(5, dtype=">f8"), np.arange(5, dtype=np.float64)),
        (np.arange(12, dtype=np.int32).reshape(3, 4).T, np.arange(12, dtype=np.int32).reshape(3, 4).T),
        (np.arange(10, dtype=np.int32)[::-2], np.array([9, 7, 5, 3, 1], np.int32)),
        (np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(6.0).reshape(2, 3)),
        ([1, 2, 3], np.array([1, 2, 3])),
        ((1.5, 2), np.array([1.5, 2.0])),
        (["a", "bcd"], np.array(["a", "bcd"], dtype=np.dtypes.StringDType())),
        (np.array(["a", "b"], dtype=object), np.array(["a", "b"], dtype=np.dtypes.StringDType())),
        (np.ma.array([1, 2]), np.array([1, 2])),
    ],
)
def test_input_of_any_layout_is_made_plain(storage: DataStorage, given: Any, expected: np.ndarray) -> None:
    storage.save_data("rows/x", given)
    found = storage.load_data("rows/x")
    assert type(found) is np.ndarray
    assert found.dtype == expected.dtype
    assert found.flags.c_contiguous
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("value", [7, 2.5, True, np.float32(1.5), np.array(3, np.int16), "word"])
def test_one_value_per_sample_is_a_python_value(storage: DataStorage, value: Any) -> None:
    storage.save_data("file/x", value)
    assert storage.array("file/x").shape == ()
    for key in ("file/x", "x"):
        assert storage.load_data(key) == value
        assert type(storage.load_data(key)) in (int, float, bool, str)


def test_one_value_in_a_group_of_rows_is_refused_with_advice(storage: DataStorage) -> None:
    with pytest.raises(SchemaError, match="file/n_loops"):
        storage.save_data("graph/n_loops", 5)


def test_the_number_of_nodes_may_stand_beside_the_arcs(storage: DataStorage) -> None:
    """As HOOPS AI's scripts save the graph, and read it."""
    arcs = {"source": np.array([0, 1]), "destination": np.array([1, 2])}
    storage.save_data("graph", {"edges": arcs, "num_nodes": 3})
    assert storage.load_data("graph/num_nodes") == storage.load_data("file/num_nodes") == 3
    assert storage.load_data("graph/edges/source").tolist() == [0, 1]
    graph = storage.load_data("graph")
    assert graph["num_nodes"] == 3
    assert graph["edges"]["destination"].tolist() == graph["edges_destination"].tolist() == [1, 2]


def test_the_graph_counts_its_nodes_where_nobody_saved_their_number(storage: DataStorage) -> None:
    storage.save_data("graph/edges_source", np.array([0, 3]))
    assert storage.load_data("graph")["num_nodes"] == 4
    storage.save_data("faces/face_areas", np.ones(6))
    assert storage.load_data("graph")["num_nodes"] == 6


def test_data_below_metadata_is_metadata(storage: DataStorage) -> None:
    storage.save_data("metadata/description", "a part")
    assert storage.load_data("metadata/description") == storage.load_metadata("metadata/description") == "a part"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (np.array([object()]), "objects"),
        (np.array([1, None], dtype=object), "NoneType"),
        (np.array(["a", None], dtype=object), "NoneType"),
        (np.array([b"a"]), "decode"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "int64"),
        (np.zeros(2, dtype=[("a", "i4")]), "cannot be stored"),
        ([[1, 2], [3]], "list is no array: .*; use numbers"),
        (np.ma.array([1, 2], mask=[True, False]), "filled"),
        (np.array([1.0], dtype=np.longdouble), "cannot be stored"),
        (["\ud800"], "Unicode"),
        ({1, 2}, "objects"),
        (None, "objects"),
    ],
)
def test_data_that_no_array_of_ours_can_hold_is_refused(storage: DataStorage, data: Any, says: str) -> None:
    with pytest.raises(UnsupportedDataError, match=says):
        storage.save_data("rows/x", data)
    assert storage.get_keys() == []


def test_what_is_loaded_and_what_was_given_belong_to_the_caller(storage: DataStorage) -> None:
    given = np.zeros(3)
    storage.save_data("rows/x", given)
    given[:] = 1
    storage.load_data("rows/x")[:] = 2
    storage.load_data("rows")["x"][:] = 3
    assert storage.load_data("rows/x").tolist() == [0, 0, 0]


def test_saving_again_replaces(storage: DataStorage) -> None:
    storage.save_data("rows/x", np.zeros(3))
    storage.save_data("rows/x", np.arange(2))
    assert storage.load_data("rows/x").tolist() == [0, 1]


def test_a_missing_key_is_a_key_error_that_lists_what_there_is(storage: DataStorage) -> None:
    storage.save_data("rows/x", np.zeros(3))
    with pytest.raises(KeyError, match="rows/x"):
        storage.load_data("rows/y")
    with pytest.raises(KeyNotFoundError):
        storage.load_data("columns")
    with pytest.raises(KeyError, match="there is no metadata"):
        storage.load_metadata("nothing")


def test_a_dictionary_becomes_a_group_and_deep_keys_are_joined(storage: DataStorage) -> None:
    storage.save_data("graph", {"edges": {"source": np.array([0]), "destination": np.array([1])}})
    assert storage.array_keys() == ["graph/edges_destination", "graph/edges_source"]
    assert storage.load_data("graph/edges/source").tolist() == [0]
    assert {"edges_destination", "edges_source"} <= storage.load_data("graph").keys()


def test_a_dictionary_with_one_bad_array_changes_nothing(storage: DataStorage) -> None:
    with pytest.raises(UnsupportedDataError):
        storage.save_data("rows", {"x": np.zeros(2), "y": np.array([None])})
    assert storage.get_keys() == []


NO_KEYS = [
    "",
    "/",
    "a/",
    "/a",
    "a//b",
    "..",
    "a/..",
    "../a",
    ".",
    "a/b\\c",
    "a:b/c",
    "a\n/b",
    " a/b",
    "__a/b",
    "a" * 300,
]
RESERVED_KEYS = ["a/zarr.json", 'a/"b"', "a/b*", 5, None]


@pytest.mark.parametrize("key", NO_KEYS + RESERVED_KEYS)
def test_a_key_that_is_no_name_is_refused(storage: DataStorage, key: Any) -> None:
    with pytest.raises(BadKeyError):
        storage.save_data(key, np.zeros(2))
    assert storage.get_keys() == []


@pytest.mark.parametrize("key", ["größe/länge", "面/积", "a b/c d", "a.b/c-d", "a%2Fb/c", "UPPER/lower", "😀/🧊"])
def test_keys_of_any_script_survive_the_disk(maker: Maker, tmp_path: Path, key: str) -> None:
    with maker(tmp_path) as written:
        written.save_data(key, np.arange(3))
        written.save_data(key.replace("/", "/_"), np.arange(3))
    assert maker(tmp_path).load_data(key).tolist() == [0, 1, 2]


def test_keys_that_make_one_file_name_stay_apart(storage: DataStorage) -> None:
    storage.save_data("a_b/c", np.array([1]))
    storage.save_data("a/b_c", np.array([2]))
    storage.save_data("a b/c", np.array([3]))
    assert [storage.load_data(key)[0] for key in ("a_b/c", "a/b_c", "a b/c")] == [1, 2, 3]


def test_a_group_cannot_stand_where_an_array_stands(storage: DataStorage) -> None:
    storage.save_data("x", np.arange(3))
    with pytest.raises(BadKeyError, match="is an array already"):
        storage.save_data("x/y", np.arange(3))
    storage.save_data("g/y", np.arange(3))
    with pytest.raises(BadKeyError, match="a group of that name"):
        storage.save_data("g", np.arange(3))
    assert storage.array_keys() == ["file/x", "g/y"]


# NaN


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, complex(0, math.nan)])
def test_non_finite_values_are_refused_by_default(storage: DataStorage, bad: complex) -> None:
    with pytest.raises(NonFiniteError, match="1 NaN or inf of 2 values"):
        storage.save_data("rows/x", np.array([1.0, bad]))
    assert storage.get_keys() == []


def test_non_finite_values_are_kept_where_the_array_documents_them(storage: DataStorage) -> None:
    storage.save_data("edges/edge_dihedral_angles", np.array([math.nan, 1]))
    storage.save_data("faceface/extended_adjacency", np.array([math.inf]))
    storage.set_schema(schema(dimensions=["row"], nan_policy="allow"))
    storage.save_data("rows/x", [math.nan, -math.inf, 1])
    assert np.array_equal(storage.load_data("rows/x"), [math.nan, -math.inf, 1], equal_nan=True)
    with pytest.raises(NonFiniteError):
        storage.save_data("faces/face_areas", np.array([math.nan]))


def test_a_warning_is_given_where_the_policy_says_so(storage: DataStorage) -> None:
    storage.set_schema(schema(dimensions=["row"], nan_policy="warn"))
    with pytest.warns(RuntimeWarning, match="'rows/x' holds 1 NaN"):
        storage.save_data("rows/x", [math.nan])
    assert math.isnan(storage.load_data("rows/x")[0])


def test_the_storages_own_policy_is_for_arrays_that_say_nothing(storage: DataStorage) -> None:
    storage.nan_policy = "allow"
    storage.save_data("rows/x", [math.nan])
    storage.set_schema(schema(dimensions=["row"], nan_policy="raise"))
    with pytest.raises(NonFiniteError):
        storage.save_data("rows/x", [math.nan])


# Life


def test_a_closed_storage_says_so(storage: DataStorage) -> None:
    storage.save_data("rows/x", [1])
    storage.close()
    storage.close()
    for call in (
        lambda: storage.save_data("rows/x", [1]),
        lambda: storage.load_data("rows/x"),
        lambda: storage.save_metadata("m", 1),
        lambda: storage.load_metadata("m"),
        storage.get_keys,
        storage.compress_store,
        lambda: describe(storage, "s", "a"),
    ):
        with pytest.raises(StorageError, match="closed"):
            call()


def test_everything_comes_back_when_reopened_and_can_be_extended(maker: Maker, tmp_path: Path) -> None:
    with maker(tmp_path) as first:
        first.set_schema(schema(dimensions=["row"]))
        first.save_data("rows/x", [1, 2])
        first.save_metadata("a/b", "c")
        assert first.compress_store() > 0
    with maker(tmp_path) as second:
        assert second.get_schema() == schema(dimensions=["row"])
        assert second.load_metadata("a") == {"b": "c"}
        second.save_data("more/y", [3])
        second.save_data("rows/x", [4])
    third = maker(tmp_path)
    assert third.load_data("rows/x").tolist() == [4]
    assert third.load_data("more/y").tolist() == [3]
    assert third.get_keys() == ["more", "rows", "x"]  # the schema says where x is; y is found by its whole key only
    assert Path(third.get_file_path("")).exists()
    assert Path(third.get_file_path("rows/x")).is_file()


def test_formats_have_names(storage: DataStorage) -> None:
    assert storage.format() in ("memory", "zarr", "json")
    assert type(storage).__name__ in repr(storage)
    assert isinstance(storage.get_file_path(""), str)


@pytest.mark.parametrize("target", sorted(MAKERS))
def test_a_copy_equals_its_source_whatever_the_formats(storage: DataStorage, target: str, tmp_path: Path) -> None:
    storage.set_schema(schema(dimensions=["row"], nan_policy="allow"))
    storage.save_data("rows/x", [1.0, math.nan])
    storage.save_data("file/word", "word")
    storage.save_metadata("a/b", math.inf)
    copy = MAKERS[target](tmp_path / "copy")
    convert_storage(storage, copy)
    assert describe(copy, "s", "a").layout == describe(storage, "s", "a").layout
    assert copy.get_metadata() == storage.get_metadata()
    assert all(
        np.array_equal(copy.load_data(k), storage.load_data(k), equal_nan=k == "rows/x") for k in storage.array_keys()
    )
    with pytest.raises(NonFiniteError):
        copy.save_data("other/y", [math.nan])


def test_every_call_that_writes_is_counted(storage: DataStorage) -> None:
    assert storage.n_writes == 0
    storage.set_schema(schema())
    assert storage.n_writes == 0
    storage.save_data("faces/areas", np.ones(6, np.float32))
    storage.save_metadata("material", "steel")
    storage.compress_store()
    assert storage.n_writes == 3
