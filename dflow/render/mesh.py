"""The mesh of a part for rendering: triangles with a face index each, and edge polylines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dflow.render import passes

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]


class RenderMesh(Protocol):
    """A tessellated part, as `dflow.cadaccess` gives it; any object with these arrays is accepted."""

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
    """A checked `RenderMesh`: fixed dtypes, finite coordinates, no vertex of two faces, segments instead of polylines.

    Parameters
    ----------
    vertices, normals : (V, 3) float32, mm and unit
    vertex_faces : (V,) int32, the face that each vertex belongs to
    triangles : (T, 3) int32
    edge_points : (P, 3) float32, mm
    edge_segments : (S, 2) int32, point indices of each straight piece

    Raises
    ------
    IndexError
        A triangle or a segment refers to a missing point: the compiled loops do not check indices.
    ValueError
        Vertices, normals and faces have different lengths.
    """

    vertices: FloatArray
    normals: FloatArray
    vertex_faces: IntArray
    triangles: IntArray
    edge_points: FloatArray
    edge_segments: IntArray

    def __post_init__(self) -> None:
        n_vertices, n_points = len(self.vertices), len(self.edge_points)
        if not len(self.normals) == len(self.vertex_faces) == n_vertices:
            raise ValueError(
                f"{n_vertices} vertices, {len(self.normals)} normals and {len(self.vertex_faces)} faces of vertices"
            )
        if not passes.within(self.triangles, n_vertices):
            raise IndexError(_out_of_range("triangles", self.triangles, n_vertices))
        if not passes.within(self.edge_segments, n_points):
            raise IndexError(_out_of_range("edge segments", self.edge_segments, n_points))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not (len(self.triangles) or len(self.edge_segments))

    @property
    def triangle_faces(self) -> IntArray:
        """(T,) int32."""
        return self.vertex_faces[self.triangles[:, 0]]

    @property
    def n_faces(self) -> int:
        """One more than the highest face index; faces without a triangle at the end are not counted."""
        return int(self.triangle_faces.max(initial=-1)) + 1


def segments_of(offsets: npt.NDArray[np.integer], n_points: int) -> IntArray:
    """Return point index pairs (S, 2) of polylines that begin at `offsets`; pairs across two polylines are left out."""
    segments = np.empty((n_points, 2), np.int32)
    return segments[: passes.connect(np.ascontiguousarray(offsets, np.int32), n_points, segments)]


def clean_arrays(mesh: RenderMesh | MeshArrays) -> MeshArrays:
    """Convert to fixed dtypes, and drop triangles and segments whose coordinates are not finite (kernel meshes can have
    such).

    Raises
    ------
    IndexError
        A triangle refers to a missing vertex.
    ValueError
        Arrays have lengths that do not fit.
    """
    if isinstance(mesh, MeshArrays):
        return mesh
    vertices, normals = _rows(mesh.vertices, np.float32), _rows(mesh.normals, np.float32)
    triangles, faces = _rows(mesh.triangles, np.int32), np.ascontiguousarray(mesh.triangle_faces, np.int32)
    points = _rows(mesh.edge_points, np.float32)
    if len(vertices) != len(normals) or faces.shape != (len(triangles),):
        raise ValueError(
            f"{len(normals)} normals for {len(vertices)} vertices, faces {faces.shape} for {len(triangles)} triangles; "
            "expected one normal per vertex and one face per triangle"
        )
    owner = np.full(len(vertices), -1, np.int32)
    faults = passes.inspect(vertices, normals, triangles, faces, points, owner)
    segments = segments_of(mesh.edge_offsets, len(points))
    if faults & passes.OUTSIDE:
        raise IndexError(_out_of_range("triangles", triangles, len(vertices)))
    if faults & passes.NEGATIVE:
        raise IndexError(f"a triangle of face {faces.min()}; faces are numbered from 0")
    if faults & passes.POINTS_NOT_FINITE:
        finite = _finite_rows(vertices)
        keep = finite[triangles].all(axis=1)
        triangles, faces = triangles[keep], faces[keep]
        vertices = np.where(finite[:, None], vertices, _any_finite(vertices, finite)).astype(np.float32)
    if faults & passes.EDGES_NOT_FINITE:
        finite = _finite_rows(points)
        segments = segments[finite[segments].all(axis=1)]
        points = np.where(finite[:, None], points, _any_finite(points, finite)).astype(np.float32)
    if faults & passes.NORMALS_NOT_FINITE:
        normals = np.where(np.isfinite(normals), normals, np.float32(0.0))
    if faults & passes.SHARED:
        vertices, normals, owner, triangles = _split_at_faces(vertices, normals, triangles, faces)
    return MeshArrays(vertices, normals, owner, triangles, points, segments)


def _out_of_range(what: str, indices: IntArray, n_points: int) -> str:
    return f"{what} of points {indices.min()} to {indices.max()}, where there are {n_points}, numbered from 0"


def _rows(values: npt.ArrayLike, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    return np.ascontiguousarray(values, dtype).reshape(-1, 3)


def _split_at_faces(
    vertices: FloatArray, normals: FloatArray, triangles: IntArray, faces: IntArray
) -> tuple[FloatArray, FloatArray, IntArray, IntArray]:
    """Vertices that belong to one face each: vertices, normals, their faces, triangles."""
    pairs = triangles.astype(np.int64) + faces[:, None].astype(np.int64) * len(vertices)
    used, flat = np.unique(pairs, return_inverse=True)
    face, vertex = np.divmod(used, len(vertices))
    return vertices[vertex], normals[vertex], face.astype(np.int32), flat.reshape(-1, 3).astype(np.int32)


def _finite_rows(points: FloatArray) -> npt.NDArray[np.bool_]:
    rows: npt.NDArray[np.bool_] = np.asarray(np.isfinite(points).all(axis=1))
    return rows


def _any_finite(points: FloatArray, finite: npt.NDArray[np.bool_]) -> FloatArray:
    """Return a substitute for points that are not finite, which does not enlarge the picture."""
    return points[np.argmax(finite)] if finite.any() else np.zeros(3, np.float32)
