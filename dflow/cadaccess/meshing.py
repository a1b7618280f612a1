"""Triangles and edge polylines of a shape, for pictures and previews."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from OCP.BinTools import BinTools, BinTools_FormatVersion
from OCP.BRepMesh import BRepMesh_IncrementalMesh
from OCP.BRepTools import BRepTools

from dflow.cadaccess import exploring, sampling, shapecode
from dflow.cadaccess.exploring import Places
from dflow.cadaccess.kernel import KernelShape
from dflow.cadaccess.shapecode import Triangulation
from dflow.cadaccess.tables import ShapeTables

_CURVE_POINTS = 25


@dataclass(frozen=True, slots=True)
class Mesh:
    """A tessellated shape.

    Attributes
    ----------
    vertices, normals : (V, 3) float32, mm and outward unit normals; faces share no vertices.
    triangles : (T, 3) int32, counter-clockwise seen from outside
    triangle_faces : (T,) int32, each triangle's face row
    edge_points : (P, 3) float32, mm
    edge_offsets : (n_edges + 1,) int32; polyline i is ``edge_points[edge_offsets[i]:edge_offsets[i + 1]]``
    """

    vertices: np.ndarray
    normals: np.ndarray
    triangles: np.ndarray
    triangle_faces: np.ndarray
    edge_points: np.ndarray
    edge_offsets: np.ndarray


def mesh_shape(tables: ShapeTables, kernel: KernelShape, diagonal: float, *, angle: float = 0.35) -> Mesh:
    """Tessellate a shape and leave no trace in it.

    Parameters
    ----------
    diagonal : of the bounding box, mm; chords stray from the surface by at most 1/500 of it.
    angle : radians, how far neighbouring normals may turn.

    Notes
    -----
    A face that the kernel cannot mesh has no triangles.
    """
    deflection = max(diagonal, 1e-6) / 500 if np.isfinite(diagonal) else 0.1
    BRepMesh_IncrementalMesh(kernel.shape, deflection, False, angle, False)
    try:
        stream = io.BytesIO()
        BinTools.Write_s(kernel.shape, stream, True, False, BinTools_FormatVersion.BinTools_FormatVersion_VERSION_4)
    finally:
        BRepTools.Clean_s(kernel.shape)
    pieces = _collect_pieces(stream.getvalue())
    vertices, normals, triangles, owners = _join_pieces(pieces)
    edge_points, edge_offsets = _edge_lines(tables, kernel)
    return Mesh(vertices, normals, triangles, owners, edge_points, edge_offsets)


_Piece = tuple[Triangulation, np.ndarray | None, bool]


def _collect_pieces(data: bytes) -> list[_Piece | None]:
    """Each face's mesh, its place and whether the face is reversed; None for a face without a mesh."""
    code = shapecode.parse_shape(data)
    places = Places(code)
    found = exploring.explore(code, places, exploring.root_node(code, places))
    pieces: list[_Piece | None] = []
    for orientation, index, place in found.faces:
        face = code.faces[index]
        if not face.triangulation:
            pieces.append(None)
            continue
        matrix = places.matrix(places.compose(place, face.location))
        pieces.append((code.triangulations[face.triangulation - 1], matrix, orientation == shapecode.REVERSED))
    return pieces


def _join_pieces(pieces: list[_Piece | None]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    vertices, normals = [np.zeros((0, 3))], [np.zeros((0, 3))]
    triangles, owners = [np.zeros((0, 3), np.int32)], [np.zeros(0, np.int32)]
    n_vertices = 0
    for row, piece in enumerate(pieces):
        if piece is None:
            continue
        mesh, matrix, backwards = piece
        points = mesh.nodes if matrix is None else mesh.nodes @ matrix[:, :3].T + matrix[:, 3]
        corners = mesh.triangles[:, ::-1] if backwards else mesh.triangles
        vertices.append(points)
        normals.append(_vertex_normals(points, corners))
        triangles.append((corners + n_vertices).astype(np.int32))
        owners.append(np.full(len(corners), row, np.int32))
        n_vertices += len(points)
    return (
        np.concatenate(vertices).astype(np.float32),
        np.concatenate(normals).astype(np.float32),
        np.concatenate(triangles),
        np.concatenate(owners),
    )


def _vertex_normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Unit normals, each the area-weighted mean of the triangles around a vertex within its face."""
    a, b, c = (points[triangles[:, i]] for i in range(3))
    facet = np.cross(b - a, c - a)
    total = np.zeros_like(points)
    for i in range(3):
        np.add.at(total, triangles[:, i], facet)
    size = np.sqrt(np.einsum("ij,ij->i", total, total))
    return total / np.where(size > 0, size, 1.0)[:, None]


def _edge_lines(tables: ShapeTables, kernel: KernelShape) -> tuple[np.ndarray, np.ndarray]:
    """Polylines of all edges that have a curve: two points for a line, `_CURVE_POINTS` for the others."""
    rows = np.flatnonzero(~tables.edge_degenerate)
    straight = tables.edges.kind[rows] == shapecode.LINE
    sizes = np.where(straight, 2, _CURVE_POINTS)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    points = np.empty((int(offsets[-1]), 3), np.float32)
    for which, n in ((straight, 2), (~straight, _CURVE_POINTS)):
        chosen = np.flatnonzero(which)
        grid = sampling.edge_grids(tables, kernel, rows[chosen], n)[..., :3]
        points[offsets[chosen][:, None] + np.arange(n)] = grid
    return points, offsets
