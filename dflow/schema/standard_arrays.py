# ruff: noqa: E501 -- one line per standard array reads better than six
"""The arrays that dflow's encoder makes: names, dimensions, dtypes, units, and where NaN is allowed.

Names and codes are HOOPS AI's wherever it has the array.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from dflow.schema.model import FILE_GROUP, ArraySpec, GroupSpec, NanPolicy, Schema

_Row = tuple[str, tuple[str, ...], str, str] | tuple[str, tuple[str, ...], str, str, NanPolicy]

_DIMENSIONS = {
    "faces": "face",
    "edges": "edge",
    "graph": "arc",
    "faceface": "facepair",
    "coedges": "coedge",
    "file": "file",
}

_DESCRIPTIONS = {
    "faces": "one row per face",
    "edges": "one row per edge",
    "graph": "one row per arc of the face adjacency graph",
    "faceface": "one row per ordered pair of faces, row-major",
    "coedges": "one row per coedge",
    "file": "one value per sample",
}

_SPECIAL = {"graph": "nested_edges", "faceface": "matrix_flattening"}

_ARRAYS: dict[str, tuple[_Row, ...]] = {
    "faces": (
        ("face_indices", ("face",), "int32", "0..F-1"),
        ("face_types", ("face",), "int32", "surface type: 0 plane, 1 cylinder, 2 cone, 3 sphere, 4 torus, 5 NURBS, 13 revolution, 14 extrusion, 15 offset, 16 other"),
        ("face_areas", ("face",), "float32", "mm²"),
        ("face_centroids", ("face", "dim"), "float32", "centre of mass of the trimmed face, mm"),
        ("face_loops", ("face",), "int32", "boundary loops, holes included"),
        ("face_neighborscount", ("face",), "int32", "degree in the face adjacency graph"),
        ("face_reversed", ("face",), "int8", "1 where the outward normal is against the surface's own, du x dv"),
        ("face_rational", ("face",), "int8", "1 for a spline surface with weights"),
        ("face_discretization", ("face", "sample", "component"), "float32", "x, y, z, nx, ny, nz, inside; NaN normal at a singular point without a limit", "allow"),
        ("face_uv_grids", ("face", "uv_x", "uv_y", "component"), "float32", "x, y, z, nx, ny, nz, inside; NaN normal at a singular point without a limit", "allow"),
    ),
    "edges": (
        ("edge_indices", ("edge",), "int32", "0..E-1"),
        ("edge_types", ("edge",), "int32", "curve type: 0 line, 1 circle, 2 ellipse, 3 hyperbola, 4 parabola, 5 Bézier, 6 B-spline, 7 offset, 8 other"),
        ("edge_lengths", ("edge",), "float32", "mm"),
        ("edge_dihedral_angles", ("edge",), "float32", "radians, convex > 0; NaN where the edge has not exactly two faces", "allow"),
        ("edge_convexities", ("edge",), "int32", "1 convex, 2 concave, 3 smooth, 0 undefined"),
        ("edge_rational", ("edge",), "int8", "1 for a spline curve with weights"),
        ("edge_closed", ("edge",), "int8", "1 where the edge begins and ends at one vertex"),
        ("edge_u_grids", ("edge", "u", "component"), "float32", "x, y, z, unit tangent"),
    ),
    "graph": (
        ("edges_source", ("arc",), "int32", "face on the one side, the lower index unless arcs run both ways"),
        ("edges_destination", ("arc",), "int32", "face on the other side"),
        ("arc_edge", ("arc",), "int32", "the arc's row in edges"),
        ("arc_coedge", ("arc",), "int32", "the coedge of the arc's edge in its source face"),
        ("arc_u_grids", ("arc", "u", "component"), "float32", "x, y, z, unit tangent along the source face's coedge"),
    ),
    "faceface": (
        ("extended_adjacency", ("facepair",), "float32", "hops between faces, inf if unreachable", "allow"),
        ("face_pair_edges_path", ("facepair", "dim_path"), "int32", "edges on a shortest path, -1 padded"),
        ("d2_distance", ("facepair", "bin"), "float32", "histogram of distances over the bounding-box diagonal"),
        ("a3_distance", ("facepair", "bin"), "float32", "histogram of angles over π"),
    ),
    "coedges": (
        ("next", ("coedge",), "int32", "the next coedge of the loop"),
        ("mate", ("coedge",), "int32", "the other coedge of the edge, itself where there is none"),
        ("face", ("coedge",), "int32", "the coedge's face"),
        ("edge", ("coedge",), "int32", "the coedge's edge"),
        ("reversed", ("coedge",), "int8", "1 where the coedge runs against its edge"),
        ("coedge_grids", ("coedge", "u", "component"), "float32", "x, y, z, unit tangent, normals of the left and the right face; NaN on degenerate edges", "allow"),
        ("coedge_frames", ("coedge", "matrix_row", "matrix_column"), "float32", "local to global coordinates at half the arc length; NaN on degenerate edges", "allow"),
        ("coedge_scales", ("coedge",), "float32", "BRepNet's scale factor of a coedge's two faces"),
    ),
    "file": (
        ("face_count", (), "int32", "faces of the sample"),
        ("edge_count", (), "int32", "edges of the sample"),
        ("body_count", (), "int32", "bodies of the sample"),
        ("n_defects", (), "int32", "defects of the shape as it was read, by kinds"),
        ("nonmanifold_edges", (), "int32", "edges with more or fewer than two faces"),
        ("volume", (), "float64", "mm³, NaN where there is no solid", "allow"),
        ("area", (), "float64", "mm²"),
        ("bounding_box", ("box",), "float64", "xmin, ymin, zmin, xmax, ymax, zmax, mm; NaN where there is no edge", "allow"),
        ("centroid", ("dim",), "float64", "mm; NaN where there is no solid", "allow"),
        ("stated_volume", (), "float64", "the file's own validation property, mm³", "allow"),
        ("stated_area", (), "float64", "the file's own validation property, mm²", "allow"),
        ("volume_error", (), "float64", "relative error against the stated volume", "allow"),
        ("area_error", (), "float64", "relative error against the stated area", "allow"),
        ("is_closed", (), "bool", "every shell is closed"),
        ("is_valid", (), "bool", "the kernel's own check"),
    ),
}  # fmt: skip

_REFERENCES = {
    "graph/edges_source": "faces",
    "graph/edges_destination": "faces",
    "graph/arc_edge": "edges",
    "graph/arc_coedge": "coedges",
    "faceface/face_pair_edges_path": "edges",
    "coedges/next": "coedges",
    "coedges/mate": "coedges",
    "coedges/face": "faces",
    "coedges/edge": "edges",
}
"""Arrays of row numbers, and the group whose rows they number."""

_UNITS = {
    "faces/face_areas": "mm2",
    "faces/face_centroids": "mm",
    "edges/edge_lengths": "mm",
    "edges/edge_dihedral_angles": "rad",
    "file/volume": "mm3",
    "file/area": "mm2",
    "file/bounding_box": "mm",
    "file/centroid": "mm",
    "file/stated_volume": "mm3",
    "file/stated_area": "mm2",
    "file/volume_error": "1",
    "file/area_error": "1",
}
"""Units as UDUNITS writes them, of the arrays whose components all have one."""


def standard_groups() -> tuple[str, ...]:
    """Names of the standard groups, ``file`` last."""
    return tuple(_DIMENSIONS)


@cache
def standard_group(name: str) -> GroupSpec | None:
    """The standard group of that name with all its arrays, None if there is none.

    Parameters
    ----------
    name : of the group
    """
    if name not in _DIMENSIONS:
        return None
    arrays = {
        row[0]: ArraySpec(
            *row[:4],
            nan_policy=row[4] if len(row) == 5 else None,
            refers_to=_REFERENCES.get(f"{name}/{row[0]}", ""),
        )
        for row in _ARRAYS[name]
    }
    return GroupSpec(name, _DIMENSIONS[name], arrays, _DESCRIPTIONS[name], _SPECIAL.get(name))


def standard_array(group: str, name: str) -> ArraySpec | None:
    """The standard array ``group/name``, None if there is none.

    Parameters
    ----------
    group, name : of the array
    """
    spec = standard_group(group)
    return spec.arrays.get(name) if spec else None


def standard_units(group: str, name: str) -> str:
    """The units of the standard array ``group/name``, "" if it has none.

    Parameters
    ----------
    group, name : of the array
    """
    return _UNITS.get(f"{group}/{name}", "")


def resolve_group(schema: Schema, group: str) -> GroupSpec | None:
    """The declaration of a group: the schema's, else the standard one; None if there is neither.

    Parameters
    ----------
    schema : declares the group, or not
    group : its name
    """
    return schema.groups.get(group) or standard_group(group)


def resolve_array(schema: Schema, group: str, name: str) -> ArraySpec | None:
    """The declaration of an array: the schema's, else the standard one; None if there is neither.

    A declaration without a NaN policy gets that of the standard array, and one of integers without `refers_to` its
    `refers_to`. A standard array in a group for which the schema declares another row dimension gets that dimension.

    Parameters
    ----------
    schema : declares the array, or not
    group, name : of the array
    """
    standard = standard_array(group, name)
    declared = schema.array(group, name)
    if declared is not None:
        return declared if standard is None else _completed(declared, standard)
    if standard is not None and standard.dims and group in schema.groups and group != "file":
        return replace(standard, dims=(schema.groups[group].dimension, *standard.dims[1:]))
    return standard


def _completed(declared: ArraySpec, standard: ArraySpec) -> ArraySpec:
    policy = declared.nan_policy or standard.nan_policy
    target = declared.refers_to or (standard.refers_to if declared.dtype.startswith("int") else "")
    if (policy, target) == (declared.nan_policy, declared.refers_to):
        return declared
    return replace(declared, nan_policy=policy, refers_to=target)


def references(schema: Schema) -> dict[str, str]:
    """Keys ``group/array`` of standard and declared arrays of row numbers, with the group whose rows they number.

    Parameters
    ----------
    schema : declares such arrays, or not
    """
    declared = [(group, name) for group, spec in schema.groups.items() for name in spec.arrays]
    keys = [*(tuple(key.split("/")) for key in _REFERENCES), *declared]
    found = {f"{group}/{name}": resolve_array(schema, group, name) for group, name in keys}
    return {key: spec.refers_to for key, spec in found.items() if spec is not None and spec.refers_to}


def value_nan_policy(schema: Schema, name: str) -> NanPolicy | None:
    """The policy for NaN and inf in a flat metadata value: declared, else the standard file value's, else None.

    Parameters
    ----------
    schema : declares the field, or not
    name : of the value
    """
    field = schema.field(name)
    if field is not None and field.nan_policy is not None:
        return field.nan_policy
    standard = standard_array(FILE_GROUP, name)
    return standard.nan_policy if standard else None


def row_dimension(schema: Schema, group: str) -> str:
    """The name of a group's row dimension: declared, else standard, else ``<group>_row``.

    Parameters
    ----------
    schema : declares the group, or not
    group : its name
    """
    spec = resolve_group(schema, group)
    return spec.dimension if spec else f"{group}_row"
