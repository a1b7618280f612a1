"""Curves for compiled loops: the splines of a table in a few arrays, basis functions, and conics."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from dflow.cadaccess.geometry import bsplines
from dflow.cadaccess.geometry.curves import CurveTable
from dflow.cadaccess.kernel.bintools import CIRCLE, ELLIPSE, HYPERBOLA, PARABOLA, Spline
from dflow.compiled import compiled, inlined, record


class Conics(NamedTuple):
    """The lines and conics of a table with n rows, as in `CurveTable`; other rows have no meaning.

    kind : (n,) int8; origin, x, y : (n, d) float64; radii : (n, 2) float64.
    """

    kind: np.ndarray
    origin: np.ndarray
    x: np.ndarray
    y: np.ndarray
    radii: np.ndarray


class Splines(NamedTuple):
    """The splines of a table with n rows, all as open ones (a periodic one over one period).

    Attributes
    ----------
    number : (n,) int32, which spline each row has, -1 for none; empty where no row has any.
    shapes : (s, 6) int64, of each spline: its row, where its poles begin and how many there are, where its knots begin,
        its degree, and 1 if it is periodic, 0 if not.
    poles : (p, d) float64; weights : (p,) float64, 1 where there are none; knots : (k,) float64, flat.
    spans : (s,) float64, the length of each one's parameter range.
    """

    number: np.ndarray
    shapes: np.ndarray
    poles: np.ndarray
    weights: np.ndarray
    knots: np.ndarray
    spans: np.ndarray


CONICS = record(Conics, "int8[::1], float64[:, ::1], float64[:, ::1], float64[:, ::1], float64[:, ::1]")
SPLINES = record(Splines, "int32[::1], int64[:, ::1], float64[:, ::1], float64[::1], float64[::1], float64[::1]")
"""The types of these records as arguments of compiled functions."""

_NONE = {
    d: Splines(
        np.empty(0, np.int32), np.empty((0, 6), np.int64), np.empty((0, d)), np.empty(0), np.empty(0), np.empty(0)
    )
    for d in (2, 3)
}


def pack_conics(table: CurveTable) -> Conics:
    """Return the table's lines and conics."""
    return Conics(table.kind, table.origin, table.x, table.y, table.radii)


def pack_splines(table: CurveTable) -> Splines:
    """Return the table's splines. One whose knots or weights do not fit its poles is left out."""
    if not table.splines:
        return _NONE[table.origin.shape[1]]
    shapes, poles, weights, knots, spans = [], [], [], [], []
    n_poles = n_knots = 0
    for row, spline in table.splines.items():
        own_poles, own_weights, own_knots = _opened(spline)
        own_weights = np.ones(len(own_poles)) if own_weights is None else own_weights
        fits = len(own_poles) == len(own_weights) > spline.degree
        if not fits or len(own_knots) <= len(own_poles) + spline.degree:
            continue
        shapes.append((row, n_poles, len(own_poles), n_knots, spline.degree, int(spline.periodic)))
        poles.append(own_poles)
        weights.append(own_weights)
        knots.append(own_knots)
        spans.append(spline.knots[-1] - spline.knots[0])
        n_poles, n_knots = n_poles + len(own_poles), n_knots + len(own_knots)
    if not shapes:
        return _NONE[table.origin.shape[1]]
    every = np.array(shapes)
    number = np.full(len(table.kind), -1, np.int32)
    number[every[:, 0]] = np.arange(len(every))
    return Splines(
        number, every, np.concatenate(poles), np.concatenate(weights), np.concatenate(knots), np.array(spans)
    )


def _opened(spline: Spline) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    if not spline.periodic:
        return spline.poles, spline.weights, spline.knots
    knots, index = bsplines.unroll(spline.knots, spline.degree, len(spline.poles))
    return spline.poles[index], None if spline.weights is None else spline.weights[index], knots


@compiled()
def basis_functions(
    knots: np.ndarray, begin: int, degree: int, n_poles: int, periodic: bool, t: float, values: np.ndarray
) -> int:
    """Fill in the degree + 1 basis functions that are not zero at t, and their slopes, by algorithm A2.2 of Piegl and
    Tiller, The NURBS Book.

    Parameters
    ----------
    knots : those of an open spline, from `begin` on
    periodic : whether t may lie outside of the one period that they span
    values : (2, degree + 1) or wider, filled in

    Returns
    -------
    The number of the first pole with a non-zero basis function.
    """
    low, high = knots[begin + degree], knots[begin + n_poles]
    if periodic and (t < low or t > high):
        t = low + (t - low) % (high - low)
    span = begin + _find_span(knots, begin, degree, n_poles, t)
    values[0, 0], values[1, 0] = 1.0, 0.0
    for p in range(1, degree + 1):
        value = slope = 0.0
        for i in range(p):
            right, left = knots[span + 1 + i] - t, t - knots[span + 1 + i - p]
            share = values[0, i] / (right + left)
            values[1, i] = slope - p * share
            slope = p * share
            values[0, i] = value + right * share
            value = left * share
        values[0, p], values[1, p] = value, slope
    return span - begin - degree


@compiled()
def _find_span(knots: np.ndarray, begin: int, degree: int, n_poles: int, t: float) -> int:
    """The knot interval, of some length, that t lies in; the knots are those from `begin` on."""
    low, high = degree, n_poles
    while high - low > 1:
        middle = (low + high) // 2
        if knots[begin + middle] <= t:
            low = middle
        else:
            high = middle
    while low > degree and knots[begin + low] == knots[begin + low + 1]:
        low -= 1
    return low


@inlined
def conic_terms(kind: int, t: float, big: float, small: float) -> tuple[float, float, float, float]:
    """``a, b, a', b'`` of a line or conic, as in ``origin + a x + b y``."""
    if kind in (CIRCLE, ELLIPSE):
        low = big if kind == CIRCLE else small
        return big * math.cos(t), low * math.sin(t), -big * math.sin(t), low * math.cos(t)
    if kind == PARABOLA:
        return t * t / (4 * big), t, t / (2 * big), 1.0
    if kind == HYPERBOLA:
        return big * math.cosh(t), small * math.sinh(t), big * math.sinh(t), small * math.cosh(t)
    return t, 0.0, 1.0, 0.0
