"""A group under construction: its arrays, its two spellings of arguments, and what it refuses at once."""

from __future__ import annotations

from typing import Any

import pytest

from dflow.errors import SchemaError
from dflow.schema import Group, SchemaBuilder


def test_an_array_has_the_primary_dimension_and_float32_by_default() -> None:
    group = Group("g", "row").create_array("a")
    assert group.to_dict() == {
        "primary_dimension": "row",
        "description": "",
        "arrays": {"a": {"dims": ["row"], "dtype": "float32", "description": ""}},
    }


def test_special_processing_is_part_of_the_group() -> None:
    assert Group("g", "pair", special_processing="matrix_flattening").to_dict()["special_processing"]
    assert "special_processing" not in Group("g", "pair").to_dict()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "a"}, r"'g/a' is declared already; remove_array\('a'\) first"),
        ({"name": "b", "dimensions": ["row"], "dims": ["x"]}, "dimensions and dims differ; give one of them"),
        (
            {"name": "b", "dims": ["x", "row"]},
            r"do not begin with 'row', its group's primary dimension; put that first",
        ),
        ({"name": "b", "dims": ["row", "x", "x"]}, "repeat; give each its own name"),
        ({"name": "b", "dims": ["row", "b"]}, "the name of one of its dimensions .*; rename one"),
        ({"name": "ptr"}, "'ptr' is reserved: .*; use the name 'pointer'"),
        ({"name": "a/b"}, "'a/b' is no name: .*; use letters, digits and underscores"),
        ({"name": "b", "dtype": "float32", "refers_to": "faces"}, "its dtype is float32; use int32 or int64"),
        ({"name": "b", "dtype": "int32", "refers_to": "file"}, "one row per sample; name a group that has rows"),
    ],
)
def test_a_refused_array_is_not_declared(arguments: dict[str, Any], message: str) -> None:
    group = Group("g", "row").create_array("a")
    with pytest.raises(SchemaError, match=message):
        group.create_array(**arguments)
    assert group.list_arrays() == ["a"]


def test_declarations_are_copies() -> None:
    group = Group("g", "row").create_array("a")
    group.get_arrays()["a"]["dtype"] = "broken"
    (group.get_array("a") or {})["dtype"] = "broken"
    assert group.to_dict()["arrays"]["a"]["dtype"] == "float32"


def test_annotations_of_a_document_are_kept() -> None:
    group = Group("g", "row")
    group.add("a", {"dims": ["row"], "colour": "red"})
    assert (group.get_array("a") or {})["colour"] == "red"
    with pytest.raises(SchemaError, match="dtype"):
        group.add("b", {"dims": ["row"], "dtype": "date"})
    assert group.list_arrays() == ["a"]


DECLARE = {
    "array": lambda b, **rules: b.create_group("g", "row").create_array("a", dtype="int32", **rules),
    "file value": lambda b, **rules: b.define_file_metadata("m", "int32", **rules),
    "category": lambda b, **rules: b.define_categorical_metadata("m", "int32", **rules),
}


@pytest.mark.parametrize("kind", DECLARE)
@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("alowed_values", "allowed_values"),
        ("minvalue", "min_value"),
        ("max", "max_value"),
        ("nan_polcy", "nan_policy"),
        ("desription", "description"),
        ("unitz", "unit"),
        ("x", ""),
    ],
)
def test_an_unknown_argument_is_refused_with_the_nearest_name(kind: str, wrong: str, meant: str) -> None:
    builder = SchemaBuilder()
    with pytest.raises(SchemaError, match=rf"unknown argument '{wrong}'; is '{meant}.*Known are allowed_values, "):
        DECLARE[kind](builder, **{wrong: [0, 1]})
    with pytest.raises(SchemaError, match=f"unknown argument '{wrong}'"):
        DECLARE[kind](SchemaBuilder(), validation_rules={wrong: 1})
    assert "'a'" not in str(builder.build())
    assert "'m'" not in str(builder.build())


@pytest.mark.parametrize("kind", DECLARE)
@pytest.mark.parametrize("values", [[], (), 3, "01"])
def test_allowed_values_are_a_list(kind: str, values: Any) -> None:
    with pytest.raises(SchemaError, match=r"allowed_values is .*, a list of values was expected"):
        DECLARE[kind](SchemaBuilder(), allowed_values=values)


@pytest.mark.parametrize("kind", DECLARE)
def test_known_arguments_are_kept(kind: str) -> None:
    builder = SchemaBuilder()
    rules = {"min_value": 0, "max_value": 9, "allowed_values": [0, 9], "unit": "mm", "nan_policy": "warn"}
    DECLARE[kind](builder, **rules)
    assert all(f"{name!r}: {value!r}" in str(builder.build()) for name, value in rules.items())


def test_dtypes_may_be_types() -> None:
    group = SchemaBuilder().create_group("g", "row")
    for dtype, name in [(float, "float64"), (int, "int64"), (bool, "bool"), (str, "str")]:
        group.create_array(name, dtype=dtype)
        assert group.get_array(name)["dtype"] == name
