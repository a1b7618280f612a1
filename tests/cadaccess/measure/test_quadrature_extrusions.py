"""Areas and centroids of trimmed extrusions, against integrals of one variable taken another way."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from OCP.BRepBuilderAPI import BRepBuilderAPI_MakeEdge, BRepBuilderAPI_MakeFace, BRepBuilderAPI_MakeWire
from OCP.BRepLib import BRepLib
from OCP.collections import Array1_double, Array1_gp_Pnt, Array1_int
from OCP.Geom import Geom_BezierCurve, Geom_BSplineCurve, Geom_Circle, Geom_SurfaceOfLinearExtrusion
from OCP.Geom2d import Geom2d_Circle
from OCP.gp import gp_Ax2, gp_Ax2d, gp_Dir, gp_Dir2d, gp_Pnt, gp_Pnt2d, gp_Vec
from OCP.TopoDS import TopoDS_Shape

from dflow.cadaccess.kernel import bintools
from tests.cadaccess import solids

PLACES = ("at_origin", "placed", "mirrored")


def _gauss(low: float, high: float, n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return 0.5 * (low + high) + 0.5 * (high - low) * nodes, 0.5 * (high - low) * weights


def _strip(curve: object, direction: gp_Dir, low: float, high: float) -> TopoDS_Shape:
    surface = Geom_SurfaceOfLinearExtrusion(curve, direction)
    first, last = curve.FirstParameter(), curve.LastParameter()  # type: ignore[attr-defined]
    return BRepBuilderAPI_MakeFace(surface, first, last, low, high, 1e-7).Face()


@pytest.mark.parametrize("how", PLACES)
def test_a_slanted_tube_is_its_cross_section_long(how: str, tmp_path: Path) -> None:
    round_ = Geom_Circle(gp_Ax2(gp_Pnt(1, 2, 3), gp_Dir(0, 0, 1)), 2.0)
    brep = solids.open_brep(solids.place(_strip(round_, gp_Dir(0.6, 0, 0.8), 1.0, 8.0), how), tmp_path)
    assert brep.tables.faces.kind[0] == bintools.EXTRUSION
    turn = 2 * np.pi * np.arange(512) / 512
    around = np.hypot(2.0 * 0.8 * np.sin(turn), 2.0 * np.cos(turn)).mean() * 2 * np.pi  # an ellipse's perimeter
    assert brep.face_areas()[0] == pytest.approx(7.0 * around, rel=1e-9)
    assert brep.kernel.face_moments(0)[0] != pytest.approx(7.0 * around, rel=1e-4)  # the reason not to ask it


def _many_spans(seed: int) -> tuple[Geom_BSplineCurve, np.ndarray]:
    """A curve of degree 8 that is only once differentiable at its knots, of spans as different as can be; its knots."""
    generator = np.random.default_rng(seed)
    degree, n_spans = 8, 60
    knots = np.cumsum(generator.uniform(0.0, 1.0, n_spans + 1) ** 4 + 1e-3)
    times = np.full(n_spans + 1, degree - 1)
    times[[0, -1]] = degree + 1
    n_poles = int(times.sum()) - degree - 1
    poles, k, m = Array1_gp_Pnt(1, n_poles), Array1_double(1, n_spans + 1), Array1_int(1, n_spans + 1)
    at = np.cumsum(generator.normal(loc=(3.0, 0.0, 0.0), size=(n_poles, 3)), axis=0)
    for i, point in enumerate(at.tolist(), 1):
        poles.SetValue(i, gp_Pnt(*point))
    for i in range(n_spans + 1):
        k.SetValue(i + 1, float(knots[i]))
        m.SetValue(i + 1, int(times[i]))
    return Geom_BSplineCurve(poles, k, m, degree), knots


def _width(curve: Geom_BSplineCurve, u: np.ndarray) -> np.ndarray:
    """``|C' × z|`` point by point, from the kernel's curve."""
    at, slope = gp_Pnt(), gp_Vec()
    out = np.empty(len(u))
    for i, value in enumerate(u.tolist()):
        curve.D1(value, at, slope)
        out[i] = np.hypot(slope.X(), slope.Y())
    return out


@pytest.mark.parametrize("seed", range(3))
def test_the_area_over_a_curve_of_many_spans_is_its_seen_length_times_the_height(seed: int, tmp_path: Path) -> None:
    curve, knots = _many_spans(seed)
    length = 0.0
    for low, high in itertools.pairwise(knots):
        u, weights = _gauss(float(low), float(high), 60)
        length += float(weights @ _width(curve, u))
    brep = solids.open_brep(_strip(curve, gp_Dir(0, 0, 1), -4.0, 9.0), tmp_path)
    assert brep.face_areas()[0] == pytest.approx(13.0 * length, rel=1e-8)
    assert brep.moments.known[0]


@pytest.mark.parametrize("how", PLACES)
def test_a_round_window_in_a_bent_sheet(how: str, tmp_path: Path) -> None:
    """A circle in (u, v): at each u as high as its chord, so that area and centroid are integrals over u."""
    points = Array1_gp_Pnt(1, 4)
    for i, point in enumerate([(0, 0, 0), (2, 3, 0), (5, -2, 0), (6, 2, 0)], 1):
        points.SetValue(i, gp_Pnt(*point))
    curve = Geom_BezierCurve(points)
    surface = Geom_SurfaceOfLinearExtrusion(curve, gp_Dir(0, 0, 1))
    ring = Geom2d_Circle(gp_Ax2d(gp_Pnt2d(0.45, 2.0), gp_Dir2d(1, 0)), 0.3)
    wire = BRepBuilderAPI_MakeWire(BRepBuilderAPI_MakeEdge(ring, surface).Edge()).Wire()
    face = BRepBuilderAPI_MakeFace(surface, wire, True).Face()
    BRepLib.BuildCurves3d_s(face)
    brep = solids.open_brep(solids.place(face, how), tmp_path)
    turn, weights = _gauss(0.0, np.pi)
    u = 0.45 - 0.3 * np.cos(turn)
    at, slope = gp_Pnt(), gp_Vec()
    xy, width = np.empty((len(u), 2)), np.empty(len(u))
    for i, value in enumerate(u.tolist()):
        curve.D1(value, at, slope)
        xy[i], width[i] = (at.X(), at.Y()), np.hypot(slope.X(), slope.Y())
    share = weights * 0.3 * np.sin(turn) * width * 2 * 0.3 * np.sin(turn)
    assert brep.moments.known[0]
    assert brep.face_areas()[0] == pytest.approx(share.sum(), rel=1e-9)
    if how == "at_origin":
        np.testing.assert_allclose(brep.face_centroids()[0], [*(share @ xy / share.sum()), 2.0], atol=1e-8)
