"""Grids of points on faces and edges, and points drawn by area: numpy over all faces, the kernel for faces and edges
without a table.
"""

from __future__ import annotations

import itertools

import numpy as np

from dflow.cadaccess.geometry import curves, surfaces
from dflow.cadaccess.geometry.tables import ShapeTables
from dflow.cadaccess.kernel.shape import KernelShape
from dflow.cadaccess.measure import trimming
from dflow.cadaccess.measure.trimming import Chords

_SEAM_OVERLAP = 1e-3
"""radians: how far the ends of a full turn may overlap at a seam."""

_AT_CORNER = 1e-9
"""In (u, v) units: how near a grid point is at a vertex."""

_MAX_TURNS = 100
"""Around an axis: a loop that extends farther is damaged, and only partly evaluated."""


def face_grids(
    tables: ShapeTables,
    kernel: KernelShape,
    chords: Chords,
    bounds: np.ndarray,
    shape: tuple[int, int],
    *,
    closed: bool = True,
) -> np.ndarray:
    """(F, n_u, n_v, 7) float64: point, outward unit normal, inside (with the boundary if `closed`)."""
    n_u, n_v = shape
    u, v = _steps(bounds[:, 0], bounds[:, 1], n_u), _steps(bounds[:, 2], bounds[:, 3], n_v)
    out = np.empty((tables.n_faces, n_u, n_v, 7))
    channels = np.moveaxis(out, -1, 0)
    fill_faces(tables, kernel, np.arange(tables.n_faces), u[:, :, None], v[:, None], channels[:3], channels[3:6])
    channels[6] = grid_inside(tables, kernel, chords, bounds, (u, v), closed=closed)
    return out


def _steps(low: np.ndarray, high: np.ndarray, n: int) -> np.ndarray:
    """(k, n) each row from low to high: ``linspace`` without its cost for short arrays."""
    if n == 1:
        return low[:, None].copy()
    out: np.ndarray = low[:, None] + np.arange(n) * ((high - low) / (n - 1))[:, None]
    out[:, -1] = high
    return out


def grid_inside(
    tables: ShapeTables,
    kernel: KernelShape,
    chords: Chords,
    bounds: np.ndarray,
    lines: tuple[np.ndarray, np.ndarray],
    *,
    closed: bool = True,
) -> np.ndarray:
    """(F, n_u, n_v) bool: which points of the grids u : (F, n_u) × v : (F, n_v) lie in their faces (in or on them if
    `closed`).
    """
    u, v = lines
    known = chords.closed
    full = known & trimming.fill_their_bounds(tables, chords, bounds)
    out = np.ones((tables.n_faces, u.shape[1], v.shape[1]), bool)
    if not closed:
        out[:, [0, -1]] = out[:, :, [0, -1]] = False
    open_ = np.flatnonzero(known & ~full)
    if len(open_):
        out[open_] = trimming.inside(tables, chords, open_, u[open_], v[open_][:, None], closed=closed)
    _add_turns(tables, chords, bounds, lines, out, closed=closed)
    if closed:
        _join_seams(tables, bounds, out)
    else:
        _add_corners(tables, lines, out)
    for row in np.flatnonzero(~known).tolist():
        uv = np.stack(np.meshgrid(u[row], v[row], indexing="ij"), axis=-1).reshape(-1, 2)
        out[row] = kernel.inside(row, uv, closed=closed).reshape(out.shape[1:])
    return out


def _add_turns(
    tables: ShapeTables,
    chords: Chords,
    bounds: np.ndarray,
    lines: tuple[np.ndarray, np.ndarray],
    inside: np.ndarray,
    *,
    closed: bool,
) -> None:
    """Mark points inside that are in a later turn of loops that extend over more than one turn.

    Earlier turns do not count, as in `IntTools_FClass2d`.
    """
    turn = np.column_stack(surfaces.periods(tables.faces))
    more = (bounds[:, 1::2] - bounds[:, ::2] - _SEAM_OVERLAP) // turn
    more = np.clip(more, 0, _MAX_TURNS).astype(int)
    for row in np.flatnonzero((more > 0).any(axis=1) & chords.closed).tolist():
        u, v = (line[row : row + 1] for line in lines)
        for ahead in itertools.product(*(range(n + 1) for n in more[row].tolist())):
            at_u, at_v = (n * size if n else 0.0 for n, size in zip(ahead, turn[row].tolist(), strict=True))
            found = trimming.inside(tables, chords, np.array([row]), u + at_u, (v + at_v)[:, None], closed=closed)
            inside[row] |= found[0]


def _add_corners(tables: ShapeTables, lines: tuple[np.ndarray, np.ndarray], inside: np.ndarray) -> None:
    """Mark the vertices of faces with one loop of one or two edges (discs, half discs) as strictly inside.

    The kernel's classifier (`IntTools_FClass2d`, `BRepTopAdaptor_FClass2d`) does so, and networks were trained on that.
    """
    bounds = tables.use_boundary & (tables.face_loops == 1)[tables.use_face]
    few = np.bincount(tables.use_face[bounds], minlength=tables.n_faces) <= 2
    uses = np.flatnonzero(bounds & few[tables.use_face])
    table, face = tables.use_curves, tables.use_face[uses]
    ends, _ = curves.evaluate(table, uses, np.stack([table.first[uses], table.last[uses]], axis=1))
    for end in (0, 1):
        on_u, on_v = (np.abs(line[face] - ends[:, end, axis, None]) <= _AT_CORNER for axis, line in enumerate(lines))
        use, row, column = np.nonzero(on_u[:, :, None] & on_v[:, None])
        inside[face[use], row, column] = True


