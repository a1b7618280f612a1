"""What every storage must do with metadata, run over all of them."""

from __future__ import annotations

import datetime
import enum
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dflow.errors import (
    BadKeyError,
    KeyNotFoundError,
    NonFiniteError,
    UnsupportedDataError,
)
from dflow.schema import SchemaBuilder
from dflow.storage import DataStorage
from tests.storage.stores import Maker

# Metadata


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (5, 5),
        (np.int32(5), 5),
        (np.uint64(2**63), 2**63),
        (1.5, 1.5),
        (np.float32(0.5), 0.5),
        (True, True),
        (np.bool_(False), False),
        (None, None),
        ("größer \ud83d", "größer \ud83d"),
        (np.str_("a"), "a"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.datetime(2026, 1, 2, 3), "2026-01-02T03:00:00"),
        (np.datetime64("2026-01-02"), "2026-01-02"),
        (np.datetime64("NaT", "s"), None),
        (Path("a/b"), "a/b"),
        (Colour.RED, "red"),
        ((1, 2), [1, 2]),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array(2.5), 2.5),
        ({0: "Plane", "b": {"c": (1,)}}, {"0": "Plane", "b": {"c": [1]}}),
        ([], []),
        ({}, {}),
        ([1.0, -math.inf], [1.0, -math.inf]),
    ],
)
def test_metadata_of_many_types_becomes_plain(storage: DataStorage, given: Any, expected: Any) -> None:
    storage.save_metadata("m", given)
    found = storage.load_metadata("m")
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("bad", [math.nan, -math.inf, np.float32("nan")])
def test_a_non_finite_value_of_the_sample_is_refused_by_default(storage: DataStorage, bad: float) -> None:
    with pytest.raises(NonFiniteError, match=r"metadata 'cost' is .*; save None .*nan_policy='allow'"):
        storage.save_metadata("cost", bad)
    assert storage.get_metadata() == {}
    storage.save_metadata("volume", math.nan)  # the standard table says so
    storage.nan_policy = "allow"
    storage.save_metadata("cost", bad)
    assert not math.isfinite(storage.load_metadata("cost"))


def test_a_declared_field_decides_about_nan(storage: DataStorage) -> None:
    builder = SchemaBuilder("test")
    builder.define_file_metadata("maybe", "float32", nan_policy="allow")
    builder.define_file_metadata("odd", "float32", nan_policy="warn")
    builder.define_file_metadata("volume", "float64", nan_policy="raise")
    storage.set_schema(builder)
    assert storage.get_schema() == builder.build()
    storage.save_metadata("maybe", math.nan)
    with pytest.warns(RuntimeWarning, match="metadata 'odd' is inf"):
        storage.save_metadata("odd", math.inf)
    storage.nan_policy = "allow"
    with pytest.raises(NonFiniteError, match="volume"):
        storage.save_metadata("volume", math.nan)


@pytest.mark.parametrize(
    "value", [math.nan, {"a": math.nan, "b": 1}, [math.nan, 1.0], {"a/b": {"..": math.inf}}, {"%": -math.inf}]
)
def test_non_finite_metadata_survives_the_disk(maker: Maker, tmp_path: Path, value: Any) -> None:
    with maker(tmp_path) as written:
        written.nan_policy = "allow"
        written.save_metadata("größe", value)
        written.save_metadata("größe_/m", value)
        written.save_metadata("n", 1)
    found = maker(tmp_path)
    for key in ("größe", "größe_/m"):
        assert json.dumps(found.load_metadata(key), sort_keys=True) == json.dumps(value, sort_keys=True)
    assert found.load_metadata("n") == 1


@pytest.mark.parametrize(
    "value", [object(), b"bytes", 1j, {1, 2}, 2**64, -(2**63) - 1, {(1, 2): 3}, {True: 1}, lambda: 0]
)
def test_metadata_that_json_does_not_know_is_refused(storage: DataStorage, value: Any) -> None:
    with pytest.raises(UnsupportedDataError):
        storage.save_metadata("m", value)
    with pytest.raises(KeyNotFoundError):
        storage.load_metadata("m")


def test_metadata_that_holds_itself_is_refused(storage: DataStorage) -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(UnsupportedDataError, match="nested more than"):
        storage.save_metadata("m", endless)


def test_nan_in_a_mixed_list_is_refused(storage: DataStorage) -> None:
    with pytest.raises(NonFiniteError):
        storage.save_metadata("m", ["a", math.nan])


def test_metadata_nests_and_merges(storage: DataStorage) -> None:
    storage.save_metadata("a/b", 1)
    storage.save_metadata("a", {"c": {"d": 2}})
    storage.save_metadata("a/c/e", 3)
    storage.save_metadata("a/b", 4)
    assert storage.load_metadata("a") == {"b": 4, "c": {"d": 2, "e": 3}}
    assert storage.load_metadata("a/c/d") == 2
    storage.load_metadata("a")["b"] = 9
    assert storage.load_metadata("a/b") == 4


@pytest.mark.parametrize(
    ("key", "value"), [("a/b/c", 1), ("a", 1), ("a", {"b": {"x": 1}}), ("", 1), ("a//b", 1), (3, 1)]
)
def test_a_value_and_a_branch_cannot_share_a_metadata_key(storage: DataStorage, key: Any, value: Any) -> None:
    storage.save_metadata("a/b", 0)
    with pytest.raises(BadKeyError):
        storage.save_metadata(key, value)
    assert storage.get_metadata() == {"a": {"b": 0}}


def test_sizes_of_arrays_are_kept_as_metadata(storage: DataStorage) -> None:
    storage.save_data("rows/x", np.zeros(256, np.float64))
    assert storage.load_metadata("file_sizes_KB/rows/x") == 2
    storage.save_data("rows/x", np.zeros(128, np.float64))
    assert storage.load_metadata("file_sizes_KB") == {"rows": {"x": 1}}
    storage.save_metadata("file_sizes_KB", {"rows": 7, "visu": 3})
    assert storage.load_metadata("file_sizes_KB") == {"rows": {"x": 1}, "visu": 3}
