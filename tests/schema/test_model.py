"""The schema's values: what they are without arguments, and how declarations are found."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dflow.schema import DTYPES, ArraySpec, FieldSpec, GroupSpec, Schema

SCHEMA = Schema(
    groups={
        "b": GroupSpec("b", "row", {"x": ArraySpec("x", ("row",)), "y": ArraySpec("y", ("row",))}),
        "a": GroupSpec("a", "row", {"x": ArraySpec("x", ("row",))}),
    },
    file_level={"mass": FieldSpec("mass", "float32")},
    categorical={"kind": FieldSpec("kind", "str")},
)


def test_an_array_is_found_by_group_and_name() -> None:
    assert SCHEMA.array("b", "y") == ArraySpec("y", ("row",))
    assert SCHEMA.array("a", "y") is SCHEMA.array("c", "x") is None


def test_a_field_is_found_in_either_kind() -> None:
    assert [field and field.dtype for field in map(SCHEMA.field, ("mass", "kind", "x"))] == ["float32", "str", None]


def test_all_groups_that_declare_an_array_are_found_in_sorted_order() -> None:
    assert [SCHEMA.groups_with_array(name) for name in "xyz"] == [("a", "b"), ("b",), ()]


def test_a_schema_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SCHEMA.domain = "other"  # type: ignore[misc]


def test_dtypes_are_numpys_names_and_text() -> None:
    assert [np.dtype(name).name for name in DTYPES if name != "str"] == [name for name in DTYPES if name != "str"]
