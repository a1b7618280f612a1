"""Trimming loops as chords in (u, v), and the points inside of them, for many faces at once.

Every boundary curve becomes a few chords. A point's parity against the chords (even-odd rule) is exact for straight
boundaries; for curved ones it is corrected by the slivers between chord and curve that hold the point, so that the
result is that of the exact curves however coarse the chords are. Points within `ON_TOLERANCE` of a boundary count as
inside.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dflow.cadaccess.geometry import bsplines, curves
from dflow.cadaccess.geometry.curves import CurveTable
from dflow.cadaccess.geometry.runs import run_numbers, run_starts
from dflow.cadaccess.geometry.tables import ShapeTables
from dflow.cadaccess.kernel import bintools
from dflow.cadaccess.kernel.bintools import Spline
from dflow.errors import GeometryError

ON_TOLERANCE = 1e-6
"""In (u, v) units, as `IntTools_FClass2d` takes it."""

SNAP = 1e-12
"""Of the (u, v) coordinates: the distance within which two ends are the same point, rounded differently."""

GAP = 1e-3
"""Of a loop's size: how wide a gap between two curves may be (vertices have tolerances) for the loop to count as
closed.
"""

_MAX_CELLS = 4_000_000
_ARC = np.pi / 4
_CHORDS_A_SPLINE = 16


@dataclass(frozen=True, slots=True)
class Chords:
    """The boundaries of faces as chords, sorted by face.

    Attributes
    ----------
    face, use : (n,) int; t0, t1 : (n,) float64, the piece of the use's curve under a chord.
    start, end : (n, 2) float64, its ends in (u, v).
    sagitta : (n,) float64, how far the curve strays from the chord at most; 0 for straight pieces.
    first : (n_faces + 1,) int64, where each face's chords begin.
    closed : (n_faces,) bool: the face has loops, all their curves have tables, and each loop returns to its start.
    """

    face: np.ndarray
    use: np.ndarray
    t0: np.ndarray
    t1: np.ndarray
    start: np.ndarray
    end: np.ndarray
    sagitta: np.ndarray
    first: np.ndarray
    closed: np.ndarray


def build_chords(tables: ShapeTables) -> Chords:
    """Return the chords of all faces; uses whose curve has no table are left out."""
    table = tables.use_curves
    uses = np.flatnonzero(tables.use_boundary & table.evaluable)
    rows, t0, t1, curved = _cut(table, uses)
    start, end = _chord_ends(table, uses, rows, t0, t1)
    sagitta = np.zeros(len(rows))
    bent = np.flatnonzero(curved)
    if len(bent):
        sagitta[bent] = bound_sagitta(table, rows[bent], t0[bent], t1[bent], start[bent], end[bent])
    face = tables.use_face[rows]
    first = np.searchsorted(face, np.arange(tables.n_faces + 1))
    chords = Chords(face, rows, t0, t1, start, end, sagitta, first, evaluable_faces(tables))
    return _close_loops(tables, chords)


def _chord_ends(
    table: CurveTable, uses: np.ndarray, rows: np.ndarray, t0: np.ndarray, t1: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(n, 2) each: where chords begin and end. A use's chord begins where the one before it ends."""
    last = np.append(run_starts(rows)[1:], len(rows))[: len(uses)] - 1
    start = curves.evaluate(table, rows, t0[:, None])[0][:, 0]
    end = np.empty_like(start)
    end[:-1] = start[1:]
    end[last] = curves.evaluate(table, uses, t1[last, None])[0][:, 0]
    return start, end


