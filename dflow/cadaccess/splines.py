"""The spline curves of a table in a few arrays, as compiled loops take them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dflow.cadaccess import bsplines
from dflow.cadaccess.curves import CurveTable
from dflow.cadaccess.shapecode import Spline


@dataclass(frozen=True, slots=True)
class Splines:
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


_NONE = {
    d: Splines(
        np.empty(0, np.int32), np.empty((0, 6), np.int64), np.empty((0, d)), np.empty(0), np.empty(0), np.empty(0)
    )
    for d in (2, 3)
}


def collect(table: CurveTable) -> Splines:
    """The table's splines. One whose knots or weights do not fit its poles is left out."""
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
