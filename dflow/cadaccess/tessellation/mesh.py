"""Triangles and edge polylines of a shape, for pictures and previews: from its tables, without the kernel.

Faces are cut into trapezoids in (u, v), whose corners are evaluated on the surface. Only faces and edges without a
table are meshed by the CAD kernel, one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dflow.cadaccess.geometry.tables import ShapeTables
from dflow.cadaccess.kernel.face_mesh import mesh_face
from dflow.cadaccess.kernel.shape import KernelShape
from dflow.cadaccess.measure.trimming import Chords
from dflow.cadaccess.tessellation import facets, fineness, polylines, splines, triangulation

Triangles = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Points (V, 3), normals (V, 3), corners (T, 3), face rows (T,)."""


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


def mesh_shape(tables: ShapeTables, chords: Chords, kernel: Callable[[], KernelShape]) -> Mesh:
    """Tessellate a shape without changing it.

    Parameters
    ----------
    kernel : returns the kernel's shape; called for faces and edges without a table only.

    Notes
    -----
    Chords stray by at most about 1/400 of the shape's size, half a pixel of a preview. Where a boundary has a corner on
    one of its two faces only, the other's triangle misses it: no gap is wider than that. A face that neither the tables
    nor the kernel can mesh has no triangles. Cost: 0.005 to 0.01 ms per face.
    """
    edge_splines = splines.pack_splines(tables.edges)
    size, n_pieces = fineness.edge_pieces(tables, edge_splines)
    triangles, rest = _table_triangles(tables, chords, n_pieces, size)
    if rest:
        triangles = _join([triangles, *(_kernel_triangles(kernel(), row, size) for row in rest)])
    return Mesh(*triangles, *polylines.edge_lines(tables, edge_splines, kernel, n_pieces))


def _table_triangles(
    tables: ShapeTables, chords: Chords, n_pieces: np.ndarray, size: float
) -> tuple[Triangles, list[int]]:
    """The triangles of all faces that have tables, and the rows of the others."""
    outline, rest = polylines.face_outlines(tables, chords, n_pieces)
    triangles = triangulation.triangulate(outline, fineness.face_steps(tables, outline.low, outline.high, size))
    points, normals, corners, owners = facets.evaluate_elementary(tables, triangles)
    if tables.faces.splines or tables.faces.sweeps:
        facets.evaluate_free_forms(tables, triangles, points, normals)
    return (points, normals, corners, owners), sorted(rest.tolist() + triangles.failed.tolist())


def _kernel_triangles(kernel: KernelShape, row: int, size: float) -> Triangles:
    points, normals, corners = mesh_face(kernel.face(row), size / 500)
    return points, normals, corners, np.full(len(corners), row)


def _join(pieces: list[Triangles]) -> Triangles:
    begin = np.cumsum([0, *(len(piece[0]) for piece in pieces)])
    return (
        np.concatenate([piece[0] for piece in pieces], dtype=np.float32),
        np.concatenate([piece[1] for piece in pieces], dtype=np.float32),
        np.concatenate([piece[2] + at for piece, at in zip(pieces, begin, strict=False)], dtype=np.int32),
        np.concatenate([piece[3] for piece in pieces], dtype=np.int32),
    )
