"""Where the loops of one face touch or cross: full healing cuts their edges there
(``ShapeFix_Face::FixIntersectingWires``).

Loops, then chords whose boxes keep apart are sorted out first; what is left is told by distance, the pieces of curve
cut until their chords say all. Cost: next to nothing where every face has one loop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dflow.cadaccess import curves, trimming
from dflow.cadaccess.curves import CurveTable
from dflow.cadaccess.runs import run_lengths, run_starts
from dflow.cadaccess.tables import ShapeTables
from dflow.cadaccess.trimming import ON_TOLERANCE, Chords

_PARTS = 4
"""A piece of curve is cut into so many, whose chords come 16 times as close to it."""
_ROUNDS = 8
_MAX_PAIRS = 50_000
"""With more pairs in doubt, two loops run along each other."""


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Pieces of curve with their chords, n rows; fields as in `Chords`."""

    use: np.ndarray
    t0: np.ndarray
    t1: np.ndarray
    start: np.ndarray
    end: np.ndarray
    sagitta: np.ndarray

    def take(self, rows: np.ndarray) -> _Pieces:
        columns = (self.use, self.t0, self.t1, self.start, self.end, self.sagitta)
        return _Pieces(*(column[rows] for column in columns))

    def cut(self, table: CurveTable) -> _Pieces:
        """Each piece in `_PARTS`, one after the other; straight ones along their chord."""
        share = np.arange(_PARTS + 1) / _PARTS
        t = self.t0[:, None] + (self.t1 - self.t0)[:, None] * share
        bent = np.flatnonzero(self.sagitta > 0)
        corner = self.start[:, None] + (self.end - self.start)[:, None] * share[:, None]
        corner[bent, 1:-1] = curves.evaluate(table, self.use[bent], t[bent, 1:-1])[0]
        corner[:, -1] = self.end
        use, t0, t1 = np.repeat(self.use, _PARTS), t[:, :-1].ravel(), t[:, 1:].ravel()
        start, end = corner[:, :-1].reshape(-1, 2), corner[:, 1:].reshape(-1, 2)
        sagitta = np.zeros(len(use))
        part = np.flatnonzero(np.repeat(self.sagitta > 0, _PARTS))
        sagitta[part] = trimming.bound_sagitta(table, use[part], t0[part], t1[part], start[part], end[part])
        return _Pieces(use, t0, t1, start, end, sagitta)


def find_contact(tables: ShapeTables, chords: Chords) -> int:
    """A face two of whose loops come within `ON_TOLERANCE` of each other in (u, v); -1 where there is none."""
    if not (tables.face_loops > 1).any() or not len(chords.use):
        return -1
    one, other = _neighbours(tables, chords)
    near = ~_circles_apart(tables.use_curves, chords.use[one], chords.use[other])
    one, other = one[near], other[near]
    face = chords.face[one]
    every = _Pieces(chords.use, chords.t0, chords.t1, chords.start, chords.end, chords.sagitta)
    left, right = every.take(one), every.take(other)
    for _ in range(_ROUNDS):
        close = np.flatnonzero(_distance(left, right) <= left.sagitta + right.sagitta + ON_TOLERANCE)
        face, left, right = face[close], left.take(close), right.take(close)
        if not len(face):
            return -1
        final = np.maximum(left.sagitta, right.sagitta) <= 2 * ON_TOLERANCE
        if final.any() or len(face) > _MAX_PAIRS:
            return int(face[final.argmax()])
        face = np.repeat(face, _PARTS**2)
        a, b = left.cut(tables.use_curves), right.cut(tables.use_curves)
        pair, i, j = (x.ravel() for x in np.indices((len(close), _PARTS, _PARTS)))
        left, right = a.take(pair * _PARTS + i), b.take(pair * _PARTS + j)
    return int(face[0])


def _neighbours(tables: ShapeTables, chords: Chords) -> tuple[np.ndarray, np.ndarray]:
    """Chords of two loops of a face whose boxes meet, as two columns."""
    reach = (chords.sagitta + 0.5 * ON_TOLERANCE)[:, None]
    low, high = np.minimum(chords.start, chords.end) - reach, np.maximum(chords.start, chords.end) + reach
    loop = tables.use_loop[chords.use]
    begin = run_starts(loop)
    size = run_lengths(begin, len(loop))
    box_low, box_high = np.minimum.reduceat(low, begin), np.maximum.reduceat(high, begin)
    a, b = _pairs_of_runs(chords.face[begin])
    near = _meet(box_low[a], box_high[a], box_low[b], box_high[b])
    a, b = a[near], b[near]
    pair, one = _expand(begin[a], size[a])
    near = _meet(low[one], high[one], box_low[b[pair]], box_high[b[pair]])
    pair, one = pair[near], one[near]
    row, other = _expand(begin[b[pair]], size[b[pair]])
    near = _meet(low[one[row]], high[one[row]], low[other], high[other])
    return one[row[near]], other[near]


def _circles_apart(table: CurveTable, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(n,) bool: circles that lie side by side or one in the other, however close, which would take much cutting."""
    round_ = trimming.is_round(table, one) & trimming.is_round(table, other)
    a, b = table.radii[one, 0], table.radii[other, 0]
    between = np.hypot(*(table.origin[one] - table.origin[other]).T)
    apart: np.ndarray = round_ & (np.maximum(between - a - b, np.abs(a - b) - between) > ON_TOLERANCE)
    return apart


def _pairs_of_runs(owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every two rows with the same `owner` : (n,) sorted, the earlier first."""
    last = np.searchsorted(owner, owner, side="right")
    after = np.arange(1, len(owner) + 1)
    return _expand(after, last - after)


def _expand(begin: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ranges ``begin … begin + count``: which range, and which number of it."""
    which = np.repeat(np.arange(len(count)), count)
    return which, begin[which] + np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)


def _meet(low: np.ndarray, high: np.ndarray, other_low: np.ndarray, other_high: np.ndarray) -> np.ndarray:
    """(n,) bool: which boxes have a point in common."""
    u, v = ((low <= other_high) & (other_low <= high)).T
    met: np.ndarray = u & v
    return met


def _distance(left: _Pieces, right: _Pieces) -> np.ndarray:
    """(n,) between chords: 0 where they cross, else from an end of one to the other."""
    a, b, c, d = left.start, left.end, right.start, right.end
    away = np.minimum(_to_chord(a, c, d), _to_chord(b, c, d))
    away = np.minimum(away, np.minimum(_to_chord(c, a, b), _to_chord(d, a, b)))
    crossed = (_side(a, b, c) * _side(a, b, d) < 0) & (_side(c, d, a) * _side(c, d, b) < 0)
    return np.where(crossed, 0.0, away)


def _to_chord(point: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    along, off = end - start, point - start
    length = (along * along).sum(axis=1)
    share = np.clip((off * along).sum(axis=1) / np.where(length > 0, length, 1.0), 0.0, 1.0)
    away: np.ndarray = np.hypot(*(off - share[:, None] * along).T)
    return away


def _side(start: np.ndarray, end: np.ndarray, point: np.ndarray) -> np.ndarray:
    along, off = end - start, point - start
    side: np.ndarray = np.sign(along[:, 0] * off[:, 1] - along[:, 1] * off[:, 0])
    return side