def _close_loops(tables: ShapeTables, chords: Chords) -> Chords:
    """Let each curve of a loop begin where the one before ends, so that no line passes between them.

    Rounding errors are removed from the ends; wider gaps, up to `GAP` of the loop's size, are bridged by a chord of
    their own. A face with a loop that has a still wider gap is not `closed`.
    """
    rows = chords.use
    if not len(rows):
        return chords
    start, end, closed = chords.start.copy(), chords.end.copy(), chords.closed.copy()
    head = run_starts(rows)
    tail = np.append(head[1:], len(rows)) - 1
    use = rows[head]
    forward, loop = tables.use_forward[use], tables.use_loop[use]
    leaves = np.where(forward[:, None], end[tail], start[head])
    enters = np.where(forward[:, None], start[head], end[tail])
    first = run_starts(loop)
    number = run_numbers(first, len(use))
    follower, gap, pending = _chain(first, leaves, enters, GAP * _loop_size(start, end, head[first]))
    closed[tables.use_face[use[first[pending]]]] = False
    scale = 1.0 + np.maximum(np.abs(leaves), np.abs(enters[follower])).max(axis=1)
    snap = (gap <= SNAP * scale) & ~pending[number]
    target = follower[snap]
    onward = forward[target]
    start[head[target[onward]]] = leaves[snap][onward]
    end[tail[target[~onward]]] = leaves[snap][~onward]
    mended = replace(chords, start=start, end=end, closed=closed)
    bridges = np.flatnonzero(~snap & ~pending[number])
    if not len(bridges):
        return mended
    return _add_bridges(mended, tail[bridges], forward[bridges], leaves[bridges], enters[follower[bridges]])


