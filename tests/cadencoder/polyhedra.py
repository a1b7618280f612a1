"""Boundary representations without a CAD kernel: polyhedra whose faces are parallelograms, as numpy arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Coedges:
    """What `Brep.topology()` gives."""

    coedge_face: np.ndarray
    coedge_edge: np.ndarray
    coedge_reversed: np.ndarray
    coedge_next: np.ndarray


@dataclass(frozen=True)
class Stated:
    volume: float = float("nan")
    area: float = float("nan")


class Polyhedron:
    """Flat parallelogram faces given by their corners in order, seen from outside; satisfies `BrepAccess`."""

    def __init__(
        self, corners: np.ndarray, faces: list[tuple[int, int, int, int]], stated: Stated | None = None
    ) -> None:
        self.corners = np.asarray(corners, float)
        self.faces = faces
        self.stated = stated or Stated()
        self.edges = sorted({tuple(sorted((a, b))) for face in faces for a, b in self._sides(face)})

    @staticmethod
    def _sides(face: tuple[int, ...]) -> list[tuple[int, int]]:
        return [(a, face[(k + 1) % len(face)]) for k, a in enumerate(face)]

    @property
    def n_faces(self) -> int:
        return len(self.faces)

    @property
    def n_edges(self) -> int:
        return len(self.edges)

    @property
    def n_bodies(self) -> int:
        return 1

    @property
    def n_solids(self) -> int:
        return int(self.is_closed())

    def _frames(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        a, b, _, d = (self.corners[[face[k] for face in self.faces]] for k in range(4))
        return a, b - a, d - a

    def _normals(self) -> np.ndarray:
        _, u, v = self._frames()
        return np.cross(u, v) / self.face_areas()[:, None]

    def face_types(self) -> np.ndarray:
        return np.zeros(self.n_faces, np.int32)

    def face_areas(self) -> np.ndarray:
        _, u, v = self._frames()
        return np.linalg.norm(np.cross(u, v), axis=1)

    def face_centroids(self) -> np.ndarray:
        origin, u, v = self._frames()
        return origin + 0.5 * (u + v)

    def face_loops(self) -> np.ndarray:
        return np.ones(self.n_faces, np.int32)

    def face_reversed(self) -> np.ndarray:
        return np.zeros(self.n_faces, bool)

    def face_rational(self) -> np.ndarray:
        return np.zeros(self.n_faces, bool)

    def face_samples(self, n_u: int, n_v: int, *, closed: bool = True) -> np.ndarray:
        origin, u, v = self._frames()
        s, t = (np.linspace(0, 1, n) if n > 1 else np.array([0.5]) for n in (n_u, n_v))
        points = origin[:, None, None] + s[:, None, None] * u[:, None, None] + t[None, :, None] * v[:, None, None]
        normals = np.broadcast_to(self._normals()[:, None, None], points.shape)
        inside = np.ones((*points.shape[:3], 1))
        if not closed:
            inside[:, [0, -1]] = inside[:, :, [0, -1]] = 0
        return np.concatenate([points, normals, inside], axis=-1)

    def surface_samples(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        generator = np.random.default_rng(seed)
        origin, u, v = self._frames()
        s, t = generator.random((2, self.n_faces, n, 1))
        points = origin[:, None] + s * u[:, None] + t * v[:, None]
        return points, np.broadcast_to(self._normals()[:, None], points.shape).copy()

    def surface_points(self, n: int, seed: int) -> np.ndarray:
        return self.surface_samples(n, seed)[0]

    def edge_types(self) -> np.ndarray:
        return np.zeros(self.n_edges, np.int32)

    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        pairs = np.array(self.edges, int).reshape(-1, 2)
        return self.corners[pairs[:, 0]], self.corners[pairs[:, 1]]

    def edge_lengths(self, *, exact: bool = True) -> np.ndarray:
        start, end = self._ends()
        return np.linalg.norm(end - start, axis=1)

    def edge_dihedral_angles(self) -> np.ndarray:
        topology = self.topology()
        angles = np.full(self.n_edges, np.nan)
        normals, centroids = self._normals(), self.face_centroids()
        for edge in range(self.n_edges):
            faces = topology.coedge_face[topology.coedge_edge == edge]
            if len(faces) == 2:
                one, other = faces
                angle = np.arccos(np.clip(normals[one] @ normals[other], -1, 1))
                angles[edge] = np.copysign(angle, normals[one] @ (centroids[one] - centroids[other]))
        return angles

    def edge_convexities(self, smooth_degrees: float = 5.0) -> np.ndarray:
        angles = self.edge_dihedral_angles()
        codes = np.where(np.abs(angles) <= np.radians(smooth_degrees), 3, np.where(angles > 0, 1, 2))
        return np.where(np.isnan(angles), 0, codes).astype(np.int32)

    def edge_samples(self, n_u: int) -> np.ndarray:
        start, end = self._ends()
        s = np.linspace(0, 1, n_u)[None, :, None]
        points = start[:, None] + s * (end - start)[:, None]
        tangents = np.broadcast_to(((end - start) / self.edge_lengths()[:, None])[:, None], points.shape)
        return np.concatenate([points, tangents], axis=-1)

    def edge_rational(self) -> np.ndarray:
        return np.zeros(self.n_edges, bool)

    def edge_closed(self) -> np.ndarray:
        return np.zeros(self.n_edges, bool)

    def coedge_samples(self, n: int, *, by_length: bool = True) -> np.ndarray:
        topology = self.topology()
        samples = self.edge_samples(n)[topology.coedge_edge]
        backwards = topology.coedge_reversed == 1
        samples[backwards] = samples[backwards, ::-1] * np.repeat([1, -1], 3)
        face = topology.coedge_face
        other = [
            next((f for c, f in enumerate(face) if topology.coedge_edge[c] == edge and f != mine), mine)
            for edge, mine in zip(topology.coedge_edge, face, strict=True)
        ]
        normals = [np.repeat(self._normals()[side][:, None], n, axis=1) for side in (face, np.array(other, int))]
        return np.concatenate([samples, *normals], axis=-1)

    def with_degenerate_edges(self) -> Polyhedron:
        return self

    def topology(self) -> Coedges:
        rows = [(f, *side) for f, face in enumerate(self.faces) for side in self._sides(face)]
        index = {edge: k for k, edge in enumerate(self.edges)}
        first = np.arange(0, 4 * self.n_faces, 4).repeat(4)
        following = first + (np.arange(4 * self.n_faces) + 1) % 4
        return Coedges(
            np.array([row[0] for row in rows], np.int32),
            np.array([index[tuple(sorted(row[1:]))] for row in rows], np.int32),
            np.array([row[1] > row[2] for row in rows], np.int8),
            following.astype(np.int32),
        )

    def bounding_box(self) -> np.ndarray:
        if not len(self.corners):
            return np.full(6, np.nan)
        return np.concatenate([self.corners.min(axis=0), self.corners.max(axis=0)])

    def centroid(self) -> np.ndarray:
        return self.corners.mean(axis=0) if len(self.corners) else np.full(3, np.nan)

    def volume(self) -> float:
        return float(np.sum(self.face_centroids() * self._normals() * self.face_areas()[:, None]) / 3)

    def area(self) -> float:
        return float(self.face_areas().sum())

    def is_closed(self) -> bool:
        return bool(np.all(np.bincount(self.topology().coedge_edge, minlength=self.n_edges) == 2))

    def is_valid(self) -> bool:
        return True

    def stated_properties(self) -> Stated:
        return self.stated


_BOX_FACES = [(0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)]


def box(
    dx: float = 1.0, dy: float = 2.0, dz: float = 3.0, *, faces: int = 6, stated: Stated | None = None
) -> Polyhedron:
    """A box with a corner at the origin; with fewer `faces` an open one."""
    low, high = [(0, 0), (dx, 0), (dx, dy), (0, dy)], (0.0, dz)
    corners = np.array([(x, y, z) for z in high for x, y in low])
    return Polyhedron(corners, _BOX_FACES[:faces], stated)


def nothing() -> Polyhedron:
    """A shape without faces and edges."""
    return Polyhedron(np.zeros((0, 3)), [])
