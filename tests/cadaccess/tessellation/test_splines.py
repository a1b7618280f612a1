"""Splines packed for compiled loops, and their basis functions and conics, against the tables' evaluation in numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dflow.cadaccess.geometry import bsplines, curves
from dflow.cadaccess.geometry.curves import CurveTable
from dflow.cadaccess.kernel.bintools import BSPLINE, CIRCLE, ELLIPSE, HYPERBOLA, LINE, PARABOLA, Curve, Spline
from dflow.cadaccess.tessellation import splines
from dflow.compiled import compiled

RNG = np.random.default_rng(3)
FLAT = np.array([0.0, 0, 0, 0, 1, 2, 2, 3, 3, 3, 3])
OPEN = Spline(3, RNG.normal(size=(7, 3)), None, FLAT)
RATIONAL = replace(OPEN, weights=RNG.uniform(0.5, 2.0, 7))
RING = Spline(3, RNG.normal(size=(6, 3)), None, np.arange(7.0), periodic=True)


def _table(*own: Spline | None) -> CurveTable:
    records = [Curve(LINE, (0.0,) * 6) if one is None else Curve(BSPLINE, spline=one) for one in own]
    n = len(records)
    return curves.build_table(records, np.zeros(n), np.ones(n), 3)


def test_a_table_without_splines_packs_to_nothing() -> None:
    found = splines.pack_splines(_table(None, None))
    assert (found.number.shape, found.shapes.shape, found.poles.shape) == ((0,), (0, 6), (0, 3))


def test_each_row_has_its_splines_poles_weights_and_knots() -> None:
    found = splines.pack_splines(_table(None, RATIONAL, None, OPEN))
    assert found.number.tolist() == [-1, 0, -1, 1]
    assert found.shapes.tolist() == [[1, 0, 7, 0, 3, 0], [3, 7, 7, 11, 3, 0]]
    np.testing.assert_array_equal(found.poles, np.concatenate([RATIONAL.poles, OPEN.poles]))
    np.testing.assert_array_equal(found.weights, np.append(RATIONAL.weights, np.ones(7)))
    np.testing.assert_array_equal(found.knots, np.tile(FLAT, 2))
    assert found.spans.tolist() == [3.0, 3.0]


def test_a_periodic_spline_is_packed_as_an_open_one_over_a_period() -> None:
    found = splines.pack_splines(_table(RING))
    assert found.shapes[0, [2, 4, 5]].tolist() == [6 + 3, 3, 1]
    assert found.knots[[3, 9]].tolist() == [0.0, 6.0]
    assert found.spans.tolist() == [6.0]


@pytest.mark.parametrize(
    "damaged",
    [
        replace(OPEN, knots=FLAT[:-1]),
        replace(OPEN, poles=OPEN.poles[:3]),
        replace(OPEN, weights=np.ones(6)),
    ],
    ids=["a knot missing", "fewer poles than the degree needs", "a weight missing"],
)
def test_a_spline_whose_parts_do_not_fit_is_left_out(damaged: Spline) -> None:
    assert len(splines.pack_splines(_table(damaged)).shapes) == 0
    assert splines.pack_splines(_table(damaged, OPEN)).number.tolist() == [-1, 0]


@compiled("void(float64[::1], float64[:, ::1], float64[::1], int64[::1], float64[::1], float64[:, ::1])")
def _evaluate(knots, poles, weights, shape, t, out):  # type: ignore[no-untyped-def]
    """Points and slopes (m, 6) of the spline that `shape` is of."""
    degree = shape[4]
    values = np.empty((2, degree + 1))
    for i in range(len(t)):
        first = splines.basis_functions(knots, shape[3], degree, shape[2], shape[5] != 0, t[i], values)
        weight = slope = 0.0
        at, along = np.zeros(3), np.zeros(3)
        for k in range(degree + 1):
            own = shape[1] + first + k
            weight += values[0, k] * weights[own]
            slope += values[1, k] * weights[own]
            at += values[0, k] * weights[own] * poles[own]
            along += values[1, k] * weights[own] * poles[own]
        out[i, :3] = at / weight
        out[i, 3:] = (along - slope * at / weight) / weight


@pytest.mark.parametrize("index", range(3))
def test_basis_functions_and_slopes_give_numpys_points(index: int) -> None:
    own = (OPEN, RATIONAL, RING)
    packed = splines.pack_splines(_table(*own))
    low, high = own[index].knots[[0, -1]]
    t = np.concatenate([np.linspace(low, high, 23), own[index].knots, [low - 0.4, high + 0.7] if index == 2 else []])
    out = np.empty((len(t), 6))
    _evaluate(packed.knots, packed.poles, packed.weights, packed.shapes[index], t, out)
    points, slopes = bsplines.evaluate_curves([own[index]], np.array([len(t)]), t)
    np.testing.assert_allclose(out, np.hstack([points, slopes]), atol=1e-12)


@compiled("void(int64, float64[::1], float64, float64, float64[:, ::1])")
def _conics(kind, t, big, small, out):  # type: ignore[no-untyped-def]
    for i in range(len(t)):
        out[0, i], out[1, i], out[2, i], out[3, i] = splines.conic_terms(kind, t[i], big, small)


@pytest.mark.parametrize("kind", [LINE, CIRCLE, ELLIPSE, PARABOLA, HYPERBOLA])
def test_terms_of_conics_are_those_of_the_table(kind: int) -> None:
    t, out = np.linspace(-2, 2, 9), np.empty((4, 9))
    _conics(kind, t, 2.0, 0.5, out)
    expected = curves.conic_terms(np.array([kind]), t[None], np.array([[2.0, 0.5]]))
    np.testing.assert_allclose(out, np.concatenate(expected), rtol=1e-14)