def _join_seams(tables: ShapeTables, bounds: np.ndarray, inside: np.ndarray) -> None:
    """Mark first and last line as inside if either is, where bounds span a whole turn: they are the same points."""
    turn_u, turn_v = surfaces.periods(tables.faces)
    around = _is_one_turn(bounds[:, 1] - bounds[:, 0], turn_u)
    inside[around, 0] |= inside[around, -1]
    inside[around, -1] = inside[around, 0]
    around = _is_one_turn(bounds[:, 3] - bounds[:, 2], turn_v)
    inside[around, :, 0] |= inside[around, :, -1]
    inside[around, :, -1] = inside[around, :, 0]


def _is_one_turn(span: np.ndarray, turn: np.ndarray) -> np.ndarray:
    return np.flatnonzero((span >= turn - trimming.ON_TOLERANCE) & (span <= turn + _SEAM_OVERLAP))


def face_points(
    tables: ShapeTables, kernel: KernelShape, rows: np.ndarray, u: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Points and outward unit normals of faces `rows` at u, v : (k, m); both (k, m, 3)."""
    points, normals = np.empty((3, *u.shape)), np.empty((3, *u.shape))
    fill_faces(tables, kernel, rows, u, v, points, normals)
    return np.moveaxis(points, 0, -1), np.moveaxis(normals, 0, -1)


def fill_faces(
    tables: ShapeTables,
    kernel: KernelShape,
    rows: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    points: np.ndarray,
    normals: np.ndarray | None,
) -> None:
    """Points and outward unit normals of faces `rows`, with the arguments of `surfaces.fill`."""
    known = tables.faces.evaluable[rows]
    sign = np.where(tables.face_reversed[rows], -1.0, 1.0)
    if known.all():
        surfaces.fill(tables.faces, rows, u, v, points, normals, sign)
        return
    which = np.flatnonzero(known)
    some, some_normals = surfaces.evaluate(tables.faces, rows[which], u[which], v[which])
    points[:, which] = np.moveaxis(some, -1, 0)
    if normals is not None:
        normals[:, which] = np.moveaxis(some_normals * surfaces.per_row(sign[which], some), -1, 0)
    for i in np.flatnonzero(~known).tolist():
        pairs = np.column_stack([a.ravel() for a in np.broadcast_arrays(u[i], v[i])])
        shape = points.shape[2:]
        at, normal = kernel.surface_points(int(rows[i]), pairs)
        points[:, i] = at.T.reshape(3, *shape)
        if normals is not None:
            normals[:, i] = normal.T.reshape(3, *shape)


def edge_grids(tables: ShapeTables, kernel: KernelShape, edge_rows: np.ndarray, n: int) -> np.ndarray:
    """(E, n, 6) float64: point and unit tangent, uniform in the parameter."""
    return edge_points(tables, kernel, edge_rows, _steps(*edge_ranges(tables, kernel, edge_rows), n))


def edge_ranges(tables: ShapeTables, kernel: KernelShape, edge_rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(E,) float64, twice: first and last parameters; 0 for degenerate edges."""
    first, last = tables.edges.first[edge_rows], tables.edges.last[edge_rows]
    for i in _unknown(tables, edge_rows):
        first[i], last[i] = kernel.edge_range(int(edge_rows[i]))
    return first, last


def edge_points(tables: ShapeTables, kernel: KernelShape, edge_rows: np.ndarray, t: np.ndarray) -> np.ndarray:
    """(E, n, 6) float64: point and unit tangent at t : (E, n); a degenerate edge is its vertex, with tangent 0."""
    out = np.empty((*t.shape, 6))
    out[..., :3], out[..., 3:] = curves.evaluate(tables.edges, edge_rows, t)
    for i in _unknown(tables, edge_rows):
        out[i, :, :3], out[i, :, 3:] = kernel.edge_points(int(edge_rows[i]), t[i])
    size = np.sqrt(np.einsum("enk,enk->en", out[..., 3:], out[..., 3:]))
    out[..., 3:] /= np.where(size > 0, size, 1.0)[..., None]
    for i in np.flatnonzero(tables.edge_degenerate[edge_rows]).tolist():
        out[i] = np.append(tables.points[tables.edge_vertices[edge_rows[i], 0]], np.zeros(3))
    return out


def _unknown(tables: ShapeTables, edge_rows: np.ndarray) -> list[int]:
    """Places in `edge_rows` of curves that only the kernel can evaluate."""
    missing = ~tables.edges.evaluable[edge_rows] & ~tables.edge_degenerate[edge_rows]
    places: list[int] = np.flatnonzero(missing).tolist()
    return places
