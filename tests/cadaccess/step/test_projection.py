"""Projection onto surfaces in closed form, and cubics through points against the kernel's own."""

from __future__ import annotations

import numpy as np
import pytest
from OCP.collections import HArray1_double, HArray1_gp_Pnt2d
from OCP.Geom2dAPI import Geom2dAPI_Interpolate
from OCP.gp import gp_Pnt2d

from dflow.cadaccess.geometry import surfaces
from dflow.cadaccess.geometry.bsplines import evaluate_curves
from dflow.cadaccess.geometry.curves import CurveTable
from dflow.cadaccess.geometry.surfaces import SurfaceTable
from dflow.cadaccess.kernel.bintools import CONE, CYLINDER, LINE, SPHERE, TORUS, Spline
from dflow.cadaccess.step import projection
from dflow.cadaccess.step.geometric_items import Geometry

RADII = {CYLINDER: (2.0, 0.0), CONE: (3.0, 0.4), SPHERE: (2.5, 0.0), TORUS: (5.0, 1.5)}


def _geometry(kind: int, origin: np.ndarray, direction: np.ndarray) -> Geometry:
    """One surface in an oblique frame, and one line in space."""
    z = np.array([1.0, 2.0, 2.0]) / 3.0
    x = np.array([2.0, 1.0, -2.0]) / 3.0
    one = np.ones(1)
    faces = SurfaceTable(
        np.array([kind], np.int8),
        np.array([[10.0, -5.0, 3.0]]),
        x[None],
        np.cross(z, x)[None],
        z[None],
        np.array([RADII[kind]]),
        one,
        {},
        {},
    )
    none = np.zeros((1, 3))
    edges = CurveTable(
        np.array([LINE], np.int8), origin[None], direction[None], none, np.zeros((1, 2)), 0 * one, one, {}
    )
    return Geometry(none, edges, none, np.zeros((1, 2), int), np.zeros(1, bool), faces, faces.kind, 0 * one, 1e-5)


@pytest.mark.parametrize("off", [0.0, 0.3, -0.2])
@pytest.mark.parametrize("kind", RADII)
def test_a_point_beside_a_surface_is_projected_along_its_normal(kind: int, off: float) -> None:
    u, v, zero = 0.7, 0.4, np.zeros(1, int)
    geometry = _geometry(kind, np.zeros(3), np.array([1.0, 0.0, 0.0]))
    at, normal = (part[0, 0] for part in surfaces.evaluate(geometry.faces, zero, np.array([[u]]), np.array([[v]])))
    geometry = _geometry(kind, at + off * normal, np.array([0.36, 0.48, 0.8]))
    found = projection.project(geometry, zero, zero, np.zeros((1, 1)))
    np.testing.assert_allclose([found.u[0, 0], found.v[0, 0], found.off[0, 0]], [u, v, off], atol=1e-12)
    assert found.speed[0, 0] == pytest.approx(1.0)
    step = 1e-6
    beside = projection.project(geometry, zero, zero, np.array([[-step, step]]))
    np.testing.assert_allclose(np.diff(beside.u) / (2 * step), found.du, atol=1e-8)
    np.testing.assert_allclose(np.diff(beside.v) / (2 * step), found.dv, atol=1e-8)


@pytest.mark.parametrize("n", [23, 45, 177])
def test_poles_are_the_kernels(n: int) -> None:
    generator = np.random.default_rng(n)
    points = np.cumsum(generator.normal(size=(3, n, 2)), axis=1)
    knots = projection.flat_knots(-1.5, 4.0, n)
    poles, middles = projection.interpolate(points)
    for own, found, between in zip(points, poles, middles, strict=True):
        np.testing.assert_allclose(found, _kernels_poles(own, knots[3:-3]), atol=1e-9)
        spline = Spline(3, found, None, knots)
        halfway = 0.5 * (knots[3:-4] + knots[4:-3])
        np.testing.assert_allclose(evaluate_curves([spline], np.array([len(halfway)]), halfway)[0], between, atol=1e-12)
        np.testing.assert_allclose(evaluate_curves([spline], np.array([len(own)]), knots[3:-3])[0], own, atol=1e-12)


def _kernels_poles(points: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    places, values = HArray1_gp_Pnt2d(1, len(points)), HArray1_double(1, len(points))
    for i, (point, parameter) in enumerate(zip(points.tolist(), parameters.tolist(), strict=True), 1):
        places.SetValue(i, gp_Pnt2d(*point))
        values.SetValue(i, parameter)
    maker = Geom2dAPI_Interpolate(places, values, False, 1e-9)
    maker.Perform()
    curve = maker.Curve()
    return np.array([(curve.Pole(i).X(), curve.Pole(i).Y()) for i in range(1, curve.NbPoles() + 1)])


@pytest.mark.parametrize(
    ("n_spans", "degree", "wanted"), [(1, 3, 23), (5, 8, 45), (7, 8, 67), (33, 4, 177), (10, 3, 45), (23, 0, 23)]
)
def test_points_of_a_spline_are_as_many_as_the_kernels(n_spans: int, degree: int, wanted: int) -> None:
    knots = np.concatenate([np.zeros(degree), np.arange(n_spans + 1.0), np.full(degree, float(n_spans))])
    spline = Spline(degree, np.zeros((n_spans + degree, 3)), None, knots)
    assert projection.count_points(spline, 0.0, float(n_spans)) == wanted
    assert projection.count_points(None, 0.0, 1.0) == 23


def test_points_of_a_part_are_counted_by_the_spans_it_touches() -> None:
    knots = np.concatenate([np.zeros(8), np.arange(9.0), np.full(8, 8.0)])
    spline = Spline(8, np.zeros((16, 3)), None, knots)
    assert projection.count_points(spline, 0.0, 8.0) == 89
    assert projection.count_points(spline, 3.0, 5.5) == 45
