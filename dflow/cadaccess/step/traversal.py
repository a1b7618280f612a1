"""The topology of a STEP file as rows, from its solids down to their points, and the geometry that they refer to.

Rows are in the order of the first visit, which is the order of the kernel's maps.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dflow.cadaccess.files.part21 import Instances, RefusedError
from dflow.cadaccess.kernel.bintools import (
    BSPLINE,
    BSPLINE_SURFACE,
    CIRCLE,
    CONE,
    CYLINDER,
    ELLIPSE,
    LINE,
    PLANE,
    REVOLUTION,
    SPHERE,
    TORUS,
)

_SENSES = {b".T.)": True, b".F.)": False}
_ON_SURFACES = frozenset((b"SURFACE_CURVE", b"SEAM_CURVE", b"INTERSECTION_CURVE"))
_CURVES = {b"LINE": LINE, b"CIRCLE": CIRCLE, b"ELLIPSE": ELLIPSE, b"B_SPLINE_CURVE_WITH_KNOTS": BSPLINE, b"": BSPLINE}
_N_RADII = {CIRCLE: 1, ELLIPSE: 2, PLANE: 0, CYLINDER: 1, CONE: 2, SPHERE: 1, TORUS: 2}
_SURFACES = {
    b"PLANE": PLANE,
    b"CYLINDRICAL_SURFACE": CYLINDER,
    b"CONICAL_SURFACE": CONE,
    b"SPHERICAL_SURFACE": SPHERE,
    b"TOROIDAL_SURFACE": TORUS,
}


@dataclass(slots=True)
class Rows:
    """The result of a traversal.

    Attributes
    ----------
    solids : for each, its shells as (forward, shell row); shells : for each, its faces as (row, forward).
    face_ids : the faces' instance numbers; face_loops : for each, its loops as (along the surface's
        normal, uses), and each use an (edge row, forward in the edge's sense).
    face_kinds, face_places : `bintools`' surface kind and the placement's row (a revolution's is its circle's, a
        spline has none: -1); face_radii : as text, with commas; face_axes : a revolution's axis, as (point, direction)
        rows; face_splines : as text.
    edge_vertices : (start, end) rows along the curve; edge_forward : whether the file's sense is that of the curve;
        edge_stored : whether the file has its curves on surfaces too.
    edge_kinds, edge_places : the curve's kind; its placement's row, or (point, direction) of a line, or the text of a
        spline; edge_radii : as text.
    vertices : rows of points.
    points, directions : instance number -> row; placements : (point, axis, reference direction) rows.
    point_texts, direction_texts : their coordinates as they stand.
    """

    solids: list[list[tuple[bool, int]]] = field(default_factory=list)
    shells: list[list[tuple[int, bool]]] = field(default_factory=list)
    face_ids: list[bytes] = field(default_factory=list)
    face_loops: list[list[tuple[bool, list[tuple[int, bool]]]]] = field(default_factory=list)
    face_kinds: list[int] = field(default_factory=list)
    face_places: list[int] = field(default_factory=list)
    face_radii: list[bytes] = field(default_factory=list)
    face_axes: dict[int, tuple[int, int]] = field(default_factory=dict)
    face_splines: dict[int, bytes] = field(default_factory=dict)
    edge_vertices: list[tuple[int, int]] = field(default_factory=list)
    edge_forward: list[bool] = field(default_factory=list)
    edge_stored: list[bool] = field(default_factory=list)
    edge_kinds: list[int] = field(default_factory=list)
    edge_lines: list[tuple[int, int]] = field(default_factory=list)
    edge_places: list[int] = field(default_factory=list)
    edge_radii: list[bytes] = field(default_factory=list)
    edge_splines: dict[int, bytes] = field(default_factory=dict)
    vertices: list[int] = field(default_factory=list)
    points: dict[bytes, int] = field(default_factory=dict)
    point_texts: list[bytes] = field(default_factory=list)
    directions: dict[bytes, int] = field(default_factory=dict)
    direction_texts: list[bytes] = field(default_factory=list)
    placements: list[tuple[int, int, int]] = field(default_factory=list)


class Traversal:
    """The traversal of one file; call `solid` for each of its solids, then read `rows`."""

    def __init__(self, instances: Instances) -> None:
        self.instances = instances
        self.rows = Rows()
        self._faces: dict[bytes, int] = {}
        self._edges: dict[bytes, int] = {}
        self._vertices: dict[bytes, int] = {}
        self._places: dict[bytes, int] = {}

    def solid(self, reference: bytes) -> None:
        """Visit a solid and all below it."""
        instances = self.instances
        text = instances.bodies.get(reference, b"")
        if text.startswith(b"BREP_WITH_VOIDS("):
            _, outer, inner = text.split(b",", 2)
            self.rows.solids.append([(True, self._shell(outer)), *map(self._void, _list(inner))])
            return
        text = instances.expect(reference, b"MANIFOLD_SOLID_BREP(")
        self.rows.solids.append([(True, self._shell(text.rsplit(b",", 1)[1][:-1]))])

    def _void(self, reference: bytes) -> tuple[bool, int]:
        _, shell, sense = self.instances.expect(reference, b"ORIENTED_CLOSED_SHELL(").rsplit(b",", 2)
        if sense != b".F.)":
            raise RefusedError("a void that is oriented outwards")
        return False, self._shell(shell)

    def _shell(self, reference: bytes) -> int:
        faces: list[tuple[int, bool]] = []
        for face in _list(self.instances.expect(reference, b"CLOSED_SHELL(")):
            if face in self._faces:
                raise RefusedError("a face that is used twice")
            self._faces[face] = len(self._faces)
            faces.append((self._faces[face], self._face(face)))
        self.rows.shells.append(faces)
        return len(self.rows.shells) - 1

    def _face(self, reference: bytes) -> bool:
        rows = self.rows
        head, surface, sense = self.instances.expect(reference, b"ADVANCED_FACE(").rsplit(b",", 2)
        forward = _SENSES[sense]
        rows.face_ids.append(reference)
        curved = self._surface(surface) != PLANE
        rows.face_loops.append([self._loop(bound, forward, curved) for bound in _list(head + b")")])
        return forward

    def _loop(self, reference: bytes, face_forward: bool, curved: bool) -> tuple[bool, list[tuple[int, bool]]]:
        instances, edges = self.instances, self._edges
        bound = instances.bodies.get(reference, b"")
        if not bound.startswith((b"FACE_BOUND(", b"FACE_OUTER_BOUND(")):
            raise instances.mismatch(reference, b"FACE_BOUND")
        _, loop, sense = bound.rsplit(b",", 2)
        along = _SENSES[sense] == face_forward  # a reversed face's loops run against its surface's normal
        uses = []
        oriented_edges = _list(instances.expect(loop, b"EDGE_LOOP("))
        if curved and not along:  # the kernel's healing of curved faces stores loops in the order in which they run
            oriented_edges.reverse()
        expect = instances.expect
        for oriented in oriented_edges:
            _, edge, onward = expect(oriented, b"ORIENTED_EDGE(").rsplit(b",", 2)
            row = edges.get(edge)
            uses.append((self._edge(edge) if row is None else row, _SENSES[onward]))
        return along, uses

    def _edge(self, reference: bytes) -> int:
        instances, rows = self.instances, self.rows
        row = self._edges[reference] = len(self._edges)
        _, start, end, curve, sense = instances.expect(reference, b"EDGE_CURVE(").rsplit(b",", 4)
        forward = _SENSES[sense]
        if not forward:
            start, end = end, start
        rows.edge_vertices.append((self._vertex(start), self._vertex(end)))
        rows.edge_forward.append(forward)
        keyword = instances.keyword(curve)
        rows.edge_stored.append(keyword in _ON_SURFACES)
        if keyword in _ON_SURFACES:
            text = instances.bodies[curve]
            curve = text[: text.rindex(b",(")].rsplit(b",", 1)[1]
            keyword = instances.keyword(curve)
        kind = _CURVES.get(keyword, 0)
        rows.edge_kinds.append(kind)
        rows.edge_lines.append(self._line(curve) if kind == LINE else (0, 0))
        if kind in (CIRCLE, ELLIPSE):
            self._conic(curve, kind)
            return row
        rows.edge_places.append(-1)
        rows.edge_radii.append(b"")
        if kind == BSPLINE:
            rows.edge_splines[row] = instances.bodies.get(curve, b"")
        elif kind != LINE:
            raise instances.mismatch(curve, b"a curve")
        return row

    def _line(self, reference: bytes) -> tuple[int, int]:
        _, point, vector = self.instances.expect(reference, b"LINE(").rsplit(b",", 2)
        direction = self.instances.expect(vector[:-1], b"VECTOR(").rsplit(b",", 2)[1]
        return self.point(point), self._direction(direction)

    def _conic(self, reference: bytes, kind: int) -> None:
        parts = self.instances.bodies[reference][:-1].rsplit(b",", 1 + _N_RADII[kind])
        self.rows.edge_places.append(self._placement(parts[1]))
        self.rows.edge_radii.append(b",".join(parts[2:]))

    def _surface(self, reference: bytes) -> int:
        keyword = self.instances.keyword(reference)
        if keyword == b"SURFACE_OF_REVOLUTION":
            return self._revolution(reference)
        if keyword == b"B_SPLINE_SURFACE_WITH_KNOTS" or not keyword:
            return self._spline_surface(reference)
        kind = _SURFACES.get(keyword)
        if kind is None:
            raise self.instances.mismatch(reference, b"a surface of the simple kinds")
        parts = self.instances.bodies[reference][:-1].rsplit(b",", 1 + _N_RADII[kind])
        self.rows.face_kinds.append(kind)
        self.rows.face_places.append(self._placement(parts[1]))
        self.rows.face_radii.append(b",".join(parts[2:]))
        return kind

    def _spline_surface(self, reference: bytes) -> int:
        rows = self.rows
        rows.face_splines[len(rows.face_kinds)] = self.instances.bodies.get(reference, b"")
        rows.face_kinds.append(BSPLINE_SURFACE)
        rows.face_places.append(-1)
        rows.face_radii.append(b"")
        return BSPLINE_SURFACE

    def _revolution(self, reference: bytes) -> int:
        """Visit a circle about an axis; other profiles are left to the kernel."""
        rows = self.rows
        _, profile, axis = self.instances.bodies[reference][:-1].rsplit(b",", 2)
        _, place, radius = self.instances.expect(profile, b"CIRCLE(")[:-1].rsplit(b",", 2)
        _, point, direction = self.instances.expect(axis, b"AXIS1_PLACEMENT(")[:-1].rsplit(b",", 2)
        rows.face_axes[len(rows.face_kinds)] = self.point(point), self._direction(direction)
        rows.face_kinds.append(REVOLUTION)
        rows.face_places.append(self._placement(place))
        rows.face_radii.append(radius)
        return REVOLUTION

    def _placement(self, reference: bytes) -> int:
        row = self._places.get(reference)
        if row is None:
            _, point, axis, across = self.instances.expect(reference, b"AXIS2_PLACEMENT_3D(").rsplit(b",", 3)
            row = self._places[reference] = len(self._places)
            self.rows.placements.append((self.point(point), self._direction(axis), self._direction(across[:-1])))
        return row

    def _vertex(self, reference: bytes) -> int:
        row = self._vertices.get(reference)
        if row is None:
            text = self.instances.expect(reference, b"VERTEX_POINT(")
            row = self._vertices[reference] = len(self._vertices)
            self.rows.vertices.append(self.point(text.rsplit(b",", 1)[1][:-1]))
        return row

    def point(self, reference: bytes) -> int:
        """The row of a point."""
        row = self.rows.points.get(reference)
        if row is None:
            text = self.instances.expect(reference, b"CARTESIAN_POINT(")
            row = self.rows.points[reference] = len(self.rows.point_texts)
            self.rows.point_texts.append(text[text.rindex(b"(") + 1 : -2])
        return row

    def _direction(self, reference: bytes) -> int:
        row = self.rows.directions.get(reference)
        if row is None:
            text = self.instances.expect(reference, b"DIRECTION(")
            row = self.rows.directions[reference] = len(self.rows.direction_texts)
            self.rows.direction_texts.append(text[text.rindex(b"(") + 1 : -2])
        return row


def _list(text: bytes) -> list[bytes]:
    """The items of the list that ends a statement's parameters."""
    return text[text.rindex(b"(") + 1 : -2].split(b",")
