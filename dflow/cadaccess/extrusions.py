"""Area and centroid of trimmed extrusions, as integrals around their loops.

On ``S(u, v) = C(u) + v D`` an element's area ``s(u) du dv`` with ``s = |C' × D|`` does not depend on v, so that by
Green's theorem ``∬ s du dv = −∮ s v du``, and the centroid likewise. The kernel integrates over the whole of a curve at
once: on one of a hundred knot spans its area does not converge (it was 5 % off, whatever error was allowed).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dflow.cadaccess import bsplines, curves, shapecode
from dflow.cadaccess.curves import CurveTable
from dflow.cadaccess.tables import ShapeTables
from dflow.cadaccess.trimming import Chords

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)
_TOLERANCE = 1e-11
"""Of the integral of the absolute value: what halving a piece may change."""
_ROUNDS = 30
_MAX_PIECES = 20_000


@dataclass(frozen=True, slots=True)
class _Face:
    """What is integrated over: one face's surface and its chords.

    Attributes
    ----------
    sweep : its curve C, a table of one row; direction : (3,) D; middle : v that heights are taken from.
    rows : (n,) the face's chords; sign : (n,) float64, -1 where the loop runs against the chord.
    """

    tables: ShapeTables
    chords: Chords
    sweep: CurveTable
    direction: np.ndarray
    middle: float
    rows: np.ndarray
    sign: np.ndarray


def face_moments(tables: ShapeTables, chords: Chords, row: int) -> tuple[float, np.ndarray] | None:
    """Area in mm², negative where the loops run the wrong way round, and centroid (3,) in mm of an extruded face.

    None for other faces; and where the loops do not close, the curve is one that numpy does not know, or the integral
    does not settle or is 0.
    """
    sweep = tables.faces.sweeps.get(row) if tables.faces.kind[row] == shapecode.EXTRUSION else None
    if sweep is None or not sweep.evaluable[0] or not chords.closed[row]:
        return None
    rows = np.arange(chords.first[row], chords.first[row + 1])
    height = np.concatenate([chords.start[rows, 1], chords.end[rows, 1]])
    sign = np.where(tables.use_forward[chords.use[rows]], 1.0, -1.0)
    middle = 0.5 * float(height.min() + height.max())
    face = _Face(tables, chords, sweep, tables.faces.z[row], middle, rows, sign)
    sums = _integrate(face)
    if sums is None or sums[0] == 0:
        return None
    return float(sums[0]), sums[1:] / sums[0]


def _integrate(face: _Face) -> np.ndarray | None:
    """(4,) area and first moment; pieces are halved until that changes nothing."""
    chord, begin, end = _cut_at_knots(face)
    values = _quadrature(face, chord, begin, end)
    total = np.zeros(4)
    scale = np.abs(values).sum(axis=0)
    for _ in range(_ROUNDS):
        middle = 0.5 * (begin + end)
        halves = [_quadrature(face, chord, *ends) for ends in ((begin, middle), (middle, end))]
        finer = halves[0] + halves[1]
        scale = np.maximum(scale, np.abs(total) + np.abs(finer).sum(axis=0))
        open_ = (np.abs(finer - values) > _TOLERANCE * scale).any(axis=1)
        total += finer[~open_].sum(axis=0)
        if not open_.any():
            return total
        if open_.sum() > _MAX_PIECES:
            return None
        chord = np.tile(chord[open_], 2)
        begin, end = np.append(begin[open_], middle[open_]), np.append(middle[open_], end[open_])
        values = np.concatenate([half[open_] for half in halves])
    return None


def _cut_at_knots(face: _Face) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pieces of chords, which of `face.rows` and from which to which share of it, cut where u passes a knot of C."""
    spline = face.sweep.splines.get(0)
    chord, begin, end = [], [], []
    for i, row in enumerate(face.rows.tolist()):
        first, last = face.chords.start[row, 0], face.chords.end[row, 0]
        if first == last and face.chords.sagitta[row] == 0:
            continue  # along D: du is 0
        cuts = np.array([0.0, 1.0])
        if spline is not None and first != last:
            breaks = bsplines.span_breaks(spline, min(first, last), max(first, last))
            cuts = np.sort((breaks - first) / (last - first))
        chord += [i] * (len(cuts) - 1)
        begin.append(cuts[:-1])
        end.append(cuts[1:])
    if not chord:
        return np.zeros(0, int), np.zeros(0), np.zeros(0)
    return np.array(chord), np.concatenate(begin), np.concatenate(end)


def _quadrature(face: _Face, chord: np.ndarray, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(n, 4) each piece's share of the area and of the first moment."""
    half = 0.5 * (end - begin)[:, None]
    share = begin[:, None] + half * (1.0 + _NODES)
    uv, slope = _along_chords(face, chord, share)
    point, along = (a[0].reshape(*share.shape, 3) for a in _on_curve(face.sweep, uv[..., 0].reshape(1, -1)))
    cross = np.cross(along, face.direction)
    size = np.sqrt(np.einsum("nki,nki->nk", cross, cross))
    high = uv[..., 1] - face.middle
    weight = -face.sign[chord][:, None] * half * _WEIGHTS * size * high * slope
    arm = point + (face.middle + 0.5 * high)[..., None] * face.direction
    return np.column_stack([weight.sum(axis=1), np.einsum("nk,nki->ni", weight, arm)])


def _on_curve(sweep: CurveTable, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return curves.evaluate(sweep, np.zeros(1, int), u)


def _along_chords(face: _Face, chord: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(u, v) : (n, k, 2) at shares of the chords' pieces of curve, and the slope of u there (n, k)."""
    chords, row = face.chords, face.rows[chord]
    run = chords.end[row] - chords.start[row]
    uv = chords.start[row][:, None] + share[..., None] * run[:, None]
    slope = np.broadcast_to(run[:, :1], share.shape).copy()
    bent = np.flatnonzero(chords.sagitta[row] > 0)
    if len(bent):
        first, span = chords.t0[row[bent]][:, None], (chords.t1 - chords.t0)[row[bent]][:, None]
        uv[bent], ahead = curves.evaluate(face.tables.use_curves, chords.use[row[bent]], first + share[bent] * span)
        slope[bent] = ahead[..., 0] * span
    return uv, slope
