"""Lengths of curves, by closed forms or by Gauss's rule on ever shorter pieces."""

from __future__ import annotations

import numpy as np

from dflow.cadaccess import bsplines, curves, shapecode
from dflow.cadaccess.curves import CurveTable

_RELATIVE = 1e-9
_MAX_HALVINGS = 40
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(14)
_PIECES_A_CONIC = 8


def curve_lengths(table: CurveTable, rows: np.ndarray) -> np.ndarray:
    """(n,) float64, mm: the lengths of the curves `rows`, which numpy can evaluate, over their ranges.

    Closed forms for lines and circles; others to better than 1e-9 of their length.
    """
    kind, span = table.kind[rows], np.abs(table.last[rows] - table.first[rows])
    out = span * np.where(kind == shapecode.CIRCLE, table.radii[rows, 0], 1.0)
    other = np.flatnonzero(kind > shapecode.CIRCLE)
    if len(other):
        out[other] = _integrate(table, rows[other])
    return out


def _integrate(table: CurveTable, rows: np.ndarray) -> np.ndarray:
    """(n,) lengths: a piece counts when its two halves add up to as much as itself."""
    owner, low, high = _first_pieces(table, rows)
    length = _gauss(table, rows[owner], low, high)
    total = np.bincount(owner, length, len(rows))
    done = np.zeros(len(rows))
    for _ in range(_MAX_HALVINGS):
        middle = 0.5 * (low + high)
        owner, low, high = np.tile(owner, 2), np.append(low, middle), np.append(middle, high)
        halves = _gauss(table, rows[owner], low, high)
        left, right = np.split(halves, 2)
        settled = np.abs(left + right - length) <= _RELATIVE * total[owner[: len(length)]]
        both = np.tile(settled, 2)
        done += np.bincount(owner[both], halves[both], len(rows))
        owner, low, high, length = owner[~both], low[~both], high[~both], halves[~both]
        if not len(owner):
            return done
    return done + np.bincount(owner, length, len(rows))


def _first_pieces(table: CurveTable, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Owner, low and high of the pieces to begin with: a spline's polynomials, eight parts of a conic."""
    breaks = []
    for row in rows.tolist():
        low, high = sorted((float(table.first[row]), float(table.last[row])))
        spline = table.splines.get(row)
        if spline is None:
            breaks.append(np.linspace(low, high, _PIECES_A_CONIC + 1))
        else:
            breaks.append(bsplines.span_breaks(spline, low, high))
    owner = np.repeat(np.arange(len(rows)), [len(line) - 1 for line in breaks])
    return owner, np.concatenate([line[:-1] for line in breaks]), np.concatenate([line[1:] for line in breaks])


def _gauss(table: CurveTable, rows: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    half = 0.5 * (high - low)
    t = 0.5 * (low + high)[:, None] + half[:, None] * _NODES
    slopes = curves.evaluate(table, rows, t)[1]
    return half * (np.sqrt(np.einsum("nmk,nmk->nm", slopes, slopes)) @ _WEIGHTS)
