"""Lengths of curves against closed forms and fine polylines."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.cadaccess.geometry import curves
from dflow.cadaccess.kernel import bintools
from dflow.cadaccess.kernel.bintools import Curve, Spline
from dflow.cadaccess.measure import properties


def _length(curve: Curve, first: float, last: float) -> float:
    table = curves.build_table([curve], np.array([first]), np.array([last]), 3)
    return float(properties.curve_lengths(table, np.zeros(1, int))[0])


def _conic(kind: int, *radii: float) -> Curve:
    return Curve(kind, (1.0, 2.0, 3.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, *radii))


@pytest.mark.parametrize("ratio", [1.0, 0.5, 1e-3])
def test_whole_ellipse_is_as_long_as_the_arithmetic_geometric_mean_says(ratio: float) -> None:
    # Perimeter 2 pi (1 - sum of 2^(n-1) c_n^2) / agm(1, b) (Abramowitz and Stegun 17.6).
    a, b, c, total, power = 1.0, ratio, np.sqrt(1 - ratio**2), 0.0, 0.5
    while power < 2**10:
        total += power * c * c
        a, b, c, power = 0.5 * (a + b), np.sqrt(a * b), 0.5 * (a - b), 2 * power
    expected = 2 * np.pi * (1 - total) / a
    assert _length(_conic(bintools.ELLIPSE, 1.0, ratio), 0.0, 2 * np.pi) == pytest.approx(expected, rel=1e-9)


def test_parabola_is_as_long_as_its_integral() -> None:
    # y² = 4 f x from the apex to y: f (s sqrt(1 + s²) + asinh s) with s = y / (2 f).
    s = 5.0 / (2 * 0.75)
    expected = 0.75 * (s * np.sqrt(1 + s * s) + np.arcsinh(s))
    assert _length(_conic(bintools.PARABOLA, 0.75), 0.0, 5.0) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("weights", [None, np.array([1.0, 0.4, 3.0, 1.0, 0.7, 1.0])])
def test_spline_is_as_long_as_a_fine_polyline(weights: np.ndarray | None) -> None:
    poles = np.random.default_rng(1).normal(size=(6, 3))
    spline = Spline(3, poles, weights, np.array([0, 0, 0, 0, 0.2, 0.9, 1, 1, 1, 1.0]))
    curve = Curve(bintools.BSPLINE, spline=spline)
    table = curves.build_table([curve], np.array([0.1]), np.array([0.95]), 3)
    points = curves.evaluate(table, np.zeros(1, int), np.linspace(0.1, 0.95, 200_001)[None])[0][0]
    expected = np.linalg.norm(np.diff(points, axis=0), axis=1).sum()
    assert _length(curve, 0.1, 0.95) == pytest.approx(expected, rel=1e-8)


def test_spline_with_a_cusp_has_a_length() -> None:
    # (t², t³) from -1 to 1: its speed |t| sqrt(4 + 9 t²) has a kink inside a span; twice (13^1.5 - 8) / 27.
    to_bezier = np.array([[1.0, -1.0], [-1.0 / 3, 1.0], [-1.0 / 3, -1.0], [1.0, 1.0]])
    poles = np.column_stack([to_bezier, np.zeros(4)])
    spline = Spline(3, poles, None, np.repeat([-1.0, 1.0], 4))
    expected = 2 * (13**1.5 - 8) / 27
    assert _length(Curve(bintools.BEZIER, spline=spline), -1.0, 1.0) == pytest.approx(expected, rel=1e-9)
