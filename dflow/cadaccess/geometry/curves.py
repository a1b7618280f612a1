"""Curves in space and in a surface's (u, v), as tables, and their points and derivatives in numpy.

Lines and conics share one form, ``P(t) = origin + a(t) x + b(t) y`` with a and b by kind; B-splines and Bézier curves
keep their poles. Offset curves have no table: the kernel evaluates them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from dflow.cadaccess.geometry import bsplines
from dflow.cadaccess.geometry.runs import run_lengths, run_starts
from dflow.cadaccess.kernel import bintools
from dflow.cadaccess.kernel.bintools import Curve, Spline

T = TypeVar("T")

NO_CURVE = 0


@dataclass(frozen=True, slots=True)
class CurveTable:
    """Many curves, each over its own parameter range.

    Attributes
    ----------
    kind : (n,) int8, `bintools`' curve kinds; 0 where there is no curve.
    origin, x, y : (n, d) float64, mm in space; radii : (n, 2) float64.
    first, last : (n,) float64, the parameter range.
    splines : row -> spline for the rows of kind BEZIER and BSPLINE, already in place.
    """

    kind: np.ndarray
    origin: np.ndarray
    x: np.ndarray
    y: np.ndarray
    radii: np.ndarray
    first: np.ndarray
    last: np.ndarray
    splines: dict[int, Spline]

    def take(self, rows: np.ndarray) -> CurveTable:
        """The table of these rows, in their order."""
        columns = (self.kind, self.origin, self.x, self.y, self.radii, self.first, self.last)
        kind, origin, x, y, radii, first, last = (column[rows] for column in columns)
        return CurveTable(kind, origin, x, y, radii, first, last, rows_of(self.splines, rows))

    @property
    def evaluable(self) -> np.ndarray:
        """(n,) bool: the rows that numpy can evaluate."""
        return (self.kind != NO_CURVE) & (self.kind != bintools.OFFSET_CURVE)


def rows_of(kept: dict[int, T], rows: np.ndarray) -> dict[int, T]:
    """Return what is kept for some rows, by their place in `rows`."""
    return {place: kept[row] for place, row in enumerate(rows.tolist()) if row in kept} if kept else {}


def build_table(
    curves: Sequence[Curve], first: np.ndarray, last: np.ndarray, dim: int, matrices: Sequence[np.ndarray | None] = ()
) -> CurveTable:
    """Stack `curves` (each perhaps moved by its (3, 4) matrix) into one table."""
    n = len(curves)
    kind = np.fromiter((c.kind for c in curves), np.int8, n)
    origin, x, y, radii = np.zeros((n, dim)), np.zeros((n, dim)), np.zeros((n, dim)), np.zeros((n, 2))
    splines: dict[int, Spline] = {}
    for value in np.unique(kind).tolist():
        rows = np.flatnonzero(kind == value)
        chosen = [curves[row] for row in rows.tolist()]
        if value in (bintools.BEZIER, bintools.BSPLINE):
            splines.update(zip(rows.tolist(), map(_spline_of, chosen), strict=True))
        elif value not in (NO_CURVE, bintools.OFFSET_CURVE):
            numbers = np.array([curve.values for curve in chosen])
            _fill_conics(value, dim, rows, numbers, (origin, x, y, radii))
    table = CurveTable(kind, origin, x, y, radii, np.asarray(first, float), np.asarray(last, float), splines)
    for row, matrix in enumerate(matrices):
        if matrix is not None:
            _move_row(table, row, matrix)
    return table


def _spline_of(curve: Curve) -> Spline:
    if curve.spline is None:
        raise ValueError(f"curve of kind {curve.kind} without a spline")
    return curve.spline


def _fill_conics(
    kind: int,
    dim: int,
    rows: np.ndarray,
    numbers: np.ndarray,
    out: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    origin, x, y, radii = out
    origin[rows] = numbers[:, :dim]
    if kind == bintools.LINE:
        x[rows] = numbers[:, dim : 2 * dim]
        return
    start = 2 * dim if dim == 3 else dim  # in space the axis comes between the centre and the x direction
    x[rows] = numbers[:, start : start + dim]
    y[rows] = numbers[:, start + dim : start + 2 * dim]
    n_radii = numbers.shape[1] - start - 2 * dim
    radii[rows, :n_radii] = numbers[:, start + 2 * dim :]


def _move_row(table: CurveTable, row: int, matrix: np.ndarray) -> None:
    turn = matrix[:, :3]
    table.origin[row] = turn @ table.origin[row] + matrix[:, 3]
    table.x[row] = turn @ table.x[row]
    table.y[row] = turn @ table.y[row]
    spline = table.splines.get(row)
    if spline is not None:
        table.splines[row] = move_spline(spline, matrix)


def move_spline(spline: Spline, matrix: np.ndarray) -> Spline:
    """The spline with its poles moved by a (3, 4) matrix."""
    poles = spline.poles @ matrix[:, :3].T + matrix[:, 3]
    return Spline(spline.degree, poles, spline.weights, spline.knots, spline.periodic)


def conic_terms(kind: np.ndarray, t: np.ndarray, radii: np.ndarray) -> tuple[np.ndarray, ...]:
    """``a, b, a', b'`` of lines and conics at t.

    kind : (n,), t : (n, m), radii : (n, 2); each result is (n, m). Rows of other kinds are zero.
    """
    a, b, da, db = t.copy(), np.zeros_like(t), np.ones_like(t), np.zeros_like(t)
    turning = (kind == bintools.CIRCLE) | (kind == bintools.ELLIPSE)
    if turning.any():
        big = radii[turning, :1]
        small = np.where(kind[turning] == bintools.CIRCLE, radii[turning, 0], radii[turning, 1])[:, None]
        cos, sin = np.cos(t[turning]), np.sin(t[turning])
        a[turning], b[turning], da[turning], db[turning] = big * cos, small * sin, -big * sin, small * cos
    bent = kind == bintools.PARABOLA
    if bent.any():
        focal = radii[bent, :1]
        a[bent], b[bent] = t[bent] ** 2 / (4 * focal), t[bent]
        da[bent], db[bent] = t[bent] / (2 * focal), 1.0
    open_ = kind == bintools.HYPERBOLA
    if open_.any():
        big, small = radii[open_, :1], radii[open_, 1:]
        cosh, sinh = np.cosh(t[open_]), np.sinh(t[open_])
        a[open_], b[open_], da[open_], db[open_] = big * cosh, small * sinh, big * sinh, small * cosh
    return a, b, da, db


def evaluate(table: CurveTable, rows: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points and first derivatives of the curves `rows` at t : (len(rows), m); both results (len(rows), m, d)
    float64.
    """
    a, b, da, db = conic_terms(table.kind[rows], t, table.radii[rows])
    x, y = table.x[rows][:, None, :], table.y[rows][:, None, :]
    points = a[..., None] * x + b[..., None] * y
    points += table.origin[rows][:, None, :]
    slopes = da[..., None] * x + db[..., None] * y
    if table.splines:
        _evaluate_splines(table, rows, t, points, slopes)
    return points, slopes


def _evaluate_splines(
    table: CurveTable, rows: np.ndarray, t: np.ndarray, points: np.ndarray, slopes: np.ndarray
) -> None:
    """Fill in the rows that are splines, neighbouring rows of one spline together."""
    kind = table.kind[rows]
    free = np.flatnonzero((kind == bintools.BEZIER) | (kind == bintools.BSPLINE))
    if not len(free):
        return
    owners = rows[free]
    begins = run_starts(owners)
    splines = [table.splines[row] for row in owners[begins].tolist()]
    sizes = run_lengths(begins, len(free)) * t.shape[1]
    at, slope = bsplines.evaluate_curves(splines, sizes, t[free].ravel())
    points[free] = at.reshape(len(free), t.shape[1], -1)
    slopes[free] = slope.reshape(len(free), t.shape[1], -1)
