"""Triangles and edge polylines of a shape, for pictures and previews: from its tables, without the kernel.

Faces are cut into trapezoids in (u, v), whose corners are evaluated on the surface. Only faces and edges that numpy has
no table for are given to the kernel, one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from OCP.BRep import BRep_Tool
from OCP.BRepMesh import BRepMesh_IncrementalMesh
from OCP.BRepTools import BRepTools
from OCP.TopAbs import TopAbs_REVERSED
from OCP.TopLoc import TopLoc_Location

from dflow.cadaccess import curves, shapecode, slabs, surfaces
from dflow.cadaccess.curves import CurveTable
from dflow.cadaccess.kernel import KernelShape
from dflow.cadaccess.runs import run_starts
from dflow.cadaccess.slabs import Outline
from dflow.cadaccess.surfaces import SurfaceTable
from dflow.cadaccess.tables import ShapeTables
from dflow.cadaccess.trimming import Chords
from dflow.errors import CadError

_ARC = np.pi / 4
"""An arc has at least one chord for that much of a turn, as `trimming` cuts it, ..."""
_FINEST = 4
"""... and at most four: 32 a turn."""
_DEFLECTION = 1e-3
"""Of the shape's size: how far chords may stray before an arc gets more of them."""
_KERNEL_ANGLE = 0.35

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
    """Tessellate a shape and leave no trace in it.

    Parameters
    ----------
    kernel : gives the kernel's view; called for odd faces and edges only.

    Notes
    -----
    Chords stray by at most about 1/400 of the shape's size, half a pixel of a preview. Where a boundary has a corner on
    one of its two faces only, the other's triangle passes it: no gap wider than that. A face that neither the tables
    nor the kernel can mesh has no triangles. Cost: about 0.02 ms a face.
    """
    size = _rough_size(tables)
    n_pieces = _edge_pieces(tables, size)
    pieces, rest = _table_triangles(tables, chords, n_pieces, size)
    odd = [_kernel_triangles(kernel(), row, size) for row in rest.tolist()]
    vertices, normals, triangles, owners = _join([pieces, *odd]) if odd else pieces
    edges = _edge_lines(tables, kernel, n_pieces)
    single, whole = np.float32, np.int32
    return Mesh(vertices.astype(single), normals.astype(single), triangles.astype(whole), owners.astype(whole), *edges)


def _rough_size(tables: ShapeTables) -> float:
    """About the diagonal of the bounding box, mm."""
    edges = tables.edges
    arcs = np.flatnonzero((edges.kind == shapecode.CIRCLE) | (edges.kind == shapecode.ELLIPSE))
    reach = edges.radii[arcs].max(axis=1, initial=0.0)[:, None]
    points = [tables.points, edges.origin[arcs] - reach, edges.origin[arcs] + reach]
    points += [spline.poles for spline in edges.splines.values()]
    every = np.concatenate(points).T.copy()  # whose rows are reduced at full speed
    if not np.isfinite(every).all():
        every = every[:, np.isfinite(every).all(axis=0)]
    if not every.size:
        return 1.0
    return max(math.hypot(*(every.max(axis=1) - every.min(axis=1)).tolist()), 1e-6)


def _chords_an_arc(radius: np.ndarray, size: float) -> np.ndarray:
    """How many chords an eighth of a turn needs, 1 to `_FINEST`."""
    return _splits(radius * (1 - np.cos(0.5 * _ARC)), size)


def _splits(sagitta: np.ndarray, size: float) -> np.ndarray:
    """1, 2 or 4: faces that share an arc seldom differ, and their corners then still meet."""
    wanted = np.abs(sagitta) * (1.0 / (_DEFLECTION * size))
    return np.where(wanted > 4.0, _FINEST, np.where(wanted > 1.0, 2, 1))


# -- faces


