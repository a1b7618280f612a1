"""How far curves reach along each axis: closed forms for arcs, subdivision of Bézier pieces for splines."""

from __future__ import annotations

import numpy as np

from dflow.cadaccess import bsplines, curves, shapecode
from dflow.cadaccess.curves import CurveTable
from dflow.cadaccess.shapecode import Spline, SplineSurface

_RELATIVE = 1e-12
_MAX_HALVINGS = 50
_MAX_PATCHES = 64


def arc_extremes(table: CurveTable, arcs: np.ndarray) -> np.ndarray:
    """(n, 2 d, d): where the circles and ellipses `arcs` reach farthest along each axis, within their range."""
    big = table.radii[arcs, :1]
    small = np.where(table.kind[arcs] == shapecode.CIRCLE, table.radii[arcs, 0], table.radii[arcs, 1])[:, None]
    turn = np.arctan2(small * table.y[arcs], big * table.x[arcs])
    first, last = table.first[arcs][:, None], table.last[arcs][:, None]
    t = np.concatenate([turn, turn + np.pi], axis=1)
    return curves.evaluate(table, arcs, np.minimum(first + np.mod(t - first, 2 * np.pi), last))[0]


def widen(box: np.ndarray, spline: Spline, first: float, last: float) -> np.ndarray:
    """`box` : (2, d), lowest and highest coordinates, widened by a spline between two parameters, to about 1e-12 of the
    largest.

    Notes
    -----
    A piece lies in the hull of its Bézier poles. It is halved until that reaches no farther than the ends of the pieces
    do; a hull's excess falls by four with each halving.
    """
    breaks = bsplines.span_breaks(spline, min(first, last), max(first, last))
    poles = np.moveaxis(bsplines.bezier_poles(spline, breaks), -1, 0)
    poles, weights = poles[:-1], poles[-1]
    n_axes, n_pieces = poles.shape[:2]
    sides = np.concatenate([-poles, poles]).reshape(-1, poles.shape[2])
    owner = np.repeat(np.arange(2 * n_axes), n_pieces)
    slack = _RELATIVE * float(np.abs(poles / weights).max())
    peak = np.concatenate([-box[0], box[1]])
    _raise_peaks(sides, np.tile(weights, (2 * n_axes, 1)), owner, slack, peak)
    return np.stack([-peak[:n_axes], peak[n_axes:]])


def _raise_peaks(poles: np.ndarray, weights: np.ndarray, owner: np.ndarray, slack: float, peak: np.ndarray) -> None:
    """Raise `peak` : (owners,) to the largest value of any of an owner's Bézier polynomials.

    poles : (n, degree + 1), already multiplied with weights : (n, degree + 1) > 0; slack : how much may be missing.
    """
    for _ in range(_MAX_HALVINGS):
        value = poles / weights
        np.maximum.at(peak, owner, np.maximum(value[:, 0], value[:, -1]))
        above = np.flatnonzero(value.max(axis=1) > peak[owner] + slack)
        if not len(above):
            return
        poles, weights = _halve(poles[above]), _halve(weights[above])
        owner = np.tile(owner[above], 2)


def lies_within(surface: SplineSurface, low: np.ndarray, high: np.ndarray) -> bool:
    """Whether a whole spline surface lies in a box; where that takes too much subdivision, False too."""
    patches = bsplines.bezier_patches(surface)
    for _ in range(_MAX_HALVINGS):
        points = patches[..., :3] / patches[..., 3:]
        outside = (points < low) | (points > high)
        if outside[:, [0, 0, -1, -1], [0, -1, 0, -1]].any():
            return False
        patches = patches[outside.any(axis=(1, 2, 3))]
        if not len(patches):
            return True
        if len(patches) > _MAX_PATCHES:
            return False
        patches = np.swapaxes(_halve(np.swapaxes(_halve(patches), 1, 2)), 1, 2)
    return False


def _halve(poles: np.ndarray) -> np.ndarray:
    """(2 n, p + 1, …) the poles of the left halves, then of the right ones (de Casteljau's algorithm)."""
    left, right = np.empty_like(poles), np.empty_like(poles)
    last = poles.shape[1] - 1
    for step in range(last + 1):
        left[:, step], right[:, last - step] = poles[:, 0], poles[:, -1]
        poles = 0.5 * (poles[:, :-1] + poles[:, 1:])
    return np.concatenate([left, right])
