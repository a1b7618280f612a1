"""Areas, centroids, lengths, angles and bounds: in numpy where a table has the answer, else by the kernel."""

from __future__ import annotations

import numpy as np

from dflow.cadaccess import curves, shapecode
from dflow.cadaccess.kernel import KernelShape
from dflow.cadaccess.sampling import face_points
from dflow.cadaccess.tables import ShapeTables


def uv_bounds(tables: ShapeTables, kernel: KernelShape) -> np.ndarray:
    """(F, 4) float64: u_min, u_max, v_min, v_max of each trimmed face."""
    out = np.empty((tables.n_faces, 4))
    for row in range(tables.n_faces):
        out[row] = kernel.uv_bounds(row)
    return out


def face_moments(tables: ShapeTables, kernel: KernelShape) -> tuple[np.ndarray, np.ndarray]:
    """Areas (F,) in mm² and centroids (F, 3) in mm."""
    areas, centroids = np.empty(tables.n_faces), np.empty((tables.n_faces, 3))
    for row in range(tables.n_faces):
        areas[row], centroids[row] = kernel.face_moments(row)
    return areas, centroids


def edge_lengths(tables: ShapeTables, kernel: KernelShape, edge_rows: np.ndarray) -> np.ndarray:
    """(E,) float64, mm."""
    edges = tables.edges
    kind, span = edges.kind[edge_rows], edges.last[edge_rows] - edges.first[edge_rows]
    lengths = span * np.where(kind == shapecode.CIRCLE, edges.radii[edge_rows, 0], 1.0)
    for i in np.flatnonzero(kind > shapecode.CIRCLE).tolist():
        lengths[i] = kernel.edge_length(int(edge_rows[i]))
    return lengths


def dihedral_angles(tables: ShapeTables, kernel: KernelShape, edge_rows: np.ndarray) -> np.ndarray:
    """(E,) float64, radians, convex > 0; NaN where an edge has not exactly two faces.

    The sign is that of ``(n_a × n_b) · t`` with t the edge's direction as face a's loop runs, the material to its left.
    """
    angles = np.full(len(tables.edge_degenerate), np.nan)
    edge, first, second = _edges_between_two_faces(tables)
    if len(edge):
        normals = []
        for use in (first, second):
            middle = 0.5 * (tables.use_curves.first[use] + tables.use_curves.last[use])
            uv, _ = curves.evaluate(tables.use_curves, use, middle[:, None])
            normals.append(face_points(tables, kernel, tables.use_face[use], uv[..., 0], uv[..., 1])[1][:, 0])
        tangent = _tangents(tables, kernel, edge)
        along = tables.use_forward[first] != tables.face_reversed[tables.use_face[first]]
        tangent *= np.where(along, 1.0, -1.0)[:, None]
        cross = np.cross(normals[0], normals[1])
        sine = np.einsum("ij,ij->i", cross, tangent)
        size = np.sqrt(np.einsum("ij,ij->i", cross, cross))
        angles[edge] = np.copysign(np.arctan2(size, np.einsum("ij,ij->i", *normals)), sine)
    return angles[edge_rows]


def _edges_between_two_faces(tables: ShapeTables) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges used once each by two different faces, with those two uses, lower face first."""
    uses = np.flatnonzero(tables.use_boundary & ~tables.edge_degenerate[tables.use_edge])
    order = uses[np.lexsort((tables.use_face[uses], tables.use_edge[uses]))]
    edge, face = tables.use_edge[order], tables.use_face[order]
    start = np.flatnonzero(np.diff(edge, prepend=-1))
    twice = start[np.diff(np.append(start, len(edge))) == 2]
    twice = twice[face[twice] != face[twice + 1]]
    return edge[twice], order[twice], order[twice + 1]


def _tangents(tables: ShapeTables, kernel: KernelShape, edge: np.ndarray) -> np.ndarray:
    """Unit tangents at the edges' midpoints, (n, 3)."""
    edges = tables.edges
    middle = 0.5 * (edges.first[edge] + edges.last[edge])
    _, slope = curves.evaluate(edges, edge, middle[:, None])
    tangent = slope[:, 0]
    for i in np.flatnonzero(~edges.evaluable[edge]).tolist():
        row = int(edge[i])
        tangent[i] = kernel.edge_points(row, np.array([0.5 * sum(kernel.edge_range(row))]))[1][0]
    size = np.sqrt(np.einsum("ij,ij->i", tangent, tangent))
    return tangent / np.where(size > 0, size, 1.0)[:, None]


def shells_are_closed(tables: ShapeTables) -> bool:
    """Whether there is a shell, and every edge of each is used equally often both ways."""
    if not tables.shells:
        return False
    outward = tables.use_forward != tables.face_reversed[tables.use_face]
    counted = tables.use_boundary & ~tables.edge_degenerate[tables.use_edge]
    n_edges = len(tables.edge_degenerate)
    for shell in tables.shells:
        direction = np.zeros(tables.n_faces)
        for row, backwards in shell:
            direction[row] = 1.0 if backwards == bool(tables.face_reversed[row]) else -1.0
        weight = np.where(outward, 1.0, -1.0) * direction[tables.use_face]
        if not shell or np.bincount(tables.use_edge[counted], weight[counted], n_edges).any():
            return False
    return True
