"""The union of schemas, and the contradictions that it names."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from dflow.errors import SchemaError
from dflow.schema import (
    Schema,
    canonical_json,
    merge_schemas,
    parse_schema,
)
from tests.schema.test_document import FIELDS, schemas


def one(**array: Any) -> Schema:
    return parse_schema({"groups": {"g": {"primary_dimension": "r", "arrays": {"a": {"dims": ["r"], **array}}}}})


@settings(max_examples=60)
@given(schemas())
def test_merging_with_itself_or_nothing_changes_nothing(schema: Schema) -> None:
    text = canonical_json(schema)
    assert canonical_json(merge_schemas(schema, parse_schema(json.loads(text)))) == text
    empty = Schema(domain="")
    assert canonical_json(merge_schemas(schema, empty)) == text
    assert json.loads(canonical_json(merge_schemas(empty, schema)))["groups"] == json.loads(text)["groups"]


def test_merging_unites_what_does_not_contradict() -> None:
    other = parse_schema(
        {
            "domain": "d",
            "groups": {
                "g": {
                    "primary_dimension": "r",
                    "description": "text",
                    "arrays": {"b": {"dims": ["r", "x"], "dtype": "int8"}},
                },
                "h": {"primary_dimension": "s"},
            },
            "metadata": {"categorical": {"c": {"dtype": "int32", "values": [1]}}},
        }
    )
    merged = merge_schemas(one(fill_value=3.0), other)
    assert sorted(merged.groups) == ["g", "h"]
    assert sorted(merged.groups["g"].arrays) == ["a", "b"]
    assert merged.groups["g"].description == "text"
    assert merged.groups["g"].arrays["a"].fill_value == 3.0
    assert merged.domain == "d"
    assert merged.categorical["c"].values == (1,)


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        (one(), one(dtype="int32"), "'g/a': dtype"),
        (one(), one(dims=["r", "x"]), "'g/a': dims"),
        (one(fill_value=1), one(fill_value=2), "fill_value"),
        (one(dtype="int8", values=[1]), one(dtype="int8", values=[2]), "'g/a': values"),
        (one(dtype="int8", labels=["a"]), one(dtype="int8", labels=["b"]), "'g/a': labels"),
        (one(nan_policy="allow"), one(nan_policy="raise"), "nan_policy"),
        (one(), parse_schema({"groups": {"g": {"primary_dimension": "s"}}}), "primary dimension"),
        (
            parse_schema({"metadata": FIELDS}),
            parse_schema({"metadata": {"file_level": {"kind": {"dtype": "str"}}}}),
            "'kind'",
        ),
        (
            parse_schema({"metadata": FIELDS}),
            parse_schema({"metadata": {"file_level": {"size": {"dtype": "str"}}}}),
            "'size'",
        ),
        (
            parse_schema({"metadata": {"categorical": {"k": {"dtype": "int32", "values": [1]}}}}),
            parse_schema({"metadata": {"categorical": {"k": {"dtype": "int32", "values": [2]}}}}),
            "values",
        ),
        (
            parse_schema({"metadata": {"routing_rules": {"default_string": "file_level"}}}),
            parse_schema({"metadata": {"routing_rules": {"default_numeric": "categorical"}}}),
            "routing",
        ),
    ],
)
def test_merging_names_the_contradiction_from_both_sides(first: Schema, second: Schema, says: str) -> None:
    for a, b in ((first, second), (second, first)):
        with pytest.raises(SchemaError, match=says):
            merge_schemas(a, b)


def test_required_in_one_schema_is_required_in_the_union() -> None:
    assert merge_schemas(one(), one(required=True)).groups["g"].arrays["a"].required
    assert merge_schemas(one(dtype="int8"), one(dtype="int8", labels=["a"])).groups["g"].arrays["a"].labels == ("a",)