def _table_triangles(
    tables: ShapeTables, chords: Chords, n_pieces: np.ndarray, size: float
) -> tuple[Triangles, np.ndarray]:
    """The triangles of all faces that the tables suffice for, and the rows of the others."""
    known = chords.closed & tables.faces.evaluable
    outline = _outline(tables, chords, known, n_pieces)
    cut = slabs.cut(outline, np.stack(_steps(tables, outline, size), axis=1))
    known[cut.torn] = False
    face = np.repeat(np.arange(tables.n_faces), np.diff(cut.first_point))
    points, normals = _evaluate(tables, face, *cut.points.T)
    owners = np.repeat(np.arange(tables.n_faces), np.diff(cut.first_triangle))
    backwards = tables.face_reversed[owners][:, None]
    corners = np.where(backwards, cut.corners[:, ::-1], cut.corners)
    return (points, normals, corners, owners), np.flatnonzero(~known)


def _outline(tables: ShapeTables, chords: Chords, known: np.ndarray, n_pieces: np.ndarray) -> Outline:
    """The boundaries of the known faces, each curved one cut as its edge is, so that both its faces meet there."""
    kept = np.flatnonzero(known[chords.face])
    if not len(kept):
        return slabs.box(chords.face[kept], chords.start[kept], chords.end[kept], tables.n_faces)
    use, gap = chords.use[kept], chords.t0[kept] == chords.t1[kept]  # `trimming` bridges gaps by chords of their own
    begin = run_starts(2 * use + gap)
    end = np.append(begin[1:], len(kept)) - 1
    first, last = kept[begin], kept[end]
    face, starts, ends = chords.face[first], chords.start[first], chords.end[last]
    bent = chords.sagitta[first] > 0
    if not bent.any():
        return slabs.box(face, starts, ends, tables.n_faces)
    wanted = n_pieces[tables.use_edge[use[begin]]]
    # A curve that hardly bends in space may bend in (u, v): there every piece is cut once more, evenly.
    least = np.where(tables.faces.kind[face] == shapecode.PLANE, 1, np.minimum(end - begin + 1, 16))
    count = np.where(bent, wanted * -(-least // wanted), 1)
    if (count == 1).all():
        return slabs.box(face, starts, ends, tables.n_faces)
    which = np.repeat(np.arange(len(count)), count)
    step = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    inner = np.flatnonzero(step)
    run = which[inner]
    along = step[inner] / count[run]
    t = chords.t0[first[run]] * (1 - along) + chords.t1[last[run]] * along
    between = curves.points(tables.use_curves, use[begin[run]], t)
    starts, ends = starts[which], ends[which]
    starts[inner], ends[inner - 1] = between, between
    return slabs.box(face[which], starts, ends, tables.n_faces)


def _steps(tables: ShapeTables, outline: Outline, size: float) -> tuple[np.ndarray, np.ndarray]:
    """How far a flat piece may reach in u and in v, (F,) each; inf where the surface is straight."""
    table, low, high = tables.faces, outline.low, outline.high
    step_u, step_v = np.full(len(low), np.inf), np.full(len(low), np.inf)
    axial = np.flatnonzero(surfaces.axial(table.kind))
    if len(axial):
        radii = table.radii[axial]
        ends = np.stack([low[axial, 1], high[axial, 1]], axis=1)
        rho = surfaces.profile(table.kind[axial], radii, ends)[0]
        torus, sphere = table.kind[axial] == shapecode.TORUS, table.kind[axial] == shapecode.SPHERE
        widest = np.where(torus | sphere, radii[:, 0] + np.where(torus, radii[:, 1], 0.0), np.abs(rho).max(axis=1))
        step_u[axial] = _ARC / _chords_an_arc(widest, size)
        minor = np.where(torus, radii[:, 1], radii[:, 0])
        step_v[axial] = np.where(torus | sphere, _ARC / _chords_an_arc(minor, size), np.inf)
    for row, spline in table.splines.items():
        step_u[row] = _spline_step(spline.poles, spline.knots_u, size)
        step_v[row] = _spline_step(spline.poles.swapaxes(0, 1), spline.knots_v, size)
    for row, sweep in table.sweeps.items():
        if table.kind[row] == shapecode.EXTRUSION:
            step_u[row] = _sweep_step(sweep, size)
        else:
            step_v[row] = _sweep_step(sweep, size)
            along = np.linspace(low[row, 1], high[row, 1], 5)
            arms = np.cross(
                curves.evaluate(sweep, np.zeros(1, int), along[None])[0][0] - table.origin[row], table.z[row]
            )
            step_u[row] = _ARC / _chords_an_arc(np.linalg.norm(arms, axis=1).max(), size)
    if not (len(axial) or table.splines or table.sweeps):
        return step_u, step_v
    step_u[step_u <= 0], step_v[step_v <= 0] = np.inf, np.inf
    return step_u, step_v


def _spline_step(poles: np.ndarray, knots: np.ndarray, size: float) -> float:
    """The range of a flat piece of a spline with `poles` (n, m, 3), along the first axis; inf where it runs straight.

    A spline turns no more than its control polygon, whose length and turn tell the number of chords as of an arc.
    """
    legs = np.diff(poles, axis=0)
    length = np.sqrt(np.einsum("nmk,nmk->nm", legs, legs))
    unit = legs / np.where(length > 0, length, 1.0)[..., None]
    turn = np.arccos(np.clip(np.einsum("nmk,nmk->nm", unit[1:], unit[:-1]), -1.0, 1.0))
    turn = np.where((length[1:] > 0) & (length[:-1] > 0), turn, 0.0).sum(axis=0)
    worst = int(turn.argmax())
    if turn[worst] < 1e-3:
        return np.inf
    radius = length[:, worst].sum() / turn[worst]
    count = np.ceil(turn[worst] / _ARC) * _chords_an_arc(radius, size)
    return float((knots[-1] - knots[0]) / np.clip(count, 2, 128))


def _sweep_step(sweep: CurveTable, size: float) -> float:
    kind = int(sweep.kind[0])
    if kind == shapecode.LINE:
        return np.inf
    if kind in (shapecode.CIRCLE, shapecode.ELLIPSE):
        return float(_ARC / _chords_an_arc(sweep.radii[0].max(), size))
    spline = sweep.splines.get(0)
    return np.inf if spline is None else _spline_step(spline.poles[:, None], spline.knots, size)


def _evaluate(tables: ShapeTables, face: np.ndarray, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points and outward unit normals (V, 3) on the faces (V,), which are non-decreasing."""
    table = tables.faces
    kind = table.kind[face]
    flat = np.flatnonzero(kind == shapecode.PLANE)
    outward = np.where(tables.face_reversed, -1.0, 1.0)
    if len(flat) == len(face):
        return _on_planes(table, outward * table.handed, face, u, v)
    points, normals = np.empty((len(face), 3)), np.empty((len(face), 3))
    points[flat], normals[flat] = _on_planes(table, outward * table.handed, face[flat], u[flat], v[flat])
    round_ = np.flatnonzero(surfaces.axial(kind))
    if len(round_):
        found = np.empty((2, 3, len(round_), 1))
        own = face[round_]
        surfaces.fill(table, own, u[round_, None], v[round_, None], found[0], found[1], outward[own])
        points[round_], normals[round_] = found[0, :, :, 0].T, found[1, :, :, 0].T
    for row in [*table.splines, *table.sweeps]:
        begin, end = np.searchsorted(face, [row, row + 1])
        if begin < end:
            at, normal = surfaces.evaluate(table, np.array([row]), u[None, begin:end], v[None, begin:end])
            points[begin:end], normals[begin:end] = at[0], outward[row] * normal[0]
    return points, normals


def _on_planes(
    table: SurfaceTable, side: np.ndarray, face: np.ndarray, u: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Points and normals (V, 3) on planes; side : (F,) float64, which way each surface's z points."""
    points = u[:, None] * table.x[face] + (v[:, None] * table.y[face] + table.origin[face])
    return points, (side[:, None] * table.z)[face]


def _kernel_triangles(kernel: KernelShape, row: int, size: float) -> Triangles:
    """One face as the kernel meshes it; nothing where it cannot."""
    face, place = kernel.face(row), TopLoc_Location()
    BRepMesh_IncrementalMesh(face, size / 500, False, _KERNEL_ANGLE, False)
    try:
        mesh = BRep_Tool.Triangulation_s(face, place)
        if mesh is None or not mesh.NbTriangles():
            return np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3), int), np.zeros(0, int)
        move = place.Transformation()
        nodes = [mesh.Node(i).Transformed(move) for i in range(1, mesh.NbNodes() + 1)]
        corners = np.array([mesh.Triangle(i).Get() for i in range(1, mesh.NbTriangles() + 1)]) - 1
    finally:
        BRepTools.Clean_s(face)
    if face.Orientation() == TopAbs_REVERSED:
        corners = corners[:, ::-1]
    points = np.array([(node.X(), node.Y(), node.Z()) for node in nodes])
    return points, _vertex_normals(points, corners), corners, np.full(len(corners), row)


def _vertex_normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Unit normals, each the area-weighted mean of the triangles around a vertex within its face."""
    a, b, c = (points[triangles[:, i]] for i in range(3))
    facet = np.cross(b - a, c - a)
    total = np.zeros_like(points)
    for i in range(3):
        np.add.at(total, triangles[:, i], facet)
    size = np.sqrt(np.einsum("ij,ij->i", total, total))
    return total / np.where(size > 0, size, 1.0)[:, None]


def _join(pieces: list[Triangles]) -> Triangles:
    begin = np.cumsum([0, *(len(piece[0]) for piece in pieces)])
    return (
        np.concatenate([piece[0] for piece in pieces]),
        np.concatenate([piece[1] for piece in pieces]),
        np.concatenate([piece[2] + at for piece, at in zip(pieces, begin, strict=False)]),
        np.concatenate([piece[3] for piece in pieces]),
    )


# -- edges


def _edge_pieces(tables: ShapeTables, size: float) -> np.ndarray:
    """(K,) int: into how many straight pieces each edge is cut."""
    edges = tables.edges
    span = np.abs(edges.last - edges.first)
    count = np.where(edges.kind == shapecode.LINE, 1, 16)
    arcs = np.flatnonzero((edges.kind == shapecode.CIRCLE) | (edges.kind == shapecode.ELLIPSE))
    if len(arcs):
        fine = _chords_an_arc(edges.radii[arcs].max(axis=1), size)
        count[arcs] = fine * np.clip(np.ceil(span[arcs] / _ARC - 1e-9), 2, 1024).astype(int)
    for row, spline in edges.splines.items():
        step = _spline_step(spline.poles[:, None], spline.knots, size)
        count[row] = np.clip(np.ceil(span[row] / step - 1e-6), 1, 1024)
    return count


def _edge_lines(
    tables: ShapeTables, kernel: Callable[[], KernelShape], n_pieces: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Polylines of all edges that are not degenerate."""
    edges = tables.edges
    rows = np.flatnonzero(~tables.edge_degenerate)
    count = n_pieces[rows]
    offsets = np.concatenate([[0], np.cumsum(count + 1)])
    which = np.repeat(np.arange(len(rows)), count + 1)
    along = (np.arange(len(which)) - offsets[which]) / count[which]
    t = edges.first[rows[which]] * (1 - along) + edges.last[rows[which]] * along
    points = curves.points(edges, rows[which], t)
    for i in np.flatnonzero(~edges.evaluable[rows]).tolist():
        row, own = int(rows[i]), slice(offsets[i], offsets[i + 1])
        try:
            points[own] = kernel().edge_points(row, np.linspace(*kernel().edge_range(row), count[i] + 1))[0]
        except CadError:
            points[own] = np.nan  # an edge without any curve: the picture goes without it
    return points.astype(np.float32), offsets.astype(np.int32)
