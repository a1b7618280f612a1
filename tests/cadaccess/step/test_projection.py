"""Cubics through points against the kernel's own."""

from __future__ import annotations

import numpy as np
import pytest
from OCP.collections import HArray1_double, HArray1_gp_Pnt2d
from OCP.Geom2dAPI import Geom2dAPI_Interpolate
from OCP.gp import gp_Pnt2d

from dflow.cadaccess.geometry.bsplines import evaluate_curves
from dflow.cadaccess.kernel.bintools import Spline
from dflow.cadaccess.step import projection


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
