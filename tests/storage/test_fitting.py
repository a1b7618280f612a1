"""Arrays and values held against their declarations, and the names of their dimensions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from dflow.errors import NonFiniteError, SchemaError
from dflow.schema import Schema, SchemaBuilder
from dflow.storage.fitting import check_finite, check_finite_value, fit_to_schema, sample_dimensions


def _declared(**array: Any) -> Schema:
    builder = SchemaBuilder("test")
    builder.create_group("rows", "row").create_array("x", **array)
    builder.define_file_metadata("weight", "float64", nan_policy=array.get("nan_policy"))
    return builder.schema()


def test_a_declared_array_is_cast_and_its_rank_checked() -> None:
    schema = _declared(dimensions=["row"], dtype="float32")
    assert fit_to_schema(schema, "rows", "x", np.arange(3)).dtype == np.float32
    with pytest.raises(SchemaError, match="rows/x"):
        fit_to_schema(schema, "rows", "x", np.ones((3, 2)))


def test_an_undeclared_standard_array_is_cast_but_may_have_any_rank() -> None:
    assert fit_to_schema(Schema(), "faces", "face_areas", np.ones(3)).dtype == np.float32
    matrix = np.ones((3, 2))
    assert fit_to_schema(Schema(), "faces", "face_areas", matrix) is matrix
    assert fit_to_schema(Schema(), "faces", "unknown", matrix) is matrix


@pytest.mark.parametrize("shape", [(3, 3, 4), (0, 0, 4)])
def test_a_square_of_faces_becomes_rows_of_face_pairs_in_row_order(shape: tuple[int, ...]) -> None:
    histograms = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    found = fit_to_schema(Schema(), "faceface", "d2_distance", histograms)
    assert np.array_equal(found, histograms.reshape(-1, 4))
    assert fit_to_schema(Schema(), "faceface", "d2_distance", found) is found


@pytest.mark.parametrize("bad", [math.nan, math.inf, complex(0, math.nan)])
def test_the_arrays_own_policy_comes_before_the_given_one(bad: complex) -> None:
    array = np.array([1.0, bad, bad])
    fault = r"'rows/x' holds 2 NaN or inf of 3 values; .*nan_policy='allow'"
    check_finite(_declared(nan_policy="allow"), "rows", "x", array, policy="raise")
    check_finite(Schema(), "rows", "x", array, policy="allow")
    with pytest.raises(NonFiniteError, match=fault):
        check_finite(_declared(nan_policy="raise"), "rows", "x", array, policy="allow")
    with pytest.warns(RuntimeWarning, match="2 NaN or inf"):
        check_finite(_declared(nan_policy="warn"), "rows", "x", array, policy="raise")


def test_text_and_integers_are_finite() -> None:
    for array in (np.arange(3), np.array(["nan"], dtype=np.dtypes.StringDType())):
        check_finite(Schema(), "rows", "x", array, policy="raise")


def test_the_fields_own_policy_comes_before_the_given_one() -> None:
    check_finite_value(_declared(nan_policy="allow"), "weight", math.nan, policy="raise")
    check_finite_value(Schema(), "weight", [math.nan], policy="raise")  # a list makes no column
    with pytest.raises(NonFiniteError, match=r"'weight' is inf; save None .*nan_policy='allow'"):
        check_finite_value(_declared(), "weight", math.inf, policy="raise")


def test_dimensions_are_declared_standard_or_made_of_the_names() -> None:
    shapes = {
        "rows/x": (2,),
        "rows/y": (2, 3),
        "faces/face_uv_grids": (5, 9, 9, 7),
        "file/bounding_box": (6,),
        "new/a": (4, 1),
    }
    assert sample_dimensions(_declared(dimensions=["row"]), shapes) == {
        "rows/x": ("row",),
        "rows/y": ("row", "y_dim_1"),
        "faces/face_uv_grids": ("face", "uv_x", "uv_y", "component"),
        "file/bounding_box": ("box",),
        "new/a": ("new_row", "a_dim_1"),
    }


def test_standard_arrays_with_two_sizes_of_one_dimension_get_names_of_their_own() -> None:
    found = sample_dimensions(Schema(), {"faceface/d2_distance": (4, 64), "faceface/a3_distance": (4, 32)})
    assert found["faceface/d2_distance"] == ("facepair", "d2_distance_bin")
    assert found["faceface/a3_distance"] == ("facepair", "a3_distance_bin")


def test_rows_that_differ_within_a_group_are_refused_with_all_counts() -> None:
    with pytest.raises(SchemaError, match=r"'g': its arrays disagree on their rows along 'g_row': g/a: 2; g/b, g/c: 3"):
        sample_dimensions(Schema(), {"g/a": (2,), "g/b": (3,), "g/c": (3, 2)})
