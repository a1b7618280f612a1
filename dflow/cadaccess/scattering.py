"""Points spread evenly by area over trimmed faces.

Polygons on planes and cylinders are cut into trapezoids once and drawn from directly; other faces by rejection: uniform
in (u, v), kept in proportion to the surface's stretch there and only inside the loops.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dflow.cadaccess import curves, shapecode, surfaces, trimming
from dflow.cadaccess.kernel import KernelShape
from dflow.cadaccess.sampling import face_points
from dflow.cadaccess.tables import ShapeTables
from dflow.cadaccess.trimming import Chords

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
    """Trapezoids of all faces on planes and cylinders; curved edges become up to 64 straight ones a turn."""
    even = (tables.faces.kind == shapecode.PLANE) | (tables.faces.kind == shapecode.CYLINDER)
    rows = np.flatnonzero(even & chords.closed)
    pieces = [_cut_polygon(*_fine_polygon(tables, chords, row)) for row in rows.tolist()]
    table = np.concatenate(pieces) if pieces else np.zeros((0, 6))
    face = np.repeat(rows, [len(piece) for piece in pieces]) if pieces else np.zeros(0, int)
    left, right, low, high = table[:, 0], table[:, 1], table[:, 2:4], table[:, 4:6]
    area = 0.5 * (right - left) * (high - low).sum(axis=1)
    return Trapezoids(face, left, right, low, high, area)


def _fine_polygon(tables: ShapeTables, chords: Chords, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends of the face's boundary in straight pieces."""
    span = _span(chords, row)
    start, end = chords.start[span], chords.end[span]
    curved = np.flatnonzero(chords.sagitta[span] > 0)
    if not len(curved):
        return start, end
    n = int(np.clip(_MAX_PIECES // len(curved), 2, 8))
    which = span.start + curved
    t = np.linspace(chords.t0[which], chords.t1[which], n + 1, axis=1)
    points, _ = curves.evaluate(tables.use_curves, chords.use[which], t)
    points[:, 0], points[:, -1] = start[curved], end[curved]
    keep = chords.sagitta[span] == 0
    return (
        np.concatenate([start[keep], points[:, :-1].reshape(-1, 2)]),
        np.concatenate([end[keep], points[:, 1:].reshape(-1, 2)]),
    )


def _span(chords: Chords, row: int) -> slice:
    return slice(chords.first[row], chords.first[row + 1])


def _cut_polygon(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(n, 6): left, right, v low at both, v high at both. Between neighbouring corners the edges pair up by the
    even-odd rule.
    """
    swap = start[:, 0] > end[:, 0]
    a, b = np.where(swap[:, None], end, start), np.where(swap[:, None], start, end)
    at = np.unique(np.concatenate([a[:, 0], b[:, 0]]))
    left, right = at[:-1], at[1:]
    covers = (a[:, 0] <= left[:, None]) & (b[:, 0] >= right[:, None])  # (slabs, chords)
    run = b[:, 0] - a[:, 0]
    slope = np.divide(b[:, 1] - a[:, 1], run, out=np.zeros_like(run), where=run > 0)
    at_left = a[:, 1] + slope * (left[:, None] - a[:, 0])
    at_right = a[:, 1] + slope * (right[:, None] - a[:, 0])
    order = np.argsort(np.where(covers, at_left + at_right, np.inf), axis=1)
    n_pairs = covers.sum(axis=1) // 2
    slab, pair = np.nonzero(np.arange(max(int(n_pairs.max(initial=0)), 1)) < n_pairs[:, None])
    lower, upper = order[slab, 2 * pair], order[slab, 2 * pair + 1]
    columns = (
        left[slab], right[slab],
        at_left[slab, lower], at_right[slab, lower],
        at_left[slab, upper], at_right[slab, upper],
    )  # fmt: skip
    return np.column_stack(columns)


def scatter(
    tables: ShapeTables,
    kernel: KernelShape,
    chords: Chords,
    trapezoids: Trapezoids,
    bounds: np.ndarray,
    n: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """(F, n, 3) points and outward unit normals; a face on which nothing can be drawn repeats the middle of its
    bounds.
    """
    generator = np.random.default_rng(seed)
    uv = np.repeat((0.5 * (bounds[:, 0::2] + bounds[:, 1::2]))[:, None], n, axis=1)
    easy = np.unique(trapezoids.face[trapezoids.area > 0])
    if len(easy):
        uv[easy] = _draw_from_trapezoids(trapezoids, easy, n, generator)
    rest = np.setdiff1d(np.arange(tables.n_faces), easy)
    if len(rest):
        _draw_by_rejection(tables, kernel, chords, bounds, rest, uv, generator)
    return face_points(tables, kernel, np.arange(tables.n_faces), uv[..., 0], uv[..., 1])


def _draw_from_trapezoids(
    trapezoids: Trapezoids, faces: np.ndarray, n: int, generator: np.random.Generator
) -> np.ndarray:
    """(len(faces), n, 2): a trapezoid by area, then a point in it by the inverse of its distribution."""
    total = np.cumsum(trapezoids.area)
    begin = np.searchsorted(trapezoids.face, faces)
    stop = np.searchsorted(trapezoids.face, faces, side="right")
    base, top = total[begin] - trapezoids.area[begin], total[stop - 1]
    chance = generator.random((3, len(faces), n))
    which = np.searchsorted(total, base[:, None] + chance[0] * (top - base)[:, None], side="right")
    which = np.clip(which, begin[:, None], stop[:, None] - 1)
    height = trapezoids.high - trapezoids.low
    h0, h1 = height[:, 0][which], height[:, 1][which]
    # P(share < s) = (h0 s + (h1 - h0) s² / 2) / mean; its inverse without cancellation.
    goal = chance[1] * (h0 + h1)
    root = np.sqrt(h0 * h0 + goal * (h1 - h0))
    share = np.divide(goal, h0 + root, out=np.zeros_like(goal), where=h0 + root > 0)
    left, low, high = trapezoids.left[which], trapezoids.low[which], trapezoids.high[which]
    u = left + share * (trapezoids.right[which] - left)
    v_low = low[..., 0] + share * (low[..., 1] - low[..., 0])
    v_high = high[..., 0] + share * (high[..., 1] - high[..., 0])
    return np.stack([u, v_low + chance[2] * (v_high - v_low)], axis=2)


def _draw_by_rejection(
    tables: ShapeTables,
    kernel: KernelShape,
    chords: Chords,
    bounds: np.ndarray,
    rows: np.ndarray,
    uv: np.ndarray,
    generator: np.random.Generator,
) -> None:
    """Fill uv[rows] with accepted draws, all faces at once, until each has its share."""
    n = uv.shape[1]
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
        uv[rows[open_[face]], place[face, column]] = np.stack([u[face, column], v[face, column]], axis=1)
        filled[open_] = np.minimum(place.max(axis=1, initial=0) + 1, n)
    _repeat_found(uv, rows, filled)


def _repeat_found(uv: np.ndarray, rows: np.ndarray, filled: np.ndarray) -> None:
    """Slivers that rejection hardly hits: what was found stands in for what was not."""
    for row, count in zip(rows.tolist(), filled.tolist(), strict=True):
        if 0 < count < uv.shape[1]:
            uv[row] = uv[row, np.arange(uv.shape[1]) % count]


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
    """|Su × Sv| up to a constant factor a face, (k, m)."""
    kind = tables.faces.kind[rows]
    out = np.ones(u.shape)
    axial = np.flatnonzero(np.isin(kind, surfaces.AXIAL))
    if len(axial):
        out[axial] = np.abs(surfaces.profile(kind[axial], tables.faces.radii[rows[axial]], v[axial])[0])
    for i in np.flatnonzero(kind > shapecode.TORUS).tolist():
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
    margin = np.where(tables.faces.kind[rows] > shapecode.CONE, 1.1, 1.0)
    return margin * _stretch(tables, kernel, rows, u, v).max(axis=1)
