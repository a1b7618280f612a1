"""Grids of points on faces and edges, and points spread by area: numpy over all faces, the kernel where numpy has no
table.
"""

from __future__ import annotations

import numpy as np

from dflow.cadaccess import curves, surfaces, trimming
from dflow.cadaccess.kernel import KernelShape
from dflow.cadaccess.tables import ShapeTables
from dflow.cadaccess.trimming import Chords


def face_grids(
    tables: ShapeTables, kernel: KernelShape, chords: Chords, bounds: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """(F, n_u, n_v, 7) float64: point, outward unit normal, inside."""
    n_faces, (n_u, n_v) = tables.n_faces, shape
    u = np.linspace(bounds[:, 0], bounds[:, 1], n_u, axis=1)
    v = np.linspace(bounds[:, 2], bounds[:, 3], n_v, axis=1)
    out = np.empty((n_faces, n_u, n_v, 7))
    grid_u = np.repeat(u, n_v, axis=1)
    grid_v = np.tile(v, (1, n_u))
    points, normals = face_points(tables, kernel, np.arange(n_faces), grid_u, grid_v)
    out[..., :3], out[..., 3:6] = points.reshape(n_faces, n_u, n_v, 3), normals.reshape(n_faces, n_u, n_v, 3)
    out[..., 6] = grid_inside(tables, kernel, chords, bounds, (u, v))
    return out


def grid_inside(
    tables: ShapeTables,
    kernel: KernelShape,
    chords: Chords,
    bounds: np.ndarray,
    lines: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """(F, n_u, n_v) bool: which points of the grids u : (F, n_u) × v : (F, n_v) lie in or on their faces."""
    u, v = lines
    known = chords.closed
    full = known & trimming.fill_their_bounds(tables, chords, bounds)
    out = np.ones((tables.n_faces, u.shape[1], v.shape[1]), bool)
    open_ = np.flatnonzero(known & ~full)
    if len(open_):
        out[open_] = trimming.inside(tables, chords, open_, u[open_], v[open_][:, None])
    _join_seams(tables, bounds, out)
    for row in np.flatnonzero(~known).tolist():
        uv = np.stack(np.meshgrid(u[row], v[row], indexing="ij"), axis=-1).reshape(-1, 2)
        out[row] = kernel.inside(row, uv).reshape(out.shape[1:])
    return out


def _join_seams(tables: ShapeTables, bounds: np.ndarray, inside: np.ndarray) -> None:
    """Where bounds span a whole turn, first and last line are the same points: inside if either is."""
    turn_u, turn_v = surfaces.periods(tables.faces)
    around = np.flatnonzero(bounds[:, 1] - bounds[:, 0] >= turn_u - trimming.ON_TOLERANCE)
    inside[around, 0] |= inside[around, -1]
    inside[around, -1] = inside[around, 0]
    around = np.flatnonzero(bounds[:, 3] - bounds[:, 2] >= turn_v - trimming.ON_TOLERANCE)
    inside[around, :, 0] |= inside[around, :, -1]
    inside[around, :, -1] = inside[around, :, 0]


def face_points(
    tables: ShapeTables, kernel: KernelShape, rows: np.ndarray, u: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Points and outward unit normals of faces `rows` at u, v : (k, m); both (k, m, 3)."""
    known = tables.faces.evaluable[rows]
    sign = np.where(tables.face_reversed[rows], -1.0, 1.0)[:, None, None]
    if known.all():
        points, normals = surfaces.evaluate(tables.faces, rows, u, v)
        return points, normals * sign
    points, normals = np.empty((*u.shape, 3)), np.empty((*u.shape, 3))
    points[known], normals[known] = surfaces.evaluate(tables.faces, rows[known], u[known], v[known])
    normals *= sign
    for i in np.flatnonzero(~known).tolist():
        points[i], normals[i] = kernel.surface_points(int(rows[i]), np.column_stack([u[i], v[i]]))
    return points, normals


def edge_grids(tables: ShapeTables, kernel: KernelShape, edge_rows: np.ndarray, n: int) -> np.ndarray:
    """(E, n, 6) float64: point and unit tangent, uniform in the parameter."""
    edges = tables.edges
    t = np.linspace(edges.first[edge_rows], edges.last[edge_rows], n, axis=1)
    out = np.empty((len(edge_rows), n, 6))
    out[..., :3], out[..., 3:] = curves.evaluate(edges, edge_rows, t)
    for i in np.flatnonzero(~edges.evaluable[edge_rows]).tolist():
        row = int(edge_rows[i])
        t[i] = np.linspace(*kernel.edge_range(row), n)
        out[i, :, :3], out[i, :, 3:] = kernel.edge_points(row, t[i])
    size = np.sqrt(np.einsum("enk,enk->en", out[..., 3:], out[..., 3:]))
    out[..., 3:] /= np.where(size > 0, size, 1.0)[..., None]
    return out
