"""Triangles of faces, and what they add up to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from OCP.BRep import BRep_Tool
from OCP.BRepAdaptor import BRepAdaptor_Curve, BRepAdaptor_Surface
from OCP.GeomAbs import GeomAbs_SurfaceType as SurfaceType
from OCP.TopExp import TopExp
from OCP.TopoDS import TopoDS_Face

from tests.benchmarks.arbiter.edges import boundary, edge_line
from tests.benchmarks.arbiter.estimates import LEVELS, Estimate, extrapolate
from tests.benchmarks.arbiter.regions import cut_strips, loop_chords
from tests.benchmarks.arbiter.surfaces import Free, Patch, Round, patch_of

_MAX_CELLS = 3_000_000


@dataclass(slots=True)
class Triangles:
    """(n, 3, 3) corners, mm, counter-clockwise seen from where the cross product of the surface's slopes points."""

    corners: np.ndarray
    bad: float


@dataclass(slots=True)
class FaceFigures:
    """What the triangles of a face add up to; `flux`: of the position, through the side of the slopes' product."""

    area: Estimate
    centroid: list[Estimate]
    flux: Estimate
    low: np.ndarray
    high: np.ndarray
    coarse: Triangles
    slack: float
    """mm: how far the file's edges stray from the surface and their ends from their vertices."""


def triangulate(face: TopoDS_Face, level: int) -> Triangles:
    """The triangles of one face."""
    patch = patch_of(face)
    lines = lines_of(face, level)
    return _triangles(patch, lines, level)


def face_figures(face: TopoDS_Face, centre: np.ndarray, levels: int = LEVELS) -> FaceFigures:
    """Area in mm², centroid, and flux of (P - centre) through one face."""
    patch = patch_of(face)
    areas, fluxes, centroids = [], [], []
    coarse = last = Triangles(np.zeros((0, 3, 3)), math.inf)
    lines: list[np.ndarray] = []
    for level in range(levels):
        lines = lines_of(face, level)
        last = _triangles(patch, lines, level)
        if not level:
            coarse = last
        if not last.bad <= 1e-6 or not len(last.corners):
            break
        a, b, c = (last.corners[:, i] - centre for i in range(3))
        normal = 0.5 * np.cross(b - a, c - a)
        size = np.linalg.norm(normal, axis=1)
        if not size.sum() > 0:
            break
        areas.append(float(size.sum()))
        middle = (a + b + c) / 3
        fluxes.append(float(np.einsum("ij,ij->", middle, normal)))
        centroids.append(centre + size @ middle / size.sum())
    area, flux = extrapolate(areas), extrapolate(fluxes)
    if last.bad > 1e-6:
        area, flux = Estimate(area.value, math.inf), Estimate(flux.value, math.inf)
    around = sum(float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum()) for line in lines)
    slack = slack_of(patch, face, lines)
    area = _widened(area, slack * around)
    flux = _widened(flux, slack * around * _reach(last.corners, centre))
    shift = slack * around / area.value * _reach(last.corners, last.corners[0, 0]) if areas else math.inf
    corners = last.corners.reshape(-1, 3)
    none = np.full(3, np.nan)
    return FaceFigures(
        area=area,
        centroid=[_widened(extrapolate([float(c[axis]) for c in centroids]), shift) for axis in range(3)],
        flux=flux,
        low=corners.min(axis=0) if len(corners) else none,
        high=corners.max(axis=0) if len(corners) else none,
        coarse=coarse,
        slack=slack,
    )


def _widened(estimate: Estimate, slack: float) -> Estimate:
    return Estimate(estimate.value, estimate.error + slack)


def _reach(corners: np.ndarray, centre: np.ndarray) -> float:
    return float(np.linalg.norm(corners.reshape(-1, 3) - centre, axis=1).max()) if len(corners) else 0.0


def lines_of(face: TopoDS_Face, level: int) -> list[np.ndarray]:
    flat = BRepAdaptor_Surface(face, False).GetType() == SurfaceType.GeomAbs_Plane
    found = []
    for edge, backwards in boundary(face):
        line = edge_line(edge, level, straight=flat, joined=True)
        found.append(line[::-1] if backwards else line)
    return found


def slack_of(patch: Patch, face: TopoDS_Face, lines: list[np.ndarray]) -> float:
    """mm: the edges' largest distance from the surface, or of a curve's end from its vertex."""
    if not lines:
        return 0.0
    points = np.concatenate(lines)
    uv, _ = patch.invert(points)
    away = float(np.linalg.norm(patch.points(uv[:, 0], uv[:, 1]) - points, axis=1).max())
    for edge, _ in boundary(face):
        curve = BRepAdaptor_Curve(edge)
        ends = (
            (TopExp.FirstVertex_s(edge), curve.FirstParameter()),
            (TopExp.LastVertex_s(edge), curve.LastParameter()),
        )
        for vertex, t in ends:
            if not vertex.IsNull():
                away = max(away, BRep_Tool.Pnt_s(vertex).Distance(curve.Value(t)))
    return away


def _triangles(patch: Patch, lines: list[np.ndarray], level: int) -> Triangles:
    directed = loop_chords(patch, lines)
    if isinstance(patch, Round) and patch.kind == SurfaceType.GeomAbs_Cone and len(directed):
        _bound_by_apex(patch, directed)
    if isinstance(patch, Free) and len(directed):
        patch.fit(directed.reshape(-1, 2))
    strips = cut_strips(patch, directed, level)
    if not np.isfinite(np.concatenate([strips.low0, strips.high0])).all():
        return Triangles(np.zeros((0, 3, 3)), math.inf)
    tall = np.maximum(strips.high0 - strips.low0, strips.high1 - strips.low1)
    step = patch.steps[1] / 2**level
    cells = np.maximum(np.ceil(tall / step - 1e-9), 1).astype(int) if math.isfinite(step) else np.ones(len(tall), int)
    if cells.sum() > _MAX_CELLS:
        return Triangles(np.zeros((0, 3, 3)), math.inf)
    row = np.repeat(np.arange(len(cells)), cells)
    part = np.arange(len(row)) - np.repeat(np.cumsum(cells) - cells, cells)
    shares = part / cells[row], (part + 1) / cells[row]
    corner = {}
    for side, (u, low, high) in enumerate(
        ((strips.u0, strips.low0, strips.high0), (strips.u1, strips.low1, strips.high1))
    ):
        for top, share in enumerate(shares):
            v = low[row] + share * (high[row] - low[row])
            corner[side, top] = patch.points(u[row], v)
    one = np.stack([corner[0, 0], corner[1, 0], corner[1, 1]], axis=1)
    other = np.stack([corner[0, 0], corner[1, 1], corner[0, 1]], axis=1)
    return Triangles(np.concatenate([one, other]), strips.bad)


def _bound_by_apex(patch: Round, directed: np.ndarray) -> None:
    v = directed[:, 1::2]
    near = 1e-9 * (1 + np.abs(v).max())
    side = 1.0 if math.sin(patch.slope) > 0 else -1.0
    if (side * (v - patch.apex) >= -near).all():
        patch.v_limits = (patch.apex, math.inf) if side > 0 else (-math.inf, patch.apex)
    elif (side * (v - patch.apex) <= near).all():
        patch.v_limits = (-math.inf, patch.apex) if side > 0 else (patch.apex, math.inf)
