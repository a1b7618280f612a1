"""D: the schema's builder."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dflow.errors import DflowError
from dflow.schema import (
    SchemaTemplates,
    create_cad_schema,
    create_custom_schema,
    create_manufacturing_schema,
    create_sensor_schema,
    parse_schema,
)
from dflow.storage import MemoryStorage
from dflow.storage.datasetstorage.schema_builder import SchemaBuilder


@pytest.fixture
def builder() -> SchemaBuilder:
    builder = SchemaBuilder(domain="parts", version="2.0", description="Parts")
    group = builder.create_group("machining", "face", "Classes")
    group.create_array("classes", ["face"], "int32", "Class of each face", min_value=0, max_value=24)
    builder.define_file_metadata("mass", "float32", "kg", required=False, min_value=0)
    builder.define_categorical_metadata("material", "int32", "Material", values=[0, 1], labels=["steel", "brass"])
    return builder


def test_d01_a_builder_has_a_domain_a_version_and_a_description(builder):
    built = builder.build()
    assert (built["domain"], built["version"], built["description"]) == ("parts", "2.0", "Parts")


def test_d02_create_group_takes_both_spellings():
    builder = SchemaBuilder(domain="parts")
    groups = [
        builder.create_group("a", "face", "A", None),
        builder.create_group(name="b", primary_dimension="face"),
        builder.create_group(name="c", base_dimension="face", special_processing="matrix_flattening"),
    ]
    assert [group.primary_dimension for group in groups] == ["face"] * 3
    assert builder.build()["groups"]["c"]["special_processing"] == "matrix_flattening"


def test_d03_create_array_takes_both_spellings():
    group = SchemaBuilder(domain="parts").create_group("a", "face")
    group.create_array("x", dimensions=["face"], dtype="float64", description="X")
    group.create_array("y", dims=["face", "dim"], dtype="int32")
    assert [group.get_array(name)["dims"] for name in ("x", "y")] == [["face"], ["face", "dim"]]


def test_d04_file_metadata_is_defined(builder):
    field = builder.build()["metadata"]["file_level"]["mass"]
    assert (field["dtype"], field["description"]) == ("float32", "kg")


def test_d05_categorical_metadata_reaches_the_attribset(builder, explorer):
    field = builder.build()["metadata"]["categorical"]["material"]
    assert (list(field["values"]), list(field["labels"])) == ([0, 1], ["steel", "brass"])
    table = explorer.get_descriptions("family")
    assert sorted(table["name"]) == ["bracket", "flange", "housing", "plate", "pulley", "shaft"]


def test_d06_routing_goes_by_definition_then_pattern_then_type(builder):
    builder.set_metadata_routing_rules(file_level_patterns=["material", "note_*"], categorical_patterns=["*_kind"])
    assert builder.get_metadata_routing("material") == "categorical"
    assert builder.get_metadata_routing("NOTE_one") == "file_level"
    assert builder.get_metadata_routing("part_kind") == "categorical"


def test_d07_fields_are_listed_by_route(builder):
    assert builder.list_metadata_fields() == {"file_level": ["mass"], "categorical": ["material"]}


def test_d08_metadata_is_validated(builder):
    assert builder.validate_metadata_field("mass", 2.5)
    assert not builder.validate_metadata_field("mass", -1.0)
    assert not builder.validate_metadata_field("material", 7)
    assert builder.validate_metadata_schema() == []


def test_d09_groups_and_arrays_are_listed_got_and_removed(builder):
    assert builder.list_groups() == ["machining"]
    group = builder.get_group("machining")
    assert group.list_arrays() == ["classes"]
    assert group.remove_array("classes")
    assert group.get_array("classes") is None
    assert builder.remove_group("machining")
    assert builder.get_group("machining") is None
    assert not builder.remove_group("machining")


def test_d10_the_dictionary_is_written_flat_and_read_in_both_forms(builder):
    built = builder.build()
    doubled = {**built, "metadata": {"metadata": built["metadata"]}}
    assert set(built["metadata"]) >= {"file_level", "categorical"}
    assert parse_schema(doubled) == parse_schema(built)


def test_d11_a_schema_is_written_and_read_as_json(builder, tmp_path):
    builder.save_to_file(tmp_path / "schema.json")
    assert json.loads(builder.to_json()) == json.loads((tmp_path / "schema.json").read_text())
    assert SchemaBuilder.load_from_file(tmp_path / "schema.json").build() == builder.build()


def test_d12_templates_are_starting_points():
    names = SchemaTemplates.list_templates()
    assert sorted(names) == ["cad_advanced", "cad_basic", "manufacturing_basic", "sensor_basic"]
    assert "graph" in SchemaTemplates.get_template_description("cad_basic")
    assert {"faces", "edges", "graph"} <= set(SchemaBuilder.from_template("cad_basic").list_groups())
    builder = SchemaBuilder(domain="mine")
    builder.create_group("own", "face").create_array("x", ["face"])
    assert {"own", "timeseries"} <= set(builder.extend_template("sensor_basic").list_groups())


def test_d13_schemas_for_domains_are_at_hand():
    makers = [create_cad_schema, create_manufacturing_schema, create_sensor_schema]
    assert all(maker().list_groups() for maker in makers)
    assert create_custom_schema("mine").build()["domain"] == "mine"


def test_d14_matrices_are_flattened_and_nested_edges_unfolded():
    builder = SchemaBuilder(domain="pairs")
    builder.create_group("pairs", "facepair", special_processing="matrix_flattening").create_array("d", ["facepair"])
    builder.create_group("graph", "arc", special_processing="nested_edges")
    storage = MemoryStorage()
    storage.set_schema(builder.build())
    storage.save_data("pairs/d", np.arange(9, dtype=np.float32).reshape(3, 3))
    assert storage.load_data("pairs/d").tolist() == list(range(9))
    storage.save_data("graph/graph", {"edges": {"source": np.array([0, 1]), "destination": np.array([1, 2])}})
    assert any("source" in key for key in storage.array_keys())


def test_d15_rules_are_held_when_data_is_saved(builder):
    storage = MemoryStorage()
    storage.set_schema(builder.build())
    storage.save_data("machining/classes", np.array([0, 24], np.int32))
    with pytest.raises(DflowError, match="max_value"):
        storage.save_data("machining/classes", np.array([0, 25], np.int32))
