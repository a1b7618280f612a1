"""The builder: HOOPS AI's calls and the quick reference's, what they build, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dflow.errors import SchemaError
from dflow.schema import (
    parse_schema,
    schema_to_dict,
)
from dflow.storage.datasetstorage import schema_builder
from dflow.storage.datasetstorage.schema_builder import SchemaBuilder


def test_the_quick_references_calls_build_what_they_say() -> None:
    builder = SchemaBuilder(domain="MyDomain", version="1.0")
    group = builder.create_group(name="faces", base_dimension="face", description="Face data")
    group.create_array(name="areas", dims=["face"], dtype="float32", description="Face areas")
    builder.define_file_metadata("processing_time", "float32", "Processing time")
    builder.define_categorical_metadata("category", "int32", "Part category")
    assert builder.build() == {
        "version": "1.0",
        "domain": "MyDomain",
        "description": "",
        "groups": {
            "faces": {
                "primary_dimension": "face",
                "description": "Face data",
                "arrays": {"areas": {"dims": ["face"], "dtype": "float32", "description": "Face areas"}},
            }
        },
        "metadata": {
            "file_level": {
                "processing_time": {"dtype": "float32", "description": "Processing time", "required": False}
            },
            "categorical": {"category": {"dtype": "int32", "description": "Part category", "required": False}},
            "routing_rules": {
                "file_level_patterns": [],
                "categorical_patterns": [],
                "default_numeric": "file_level",
                "default_categorical": "categorical",
                "default_string": "categorical",
            },
        },
    }


def test_positional_and_both_keyword_spellings_build_the_same() -> None:
    built = []
    for kind in range(3):
        builder = SchemaBuilder("d")
        if kind == 0:
            builder.create_group("g", "row", "text").create_array("a", ["row", "dim"], "int32", "what")
        elif kind == 1:
            builder.create_group("g", primary_dimension="row", description="text").create_array(
                "a", dimensions=["row", "dim"], dtype="int32", description="what"
            )
        else:
            builder.create_group("g", base_dimension="row", description="text").create_array(
                "a", dims=("row", "dim"), dtype="int32", description="what"
            )
        built.append(builder.build())
    assert built[0] == built[1] == built[2]


def test_a_whole_schema_survives_json_and_files(tmp_path: Path) -> None:
    builder = SchemaBuilder("d", "2.1", "größer")
    group = builder.create_group("g", "row", special_processing="nested_edges")
    group.create_array("a", ["row"], fill_value=float("nan"), nan_policy="allow", min_value=0, unit="mm")
    group.create_array("b", ["row"], "int64", fill_value=-5)
    builder.create_group("file", "file").create_array("box", ["file", "axis"], "float64")
    builder.define_categorical_metadata("c", "int32", values=[1, 2], labels=["x", "y"], required=True)
    builder.define_file_metadata("s", "float64", max_value=10)
    builder.set_metadata_routing_rules(["*_time"], ["*_kind"], default_string="file_level")
    path = tmp_path / "schema.json"
    builder.save_to_file(path)
    loaded = SchemaBuilder.load_from_file(path)
    assert loaded.build() == builder.build() == json.loads(builder.to_json())
    assert loaded.build()["groups"]["g"]["arrays"]["a"] == {
        "dims": ["row"],
        "dtype": "float32",
        "description": "",
        "fill_value": "NaN",
        "nan_policy": "allow",
        "min_value": 0,
        "unit": "mm",
    }
    assert schema_to_dict(parse_schema(builder.build())) == builder.build()


@pytest.mark.parametrize("content", ["{", "[]", '{"groups": {"g": {}}}', "\x00"])
def test_a_file_that_is_no_schema_is_a_schema_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "s.json").write_text(content)
    with pytest.raises(SchemaError):
        SchemaBuilder.load_from_file(tmp_path / "s.json")


def test_groups_and_arrays_can_be_looked_up_and_taken_back() -> None:
    builder = SchemaBuilder()
    group = builder.create_group("g", "row")
    assert group.create_array("a").create_array("b", dtype="int32") is group
    assert builder.list_groups() == ["g"]
    assert builder.get_group("g") is group
    assert builder.get_group("h") is None
    assert group.list_arrays() == ["a", "b"]
    assert group.get_array("b") == {"dims": ["row"], "dtype": "int32", "description": ""}
    assert group.get_array("c") is None
    assert sorted(group.get_arrays()) == ["a", "b"]
    group.get_arrays()["a"]["dtype"] = "broken"
    assert group.base_dimension == group.primary_dimension == "row"
    assert (group.remove_array("a"), group.remove_array("a")) == (True, False)
    assert group.to_dict()["arrays"] == {"b": {"dims": ["row"], "dtype": "int32", "description": ""}}
    assert (builder.remove_group("g"), builder.remove_group("g")) == (True, False)
    assert builder.build()["groups"] == {}


def calls() -> dict[str, Any]:
    return {
        "group twice": lambda b: (b.create_group("g", "row"), b.create_group("g", "row")),
        "group without dimension": lambda b: b.create_group("g"),
        "two dimensions": lambda b: b.create_group("g", "row", base_dimension="column"),
        "unknown special": lambda b: b.create_group("g", "row", special_processing="magic"),
        "bad name": lambda b: b.create_group("a/b", "row"),
        "dots": lambda b: b.create_group("..", "row"),
        "bad dimension": lambda b: b.create_group("g", ""),
        "array twice": lambda b: b.create_group("g", "row").create_array("a").create_array("a"),
        "wrong first dim": lambda b: b.create_group("g", "row").create_array("a", ["column"]),
        "no dims": lambda b: b.create_group("g", "row").create_array("a", []),
        "repeated dims": lambda b: b.create_group("g", "row").create_array("a", ["row", "x", "x"]),
        "dims and dimensions": lambda b: b.create_group("g", "row").create_array("a", ["row"], dims=["row", "x"]),
        "dim of its own name": lambda b: b.create_group("g", "row").create_array("x", ["row", "x"]),
        "dims no names": lambda b: b.create_group("g", "row").create_array("a", ["row", 3]),
        "dtype": lambda b: b.create_group("g", "row").create_array("a", dtype="float128"),
        "dtype object": lambda b: b.create_group("g", "row").create_array("a", dtype=object),
        "fill text": lambda b: b.create_group("g", "row").create_array("a", fill_value="x"),
        "fill fraction": lambda b: b.create_group("g", "row").create_array("a", dtype="int32", fill_value=0.5),
        "fill nan": lambda b: b.create_group("g", "row").create_array("a", dtype="int32", fill_value=float("nan")),
        "fill bool": lambda b: b.create_group("g", "row").create_array("a", dtype="bool", fill_value=1),
        "policy": lambda b: b.create_group("g", "row").create_array("a", nan_policy="ignore"),
        "bounds": lambda b: b.create_group("g", "row").create_array("a", min_value=2, max_value=1),
        "bound": lambda b: b.create_group("g", "row").create_array("a", min_value="2"),
        "nan bound": lambda b: b.create_group("g", "row").create_array("a", max_value=float("nan")),
        "field twice": lambda b: (b.define_file_metadata("m", "int32"), b.define_categorical_metadata("m", "int32")),
        "field dtype": lambda b: b.define_file_metadata("m", "date"),
        "labels": lambda b: b.define_categorical_metadata("m", "int32", values=[1, 2], labels=["a"]),
        "value dtype": lambda b: b.define_categorical_metadata("m", "int32", values=["a"]),
        "value range": lambda b: b.define_categorical_metadata("m", "uint8", values=[256]),
        "fill range": lambda b: b.create_group("g", "row").create_array("a", dtype="int8", fill_value=128),
        "values repeat": lambda b: b.define_categorical_metadata("m", "int32", values=[1, 1]),
        "route": lambda b: b.set_metadata_routing_rules(default_string="nowhere"),
        "patterns": lambda b: b.set_metadata_routing_rules([1]),
        "template": lambda b: b.extend_template("nothing"),
    }


@pytest.mark.parametrize("name", calls())
def test_a_contradiction_raises_where_it_is_said_and_leaves_a_schema_that_builds(name: str) -> None:
    builder = SchemaBuilder()
    with pytest.raises(SchemaError) as caught:
        calls()[name](builder)
    assert len(str(caught.value)) > 20
    builder.build()


def test_annotations_of_a_foreign_schema_file_are_kept(tmp_path: Path) -> None:
    arrays = {"a": {"dims": ["row"], "dtype": "int32", "description": "", "colour": "red"}}
    field = {"dtype": "int32", "description": "", "required": False, "colour": "red"}
    document = {
        "groups": {"g": {"primary_dimension": "row", "arrays": arrays}},
        "metadata": {"file_level": {"m": field}},
    }
    (tmp_path / "s.json").write_text(json.dumps(document))
    loaded = SchemaBuilder.load_from_file(tmp_path / "s.json")
    assert loaded.build()["groups"]["g"]["arrays"] == arrays
    assert loaded.build()["metadata"]["file_level"] == {"m": field}


def test_metadata_is_checked_and_listed() -> None:
    builder = SchemaBuilder()
    builder.define_file_metadata("seconds", "float32", min_value=0)
    builder.define_categorical_metadata("kind", "str", values=["nut", "bolt"])
    builder.define_categorical_metadata("odd", "int32", labels=["a"])
    builder.set_metadata_routing_rules(["x*"], ["x*", "y*"])
    assert builder.list_metadata_fields() == {"file_level": ["seconds"], "categorical": ["kind", "odd"]}
    assert [builder.get_metadata_routing(f) for f in ("seconds", "kind", "XY", "Yz", "other")] == [
        "file_level",
        "categorical",
        "file_level",
        "categorical",
        "file_level",
    ]
    assert builder.validate_metadata_field("seconds", 1)
    assert not builder.validate_metadata_field("seconds", -1)
    assert builder.validate_metadata_field("kind", "nut")
    assert not builder.validate_metadata_field("kind", "screw")
    assert builder.validate_metadata_field("undeclared", object())
    faults = builder.validate_metadata_schema()
    assert len(faults) == 2
    assert "'odd'" in faults[0]
    assert "'x*'" in faults[1]


def test_the_import_path_of_hoops_ai_is_the_same_class() -> None:
    assert schema_builder.SchemaBuilder is SchemaBuilder
    assert all(hasattr(schema_builder, name) for name in schema_builder.__all__)
    assert "groups=[]" in repr(SchemaBuilder())