def _loop_size(start: np.ndarray, end: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The larger side of each loop's box; `first` are the loops' first chords."""
    low = np.minimum.reduceat(np.minimum(start, end), first, axis=0)
    high = np.maximum.reduceat(np.maximum(start, end), first, axis=0)
    return (high - low).max(axis=1)


def _chain(
    first: np.ndarray, leaves: np.ndarray, enters: np.ndarray, allowed: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each curve's successor in its loop, the gap to it, and (loops,) bool: loops with a gap wider than `allowed`."""
    number = run_numbers(first, len(leaves))
    chosen, gaps = np.arange(len(leaves)), np.zeros(len(leaves))
    pending = np.ones(len(first), bool)
    for attempt in (_stored_order, _reverse_order, _nearest_order):
        if not pending.any():
            break
        follower = attempt(first, leaves, enters, pending)
        gap = np.abs(enters[follower] - leaves).max(axis=1)
        fits = pending & (np.maximum.reduceat(gap, first) <= allowed)
        chosen[fits[number]], gaps[fits[number]] = follower[fits[number]], gap[fits[number]]
        pending &= ~fits
    return chosen, gaps, pending


def _stored_order(first: np.ndarray, leaves: np.ndarray, enters: np.ndarray, pending: np.ndarray) -> np.ndarray:
    """The order as stored: along the wire, ..."""
    onward = np.arange(1, len(leaves) + 1)
    onward[np.append(first[1:], len(leaves)) - 1] = first
    return onward


def _reverse_order(first: np.ndarray, leaves: np.ndarray, enters: np.ndarray, pending: np.ndarray) -> np.ndarray:
    """... the reverse order, as files without healing may have it, ..."""
    backward = np.arange(-1, len(leaves) - 1)
    backward[first] = np.append(first[1:], len(leaves)) - 1
    return backward


def _nearest_order(first: np.ndarray, leaves: np.ndarray, enters: np.ndarray, pending: np.ndarray) -> np.ndarray:
    """... or any order, as boolean operations leave it: the nearest unused curve comes next."""
    follower = _stored_order(first, leaves, enters, pending)
    last = np.append(first[1:], len(leaves))
    for loop in np.flatnonzero(pending).tolist():
        begin, end = int(first[loop]), int(last[loop])
        free = np.arange(begin + 1, end)
        at = begin
        while len(free):
            nearest = int(np.abs(enters[free] - leaves[at]).max(axis=1).argmin())
            following = int(free[nearest])
            follower[at] = following
            at = following
            free = np.delete(free, nearest)
        follower[at] = begin
    return follower


def _add_bridges(
    chords: Chords, after: np.ndarray, forward: np.ndarray, leaves: np.ndarray, enters: np.ndarray
) -> Chords:
    """The chords with straight ones across gaps behind the chords `after`."""
    at = after + 1
    fields = {
        "face": chords.face[after],
        "use": chords.use[after],
        "t0": chords.t1[after],
        "t1": chords.t1[after],
        "start": np.where(forward[:, None], leaves, enters),
        "end": np.where(forward[:, None], enters, leaves),
        "sagitta": np.zeros(len(after)),
    }
    wider = {name: np.insert(getattr(chords, name), at, values, axis=0) for name, values in fields.items()}
    first = np.searchsorted(wider["face"], np.arange(len(chords.first)))
    return Chords(**wider, first=first, closed=chords.closed)


def _cut(table: CurveTable, uses: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(use, t0, t1, curved) of each chord: one per line, one per eighth of a circle, one to eight per knot span of a
    spline.
    """
    kind, span = table.kind[uses], table.last[uses] - table.first[uses]
    if not np.isfinite(span).all():
        raise GeometryError("an edge of the shape has no finite range on its face")
    count = np.ones(len(uses), int)
    conic = (kind != bintools.LINE) & (kind < bintools.BEZIER)
    count[conic] = np.clip(np.ceil(np.abs(span[conic]) / _ARC - 1e-9), 2, 1024)
    breaks = {}
    for i in np.flatnonzero(kind >= bintools.BEZIER).tolist():
        use = int(uses[i])
        if _is_straight(table.splines[use]):
            continue
        breaks[i] = _spline_breaks(table.splines[use], float(table.first[use]), float(table.last[use]))
        count[i] = len(breaks[i]) - 1
    rows = np.repeat(uses, count)
    step = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
    share = np.repeat(span / count, count)
    low = np.repeat(table.first[uses], count)
    t0, t1 = low + step * share, low + (step + 1) * share
    offset = np.cumsum(count) - count
    t1[offset + count - 1] = table.last[uses]
    for i, at in breaks.items():
        t0[offset[i] : offset[i] + count[i]], t1[offset[i] : offset[i] + count[i]] = at[:-1], at[1:]
    curved = conic.copy()
    curved[list(breaks)] = True
    return rows, t0, t1, np.repeat(curved, count)


def _spline_breaks(spline: Spline, first: float, last: float) -> np.ndarray:
    """Parameters that cut [first, last] at the knots and each span into equal parts."""
    ends = bsplines.span_breaks(spline, min(first, last), max(first, last))
    n = min(max(_CHORDS_A_SPLINE // (len(ends) - 1), 1), 8)
    parts = np.linspace(ends[:-1], ends[1:], n + 1, axis=1)
    line = np.append(parts[:, :-1].ravel(), ends[-1])
    return line if first <= last else line[::-1]


def _is_straight(spline: Spline) -> bool:
    """Return whether the poles run straight from the first to the last, so that the curve is a line."""
    along = spline.poles[-1] - spline.poles[0]
    off = spline.poles - spline.poles[0]
    size = float(along @ along)
    if not size > 0:
        return False
    path = off @ along
    straight = np.abs(along[0] * off[:, 1] - along[1] * off[:, 0]) <= 1e-12 * size
    return bool(straight.all() and (np.diff(path) >= 0).all())


def bound_sagitta(
    table: CurveTable, rows: np.ndarray, t0: np.ndarray, t1: np.ndarray, start: np.ndarray, end: np.ndarray
) -> np.ndarray:
    """An upper bound of the distance between chord and curve, from three points of each piece."""
    t = t0[:, None] + (t1 - t0)[:, None] * np.array([0.25, 0.5, 0.75])
    points, _ = curves.evaluate(table, rows, t)
    along = end - start
    length = np.hypot(along[:, 0], along[:, 1])
    off = points - start[:, None]
    height = np.abs(along[:, None, 0] * off[..., 1] - along[:, None, 1] * off[..., 0])
    return 1.5 * height.max(axis=1) / np.where(length > 0, length, 1.0) + ON_TOLERANCE


def inside(
    tables: ShapeTables, chords: Chords, faces: np.ndarray, u: np.ndarray, v: np.ndarray, *, closed: bool = True
) -> np.ndarray:
    """Return which points lie in their face, and if `closed` those on its boundary too.

    Parameters
    ----------
    faces : (k,) int; u : (k, a) float64; v : (k, a, b) or (k, 1, b) float64: b points on each of the a lines of
        constant u.

    Returns
    -------
    (k, a, b) bool.
    """
    (k, a), b = u.shape, v.shape[2]
    out = np.zeros((k, a, b), bool)
    size = chords.first[faces + 1] - chords.first[faces]
    cells = np.cumsum(size * a)
    done = 0
    while done < k:
        before = cells[done - 1] if done else 0
        stop = max(int(np.searchsorted(cells, before + _MAX_CELLS, side="right")), done + 1)
        part = slice(done, stop)
        lines = _Lines.of(chords, faces[part], size[part], u[part], v[part])
        parity, on = _parity(lines)
        curved = np.flatnonzero(lines.sagitta > 0)
        if len(curved):
            flips, close = _slivers(tables.use_curves, chords, lines, curved)
            parity ^= flips
            on |= close
        out[part] = parity | on if closed else parity & ~on
        done = stop
    return out


@dataclass(frozen=True, slots=True)
class _Lines:
    """The chords of k faces, m together, and each face's lines of constant u.

    Attributes
    ----------
    u : (k, a) float64; v : (k, a, b) or (k, 1, b) float64.
    chord, slot : (m,) int, rows of the chords and of their faces among the k.
    u0, v0, u1, v1, sagitta : (m,) float64.
    level : (m,) bool, chords that are not vertical; slope, base : (m,) float64, ``v = base + slope · u`` on them.
    """

    u: np.ndarray
    v: np.ndarray
    chord: np.ndarray
    slot: np.ndarray
    u0: np.ndarray
    v0: np.ndarray
    u1: np.ndarray
    v1: np.ndarray
    sagitta: np.ndarray
    level: np.ndarray
    slope: np.ndarray
    base: np.ndarray

    @classmethod
    def of(cls, chords: Chords, faces: np.ndarray, size: np.ndarray, u: np.ndarray, v: np.ndarray) -> _Lines:
        slot = np.repeat(np.arange(len(faces)), size)
        chord = np.arange(len(slot)) + np.repeat(chords.first[faces] - np.cumsum(size) + size, size)
        (u0, v0), (u1, v1) = chords.start[chord].T, chords.end[chord].T
        run, rise = u1 - u0, v1 - v0
        level = np.abs(run) > 1e-12 * np.abs(rise)
        slope = np.divide(rise, run, out=np.zeros_like(run), where=level)
        base = np.where(level, v0 - slope * u0, 0.5 * (v0 + v1))
        return cls(u, v, chord, slot, u0, v0, u1, v1, chords.sagitta[chord], level, slope, base)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(k, a, b)."""
        return *self.u.shape, self.v.shape[2]

    def near(self, which: np.ndarray | slice, reach: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """Line and place in `which` of every chord that comes within `reach` of a line, line after line."""
        low, high = np.minimum(self.u0, self.u1)[which] - reach, np.maximum(self.u0, self.u1)[which] + reach
        at = self.u.T[:, self.slot[which]]
        line, found = np.nonzero((low <= at) & (at <= high))
        return line, found

    def v_on(self, slot: np.ndarray, line: np.ndarray) -> np.ndarray:
        """(n, b) the points' v on lines of faces."""
        return self.v[slot, line] if self.v.shape[1] > 1 else self.v[slot, 0]


def _parity(lines: _Lines) -> tuple[np.ndarray, np.ndarray]:
    """(k, a, b) bool, twice: points with an odd number of chords above them, and points next to a straight chord."""
    parity, on = np.zeros(lines.shape, bool), np.zeros(lines.shape, bool)
    line, chord = lines.near(slice(None), ON_TOLERANCE)
    if not len(line):
        return parity, on
    slot = lines.slot[chord]
    at, v = lines.u[slot, line], lines.v_on(slot, line)
    crosses = (lines.u0[chord] <= at) != (lines.u1[chord] <= at)
    gap = (lines.base[chord] + lines.slope[chord] * at)[:, None] - v  # how far the chord lies above the point
    first = run_starts(line * len(lines.u) + slot)
    cell = slot[first], line[first]
    parity[cell] = np.bitwise_xor.reduceat(crosses[:, None] & (gap > 0), first, axis=0)
    # Near the line through a chord, and no farther along it than its ends.
    half = 0.5 * np.abs(lines.v1 - lines.v0) + ON_TOLERANCE
    reach = np.where(lines.level, ON_TOLERANCE * np.sqrt(1 + lines.slope**2), half)
    reach[lines.sagitta > 0] = -1.0
    beside = np.abs(v - (0.5 * (lines.v0 + lines.v1))[chord, None]) <= half[chord, None]
    on[cell] = np.bitwise_or.reduceat((np.abs(gap) <= reach[chord, None]) & beside, first, axis=0)
    return parity, on


def _slivers(table: CurveTable, chords: Chords, lines: _Lines, curved: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(k, a, b) bool, twice: points whose parity is wrong, for they lie in a sliver between chord and curve (in an odd
    number of them), and points on a curve.
    """
    flips, close = np.zeros(lines.shape, bool), np.zeros(lines.shape, bool)
    rise, run = (lines.v1 - lines.v0)[curved], (lines.u1 - lines.u0)[curved]
    length, reach = np.hypot(run, rise), lines.sagitta[curved]
    curved, run, rise, length, reach = (a[length > 0] for a in (curved, run, rise, length, reach))
    line, which = lines.near(curved, reach + ON_TOLERANCE)
    slot = lines.slot[curved[which]]
    at, v = lines.u[slot, line], lines.v_on(slot, line)
    along_u, along_v = (run / length)[which], (rise / length)[which]
    off_u, off_v = at - lines.u0[curved[which]], v - lines.v0[curved[which], None]
    height = along_u[:, None] * off_v - (along_v * off_u)[:, None]
    path = along_v[:, None] * off_v + (along_u * off_u)[:, None]
    end = (length + ON_TOLERANCE)[which, None]
    pair, j = np.nonzero((np.abs(height) <= reach[which, None]) & (path >= -ON_TOLERANCE) & (path <= end))
    if not len(pair):
        return flips, close
    height, path, off_u, which = height[pair, j], path[pair, j], off_u[pair], which[pair]
    chord = curved[which]
    along = np.column_stack([along_u[pair], along_v[pair]])
    over = _height_on_curve(table, chords, lines.chord[chord], along, path) - height
    gap = lines.base[chord] + lines.slope[chord] * at[pair] - v[pair, j]
    left = _chord_side(along, gap, lines.level[chord], off_u)
    within = (path >= 0) & (path <= length[which])
    point = slot[pair], line[pair], j
    np.logical_xor.at(flips, point, within & np.where(left, over > 0, over < 0))
    on = np.abs(over) <= ON_TOLERANCE
    close[tuple(place[on] for place in point)] = True
    return flips, close


def _chord_side(along: np.ndarray, gap: np.ndarray, level: np.ndarray, off_u: np.ndarray) -> np.ndarray:
    """True where the point counts as left of its chord, by the same comparison that gave its parity."""
    above = ~(gap > 0)
    left_of_level = np.where(along[:, 0] > 0, above, ~above)
    right = off_u >= 0
    left_of_steep = np.where(along[:, 1] > 0, ~right, right)
    return np.where(level, left_of_level, left_of_steep)


def _height_on_curve(
    table: CurveTable, chords: Chords, chord: np.ndarray, along: np.ndarray, path: np.ndarray
) -> np.ndarray:
    """The curve's height over its chord at the distance `path` along it."""
    round_ = is_round(table, chords.use[chord])
    if round_.all():
        return _height_on_arc(table, chords, chord, path)
    out = np.empty(len(path))
    rest = ~round_
    out[round_] = _height_on_arc(table, chords, chord[round_], path[round_])
    out[rest] = _height_by_newton(table, chords, chord[rest], along[rest], path[rest])
    return out


def is_round(table: CurveTable, use: np.ndarray) -> np.ndarray:
    """(n,) bool: which uses are circles in (u, v) too: their axes are unit vectors at a right angle, not sheared."""
    x, y = table.x[use], table.y[use]
    slant = np.abs((x * x).sum(axis=1) - 1) + np.abs((y * y).sum(axis=1) - 1) + np.abs((x * y).sum(axis=1))
    round_: np.ndarray = (table.kind[use] == bintools.CIRCLE) & (slant <= 1e-9)
    return round_


def _height_on_arc(table: CurveTable, chords: Chords, chord: np.ndarray, path: np.ndarray) -> np.ndarray:
    """On an arc of less than half a turn: positive to the left of the chord."""
    use = chords.use[chord]
    x, y = table.x[use], table.y[use]
    turn = (x[:, 0] * y[:, 1] - x[:, 1] * y[:, 0]) * (chords.t1[chord] - chords.t0[chord])
    half = 0.5 * np.hypot(*(chords.end[chord] - chords.start[chord]).T)
    square = table.radii[use, 0] ** 2
    far = np.clip(path, 0.0, 2 * half) - half
    rise = np.sqrt(np.maximum(square - far * far, 0.0)) - np.sqrt(np.maximum(square - half * half, 0.0))
    return np.where(turn > 0, -rise, rise)


def _height_by_newton(
    table: CurveTable, chords: Chords, chord: np.ndarray, along: np.ndarray, path: np.ndarray
) -> np.ndarray:
    """On any curve, by Newton's method from the chord; a last step of 1e-7 leaves an error far below `ON_TOLERANCE`."""
    start, t0, t1 = chords.start[chord], chords.t0[chord], chords.t1[chord]
    length = np.hypot(*(chords.end[chord] - start).T)
    t = t0 + np.clip(path / length, 0.0, 1.0) * (t1 - t0)
    low, high = np.minimum(t0, t1), np.maximum(t0, t1)
    rows = chords.use[chord]
    for _ in range(6):
        at, slope = (c[:, 0] for c in curves.evaluate(table, rows, t[:, None]))
        speed = np.einsum("ij,ij->i", slope, along)
        miss = np.einsum("ij,ij->i", at - start, along) - path
        step = np.divide(miss, speed, out=np.zeros_like(miss), where=np.abs(speed) > 0)
        t = np.clip(t - step, low, high)
        if (np.abs(step) <= 1e-7 * (high - low)).all():
            break
    off = curves.evaluate(table, rows, t[:, None])[0][:, 0] - start
    return along[:, 0] * off[:, 1] - along[:, 1] * off[:, 0]


def fill_their_bounds(tables: ShapeTables, chords: Chords, bounds: np.ndarray) -> np.ndarray:
    """(F,) bool: faces whose loops run along the sides of their (u, v) bounds, so that every grid point is inside."""
    low, high = np.minimum(chords.start, chords.end), np.maximum(chords.start, chords.end)
    box = bounds[chords.face]
    slack = ON_TOLERANCE
    on_u = (high[:, 0] - low[:, 0] <= slack) & (
        (np.abs(low[:, 0] - box[:, 0]) <= slack) | (np.abs(low[:, 0] - box[:, 1]) <= slack)
    )
    on_v = (high[:, 1] - low[:, 1] <= slack) & (
        (np.abs(low[:, 1] - box[:, 2]) <= slack) | (np.abs(low[:, 1] - box[:, 3]) <= slack)
    )
    off_side = ~((on_u | on_v) & (chords.sagitta == 0))
    strays = np.bincount(chords.face[off_side], minlength=tables.n_faces) > 0
    length = np.abs(chords.end - chords.start).sum(axis=1)
    around = np.bincount(chords.face, length, tables.n_faces)
    whole = 2 * (bounds[:, 1] - bounds[:, 0] + bounds[:, 3] - bounds[:, 2])
    return ~strays & (around >= whole - 8 * slack) & (around <= whole + 8 * slack)


def evaluable_faces(tables: ShapeTables) -> np.ndarray:
    """(F,) bool: faces that have loops all of whose curves have tables."""
    missing = tables.use_boundary & ~tables.use_curves.evaluable
    unknown = np.bincount(tables.use_face[missing], minlength=tables.n_faces) > 0
    bounded = np.bincount(tables.use_face[tables.use_boundary], minlength=tables.n_faces) > 0
    return bounded & ~unknown
