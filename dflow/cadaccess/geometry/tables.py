"""A shape as numpy tables: its faces' surfaces, its edges' curves, and the curves that bound each face in (u, v).

`Brep` computes everything from these tables; no function here calls the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dflow.cadaccess.geometry import curves, surfaces
from dflow.cadaccess.geometry.curves import CurveTable
from dflow.cadaccess.geometry.surfaces import SurfaceTable
from dflow.cadaccess.kernel import bintools, exploration
from dflow.cadaccess.kernel.bintools import Curve, EdgeCode, PCurve, ShapeCode, Spline
from dflow.cadaccess.kernel.exploration import Exploration, Node, Places

_NOTHING = Curve(0)


@dataclass(frozen=True, slots=True)
class ShapeTables:
    """One shape: F faces, K kernel edges (degenerate ones included), U uses of edges in faces.

    Attributes
    ----------
    faces : the faces' surfaces, F rows.
    face_reversed, face_natural : (F,) bool; face_loops : (F,) int32.
    face_named : (F,) int8, the kernel's kind of each surface, where `faces` may have a simpler equal; face_v_start :
        (F,) float64, the kernel's v where the v of `faces` is 0.
    edges : the edges' curves in space, K rows; kind 0 where an edge has none.
    edge_degenerate : (K,) bool; edge_vertices : (K, 2) int32, -1 where missing.
    use_face, use_edge, use_loop : (U,) int32, by face and loop in stored order.
    use_forward : (U,) bool, along the edge's curve, with the face taken forward; use_boundary : (U,) bool, false for
        edges that lie inside the face (INTERNAL, EXTERNAL).
    use_curves : the uses' curves in their face's (u, v), U rows; planes without one get the edge's curve projected.
    points : (V, 3) float64, the vertices.
    shell_face, shell_reversed, shell_row, shell_solid : (S,) one row per use of a face in a shell: the face, whether it
        is reversed there, the shell, and the shell's solid (-1 for a free shell).
    n_shells, n_solids : how many there are.
    """

    faces: SurfaceTable
    face_reversed: np.ndarray
    face_natural: np.ndarray
    face_loops: np.ndarray
    face_named: np.ndarray
    face_v_start: np.ndarray
    edges: CurveTable
    edge_degenerate: np.ndarray
    edge_vertices: np.ndarray
    use_face: np.ndarray
    use_edge: np.ndarray
    use_loop: np.ndarray
    use_forward: np.ndarray
    use_boundary: np.ndarray
    use_curves: CurveTable
    points: np.ndarray
    shell_face: np.ndarray
    shell_reversed: np.ndarray
    shell_row: np.ndarray
    shell_solid: np.ndarray
    n_shells: int
    n_solids: int

    @property
    def n_faces(self) -> int:
        """F."""
        return len(self.face_reversed)


def build_tables(code: ShapeCode, places: Places, root: Node) -> ShapeTables:
    """Return the tables of everything below `root`."""
    found = exploration.explore(code, places, root)
    builder = _Builder(code, places, found)
    faces, natural = builder.face_table()
    edges, degenerate = builder.edge_table()
    uses = np.array(found.uses, np.int32).reshape(-1, 4)
    members = np.array(
        [(*member, shell, solid) for shell, (_, faces_, solid) in enumerate(found.shells) for member in faces_],
        np.int32,
    ).reshape(-1, 4)
    return ShapeTables(
        faces=faces,
        face_reversed=np.array([o == bintools.REVERSED for o, _, _ in found.faces], bool),
        face_natural=natural,
        face_loops=np.array(found.loops_of_face, np.int32),
        face_named=faces.kind,
        face_v_start=np.zeros(len(natural)),
        edges=edges,
        edge_degenerate=degenerate,
        edge_vertices=np.array(found.vertices, np.int32).reshape(-1, 2),
        use_face=uses[:, 0],
        use_edge=uses[:, 1],
        use_loop=uses[:, 2],
        use_forward=uses[:, 3] != bintools.REVERSED,
        use_boundary=uses[:, 3] <= bintools.REVERSED,
        use_curves=builder.use_table(faces, edges, uses),
        points=builder.points(),
        shell_face=members[:, 0],
        shell_reversed=members[:, 1] == bintools.REVERSED,
        shell_row=members[:, 2],
        shell_solid=members[:, 3],
        n_shells=len(found.shells),
        n_solids=len(found.solids),
    )


class _Builder:
    """Builds rows of tables from the nodes of an exploration."""

    def __init__(self, code: ShapeCode, places: Places, found: Exploration) -> None:
        self.code = code
        self.places = places
        self.found = found

    def face_table(self) -> tuple[SurfaceTable, np.ndarray]:
        """The faces' surfaces in place, and (F,) bool whether a face has its surface's natural bounds."""
        codes = [self.code.faces[index] for _, index, _ in self.found.faces]
        matrices = [
            self.places.matrix(self.places.compose(place, face.location))
            for face, (_, _, place) in zip(codes, self.found.faces, strict=True)
        ]
        table = surfaces.build_table([self.code.surfaces[face.surface] for face in codes], matrices)
        return table, np.array([face.natural for face in codes], bool)

    def edge_table(self) -> tuple[CurveTable, np.ndarray]:
        """The edges' curves in space, and (K,) bool whether an edge is degenerate."""
        nodes = self.found.edges
        codes = [self.code.edges[index] for _, index, _ in nodes]
        n = len(codes)
        first = np.fromiter((c.first for c in codes), float, n)
        last = np.fromiter((c.last for c in codes), float, n)
        moves = [
            self.places.matrix(self.places.compose(place, c.location))
            for c, (_, _, place) in zip(codes, nodes, strict=True)
        ]
        matrices = moves if any(m is not None for m in moves) else ()
        table = curves.build_table([self.code.curves[c.curve] for c in codes], first, last, 3, matrices)
        return table, np.fromiter((c.degenerate for c in codes), bool, n)

    def use_table(self, faces: SurfaceTable, edges: CurveTable, uses: np.ndarray) -> CurveTable:
        """The uses' curves in (u, v)."""
        n = len(uses)
        found, first, last = [_NOTHING] * n, np.zeros(n), np.zeros(n)
        face_codes = [self.code.faces[index] for _, index, _ in self.found.faces]
        edge_codes = [self.code.edges[index] for _, index, _ in self.found.edges]
        for row, (face, edge, _, orientation) in enumerate(uses.tolist()):
            edge_code = edge_codes[edge]
            if not edge_code.pcurves:
                continue
            pcurve = self._pcurve(edge_code, face_codes[face], face, edge)
            if pcurve is not None:
                backwards = orientation == bintools.REVERSED and pcurve.other
                found[row] = self.code.curves2d[pcurve.other if backwards else pcurve.curve]
                first[row], last[row] = pcurve.first, pcurve.last
        table = curves.build_table(found, first, last, 2)
        missing = np.flatnonzero((table.kind == 0) & (faces.kind[uses[:, 0]] == bintools.PLANE))
        project_on_planes(table, missing, faces, uses[missing, 0], edges, uses[missing, 1])
        return table

    def _pcurve(self, edge: EdgeCode, face: bintools.FaceCode, face_row: int, edge_row: int) -> PCurve | None:
        """The edge's curve on the face's surface; by place too where one surface is used in several places."""
        fitting = [p for p in edge.pcurves if p.surface == face.surface]
        if len(fitting) < 2:
            return fitting[0] if fitting else None
        compose = self.places.compose
        wanted = compose(self.found.faces[face_row][2], face.location)
        edge_place = self.found.edges[edge_row][2]
        return next((p for p in fitting if compose(edge_place, p.location) == wanted), fitting[0])

    def points(self) -> np.ndarray:
        """(V, 3) float64, the vertices in place."""
        nodes = self.found.vertex_nodes
        out = np.array([self.code.points[index] for _, index, _ in nodes], float).reshape(-1, 3)
        for row, (_, _, place) in enumerate(nodes):
            matrix = self.places.matrix(place)
            if matrix is not None:
                out[row] = matrix[:, :3] @ out[row] + matrix[:, 3]
        return out


def project_on_planes(
    table: CurveTable, rows: np.ndarray, faces: SurfaceTable, face: np.ndarray, edges: CurveTable, edge: np.ndarray
) -> None:
    """Fill `rows` with the edges' curves in the coordinates of the planes they lie in (``BRep_Tool::CurveOnPlane``)."""
    if not len(rows):
        return
    axes = np.stack([faces.x[face], faces.y[face]], axis=2)  # (n, 3, 2)
    table.kind[rows] = edges.kind[edge]
    table.radii[rows], table.first[rows], table.last[rows] = edges.radii[edge], edges.first[edge], edges.last[edge]
    offset = edges.origin[edge] - faces.origin[face]
    for target, vectors in ((table.origin, offset), (table.x, edges.x[edge]), (table.y, edges.y[edge])):
        target[rows] = np.einsum("ni,nij->nj", vectors, axes)
    if not edges.splines:
        return
    for i, (row, key) in enumerate(zip(rows.tolist(), edge.tolist(), strict=True)):
        spline = edges.splines.get(key)
        if spline is not None:
            poles = (spline.poles - faces.origin[face[i]]) @ axes[i]
            table.splines[row] = Spline(spline.degree, poles, spline.weights, spline.knots, spline.periodic)
