"""HOOPS AI's templates: each builds, can be extended, and is described."""

from __future__ import annotations

import pytest

from dflow.errors import SchemaError
from dflow.schema import (
    SchemaBuilder,
    SchemaTemplates,
    create_cad_schema,
    create_custom_schema,
    create_manufacturing_schema,
    create_sensor_schema,
    standard_group,
)
from dflow.schema.templates import template


def test_the_advanced_template_is_the_basic_one_with_face_pairs_and_durations() -> None:
    basic, advanced = template("cad_basic"), template("cad_advanced")
    assert advanced["groups"].items() > basic["groups"].items()
    assert advanced["groups"].keys() - basic["groups"].keys() == {"faceface"}
    added = advanced["metadata"]["file_level"].keys() - basic["metadata"]["file_level"].keys()
    assert added == {"duration_load", "duration_encode"}


def test_the_arrays_of_cad_templates_are_the_standard_ones() -> None:
    faces = standard_group("faces")
    assert faces is not None
    assert SchemaBuilder.from_template("cad_basic").schema().groups["faces"] == faces


@pytest.mark.parametrize("call", [template, SchemaTemplates.get_template_description, SchemaBuilder.from_template])
def test_an_unknown_template_is_refused_with_the_known_ones(call) -> None:
    with pytest.raises(SchemaError, match="no template 'x'; use one of cad_basic, cad_advanced, manufacturing_basic"):
        call("x")


@pytest.mark.parametrize("name", SchemaTemplates.list_templates())
def test_every_template_builds_and_extends(name: str) -> None:
    built = SchemaBuilder.from_template(name).build()
    assert built["groups"]
    assert all(group["arrays"] for group in built["groups"].values())
    assert len(SchemaTemplates.get_template_description(name)) > 10
    mine = SchemaBuilder("mine")
    mine.create_group("own", "row").create_array("a")
    extended = mine.extend_template(name).build()
    assert extended["domain"] == "mine"
    assert set(extended["groups"]) == {"own", *built["groups"]}


def test_hoops_ais_templates_and_helpers_are_there() -> None:
    assert SchemaTemplates.list_templates() == ["cad_basic", "cad_advanced", "manufacturing_basic", "sensor_basic"]
    assert create_cad_schema().list_groups() == ["faces", "edges", "graph", "faceface"]
    assert create_manufacturing_schema().list_groups() == ["production", "sensors", "materials"]
    assert create_sensor_schema().list_groups() == ["timeseries", "sensors", "events"]
    assert create_custom_schema("x").domain == "x"
    with pytest.raises(SchemaError, match="cad_basic"):
        SchemaTemplates.get_template_description("x")


def test_a_template_that_contradicts_the_builder_is_refused() -> None:
    builder = SchemaBuilder()
    builder.create_group("faces", "row")
    with pytest.raises(SchemaError, match="primary dimension"):
        builder.extend_template("cad_basic")
    assert builder.list_groups() == ["faces"]
