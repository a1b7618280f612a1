"""Values against their declarations: casts that keep every value, and errors for all others."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from dflow.errors import SchemaError
from dflow.schema import ArraySpec, Schema, SchemaBuilder, cast_array, check_field, dtype_name, fit_array
from dflow.schema.checks import check_rules, is_text

INTEGERS = ["int8", "int32", "int64", "uint8", "uint64"]
EDGES = [0, 127, 128, 255, 256, 2**31 - 1, 2**31, 2**63 - 1, 2**63, 2**64 - 1]


@pytest.mark.parametrize(
    ("dtype", "name"),
    [("f4", "float32"), (">i8", "int64"), ("?", "bool"), ("U7", "str"), (np.dtypes.StringDType(), "str")],
)
def test_dtypes_have_numpys_names_and_text_is_str(dtype: Any, name: str) -> None:
    assert dtype_name(np.dtype(dtype)) == name
    assert is_text(np.empty(0, dtype)) == (name == "str")


@pytest.mark.parametrize("source", [*INTEGERS, "float64"])
@pytest.mark.parametrize("target", INTEGERS)
def test_a_cast_to_integers_keeps_the_value_or_is_refused(source: str, target: str) -> None:
    for value in [sign * edge + step for edge in EDGES for sign in (1, -1) for step in (-1, 0, 1)]:
        if source != "float64" and not np.iinfo(source).min <= value <= np.iinfo(source).max:
            continue
        array = np.array([value], source)
        exact = int(array[0])  # a float64 may have rounded it
        if np.iinfo(target).min <= exact <= np.iinfo(target).max:
            assert int(cast_array(array, target, "x")[0]) == exact
        else:
            with pytest.raises(SchemaError, match=f"declares {target}, .*; convert the data, or change the declared"):
                cast_array(array, target, "x")


@pytest.mark.parametrize("bad", [0.5, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_floats_that_are_no_integers_are_refused(bad: float, dtype: str) -> None:
    with pytest.raises(SchemaError, match="cannot hold all values"):
        cast_array(np.array([1.0, bad]), dtype, "x")


def test_an_array_of_the_declared_dtype_is_not_copied() -> None:
    array = np.arange(3, dtype=np.int32)
    assert cast_array(array, "int32", "x") is array


def test_floats_may_lose_digits_and_keep_nan_and_inf_but_may_not_become_inf() -> None:
    found = cast_array(np.array([0.1, math.nan, math.inf]), "float32", "x")
    assert np.array_equal(found, np.array([0.1, math.nan, math.inf], np.float32), equal_nan=True)
    with pytest.raises(SchemaError, match="too large for the declared float16"):
        cast_array(np.array([1e5]), "float16", "x")


@pytest.mark.parametrize(
    ("data", "dtype"), [(["1"], "int32"), ([1], "str"), ([1], "bool"), ([1j], "float64"), (["x"], "bool")]
)
def test_other_kinds_are_never_cast(data: Any, dtype: str) -> None:
    with pytest.raises(SchemaError, match=f"x: the schema declares {dtype}, the data is"):
        cast_array(np.asarray(data), dtype, "x")


def test_another_rank_is_refused_with_both() -> None:
    spec = ArraySpec("a", ("row", "bin"))
    assert fit_array(np.ones((2, 3)), spec, "g/a").dtype == np.float32
    with pytest.raises(SchemaError, match=r"g/a: the schema declares the dimensions \['row', 'bin'\], .* shape \(2,\)"):
        fit_array(np.ones(2), spec, "g/a")


@pytest.mark.parametrize(
    ("rules", "data", "fault"),
    [
        ({"min_value": 0}, [1, -1, -2], r"2 of 3 values break min_value 0; the first is -1"),
        ({"max_value": 1.5}, [[1.5, 1.6]], r"1 of 2 values break max_value 1.5; the first is 1.6"),
        ({"allowed_values": ["a", "b"]}, ["a", "c"], r"1 of 2 values break allowed_values .*; the first is c"),
        ({"min_value": 0, "max_value": 1}, [math.nan, 0, 1], ""),
        ({"min_value": 0}, ["text"], ""),
        ({"allowed_values": [1]}, [], ""),
        ({"unit": "mm"}, [-1], ""),
    ],
)
def test_rules_name_how_many_values_break_them(rules: dict[str, Any], data: Any, fault: str) -> None:
    if not fault:
        check_rules(np.array(data), rules, "x")
        return
    with pytest.raises(SchemaError, match=f"^x: {fault}; correct the values, or change the declaration"):
        check_rules(np.array(data), rules, "x")


def _fields() -> Schema:
    builder = SchemaBuilder("test")
    builder.define_file_metadata("mass", "float32", max_value=9)
    builder.define_categorical_metadata("kind", "int32", values=[3, 5], labels=["nut", "bolt"])
    builder.define_categorical_metadata("listed", "int32", labels=["a", "b"])
    builder.define_categorical_metadata("open", "int32")
    builder.define_file_metadata("note", "str")
    return builder.schema()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("kind", "bolt", 5),
        ("kind", np.int8(3), 3),
        ("listed", "b", 1),
        ("open", "any text", "any text"),
        ("mass", 0.1, 0.1),
        ("mass", True, 1.0),
        ("mass", None, None),
        ("note", "text", "text"),
        ("undeclared", [1], [1]),
    ],
)
def test_a_field_takes_declared_values_and_words(name: str, value: Any, expected: Any) -> None:
    found = check_field(_fields(), name, value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("kind", "screw", r"'screw' is not one of the declared labels \['nut', 'bolt'\]; save one of them"),
        ("kind", 4, r"4 is not one of the declared values \[3, 5\]; save one of them"),
        ("mass", [1], "one float32 per sample, found list; save one value, or an array with save_data"),
        ("mass", 10, "break max_value 9"),
        ("mass", "1", "declares float32"),
        ("note", object(), "declares str, found object"),
    ],
)
def test_a_field_refuses_other_values(name: str, value: Any, fault: str) -> None:
    with pytest.raises(SchemaError, match=f"metadata '{name}': .*{fault}"):
        check_field(_fields(), name, value)


def _classes(dtype: str = "int32", **declared: Any) -> ArraySpec:
    builder = SchemaBuilder("test")
    builder.create_group("g", "row").create_array("a", ["row"], dtype, **declared)
    found = builder.schema().array("g", "a")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("spec", "data", "expected"),
    [
        (_classes(values=[3, 5], labels=["nut", "bolt"]), ["bolt", "nut"], [5, 3]),
        (_classes(labels=["nut", "bolt"]), ["bolt", "nut"], [1, 0]),
        (_classes(labels=["nut", "bolt"]), [1, -1], [1, -1]),
        (_classes(values=[3, 5]), [5.0, 3.0], [5, 3]),
        (_classes("str", values=["a", "b"]), ["b", "a"], ["b", "a"]),
        (_classes("bool", labels=["off", "on"]), [True, False], [True, False]),
        (_classes(values=[3]), [], []),
    ],
)
def test_words_and_codes_of_declared_classes_are_taken(spec: ArraySpec, data: Any, expected: Any) -> None:
    found = fit_array(np.asarray(data), spec, "g/a")
    assert found.tolist() == expected
    assert dtype_name(found.dtype) == spec.dtype or not data


@pytest.mark.parametrize(
    ("spec", "data", "fault"),
    [
        (_classes(values=[3, 5]), [3, 4], r"1 of 2 values are none of the declared \[3, 5\]; the first is 4"),
        (_classes(labels=["nut"]), [1], r"none of the declared \[0\]; the first is 1"),
        (_classes("str", values=["left", "right"]), ["lift"], r"the first is lift \(is 'left' meant\?\)"),
        (_classes(values=[3], labels=["nut"]), ["nuts"], r"'nuts' is not one of .* \(is 'nut' meant\?\)"),
        (_classes(values=[3]), ["nut"], "declares int32, the data is"),
    ],
)
def test_other_words_and_codes_are_refused_with_the_nearest(spec: ArraySpec, data: Any, fault: str) -> None:
    with pytest.raises(SchemaError, match=f"^g/a: .*{fault}"):
        fit_array(np.asarray(data), spec, "g/a")
