"""Normals where a patch's side shrinks to a point, against the sphere that the patch lies on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from OCP.BRepBuilderAPI import BRepBuilderAPI_MakeEdge, BRepBuilderAPI_MakeFace
from OCP.BRepPrimAPI import BRepPrimAPI_MakeRevol
from OCP.collections import Array1_double, Array1_gp_Pnt, Array1_int, Array2_double, Array2_gp_Pnt
from OCP.Geom import Geom_BezierCurve, Geom_BSplineSurface
from OCP.gp import gp_Ax1, gp_Dir, gp_Pnt
from OCP.TopoDS import TopoDS_Shape

from dflow.cadaccess import Brep
from tests.cadaccess import solids

QUARTER = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
MIDDLE = np.sqrt(0.5)
CENTRE = np.array([40.0, -25.0, 60.0])


def _octant(degree: int, radius: float, flipped: bool) -> TopoDS_Shape:
    """An eighth of a sphere; one side of its B-spline, of this degree that way, is the pole."""
    poles, weights = Array2_gp_Pnt(1, 3, 1, 3), Array2_double(1, 3, 1, 3)
    for i, (x, y) in enumerate(QUARTER):
        for j, (out, up) in enumerate(QUARTER[::-1] if flipped else QUARTER):
            poles.SetValue(i + 1, j + 1, gp_Pnt(*(CENTRE + radius * np.array([out * x, out * y, up]))))
            weights.SetValue(i + 1, j + 1, float((MIDDLE if i == 1 else 1.0) * (MIDDLE if j == 1 else 1.0)))
    ends = []
    for low in (0.0, 0.85):
        knots, times = Array1_double(1, 2), Array1_int(1, 2)
        for k in (1, 2):
            knots.SetValue(k, low + 0.2865 * (k - 1))
            times.SetValue(k, 3)
        ends.append((knots, times))
    (ku, mu), (kv, mv) = ends
    surface = Geom_BSplineSurface(poles, weights, ku, kv, mu, mv, 2, 2)
    surface.IncreaseDegree(2, degree)
    return BRepBuilderAPI_MakeFace(surface, 1e-7).Face()


def _samples(brep: Brep) -> tuple[np.ndarray, np.ndarray]:
    """Numpy's grid and the kernel's points and normals on it, (m, 6) each."""
    n_u, n_v = 8, 7
    bounds = brep.face_uv_bounds()[0]
    u, v = np.linspace(*bounds[:2], n_u), np.linspace(*bounds[2:], n_v)
    uv = np.stack(np.meshgrid(u, v, indexing="ij"), axis=-1).reshape(-1, 2)
    return brep.face_samples(n_u, n_v)[0, ..., :6].reshape(-1, 6), np.hstack(brep.kernel.surface_points(0, uv))


@pytest.mark.parametrize("degree", [2, 5, 13])
@pytest.mark.parametrize("radius", [0.05, 1.0, 300.0])
@pytest.mark.parametrize("flipped", [False, True])
def test_normals_at_a_pole_are_the_spheres(degree: int, radius: float, flipped: bool, tmp_path: Path) -> None:
    face = _octant(degree, radius, flipped)
    brep = solids.open_brep(face, tmp_path)
    assert list(brep.tables.faces.splines) == [0]
    for found in _samples(brep):
        want = (found[:, :3] - CENTRE) / radius
        np.testing.assert_allclose(np.linalg.norm(want, axis=1), 1.0, atol=1e-11)
        outward = -1.0 if flipped else 1.0
        np.testing.assert_allclose(found[:, 3:], outward * want, atol=1e-8)


@pytest.mark.parametrize("rise", [0.0, 0.7, 3.0])
def test_normals_at_an_apex_of_a_turned_curve_are_those_of_its_tangent_cone(rise: float, tmp_path: Path) -> None:
    points = Array1_gp_Pnt(1, 4)
    for i, (x, z) in enumerate([(0.0, 0.0), (0.2, 0.2 * rise), (0.6, 1.5), (1.0, 2.0)], 1):
        points.SetValue(i, gp_Pnt(30.0 + x, 0, 50.0 + z))
    edge = BRepBuilderAPI_MakeEdge(Geom_BezierCurve(points)).Edge()
    axis = gp_Ax1(gp_Pnt(30, 0, 0), gp_Dir(0, 0, 1))
    brep = solids.open_brep(BRepPrimAPI_MakeRevol(edge, axis, 2.0).Shape(), tmp_path)
    assert list(brep.tables.faces.sweeps) == [0]
    u = np.linspace(*brep.face_uv_bounds()[0, :2], 8)
    want = np.column_stack([rise * np.cos(u), rise * np.sin(u), -np.ones(8)]) / np.hypot(1, rise)
    for found in _samples(brep):
        apex = found.reshape(8, 7, 6)[:, 0]
        np.testing.assert_allclose(apex[:, :3] - [30, 0, 50], 0.0, atol=1e-12)
        outward = np.sign(apex[0, 3:] @ want[0])
        np.testing.assert_allclose(apex[:, 3:], outward * want, atol=1e-8)
