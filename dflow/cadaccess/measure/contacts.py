"""Loops of one face that touch or cross each other in (u, v)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dflow.cadaccess.geometry import curves
from dflow.cadaccess.geometry.curves import CurveTable
from dflow.cadaccess.geometry.runs import run_lengths, run_starts
from dflow.cadaccess.geometry.tables import ShapeTables
from dflow.cadaccess.measure import trimming
from dflow.cadaccess.measure.trimming import ON_TOLERANCE, Chords

_PARTS = 4
"""A piece of curve is cut into so many, whose chords come 16 times as close to it."""
_ROUNDS = 8
_MAX_PAIRS = 50_000
"""With more undecided pairs, two loops run along each other."""

_FINER = 3
"""Times that curved chords are cut into `_PARTS` where loops are examined for crossing."""
_STATIONS = 64
"""Points along a straight chord there."""
_MOST_PIECES = 1024
"""In a loop; of a longer one fewer points are examined."""
_CLEAR = 20.0
"""In `ON_TOLERANCE`: a point that is farther from a loop lies on one of its sides."""
_MAX_CELLS = 500_000


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


def find_contacts(tables: ShapeTables, chords: Chords) -> np.ndarray:
    """Return the pairs of loops of one face that come within `ON_TOLERANCE` of each other in (u, v): (n, 3) int, the
    face's row and the two loops', sorted.
    """
    none = np.zeros((0, 3), np.int64)
    if not (tables.face_loops > 1).any() or not len(chords.use):
        return none
    one, other = _neighbours(tables, chords)
    near = ~_circles_apart(tables.use_curves, chords.use[one], chords.use[other])
    one, other = one[near], other[near]
    if not len(one):
        return none
    loop = tables.use_loop[chords.use].astype(np.int64)
    n_loops = int(loop.max()) + 1
    key = loop[one] * n_loops + loop[other]
    every = _Pieces(chords.use, chords.t0, chords.t1, chords.start, chords.end, chords.sagitta)
    left, right = every.take(one), every.take(other)
    met = np.zeros(0, np.int64)
    for _ in range(_ROUNDS):
        close = np.flatnonzero(_distance(left, right) <= left.sagitta + right.sagitta + ON_TOLERANCE)
        if not len(close) and not len(met):
            return none
        key, left, right = key[close], left.take(close), right.take(close)
        if not len(key) or len(key) > _MAX_PAIRS:
            break
        final = np.maximum(left.sagitta, right.sagitta) <= 2 * ON_TOLERANCE
        if final.any():
            met = np.union1d(met, key[final])
            open_ = np.flatnonzero(~np.isin(key, met))
            key, left, right = key[open_], left.take(open_), right.take(open_)
        which, i, j = (x.ravel() for x in np.indices((len(key), _PARTS, _PARTS)))
        a, b = left.cut(tables.use_curves), right.cut(tables.use_curves)
        key, left, right = key[which], a.take(which * _PARTS + i), b.take(which * _PARTS + j)
    both = np.stack(np.divmod(np.union1d(met, key), n_loops), axis=1)
    owner = np.zeros(n_loops, np.int64)
    owner[loop] = chords.face
    return np.column_stack([owner[both[:, 0]], both])


def find_crossing(tables: ShapeTables, chords: Chords, pairs: np.ndarray) -> int:
    """Return the first face two of whose loops cross, -1 where there is none: one lies partly within the other and
    partly outside of it, by more than loops that touch may; or a hole lies outside of the outer loop, or in a hole.

    Parameters
    ----------
    pairs : (n, 3) int, those of `find_contacts`.
    """
    loop = tables.use_loop[chords.use]
    outlines: dict[int, _Outline] = {}
    for face, *both in pairs.tolist():
        for each in both:
            if each not in outlines:
                outlines[each] = _Outline.of(tables, chords, np.flatnonzero(loop == each))
        if not _are_apart(*(outlines[each] for each in both)):
            return int(face)
    return -1


@dataclass(frozen=True, slots=True)
class _Outline:
    """A loop as n short chords, `start`, `end` : (n, 2), `sagitta` : (n,); and `points` : (m, 2) on its curves.

    `area` : in (u, v), negative where it runs clockwise.
    """

    start: np.ndarray
    end: np.ndarray
    sagitta: np.ndarray
    points: np.ndarray
    area: float

    @classmethod
    def of(cls, tables: ShapeTables, chords: Chords, rows: np.ndarray) -> _Outline:
        columns = (chords.use, chords.t0, chords.t1, chords.start, chords.end, chords.sagitta)
        pieces = _Pieces(*(column[rows] for column in columns))
        curved = pieces.take(np.flatnonzero(pieces.sagitta > 0))
        for _ in range(_FINER):
            curved = curved.cut(tables.use_curves) if len(curved.use) * _PARTS <= _MOST_PIECES else curved
        straight = pieces.take(np.flatnonzero(pieces.sagitta == 0))
        stations = min(_STATIONS, 1 + _MOST_PIECES // (1 + len(straight.use)))
        share = np.linspace(0.0, 1.0, stations, endpoint=False)[:, None]
        a, b = pieces.start - pieces.start[0], pieces.end - pieces.start[0]
        along = straight.start[:, None] + share * (straight.end - straight.start)[:, None]
        return cls(
            start=np.concatenate([straight.start, curved.start]),
            end=np.concatenate([straight.end, curved.end]),
            sagitta=np.concatenate([straight.sagitta, curved.sagitta]),
            points=np.concatenate([along.reshape(-1, 2), curved.start]),
            area=float(np.where(tables.use_forward[pieces.use], 0.5, -0.5) @ (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])),
        )


def _are_apart(one: _Outline, other: _Outline) -> bool:
    """Whether two loops of a face lie as loops should: holes side by side, or a hole within an outer loop."""
    hole, outer = sorted((one, other), key=lambda outline: outline.area)
    within, without = _sides(hole, outer)
    contains, leaves = _sides(outer, hole)
    if (within and without) or (contains and leaves):
        return False
    return not (without if hole.area < 0 < outer.area else within or contains)


def _sides(one: _Outline, other: _Outline) -> tuple[bool, bool]:
    """Whether the loop `one` has points within `other`, and whether it has points outside of it."""
    low, high = np.minimum(other.start, other.end).min(axis=0), np.maximum(other.start, other.end).max(axis=0)
    clear = _CLEAR * ON_TOLERANCE
    reach = clear + float(other.sagitta.max(initial=0.0))
    beyond = ((one.points < low - reach) | (one.points > high + reach)).any(axis=1)
    points = one.points[~beyond]
    within, without = False, bool(beyond.any())
    along = other.end - other.start
    length = np.maximum((along * along).sum(axis=1), np.finfo(float).tiny)
    for part in np.array_split(points, 1 + len(points) * len(along) // _MAX_CELLS):
        off = part[:, None] - other.start
        share = np.clip((off * along).sum(axis=2) / length, 0.0, 1.0)
        away = np.linalg.norm(off - share[..., None] * along, axis=2) - other.sagitta
        above = (other.start[:, 1] > part[:, 1:]) != (other.end[:, 1] > part[:, 1:])
        rise = np.where(along[:, 1] != 0, along[:, 1], 1.0)
        crossing = other.start[:, 0] + along[:, 0] * (off[..., 1] / rise)
        inside = np.count_nonzero(above & (crossing > part[:, :1]), axis=1) % 2 == 1
        sure = away.min(axis=1) > clear
        within, without = within or bool((inside & sure).any()), without or bool((~inside & sure).any())
    return within, without


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
    """(n,) bool: circles that lie side by side or one in the other, however close, which needs many subdivisions."""
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
