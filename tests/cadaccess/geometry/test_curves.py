"""Tables of curves: lines, conics and splines against their equations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dflow.cadaccess.geometry import curves
from dflow.cadaccess.geometry.curves import CurveTable
from dflow.cadaccess.kernel import bintools
from dflow.cadaccess.kernel.bintools import (
    BSPLINE,
    CIRCLE,
    ELLIPSE,
    HYPERBOLA,
    LINE,
    OFFSET_CURVE,
    PARABOLA,
    Curve,
    Spline,
)

CENTRE = (1.0, 2.0, 3.0)
ACROSS, Y, AXIS = np.array([2.0, 1.0, -2.0]) / 3, np.array([2.0, -2.0, 1.0]) / -3, np.array([1.0, 2.0, 2.0]) / 3
T = np.array([[-0.7, 0.0, 0.3, 1.1]])

# Radii, and the two coordinates in the frame of the curve, as functions of the parameter (ISO 10303-42).
CONICS: dict[int, tuple[tuple[float, ...], Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
    CIRCLE: ((2.5,), lambda t: 2.5 * np.cos(t), lambda t: 2.5 * np.sin(t)),
    ELLIPSE: ((3.0, 1.5), lambda t: 3 * np.cos(t), lambda t: 1.5 * np.sin(t)),
    PARABOLA: ((0.75,), lambda t: t**2 / 3, lambda t: t),
    HYPERBOLA: ((3.0, 1.5), lambda t: 3 * np.cosh(t), lambda t: 1.5 * np.sinh(t)),
}


def _in_space(kind: int) -> Curve:
    if kind == LINE:
        return Curve(LINE, (*CENTRE, *ACROSS))
    return Curve(kind, (*CENTRE, *AXIS, *ACROSS, *Y, *CONICS[kind][0]))


def _table(
    *records: Curve, dim: int = 3, last: float = 1.0, matrices: list[np.ndarray | None] | None = None
) -> CurveTable:
    n = len(records)
    return curves.build_table(records, np.zeros(n), np.full(n, last), dim, matrices or ())


ARC = Spline(2, np.array([[1.0, 0, 4], [1, 1, 4], [0, 1, 4]]), np.array([1, np.sqrt(0.5), 1]), np.repeat([0.0, 1], 3))
"""A quarter of the unit circle at z = 4."""


@pytest.mark.parametrize("kind", CONICS)
def test_a_conic_is_its_equation_in_its_frame(kind: int) -> None:
    points, slopes = curves.evaluate(_table(_in_space(kind)), np.zeros(1, int), T)
    _, a, b = CONICS[kind]
    np.testing.assert_allclose(points[0], CENTRE + a(T[0])[:, None] * ACROSS + b(T[0])[:, None] * Y, atol=1e-14)
    ahead, behind = (curves.evaluate(_table(_in_space(kind)), np.zeros(1, int), T + h)[0] for h in (1e-6, -1e-6))
    np.testing.assert_allclose(slopes, (ahead - behind) / 2e-6, atol=1e-8)


@pytest.mark.parametrize("kind", CONICS)
def test_a_conic_in_the_plane_has_no_axis_between_centre_and_direction(kind: int) -> None:
    radii, a, b = CONICS[kind]
    record = Curve(kind, (7.0, 8.0, 0.6, 0.8, -0.8, 0.6, *radii))
    points, _ = curves.evaluate(_table(record, dim=2), np.zeros(1, int), T)
    expected = np.array([7, 8]) + a(T[0])[:, None] * [0.6, 0.8] + b(T[0])[:, None] * [-0.8, 0.6]
    np.testing.assert_allclose(points[0], expected, atol=1e-14)


def test_a_line_runs_along_its_direction() -> None:
    points, slopes = curves.evaluate(_table(_in_space(LINE)), np.zeros(1, int), T)
    np.testing.assert_allclose(points[0], np.array(CENTRE) + T[0][:, None] * ACROSS, atol=1e-15)
    np.testing.assert_allclose(slopes[0], np.tile(ACROSS, (4, 1)))


def test_a_rational_spline_among_conics_is_the_circle_that_it_stands_for() -> None:
    table = _table(_in_space(CIRCLE), Curve(BSPLINE, spline=ARC), _in_space(LINE), Curve(BSPLINE, spline=ARC))
    points, slopes = curves.evaluate(table, np.array([1, 1, 0, 3]), np.linspace(0, 1, 12).reshape(4, 3))
    for row in (0, 1, 3):
        np.testing.assert_allclose(np.hypot(*points[row, :, :2].T), 1.0, rtol=1e-14)
        np.testing.assert_allclose((points[row] * slopes[row])[:, :2].sum(axis=1), 0.0, atol=1e-14)
    np.testing.assert_allclose(np.linalg.norm(points[2] - CENTRE, axis=1), 2.5)


@pytest.mark.parametrize("record", [_in_space(LINE), _in_space(ELLIPSE), Curve(BSPLINE, spline=ARC)])
def test_a_moved_curve_is_the_curve_of_the_moved_points(record: Curve) -> None:
    matrix = np.array([[0.0, -1, 0, 5], [1, 0, 0, -2], [0, 0, 1, 9]])
    rows, t = np.zeros(2, int), np.array([[0.1, 0.4], [0.6, 0.9]])
    plain, slopes = curves.evaluate(_table(record, record), rows, t)
    table = _table(record, record, matrices=[matrix, None])
    moved, turned = curves.evaluate(table, rows, t)
    np.testing.assert_allclose(moved, plain @ matrix[:, :3].T + matrix[:, 3], atol=1e-14)
    np.testing.assert_allclose(turned, slopes @ matrix[:, :3].T, atol=1e-14)
    np.testing.assert_array_equal(curves.evaluate(table, rows + 1, t)[0], plain)


def test_taking_rows_keeps_their_order_and_their_splines() -> None:
    table = _table(_in_space(LINE), Curve(BSPLINE, spline=ARC), _in_space(CIRCLE))
    taken = table.take(np.array([2, 1, 1]))
    assert taken.kind.tolist() == [CIRCLE, BSPLINE, BSPLINE]
    assert taken.splines == {1: ARC, 2: ARC}
    assert table.take(np.array([0])).splines == {}


def test_rows_without_a_curve_or_with_an_offset_are_not_evaluable() -> None:
    table = _table(Curve(0), Curve(OFFSET_CURVE), _in_space(LINE), Curve(BSPLINE, spline=ARC))
    assert table.evaluable.tolist() == [False, False, True, True]


def test_a_spline_record_without_a_spline_is_an_error() -> None:
    with pytest.raises(ValueError, match=f"kind {bintools.BSPLINE} without a spline"):
        _table(Curve(BSPLINE))


def test_terms_of_a_table_are_zero_for_splines_and_one_call_serves_all_kinds() -> None:
    kind = np.array([LINE, *CONICS], np.int8)
    radii = np.array([(0.0, 0.0), *((*CONICS[k][0], 0.0)[:2] for k in CONICS)])
    t = np.tile(T, (5, 1))
    a, b, _, _ = curves.conic_terms(kind, t, radii)
    np.testing.assert_allclose(a, [T[0], *(CONICS[k][1](T[0]) for k in CONICS)])
    np.testing.assert_allclose(b, [0 * T[0], *(CONICS[k][2](T[0]) for k in CONICS)])
