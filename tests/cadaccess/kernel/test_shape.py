"""Queries of the kernel, against the closed forms of simple solids."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from OCP.BRep import BRep_Builder
from OCP.BRepAdaptor import BRepAdaptor_Surface
from OCP.GeomAbs import GeomAbs_Cone, GeomAbs_Cylinder, GeomAbs_Plane
from OCP.TopAbs import TopAbs_FACE, TopAbs_SHELL
from OCP.TopExp import TopExp_Explorer
from OCP.TopoDS import TopoDS_Edge, TopoDS_Shape

from dflow.cadaccess.kernel.shape import KernelShape
from dflow.errors import GeometryError, KernelError
from tests.cadaccess import solids


def _row(kernel: KernelShape, kind: object) -> int:
    rows = range(kernel.face_map.Extent())
    return next(row for row in rows if BRepAdaptor_Surface(kernel.face(row)).GetType() == kind)


VOLUMES: dict[str, tuple[Callable[[], TopoDS_Shape], float, float]] = {
    "box": (solids.box, 30.0, 62.0),
    "cylinder": (solids.cylinder, 28 * np.pi, 36 * np.pi),
    "sphere": (solids.sphere, 4 / 3 * np.pi * 2.5**3, 4 * np.pi * 2.5**2),
    "torus": (solids.torus, 2 * np.pi**2 * 5 * 1.5**2, 4 * np.pi**2 * 5 * 1.5),
}


@pytest.mark.parametrize("how", ["at_origin", "placed", "mirrored"])
@pytest.mark.parametrize("name", VOLUMES)
def test_areas_and_cones_add_up_to_the_solid(name: str, how: str) -> None:
    make, volume, area = VOLUMES[name]
    kernel = KernelShape(solids.place(make(), how))
    rows = range(kernel.face_map.Extent())
    assert sum(kernel.face_moments(row)[0] for row in rows) == pytest.approx(area, rel=1e-9)
    cones = [kernel.face_cone(row) for row in rows]
    assert sum(cone for cone, _ in cones) == pytest.approx(volume, rel=1e-7)


def test_a_faces_centroid_and_its_box_are_those_of_a_disc() -> None:
    kernel = KernelShape(solids.cylinder())
    row = _row(kernel, GeomAbs_Plane)
    area, centroid = kernel.face_moments(row)
    assert area == pytest.approx(4 * np.pi)
    assert centroid[2] in (pytest.approx(0.0, abs=1e-9), pytest.approx(7.0))
    np.testing.assert_allclose(kernel.face_box(row)[[0, 1, 3, 4]], [-2, -2, 2, 2], atol=1e-6)
    np.testing.assert_allclose(kernel.bounding_box(), [-2, -2, 0, 2, 2, 7], atol=1e-6)


def test_edges_have_their_length_range_and_points() -> None:
    kernel = KernelShape(solids.cylinder())
    lengths = [kernel.edge_length(row) for row in range(kernel.edge_map.Extent())]
    assert sorted(lengths) == pytest.approx([7.0, 4 * np.pi, 4 * np.pi])
    row = int(np.argmax(lengths))
    assert kernel.edge_range(row) == pytest.approx((0.0, 2 * np.pi))
    t = np.linspace(0, 2 * np.pi, 7)
    points, slopes = kernel.edge_points(row, t)
    np.testing.assert_allclose(np.hypot(*points[:, :2].T), 2.0)
    np.testing.assert_allclose(np.linalg.norm(slopes, axis=1), 2.0)
    np.testing.assert_allclose((points * slopes)[:, :2].sum(axis=1), 0.0, atol=1e-12)
    assert kernel.edge_box(row)[3] == pytest.approx(2.0, abs=1e-6)


def test_points_normals_and_stretch_of_a_cylinder() -> None:
    kernel = KernelShape(solids.cylinder())
    row = _row(kernel, GeomAbs_Cylinder)
    assert kernel.uv_bounds(row) == pytest.approx((0, 2 * np.pi, 0, 7))
    uv = np.array([[0.3, 1.0], [2.0, 6.0]])
    points, normals = kernel.surface_points(row, uv)
    np.testing.assert_allclose(points[:, :2], 2 * np.stack([np.cos(uv[:, 0]), np.sin(uv[:, 0])], axis=1))
    np.testing.assert_allclose(points[:, 2], uv[:, 1])
    np.testing.assert_allclose(normals, points * [0.5, 0.5, 0], atol=1e-12)
    np.testing.assert_allclose(kernel.stretch(row, uv), [2.0, 2.0])


@pytest.mark.parametrize("how", ["at_origin", "reversed"])
def test_a_reversed_face_has_its_normals_the_other_way(how: str) -> None:
    face = TopExp_Explorer(solids.sphere(), TopAbs_FACE).Current()
    points, normals = KernelShape(solids.place(face, how)).surface_points(0, np.array([[0.4, 0.2]]))
    np.testing.assert_allclose(normals, points / (2.5 if how == "at_origin" else -2.5))


def test_the_normal_at_a_pole_is_exact() -> None:
    points, normals = KernelShape(solids.sphere()).surface_points(0, np.array([[1.0, np.pi / 2], [4.0, -np.pi / 2]]))
    np.testing.assert_allclose(points, [[0, 0, 2.5], [0, 0, -2.5]], atol=1e-12)
    np.testing.assert_allclose(normals, [[0, 0, 1], [0, 0, -1]], atol=1e-12)


def test_the_normal_at_an_apex_is_that_of_the_generating_line_beside_it() -> None:
    kernel = KernelShape(solids.cone(low=3.0, high=0.0, height=4.0))
    row = _row(kernel, GeomAbs_Cone)
    u, v = 0.7, kernel.uv_bounds(row)[3]
    points, normals = kernel.surface_points(row, np.array([[u, v]]))
    np.testing.assert_allclose(points, [[0, 0, 4]], atol=1e-9)
    np.testing.assert_allclose(normals, [[0.8 * np.cos(u), 0.8 * np.sin(u), 0.6]], atol=1e-9)


def test_inside_is_the_trimmed_face_with_its_boundary() -> None:
    kernel = KernelShape(solids.drilled())
    rows = [row for row in range(7) if abs(kernel.face_moments(row)[0] - (100 - 4 * np.pi)) < 1e-6]
    assert len(rows) == 2
    u0, u1, v0, v1 = kernel.uv_bounds(rows[0])
    grid = np.stack(np.meshgrid(np.linspace(u0, u1, 21), np.linspace(v0, v1, 21), indexing="ij"), -1).reshape(-1, 2)
    from_centre = np.hypot(*(grid - [(u0 + u1) / 2, (v0 + v1) / 2]).T)
    np.testing.assert_array_equal(kernel.inside(rows[0], grid), from_centre > 2 - 1e-9)


def test_bodies_are_solids_then_free_shells_then_free_faces() -> None:
    face = TopExp_Explorer(solids.box(), TopAbs_FACE).Current()
    shell = TopExp_Explorer(solids.cone(), TopAbs_SHELL).Current()
    part = solids.torus()
    bodies = KernelShape(solids.compound(face, shell, part, part)).bodies
    assert [body.ShapeType() for body in bodies] == [part.ShapeType(), TopAbs_SHELL, TopAbs_FACE]


def test_a_shape_may_be_a_function_that_is_called_on_first_use_and_once() -> None:
    calls = []

    def shape() -> TopoDS_Shape:
        calls.append(1)
        return solids.box()

    kernel = KernelShape(shape)
    assert not calls
    assert (kernel.face_map.Extent(), kernel.edge_map.Extent(), len(calls)) == (6, 12, 1)


def test_an_empty_shape_has_a_box_of_nan_and_a_solid_is_valid() -> None:
    assert np.isnan(KernelShape(solids.compound()).bounding_box()).all()
    assert KernelShape(solids.box()).is_valid()


def test_what_the_kernel_raises_names_the_query_and_the_row() -> None:
    with pytest.raises(KernelError, match=r"in the query face_moments 9: "):
        KernelShape(solids.box()).face_moments(9)


def test_an_edge_without_any_curve_is_an_error() -> None:
    edge, builder = TopoDS_Edge(), BRep_Builder()
    builder.MakeEdge(edge)
    with pytest.raises(GeometryError, match="edge 0 of the shape has no curve"):
        KernelShape(edge).edge_points(0, np.zeros(1))
