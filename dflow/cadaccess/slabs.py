"""Trimmed faces cut into triangles in (u, v), all faces of a shape in one sweep.

Every face is cut along lines of constant u through the corners of its boundary (a trapezoidal decomposition); between
two neighbouring lines the boundary's pieces pair up by the even-odd rule, so that neither their order nor their
direction matters. Curved faces get more lines, and points along them, so that no triangle is wider than the face's
steps. Trapezoids that meet at a line share all its points: a face has no cracks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dflow.cadaccess.runs import run_numbers, run_starts

_STEPS = 1 << 22
"""Resolution of u within a face: corners closer than that share a line."""
_V_STEPS = 1 << 40
_MAX_LINES = 256
"""Between two corners, and across a face, at most."""


@dataclass(frozen=True, slots=True)
class Outline:
    """The boundaries of faces in straight pieces.

    Attributes
    ----------
    face : (n,) int, non-decreasing; start, end : (n, 2) float64, (u, v) of each piece.
    low, high : (F, 2) float64, lowest and highest (u, v) of each face; 0 for a face without pieces.
    """

    face: np.ndarray
    start: np.ndarray
    end: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, slots=True)
class Cut:
    """Triangles in (u, v).

    Attributes
    ----------
    face : (p,) int, non-decreasing, of each point; u, v : (p,) float64. Faces share no points.
    corners : (t, 3) int, points, counter-clockwise in (u, v).
    torn : (b,) int, faces whose pieces do not close; they have no triangles.
    """

    face: np.ndarray
    u: np.ndarray
    v: np.ndarray
    corners: np.ndarray
    torn: np.ndarray


@dataclass(frozen=True, slots=True)
class _Sides:
    """One side of each trapezoid: the line it lies on, and from where to where; (t,) each."""

    line: np.ndarray
    low: np.ndarray
    high: np.ndarray


def box(face: np.ndarray, start: np.ndarray, end: np.ndarray, n_faces: int) -> Outline:
    """Pieces as an outline."""
    low, high = np.zeros((n_faces, 2)), np.zeros((n_faces, 2))
    if len(face):
        first = run_starts(face)
        low[face[first]] = np.minimum.reduceat(np.minimum(start, end), first, axis=0)
        high[face[first]] = np.maximum.reduceat(np.maximum(start, end), first, axis=0)
    return Outline(face, start, end, low, high)


def cut(outline: Outline, step_u: np.ndarray, step_v: np.ndarray) -> Cut:
    """The triangles of all faces.

    Parameters
    ----------
    step_u, step_v : (F,) float64, how far a triangle may reach; inf both for flat faces, whose trapezoids are then as
        wide as they can be.

    Notes
    -----
    Cost: a sort of as many numbers as pieces and lines meet; for flat faces O(pieces) triangles are left.
    """
    if not len(outline.face):
        nothing, none = np.zeros(0), np.zeros(0, int)
        return Cut(none, nothing, nothing, np.zeros((0, 3), int), none)
    size = outline.high - outline.low
    size[size <= 0] = 1.0
    outline = _split_steep(outline, size[:, 0], step_v)
    lines, keys = _lines(outline, size[:, 0], step_u)
    piece, slab, v = _crossings(outline, lines, keys)
    torn = _torn_faces(slab, outline.face[piece], len(lines))
    if len(torn):
        kept = ~np.isin(outline.face[piece], torn)
        piece, slab, v = piece[kept], slab[kept], v[kept]
    order = np.lexsort((v[:, 0] + v[:, 1], slab))
    lower, upper = order[0::2], order[1::2]
    flat = np.isinf(step_u) & np.isinf(step_v)
    first, last = _merge(piece[lower], piece[upper], slab[lower], flat[outline.face[piece[lower]]])
    left = _Sides(slab[lower[first]], v[lower[first], 0], v[upper[first], 0])
    right = _Sides(slab[lower[last]] + 1, v[lower[last], 1], v[upper[last], 1])
    face, at_u = np.divmod(lines, 2 * _STEPS)
    points, at_v, begin, stop = _share_points(left, right, face, (outline.low[:, 1], size[:, 1], step_v))
    owner = face[points]
    u = outline.low[owner, 0] + at_u[points] * (size[owner, 0] / _STEPS)
    return Cut(owner, u, at_v, _zip_sides(begin, stop, at_v), torn)


def _split_steep(outline: Outline, width: np.ndarray, step: np.ndarray) -> Outline:
    """The outline with pieces that run nearly along a line cut by the step in v, which no line would cut."""
    if np.isinf(step).all():
        return outline
    rise = np.abs(outline.end[:, 1] - outline.start[:, 1])
    run = np.abs(outline.end[:, 0] - outline.start[:, 0])
    steep = (rise > 1.5 * step[outline.face]) & (run * _STEPS > 0.5 * width[outline.face])
    if not steep.any():
        return outline
    count = np.ones(len(rise), int)
    count[steep] = np.minimum(np.ceil(rise[steep] / step[outline.face[steep]]), _MAX_LINES)
    which = np.repeat(np.arange(len(count)), count)
    along = ((np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)) / count[which])[:, None]
    start = outline.start[which] * (1 - along) + outline.end[which] * along
    end = np.roll(start, -1, axis=0)
    last = np.cumsum(count) - 1
    end[last] = outline.end
    return replace(outline, face=outline.face[which], start=start, end=end)


def _lines(outline: Outline, size: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Sorted keys ``face * 2 * _STEPS + u in steps`` of all lines, and the keys of the pieces' starts and ends."""
    face, low = outline.face.astype(np.int64), outline.low[:, 0]
    base, scale = face * (2 * _STEPS), _STEPS / size[face]
    start = base + np.rint((outline.start[:, 0] - low[face]) * scale).astype(np.int64)
    end = base + np.rint((outline.end[:, 0] - low[face]) * scale).astype(np.int64)
    lines = np.sort(np.concatenate([start, end]))
    lines = lines[run_starts(lines)]
    if np.isinf(step).all():
        return lines, (start, end)
    owner = lines[:-1] // (2 * _STEPS)
    gap = np.diff(lines)
    wide = np.flatnonzero((owner == lines[1:] // (2 * _STEPS)) & np.isfinite(step[owner]))
    count = np.ceil(gap[wide] * (size[owner[wide]] / _STEPS) / step[owner[wide]] - 1e-6).astype(np.int64)
    count = np.clip(count, 1, np.minimum(_MAX_LINES, gap[wide]))
    extra = count - 1
    if extra.any():
        which = np.repeat(wide, extra)
        number = np.arange(1, len(which) + 1) - np.repeat(np.cumsum(extra) - extra, extra)
        lines = np.sort(np.concatenate([lines, lines[which] + number * gap[which] // np.repeat(count, extra)]))
    return lines, (start, end)


def _crossings(
    outline: Outline, lines: np.ndarray, keys: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where pieces cross slabs: the piece, the slab (by the line on its left), and v at both sides (n, 2)."""
    begin, stop = np.minimum(*keys), np.maximum(*keys)
    first, last = np.searchsorted(lines, begin), np.searchsorted(lines, stop)
    count = last - first
    piece = np.repeat(np.arange(len(count)), count)
    slab = np.arange(len(piece)) + np.repeat(first - (np.cumsum(count) - count), count)
    backward = (keys[0] > keys[1])[:, None]
    a = np.where(backward, outline.end, outline.start)[:, 1][piece]
    b = np.where(backward, outline.start, outline.end)[:, 1][piece]
    origin, run = begin[piece], (stop - begin)[piece]
    v = np.empty((len(piece), 2))
    for side in range(2):
        along = (lines[slab + side] - origin) / run
        v[:, side] = a * (1 - along) + b * along
    return piece, slab, v


def _torn_faces(slab: np.ndarray, face: np.ndarray, n_lines: int) -> np.ndarray:
    odd = np.bincount(slab, minlength=n_lines) % 2 > 0
    return np.unique(face[odd[slab]]) if odd.any() else np.zeros(0, int)


def _merge(lower: np.ndarray, upper: np.ndarray, slab: np.ndarray, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last trapezoid of each run between the same two pieces of a flat face; others stay alone."""
    if not flat.any():
        every = np.arange(len(slab))
        return every, every
    order = np.lexsort((slab, upper, lower))
    lower, upper, slab = lower[order], upper[order], slab[order]
    goes_on = (np.diff(lower) == 0) & (np.diff(upper) == 0) & (np.diff(slab) == 1) & flat[order][1:]
    return order[np.append(True, ~goes_on)], order[np.append(~goes_on, True)]


def _share_points(
    left: _Sides, right: _Sides, face: np.ndarray, across: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The points of all lines, each once: line and v of each, and of every side its lowest and highest point.

    Points lie at the ends of sides and, where a face's step asks for it, at even distances between; sorted by line and
    v, so that a side is a run of them. Sides are all left ones, then all right ones.

    face : of each line; across : (F,) lowest v, size in v, and step in v
    """
    bottom, size, step = across
    line = np.concatenate([left.line, right.line])
    low, high = np.concatenate([left.low, right.low]), np.concatenate([left.high, right.high])
    low, high = np.minimum(low, high), np.maximum(low, high)  # chords of two curves that touch can cross
    owner = face[line]
    ends_line, ends_v = np.concatenate([line, line]), np.concatenate([low, high])
    bent = np.flatnonzero(np.isfinite(step[owner]))
    if len(bent):
        rung = size / np.clip(np.ceil(size / step - 1e-6), 1, _MAX_LINES)
        inner_line, inner_v = _rungs(line[bent], (low[bent], high[bent]), bottom[owner[bent]], rung[owner[bent]])
        ends_line, ends_v = np.append(ends_line, inner_line), np.append(ends_v, inner_v)
    of = face[ends_line]
    key = np.clip(np.rint((ends_v - bottom[of]) * ((_V_STEPS - 1) / size[of])), 0, _V_STEPS - 1).astype(np.int64)
    key += ends_line * _V_STEPS
    order = np.argsort(key, kind="stable")
    first = run_starts(key[order])
    where = order[first]
    back = np.empty(len(key), np.int64)
    back[order] = run_numbers(first, len(key))
    return ends_line[where], ends_v[where], back[: len(line)], back[len(line) : 2 * len(line)]


def _rungs(
    line: np.ndarray, reach: tuple[np.ndarray, np.ndarray], bottom: np.ndarray, rung: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Line and v of the multiples of `rung` above `bottom` that lie strictly within `reach`."""
    first = np.floor((reach[0] - bottom) / rung + 1e-6).astype(np.int64) + 1
    count = np.maximum(np.ceil((reach[1] - bottom) / rung - 1e-6).astype(np.int64) - first, 0)
    which = np.repeat(np.arange(len(line)), count)
    number = np.arange(len(which)) + np.repeat(first - (np.cumsum(count) - count), count)
    return line[which], bottom[which] + number * rung[which]


def _zip_sides(begin: np.ndarray, stop: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Triangles (t, 3) between each trapezoid's two sides, which are runs of points.

    Going up both sides at once, each next point, left or right, closes a triangle with the two points reached before.
    """
    n_sides, n = len(begin), len(begin) // 2
    count = stop - begin
    side = np.repeat(np.arange(n_sides), count)
    step = np.arange(len(side)) - np.repeat(np.cumsum(count) - count, count)
    height = np.where(count > 0, v[stop] - v[begin], 1.0)
    share = (v[begin[side] + step + 1] - v[begin[side]]) / height[side]
    trapezoid, on_right = side % n, side >= n
    order = np.lexsort((share, trapezoid))
    trapezoid, on_right = trapezoid[order], on_right[order]
    first = np.searchsorted(trapezoid, np.arange(n))[trapezoid]
    gone_right: np.ndarray = np.cumsum(on_right) - on_right
    gone_left = np.arange(len(order)) - gone_right
    at_left = begin[:n][trapezoid] + gone_left - gone_left[first]
    at_right = begin[n:][trapezoid] + gone_right - gone_right[first]
    return np.stack([at_left, at_right, np.where(on_right, at_right, at_left) + 1], axis=1)
