"""Points uniform by area on trimmed faces.

Polygons on planes and cylinders are cut into trapezoids once, from which points are drawn directly; points of other
faces are drawn by rejection: uniform in (u, v), accepted in proportion to the surface's stretch there and only inside
the loops.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dflow.cadaccess.geometry import curves, surfaces
from dflow.cadaccess.geometry.tables import ShapeTables
from dflow.cadaccess.kernel import bintools
from dflow.cadaccess.kernel.shape import KernelShape
from dflow.cadaccess.measure import trimming
from dflow.cadaccess.measure.trimming import Chords

_MAX_ROUNDS = 60
_STRETCH_GRID = 12
_MAX_PIECES = 256


@dataclass(frozen=True, slots=True)
class Trapezoids:
    """Polygons in (u, v) cut along u.

    Attributes
    ----------
    face : (n,) int, non-decreasing; left, right : (n,) float64, the sides in u.
    low, high : (n, 2) float64, v at the left and the right side; area : (n,) float64.
    """

    face: np.ndarray
    left: np.ndarray
    right: np.ndarray
    low: np.ndarray
    high: np.ndarray
    area: np.ndarray


def cut_polygons(tables: ShapeTables, chords: Chords) -> Trapezoids:
    """Return the trapezoids of all faces on planes and cylinders; a curved edge becomes up to 64 straight ones per
    turn.

    Between neighbouring corners of a face the pieces above each other pair up by the even-odd rule.
    """
    even = (tables.faces.kind == bintools.PLANE) | (tables.faces.kind == bintools.CYLINDER)
    face, start, end = _straight_pieces(tables, chords, np.flatnonzero((even & chords.closed)[chords.face]))
    swap = (start[:, 0] > end[:, 0])[:, None]
    a, b = np.where(swap, end, start), np.where(swap, start, end)
    corner, first, last = _number_corners(face, a[:, 0], b[:, 0])
    times = last - first
    piece = np.repeat(np.arange(len(face)), times)
    slab = np.arange(len(piece)) - np.repeat(np.cumsum(times) - times - first, times)
    left, right = corner[slab], corner[slab + 1]
    a_u, a_v = a[piece].T
    slope = ((b[:, 1] - a[:, 1]) / np.where(times > 0, b[:, 0] - a[:, 0], 1.0))[piece]
    at_left, at_right = a_v + slope * (left - a_u), a_v + slope * (right - a_u)
    lower, upper = _pair_up(slab, at_left + at_right)
    left, right = left[lower], right[lower]
    low = np.column_stack([at_left[lower], at_right[lower]])
    high = np.column_stack([at_left[upper], at_right[upper]])
    area = 0.5 * (right - left) * (high - low).sum(axis=1)
    return Trapezoids(face[piece[lower]], left, right, low, high, area)


def _straight_pieces(
    tables: ShapeTables, chords: Chords, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Faces (n,), starts and ends (n, 2) of the chords `rows`, those under curves cut further."""
    face = chords.face[rows]
    bent = chords.sagitta[rows] > 0
    if not bent.any():
        return face, chords.start[rows], chords.end[rows]
    n_bent = np.bincount(face[bent], minlength=tables.n_faces)
    times = np.where(bent, np.clip(_MAX_PIECES // np.maximum(n_bent, 1), 2, 8)[face], 1)
    chord = np.repeat(rows, times)
    last = np.cumsum(times) - 1
    step = np.arange(len(chord)) - np.repeat(last + 1 - times, times)
    start = chords.start[chord]
    inner = np.flatnonzero(step)
    share = step[inner] / np.repeat(times, times)[inner]
    which = chord[inner]
    t = chords.t0[which] + share * (chords.t1[which] - chords.t0[which])
    start[inner] = curves.evaluate(tables.use_curves, chords.use[which], t[:, None])[0][:, 0]
    end = np.empty_like(start)
    end[:-1] = start[1:]
    end[last] = chords.end[rows]
    return chords.face[chord], start, end


def _number_corners(face: np.ndarray, *sides: np.ndarray) -> tuple[np.ndarray, ...]:
    """The distinct values of each face's sides, face by face in ascending order, and each side's place among them."""
    every, owner = np.concatenate(sides), np.tile(face, len(sides))
    order = np.lexsort((every, owner))
    every, owner = every[order], owner[order]
    new = np.ones(len(every), bool)
    new[1:] = (every[1:] != every[:-1]) | (owner[1:] != owner[:-1])
    place = np.empty(len(every), int)
    place[order] = np.cumsum(new) - 1
    return every[new], *np.split(place, len(sides))


def _pair_up(group: np.ndarray, height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and second of each, third and fourth and so on, of a group's members in ascending height."""
    order = np.lexsort((height, group))
    ranked = group[order]
    n = np.arange(len(order))
    begins = np.ones(len(order), bool)
    begins[1:] = ranked[1:] != ranked[:-1]
    odd = (n - np.maximum.accumulate(np.where(begins, n, 0))) % 2 == 1
    second = np.flatnonzero(odd)
    return order[second - 1], order[second]


def sample_faces(
    tables: ShapeTables,
    kernel: KernelShape,
    chords: Chords,
    trapezoids: Trapezoids,
    bounds: np.ndarray,
    n: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """(F, n) u and v of points on each face; where nothing can be drawn, the middle of the face's bounds."""
    generator = np.random.default_rng(seed)
    decomposed = np.bincount(trapezoids.face[trapezoids.area > 0], minlength=tables.n_faces) > 0
    rows = np.flatnonzero(decomposed)
    if decomposed.all():
        return _draw_from_trapezoids(trapezoids, rows, n, generator)
    u = np.repeat(0.5 * (bounds[:, 0] + bounds[:, 1]), n).reshape(-1, n)
    v = np.repeat(0.5 * (bounds[:, 2] + bounds[:, 3]), n).reshape(-1, n)
    if len(rows):
        u[rows], v[rows] = _draw_from_trapezoids(trapezoids, rows, n, generator)
    _draw_by_rejection(tables, kernel, chords, bounds, np.flatnonzero(~decomposed), (u, v), generator)
    return u, v


def _draw_from_trapezoids(
    trapezoids: Trapezoids, faces: np.ndarray, n: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(len(faces), n) u and v: a trapezoid by area, then a point in it by the inverse of its distribution."""
    chance = generator.random((3, len(faces), n))
    begin = np.searchsorted(trapezoids.face, faces)
    stop = np.searchsorted(trapezoids.face, faces, side="right")
    many = stop - begin > 1
    u, v = np.empty(chance.shape[1:]), np.empty(chance.shape[1:])
    for rows in (np.flatnonzero(~many), np.flatnonzero(many)):
        if len(rows):
            own = chance if len(rows) == len(faces) else chance[:, rows]
            which = begin[rows, None]
            if many[rows[0]]:
                which = _choose(np.cumsum(trapezoids.area), trapezoids.area, begin[rows], stop[rows], own[0])
            u[rows], v[rows] = _points_in(trapezoids, which, own[1], own[2])
    return u, v


def _choose(total: np.ndarray, area: np.ndarray, begin: np.ndarray, stop: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """(k, n) which of begin:stop, a row's trapezoids, each chance falls on; `total` are the summed areas of all.

    A binary search in numpy with as many steps per row as its number of trapezoids needs.
    """
    base = total[begin] - area[begin]
    goal = base[:, None] + chance * (total[stop - 1] - base)[:, None]
    size = stop - begin
    order = np.argsort(-size)
    goal, last = goal[order], (stop - 1)[order, None]
    found = np.repeat(begin[order], goal.shape[1]).reshape(goal.shape)
    step = 1 << int(size.max() - 1).bit_length() - 1
    while step:
        k = int(np.count_nonzero(size > step))
        ahead = np.minimum(found[:k] + step, last[:k])
        found[:k] = np.where(total.take(ahead - 1) <= goal[:k], ahead, found[:k])
        step >>= 1
    out = np.empty_like(found)
    out[order] = found
    return out


def _points_in(
    trapezoids: Trapezoids, which: np.ndarray, across: np.ndarray, up: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """u and v of points uniform in the trapezoids `which`, from two uniform numbers in [0, 1).

    The share s of the way across has ``P(share < s) = (h0 s + (h1 - h0) s² / 2) / mean``, inverted without
    cancellation.
    """
    height = trapezoids.high - trapezoids.low
    h0, h1 = height[:, 0].take(which), height[:, 1].take(which)
    rise = h1 - h0
    goal = across * (h0 + h1)
    root = h0 + np.sqrt(h0 * h0 + goal * rise)
    share = goal / np.where(root > 0, root, 1.0)
    low = trapezoids.low[:, 0].take(which)
    u = trapezoids.left.take(which) + share * (trapezoids.right - trapezoids.left).take(which)
    v = low + share * (trapezoids.low[:, 1] - trapezoids.low[:, 0]).take(which) + up * (h0 + share * rise)
    return u, v


def _draw_by_rejection(
    tables: ShapeTables,
    kernel: KernelShape,
    chords: Chords,
    bounds: np.ndarray,
    rows: np.ndarray,
    uv: tuple[np.ndarray, np.ndarray],
    generator: np.random.Generator,
) -> None:
    """Fill u[rows] and v[rows] with accepted draws, all faces at once, until each face has all its points."""
    n = uv[0].shape[1]
    filled = np.zeros(len(rows), int)
    peak = _peak_stretch(tables, kernel, rows, bounds[rows])
    full = chords.closed[rows] & trimming.fill_their_bounds(tables, chords, bounds)[rows]
    for _ in range(_MAX_ROUNDS):
        open_ = np.flatnonzero(filled < n)
        if not len(open_):
            return
        box = bounds[rows[open_]]
        tries = generator.random((3, len(open_), max(n, 32)))
        u = box[:, :1] + tries[0] * (box[:, 1:2] - box[:, :1])
        v = box[:, 2:3] + tries[1] * (box[:, 3:] - box[:, 2:3])
        kept = tries[2] * peak[open_][:, None] <= _stretch(tables, kernel, rows[open_], u, v)
        masked = np.flatnonzero(~full[open_])
        if len(masked):
            kept[masked] &= _inside(tables, kernel, chords, rows[open_[masked]], u[masked], v[masked])
        place = np.cumsum(kept, axis=1) - 1 + filled[open_][:, None]
        kept &= place < n
        face, column = np.nonzero(kept)
        target = rows[open_[face]], place[face, column]
        uv[0][target], uv[1][target] = u[face, column], v[face, column]
        filled[open_] = np.minimum(place.max(axis=1, initial=0) + 1, n)
    for array in uv:
        _repeat_found(array, rows, filled)


def _repeat_found(drawn: np.ndarray, rows: np.ndarray, filled: np.ndarray) -> None:
    """Repeat the points found on slivers, where few draws are accepted, in place of those that were not found."""
    n = drawn.shape[1]
    for row, count in zip(rows.tolist(), filled.tolist(), strict=True):
        if 0 < count < n:
            drawn[row] = drawn[row, np.arange(n) % count]


def _inside(
    tables: ShapeTables, kernel: KernelShape, chords: Chords, rows: np.ndarray, u: np.ndarray, v: np.ndarray
) -> np.ndarray:
    known = chords.closed[rows]
    out = np.zeros(u.shape, bool)
    if known.any():
        out[known] = trimming.inside(tables, chords, rows[known], u[known], v[known][..., None])[..., 0]
    for i in np.flatnonzero(~known).tolist():
        out[i] = kernel.inside(int(rows[i]), np.column_stack([u[i], v[i]]))
    return out


def _stretch(tables: ShapeTables, kernel: KernelShape, rows: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """|Su × Sv| up to a constant factor per face, (k, m)."""
    kind = tables.faces.kind[rows]
    out = np.ones(u.shape)
    axial = np.flatnonzero(surfaces.axial(kind))
    if len(axial):
        out[axial] = np.abs(surfaces.profile(kind[axial], tables.faces.radii[rows[axial]], v[axial])[0])
    for i in np.flatnonzero(kind > bintools.TORUS).tolist():
        row = int(rows[i])
        if tables.faces.evaluable[row]:
            _, du, dv = surfaces.slopes(tables.faces, row, u[i], v[i])
            out[i] = np.linalg.norm(np.cross(du, dv), axis=1)
        else:
            out[i] = kernel.stretch(row, np.column_stack([u[i], v[i]]))
    return out


def _peak_stretch(tables: ShapeTables, kernel: KernelShape, rows: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """(k,) the largest stretch over each face's bounds, from a grid, with a margin on free forms."""
    share = np.linspace(0.0, 1.0, _STRETCH_GRID)
    u = bounds[:, :1] + (bounds[:, 1:2] - bounds[:, :1]) * np.repeat(share, _STRETCH_GRID)
    v = bounds[:, 2:3] + (bounds[:, 3:] - bounds[:, 2:3]) * np.tile(share, _STRETCH_GRID)
    margin = np.where(tables.faces.kind[rows] > bintools.CONE, 1.1, 1.0)
    return margin * _stretch(tables, kernel, rows, u, v).max(axis=1)
