"""The public dictionary: both nestings are read, one is written, equal schemas have one text."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dflow.errors import SchemaError
from dflow.schema import (
    ArraySpec,
    FieldSpec,
    GroupSpec,
    Routing,
    Schema,
    SchemaBuilder,
    canonical_json,
    parse_schema,
    schema_to_dict,
)
from dflow.schema.names import name_fault

FIELDS = {"file_level": {"size": {"dtype": "int64"}}, "categorical": {"kind": {"dtype": "str"}}, "routing_rules": {}}


def test_the_doubled_nesting_of_hoops_ai_is_read_and_the_flat_one_written() -> None:
    flat, doubled = parse_schema({"metadata": FIELDS}), parse_schema({"metadata": {"metadata": FIELDS}})
    assert flat == doubled
    assert sorted(schema_to_dict(doubled)["metadata"]) == ["categorical", "file_level", "routing_rules"]


def test_a_field_that_is_called_metadata_is_a_field() -> None:
    schema = parse_schema({"metadata": {"file_level": {"metadata": {"dtype": "int32"}}}})
    assert schema.field("metadata") is not None


def test_face_matrices_are_declared_flat() -> None:
    for dims in (["facepair", "bin"], ["face_x", "face_y", "bin"], ["face", "face", "bin"]):
        document = {
            "groups": {
                "ff": {
                    "primary_dimension": "facepair",
                    "special_processing": "matrix_flattening",
                    "arrays": {"d2": {"dims": dims}},
                }
            }
        }
        assert parse_schema(document).groups["ff"].arrays["d2"].dims == ("facepair", "bin")


def test_values_per_sample_have_no_row_dimension() -> None:
    document = {
        "groups": {"file": {"primary_dimension": "file", "arrays": {"a": {"dims": ["file"]}, "b": {"dims": ["x"]}}}}
    }
    arrays = parse_schema(document).groups["file"].arrays
    assert (arrays["a"].dims, arrays["b"].dims) == ((), ("x",))


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"groups": [1]},
        {"groups": {"g": 3}},
        {"groups": {"g": {"primary_dimension": "r", "arrays": {"a": None}}}},
        {"groups": {"g": {"primary_dimension": "r", "arrays": {"a": {"dims": 3}}}}},
        {"groups": {3: {"primary_dimension": "r"}}},
        {"metadata": 3},
        {"metadata": {"file_level": {"a": 3}}},
        {"metadata": {"file_level": {"a": {"dtype": "int32"}}, "categorical": {"a": {"dtype": "int32"}}}},
        {"metadata": {"routing_rules": {"default_numeric": "elsewhere"}}},
    ],
)
def test_a_document_of_the_wrong_form_is_a_schema_error(document: Any) -> None:
    with pytest.raises(SchemaError):
        parse_schema(document)


def test_rules_are_read_nested_or_flat() -> None:
    for rules in ({"min_value": 1}, {"validation_rules": {"min_value": 1}}):
        array = {"dims": ["r"], **rules}
        schema = parse_schema({"groups": {"g": {"primary_dimension": "r", "arrays": {"a": array}}}})
        assert schema.groups["g"].arrays["a"].rules == {"min_value": 1}


def test_a_rule_that_json_cannot_hold_is_a_schema_error() -> None:
    builder = SchemaBuilder()
    builder.create_group("g", "r").create_array("a", unit=np.float32)
    with pytest.raises(SchemaError, match="JSON"):
        canonical_json(builder.schema())


names = st.text(min_size=1, max_size=6).filter(lambda text: name_fault(text) is None)
scalars = st.integers(-(2**31), 2**31) | st.floats()


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    groups = {}
    for name in draw(st.lists(names, max_size=3, unique=True)):
        row = draw(names)
        arrays = {}
        for array in draw(st.lists(names.filter(lambda n, row=row: n != row), max_size=3, unique=True)):
            rest = draw(st.lists(names.filter(lambda n, bad=(row, array): n not in bad), max_size=2, unique=True))
            dims = tuple(rest) if name == "file" else (row, *rest)
            arrays[array] = ArraySpec(
                array,
                dims,
                "float64",
                draw(st.text(max_size=3)),
                draw(st.none() | st.floats()),
                draw(st.sampled_from([None, "raise", "warn", "allow"])),
                draw(st.dictionaries(st.just("unit"), st.text(max_size=3))),
                required=draw(st.booleans()),
            )
            if draw(st.booleans()):
                arrays[array] = replace(arrays[array], dtype="int16", fill_value=None, values=(2, 7), labels=("a", "b"))
        groups[name] = GroupSpec(
            name, row, arrays, draw(st.text(max_size=3)), draw(st.sampled_from([None, "nested_edges"]))
        )
    fields = draw(st.lists(names, max_size=4, unique=True))
    file_level = {name: FieldSpec(name, "int32", required=draw(st.booleans())) for name in fields[::2]}
    categorical = {name: FieldSpec(name, "int32", values=(1, 2), labels=("a", "b")) for name in fields[1::2]}
    routing = Routing(
        tuple(draw(st.lists(names, max_size=2))),
        (),
        default_string=draw(st.sampled_from(["file_level", "categorical"])),
    )
    return Schema("1.0", draw(names), "", groups, file_level, categorical, routing)


@settings(max_examples=60)
@given(schemas())
def test_any_schema_survives_its_dictionary_its_text_and_a_pickle(schema: Schema) -> None:
    text = canonical_json(schema)
    assert canonical_json(parse_schema(schema_to_dict(schema))) == text
    assert canonical_json(parse_schema(json.loads(text))) == text
    assert canonical_json(pickle.loads(pickle.dumps(schema))) == text
    shuffled = json.loads(json.dumps(dict(reversed(json.loads(text).items()))))
    assert canonical_json(parse_schema(shuffled)) == text
