"""Solids: which side of their faces the material lies on, and their volume."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from OCP.BRep import BRep_Tool
from OCP.TopAbs import TopAbs_EDGE, TopAbs_FACE, TopAbs_SOLID
from OCP.TopExp import TopExp, TopExp_Explorer
from OCP.TopoDS import TopoDS, TopoDS_Face, TopoDS_Shape

from tests.benchmarks.arbiter.estimates import LEVELS, Estimate
from tests.benchmarks.arbiter.faces import face_figures, lines_of, slack_of, triangulate
from tests.benchmarks.arbiter.surfaces import patch_of, xyz

OPEN = 1e-2
"""Of a solid's area: a sum of its faces' areas as outward vectors that is larger tells of an open shell."""


def faces_of(shape: TopoDS_Shape) -> list[TopoDS_Face]:
    """Every face once, in the order of the kernel's map."""
    from dflow.cadaccess.kernel.shape import KernelShape

    kernel = KernelShape(shape)
    return [kernel.face(row) for row in range(kernel.face_map.Extent())]


def solids_of(shape: TopoDS_Shape) -> Iterator[TopoDS_Shape]:
    """Every solid as placed."""
    walk = TopExp_Explorer(shape, TopAbs_SOLID)
    while walk.More():
        yield walk.Current()
        walk.Next()


def material_side(faces: list[np.ndarray]) -> list[int]:
    """For each face's triangles of a solid, 1 where their normals point out of it, -1 where into it, 0 if unknown."""
    every = np.concatenate(faces) if faces else np.zeros((0, 3, 3))
    rays = _Rays(every)
    out = []
    for triangles in faces:
        normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        size = np.linalg.norm(normal, axis=1)
        chosen = np.argsort(size)[::-1][:1000:200] if len(size) > 1000 else np.argsort(size)[::-1][:5]
        vote = 0
        for i in chosen.tolist():
            if size[i] > 0:
                vote += rays.side(_INSIDE @ triangles[i], normal[i] / size[i])
        out.append(int(np.sign(vote)))
    return out


_INSIDE = np.array([0.414, 0.341, 0.245])
_ASIDE = np.array([0.531, 0.297, 0.794])
"""A point of a triangle and a slant of rays that no symmetric part leads through an edge of another triangle."""


class _Rays:
    """Rays through triangles."""

    def __init__(self, triangles: np.ndarray) -> None:
        self.a = triangles[:, 0]
        self.ab, self.ac = triangles[:, 1] - self.a, triangles[:, 2] - self.a
        self.size = float(np.ptp(triangles.reshape(-1, 3), axis=0).max(initial=0.0))

    def side(self, point: np.ndarray, normal: np.ndarray) -> int:
        """1 where a ray along `normal` meets the surface an even number of times and the one against it an odd."""
        slanted = normal + 0.2 * np.cross(normal, _ASIDE)
        ahead, back = (self._count(point, sign * slanted) % 2 for sign in (1.0, -1.0))
        return 0 if ahead == back else (1 if not ahead else -1)

    def _count(self, point: np.ndarray, along: np.ndarray) -> int:
        p = np.cross(along, self.ac)
        det = np.einsum("ij,ij->i", self.ab, p)
        with np.errstate(divide="ignore", invalid="ignore"):
            off = point - self.a
            s = np.einsum("ij,ij->i", off, p) / det
            q = np.cross(off, self.ab)
            t = q @ along / det
            far = np.einsum("ij,ij->i", self.ac, q) / det
            hit = (s >= 0) & (t >= 0) & (s + t <= 1) & (far > 1e-7 * self.size)
        return int(hit.sum())


def volume(shape: TopoDS_Shape, levels: int = LEVELS) -> Estimate:
    """mm³ of the material of all solids; always positive for closed ones, of which one that is there twice counts
    once.
    """
    value = error = 0.0
    seen: set[bytes] = set()
    for solid in solids_of(shape):
        walk = TopExp_Explorer(solid, TopAbs_FACE)
        faces = []
        while walk.More():
            faces.append(TopoDS.Face(walk.Current()))
            walk.Next()
        centre = _middle(solid)
        figures = [face_figures(face, centre, levels) for face in faces]
        place = np.sort(np.concatenate([f.coarse.corners for f in figures]).reshape(-1, 3).round(6), axis=0).tobytes()
        if place in seen:
            continue
        seen.add(place)
        sides = material_side([f.coarse.corners for f in figures])
        outward = np.zeros(3)
        for side, figure in zip(sides, figures, strict=True):
            value += side * figure.flux.value / 3
            error += figure.flux.error / 3 if side else math.inf
            outward += side * _vector_area(figure.coarse.corners)
        if np.linalg.norm(outward) > OPEN * sum(f.area.value for f in figures):
            error = math.inf
    return Estimate(value, error)


def _vector_area(corners: np.ndarray) -> np.ndarray:
    a, b, c = (corners[:, i] for i in range(3))
    return 0.5 * np.cross(b - a, c - a).sum(axis=0)


def box_side(faces: list[TopoDS_Face], centre: np.ndarray, levels: int, side: int) -> Estimate:
    """One of x_min, y_min, z_min, x_max, y_max, z_max of all faces, mm: triangles do not reach it quite."""
    found = []
    for level in (levels - 2, levels - 1):
        ends = []
        for face in faces:
            corners = triangulate(face, level).corners.reshape(-1, 3)
            if not len(corners):
                return Estimate(math.nan, math.inf)
            ends.append(corners[:, side % 3].min() if side < 3 else corners[:, side % 3].max())
        found.append(float(min(ends) if side < 3 else max(ends)))
    slack = max(slack_of(patch_of(face), face, lines_of(face, 0)) for face in faces)
    return Estimate(found[1], 2 * abs(found[1] - found[0]) + 1e-9 * abs(found[1]) + slack)


def _middle(shape: TopoDS_Shape) -> np.ndarray:
    walk = TopExp_Explorer(shape, TopAbs_EDGE)
    points = []
    while walk.More():
        vertex = TopExp.FirstVertex_s(TopoDS.Edge(walk.Current()))
        if not vertex.IsNull():
            points.append(xyz(BRep_Tool.Pnt_s(vertex)))
        walk.Next()
    return np.mean(points, axis=0) if points else np.zeros(3)
