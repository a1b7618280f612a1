"""How far curves reach along each axis: closed forms for arcs, subdivision of Bézier pieces for splines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dflow.cadaccess import bsplines, curves, shapecode
from dflow.cadaccess.curves import CurveTable
from dflow.cadaccess.shapecode import Spline

_RELATIVE = 1e-13
_MAX_HALVINGS = 50


def arc_extremes(table: CurveTable, arcs: np.ndarray) -> np.ndarray:
    """(n, 2 d, d): where the circles and ellipses `arcs` reach farthest along each axis, within their range."""
    big = table.radii[arcs, :1]
    small = np.where(table.kind[arcs] == shapecode.CIRCLE, table.radii[arcs, 0], table.radii[arcs, 1])[:, None]
    turn = np.arctan2(small * table.y[arcs], big * table.x[arcs])
    first, last = table.first[arcs][:, None], table.last[arcs][:, None]
    t = np.concatenate([turn, turn + np.pi], axis=1)
    return curves.evaluate(table, arcs, np.minimum(first + np.mod(t - first, 2 * np.pi), last))[0]


def spline_box(spline: Spline, first: float, last: float) -> np.ndarray:
    """(2, d) lowest and highest coordinates of a spline between two parameters."""
    breaks = bsplines.span_breaks(spline, min(first, last), max(first, last))
    n = len(breaks) - 1
    box = np.full((2, 1, spline.poles.shape[1]), np.inf)
    box[1] = -np.inf
    widen_by_splines([spline] * n, breaks[:-1], breaks[1:], np.zeros(n, int), box[0], box[1])
    return box[:, 0]


def widen_by_splines(
    splines: Sequence[Spline],
    low_t: np.ndarray,
    high_t: np.ndarray,
    owner: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> None:
    """Widen boxes by pieces of splines, in place, to about 1e-13 of the pieces' coordinates.

    Parameters
    ----------
    splines : n of them; low_t, high_t : (n,) float64, a piece of each that lies within one knot span.
    owner : (n,) int, the box that a piece belongs to; low, high : (boxes, d) float64.

    Notes
    -----
    A piece lies in the hull of its Bézier poles. It is halved until that reaches no farther than the box that the ends
    of the pieces have made; a hull's excess falls by four with each halving.
    """
    degrees = np.fromiter((spline.degree for spline in splines), int, len(splines))
    for degree in np.unique(degrees).tolist():
        chosen = np.flatnonzero(degrees == degree)
        poles, weights = bsplines.bezier_poles([splines[i] for i in chosen.tolist()], low_t[chosen], high_t[chosen])
        for axis in range(low.shape[1]):
            for sign, bound in ((1.0, high), (-1.0, low)):
                peak = sign * bound[:, axis]
                _raise_peaks(sign * poles[..., axis], weights, owner[chosen], peak)
                bound[:, axis] = sign * peak


def _raise_peaks(poles: np.ndarray, weights: np.ndarray, owner: np.ndarray, peak: np.ndarray) -> None:
    """Raise `peak` : (boxes,) to the largest value of any Bézier polynomial of its owner.

    poles : (n, degree + 1), already multiplied with weights : (n, degree + 1) > 0.
    """
    for _ in range(_MAX_HALVINGS):
        value = poles / weights
        np.maximum.at(peak, owner, np.maximum(value[:, 0], value[:, -1]))
        slack = _RELATIVE * np.abs(value).max(axis=1)
        above = np.flatnonzero(value.max(axis=1) > peak[owner] + slack)
        if not len(above):
            return
        poles, weights = _halve(poles[above]), _halve(weights[above])
        owner = np.tile(owner[above], 2)


def _halve(poles: np.ndarray) -> np.ndarray:
    """(2 n, p + 1) the poles of the left halves, then of the right ones (de Casteljau's algorithm)."""
    left, right = np.empty_like(poles), np.empty_like(poles)
    last = poles.shape[1] - 1
    for step in range(last + 1):
        left[:, step], right[:, last - step] = poles[:, 0], poles[:, -1]
        poles = 0.5 * (poles[:, :-1] + poles[:, 1:])
    return np.concatenate([left, right])
