"""The table of standard arrays against the data dictionary, and how a user's schema meets it."""

from __future__ import annotations

import pytest

from dflow.schema import (
    Schema,
    SchemaBuilder,
    canonical_json,
    parse_schema,
    resolve_array,
    row_dimension,
    schema_to_dict,
    standard_array,
    standard_group,
    standard_groups,
)

NAN_ALLOWED = {
    "faces/face_discretization",
    "faces/face_uv_grids",
    "edges/edge_dihedral_angles",
    "coedges/coedge_grids",
    "coedges/coedge_frames",
    "faceface/extended_adjacency",
    "file/volume",
    "file/centroid",
    "file/stated_volume",
    "file/stated_area",
    "file/volume_error",
    "file/area_error",
    "file/bounding_box",
}


def test_every_standard_group_is_a_schema_that_parses() -> None:
    groups = {name: standard_group(name) for name in standard_groups()}
    schema = Schema(groups={name: spec for name, spec in groups.items() if spec})
    assert list(schema.groups) == ["faces", "edges", "graph", "faceface", "coedges", "file"]
    assert canonical_json(parse_schema(schema_to_dict(schema))) == canonical_json(schema)
    assert sum(len(group.arrays) for group in schema.groups.values()) == 50


def test_nan_is_allowed_only_where_the_dictionary_says_so() -> None:
    allowed = {
        f"{group}/{name}"
        for group in standard_groups()
        for name, spec in standard_group(group).arrays.items()
        if spec.nan_policy == "allow"
    }
    assert allowed == NAN_ALLOWED


@pytest.mark.parametrize(
    ("key", "dims", "dtype"),
    [
        ("faces/face_areas", ("face",), "float32"),
        ("faces/face_centroids", ("face", "dim"), "float32"),
        ("faces/face_discretization", ("face", "sample", "component"), "float32"),
        ("faces/face_uv_grids", ("face", "uv_x", "uv_y", "component"), "float32"),
        ("edges/edge_u_grids", ("edge", "u", "component"), "float32"),
        ("graph/edges_source", ("arc",), "int32"),
        ("faceface/d2_distance", ("facepair", "bin"), "float32"),
        ("faceface/face_pair_edges_path", ("facepair", "dim_path"), "int32"),
        ("coedges/reversed", ("coedge",), "int8"),
        ("file/bounding_box", ("box",), "float64"),
        ("file/volume", (), "float64"),
        ("file/is_closed", (), "bool"),
    ],
)
def test_dimensions_and_dtypes(key: str, dims: tuple[str, ...], dtype: str) -> None:
    spec = standard_array(*key.split("/"))
    assert spec is not None
    assert (spec.dims, spec.dtype) == (dims, dtype)


def test_what_is_not_standard_is_none() -> None:
    assert standard_array("faces", "nothing") is None
    assert standard_group("nothing") is None
    assert resolve_array(Schema(), "faces", "nothing") is None


def test_a_declaration_comes_first_and_takes_over_where_nan_is_an_answer() -> None:
    builder = SchemaBuilder()
    group = builder.create_group("edges", "edge")
    group.create_array("edge_dihedral_angles", dtype="float64")
    group.create_array("edge_lengths", dtype="float64")
    schema = builder.schema()
    angles, lengths = (resolve_array(schema, "edges", n) for n in ("edge_dihedral_angles", "edge_lengths"))
    assert angles is not None
    assert (angles.dtype, angles.nan_policy) == ("float64", "allow")
    assert lengths is not None
    assert (lengths.dtype, lengths.nan_policy) == ("float64", None)
    group.remove_array("edge_dihedral_angles")
    group.create_array("edge_dihedral_angles", nan_policy="raise")
    strict = resolve_array(builder.schema(), "edges", "edge_dihedral_angles")
    assert strict is not None
    assert strict.nan_policy == "raise"


def test_a_standard_array_takes_the_row_dimension_that_the_user_declared() -> None:
    builder = SchemaBuilder()
    builder.create_group("faces", "my_face").create_array("areas")
    spec = resolve_array(builder.schema(), "faces", "face_centroids")
    assert spec is not None
    assert spec.dims == ("my_face", "dim")


def test_row_dimensions_are_declared_standard_or_made_up() -> None:
    builder = SchemaBuilder()
    builder.create_group("labels", "face")
    schema = builder.schema()
    assert [row_dimension(schema, g) for g in ("labels", "graph", "own")] == ["face", "arc", "own_row"]
