"""Users' data as storable values: copies of a plain layout, or an error with the way out."""

from __future__ import annotations

import enum
import json
import math
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from dflow.errors import StoreLimitError, UnsupportedDataError
from dflow.storage.values import check_length, is_finite, json_words, storable_array, storable_metadata

DTYPES = hnp.integer_dtypes() | hnp.floating_dtypes(sizes=(16, 32, 64)) | hnp.complex_number_dtypes(sizes=(64, 128))


@given(hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, min_side=0)))
def test_any_array_of_numbers_keeps_its_values_in_native_c_order(array: np.ndarray) -> None:
    for given_array in (array, array.T, array[..., None], np.asfortranarray(array)):
        found = storable_array(given_array, "data")
        assert found.flags.c_contiguous
        assert found.dtype.isnative
        assert np.array_equal(found, given_array, equal_nan=found.dtype.kind in "fc")
        assert not np.shares_memory(found, given_array)


@pytest.mark.parametrize("data", [["a", ""], np.array(["a", ""]), np.array(["a", ""], dtype=object), "a"])
def test_text_becomes_strings_of_any_length(data: Any) -> None:
    found = storable_array(data, "data")
    assert found.dtype == np.dtypes.StringDType()
    assert found.tolist() == np.asarray(data).tolist()


@pytest.mark.parametrize(
    ("data", "advice"),
    [
        ([[1, 2], [3]], "list is no array: .*; use numbers, bools or text of equal lengths in every row"),
        ([b"a"], "decode bytes to text first"),
        (np.array(["2020"], dtype="M8[Y]"), r"astype\('int64'\)"),
        ([None, 1, "a"], r"objects \(NoneType, int, str\)"),
        (np.ma.array([1], mask=[True]), r"use \.filled"),
        (["\ud800"], "not valid Unicode"),
    ],
)
def test_other_data_is_refused_with_the_way_out(data: Any, advice: str) -> None:
    with pytest.raises(UnsupportedDataError, match=f"^here: .*{advice}"):
        storable_array(data, "here")


def test_an_array_larger_than_a_store_is_refused_without_a_copy() -> None:
    with pytest.raises(StoreLimitError, match="split the sample"):
        storable_array(np.broadcast_to(np.int64(1), (1 << 40,)), "here")


class Colour(enum.Enum):
    RED = ("red", 1)


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        ({1: (np.int8(2), np.bool_(True))}, {"1": [2, True]}),
        (Colour.RED, ["red", 1]),
        (PurePosixPath("a/b"), "a/b"),
        (np.array([[1.5]]), [[1.5]]),
        (np.datetime64("NaT"), None),
        (math.inf, math.inf),
    ],
)
def test_metadata_becomes_what_json_can_hold(given_value: Any, expected: Any) -> None:
    assert storable_metadata(given_value, "m") == expected


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (object(), "type object cannot be stored; use text or numbers"),
        (2**64, "does not fit 64 bits; save it as text"),
        ({1.5: 0}, "a key is float; use text or integers"),
        ({"a": [b""]}, r"m\['a'\]: metadata of type bytes"),
        ([0] * 100_001, "100,001 values, at most 100,000 fit; use save_data"),
    ],
)
def test_metadata_that_json_cannot_hold_is_refused(value: Any, fault: str) -> None:
    with pytest.raises(UnsupportedDataError, match=fault):
        storable_metadata(value, "m")


def test_metadata_may_nest_32_deep_and_no_deeper() -> None:
    nested: Any = 1
    for _ in range(32):
        nested = [nested]
    assert storable_metadata(nested, "m") == nested
    with pytest.raises(UnsupportedDataError, match="nested more than 32 deep"):
        storable_metadata([nested], "m")


def test_a_cell_holds_at_most_64_kib() -> None:
    check_length(["x" * (64 * 1024 - 4)], "m")
    check_length("x" * 100_000, "m")  # plain text is a value, not a list
    with pytest.raises(UnsupportedDataError, match=r"m: 65,537 characters as JSON, at most 65,536 fit; .*save_data"):
        check_length(["x" * (64 * 1024 - 3)], "m")


def test_lists_and_branches_have_one_json_text() -> None:
    assert json_words({"b": [1, "ü"], "a": {}}) == '{"a": {}, "b": [1, "ü"]}'
    assert json.loads(json_words([0.1, None])) == [0.1, None]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1.0, True), ("nan", True), (math.nan, False), ({"a": [1, [math.inf]]}, False), ({"a": [1, []]}, True)],
)
def test_a_value_is_finite_if_all_its_numbers_are(value: Any, expected: bool) -> None:
    assert is_finite(value) is expected
