"""What a renderer needs of a part: triangles with a face index each, and edge polylines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]


class RenderMesh(Protocol):
    """A tessellated part, as `dflow.cadaccess` gives it; any object with these arrays will do."""

    @property
    def vertices(self) -> npt.NDArray[np.floating]:
        """(V, 3) float32, mm."""

    @property
    def normals(self) -> npt.NDArray[np.floating]:
        """(V, 3) float32, unit, out of the material."""

    @property
    def triangles(self) -> npt.NDArray[np.integer]:
        """(T, 3) int32, vertex indices."""

    @property
    def triangle_faces(self) -> npt.NDArray[np.integer]:
        """(T,) int32, face index of each triangle."""

    @property
    def edge_points(self) -> npt.NDArray[np.floating]:
        """(P, 3) float32, mm."""

    @property
    def edge_offsets(self) -> npt.NDArray[np.integer]:
        """(L+1,) int, where each of the L polylines begins in `edge_points`."""


@dataclass(frozen=True, slots=True)
class MeshArrays:
    """A settled `RenderMesh`: dtypes, finite coordinates, no vertex of two faces, segments instead of polylines.

    Parameters
    ----------
    vertices, normals : (V, 3) float32, mm and unit
    vertex_faces : (V,) int32, the face that each vertex belongs to
    triangles : (T, 3) int32
    edge_points : (P, 3) float32, mm
    edge_segments : (S, 2) int32, point indices of each straight piece
    """

    vertices: FloatArray
    normals: FloatArray
    vertex_faces: IntArray
    triangles: IntArray
    edge_points: FloatArray
    edge_segments: IntArray

    @property
    def is_empty(self) -> bool:
        """Nothing to draw."""
        return not (len(self.triangles) or len(self.edge_segments))

    @property
    def triangle_faces(self) -> IntArray:
        """(T,) int32."""
        return self.vertex_faces[self.triangles[:, 0]]

    @property
    def n_faces(self) -> int:
        """One more than the highest face index; faces without a triangle at the end are not seen."""
        return int(self.triangle_faces.max(initial=-1)) + 1


def segments_of(offsets: npt.NDArray[np.integer], n_points: int) -> IntArray:
    """Point index pairs (S, 2) of polylines that begin at `offsets`; pairs across two polylines are left out."""
    if n_points < 2:
        return np.zeros((0, 2), np.int32)
    starts = np.arange(n_points - 1, dtype=np.int32)
    inside = np.ones(n_points - 1, bool)
    inner = np.asarray(offsets)[1:-1]
    inside[inner[(inner > 0) & (inner < n_points)] - 1] = False
    starts = starts[inside]
    return np.stack([starts, starts + 1], axis=1)


def clean_arrays(mesh: RenderMesh | MeshArrays) -> MeshArrays:
    """Settle dtypes; drop triangles and segments whose coordinates are not finite (kernel meshes can hold such)."""
    if isinstance(mesh, MeshArrays):
        return mesh
    vertices = np.ascontiguousarray(mesh.vertices, np.float32).reshape(-1, 3)
    normals = np.ascontiguousarray(mesh.normals, np.float32).reshape(-1, 3)
    triangles = np.ascontiguousarray(mesh.triangles, np.int32).reshape(-1, 3)
    faces = np.ascontiguousarray(mesh.triangle_faces, np.int32)
    points = np.ascontiguousarray(mesh.edge_points, np.float32).reshape(-1, 3)
    segments = segments_of(mesh.edge_offsets, len(points))
    if not np.isfinite(vertices).all():
        finite = _finite_rows(vertices)
        keep = finite[triangles].all(axis=1)
        triangles, faces = triangles[keep], faces[keep]
        vertices = np.where(finite[:, None], vertices, _any_finite(vertices, finite)).astype(np.float32)
    if not np.isfinite(points).all():
        finite = _finite_rows(points)
        segments = segments[finite[segments].all(axis=1)]
        points = np.where(finite[:, None], points, _any_finite(points, finite)).astype(np.float32)
    if not np.isfinite(normals).all():
        normals = np.where(np.isfinite(normals), normals, np.float32(0.0))
    return MeshArrays(*_split_at_faces(vertices, normals, triangles, faces), points, segments)


def _split_at_faces(
    vertices: FloatArray, normals: FloatArray, triangles: IntArray, faces: IntArray
) -> tuple[FloatArray, FloatArray, IntArray, IntArray]:
    """Vertices that belong to one face each: vertices, normals, their faces, triangles."""
    owner = np.zeros(len(vertices), np.int32)
    owner[triangles] = faces[:, None]
    if (owner[triangles] == faces[:, None]).all():
        return vertices, normals, owner, triangles
    pairs = triangles.astype(np.int64) + faces[:, None].astype(np.int64) * len(vertices)
    used, flat = np.unique(pairs, return_inverse=True)
    face, vertex = np.divmod(used, len(vertices))
    return vertices[vertex], normals[vertex], face.astype(np.int32), flat.reshape(-1, 3).astype(np.int32)


def _finite_rows(points: FloatArray) -> npt.NDArray[np.bool_]:
    rows: npt.NDArray[np.bool_] = np.asarray(np.isfinite(points).all(axis=1))
    return rows


def _any_finite(points: FloatArray, finite: npt.NDArray[np.bool_]) -> FloatArray:
    """A stand-in for unusable points that does not widen the picture."""
    return points[np.argmax(finite)] if finite.any() else np.zeros(3, np.float32)
