"""The kernel's own binary form of a shape (`BinTools`, format V4), read into plain tables.

One kernel call writes the whole shape, topology and geometry, into memory (about 7 µs per face); parsing it costs less
than a call through the binding for each axis, radius and parameter range. The format is OCCT's ``BinTools_ShapeSet``
with its curve, surface and location sets (little-endian, 4-byte integers, 8-byte reals).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np

from dflow.errors import KernelError

COMPOUND, COMPSOLID, SOLID, SHELL, FACE, WIRE, EDGE, VERTEX = range(8)
"""Shape types, the kernel's ``TopAbs_ShapeEnum``."""

FORWARD, REVERSED, INTERNAL, EXTERNAL = range(4)
"""Orientations, the kernel's ``TopAbs_Orientation``."""

LINE, CIRCLE, ELLIPSE, PARABOLA, HYPERBOLA, BEZIER, BSPLINE, TRIMMED, OFFSET_CURVE = range(1, 10)
"""Curve records of the format."""

PLANE, CYLINDER, CONE, SPHERE, TORUS, EXTRUSION, REVOLUTION, BEZIER_SURFACE, BSPLINE_SURFACE, RECTANGLE, OFFSET = range(
    1, 12
)
"""Surface records of the format."""


@dataclass(frozen=True, slots=True)
class Spline:
    """A B-spline or Bézier curve: `knots` are flat (each repeated by its multiplicity).

    poles : (n, d) float64, weights : (n,) float64 or None, knots : (n + degree + 1,) float64 (periodic ones are
    unrolled by the evaluator).
    """

    degree: int
    poles: np.ndarray
    weights: np.ndarray | None
    knots: np.ndarray
    periodic: bool = False


@dataclass(frozen=True, slots=True)
class SplineSurface:
    """A B-spline or Bézier surface: poles : (n_u, n_v, 3) float64, weights : (n_u, n_v) or None, flat knots each
    way.
    """

    degrees: tuple[int, int]
    poles: np.ndarray
    weights: np.ndarray | None
    knots_u: np.ndarray
    knots_v: np.ndarray
    periodic: tuple[bool, bool] = (False, False)


@dataclass(frozen=True, slots=True)
class Curve:
    """One curve record. `values` are the reals of a conic or line, in the format's order; `spline` stands for the
    others.
    """

    kind: int
    values: tuple[float, ...] = ()
    spline: Spline | None = None
    range: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Surface:
    """One surface record: `values` of an elementary surface, or its `spline`, or the `curve` or `basis` it is swept
    from.
    """

    kind: int
    values: tuple[float, ...] = ()
    spline: SplineSurface | None = None
    curve: Curve | None = None
    basis: Surface | None = None


@dataclass(frozen=True, slots=True)
class PCurve:
    """Where an edge lies on a surface: `curve` (and `other` on the far side of a seam), 1-based, over [first, last]."""

    surface: int
    location: int
    curve: int
    other: int
    first: float
    last: float


@dataclass(frozen=True, slots=True)
class EdgeCode:
    """An edge: its curve in space (1-based, 0 where it has none) and its curves on surfaces."""

    tolerance: float
    degenerate: bool
    curve: int
    location: int
    first: float
    last: float
    pcurves: tuple[PCurve, ...]


@dataclass(frozen=True, slots=True)
class FaceCode:
    """A face: surface and location are 1-based indices, 0 for none."""

    natural: bool
    tolerance: float
    surface: int
    location: int
    triangulation: int = 0


@dataclass(frozen=True, slots=True)
class Triangulation:
    """A face's mesh in the face's own place: nodes (n, 3), triangles (m, 3) 0-based, normals (n, 3) or None."""

    nodes: np.ndarray
    triangles: np.ndarray
    normals: np.ndarray | None


@dataclass(frozen=True, slots=True)
class ShapeCode:
    """A whole shape as tables. Indices in the tables are the format's own, 1-based; entry 0 is unused.

    `children[i]` are ``(orientation, index, location)`` of the sub-shapes of shape i, in the kernel's order; `root` is
    such a triple; `locations[k]` is a tuple of ``(datum, power)`` (identity is empty) and `datums[k]` a (3, 4) float64
    matrix.
    """

    datums: dict[int, np.ndarray]
    locations: list[tuple[tuple[int, int], ...]]
    curves2d: list[Curve]
    curves: list[Curve]
    surfaces: list[Surface]
    triangulations: list[Triangulation]
    types: list[int]
    children: list[list[tuple[int, int, int]]]
    closed: list[bool]
    edges: dict[int, EdgeCode]
    faces: dict[int, FaceCode]
    points: dict[int, tuple[float, float, float]] = field(default_factory=dict)
    root: tuple[int, int, int] = (0, 0, 0)


_KNOT = np.dtype([("knot", "<f8"), ("times", "<i4")])
_INT = struct.Struct("<i")
_REAL = struct.Struct("<d")
_SUB = struct.Struct("<bii")
_VERTEX = struct.Struct("<4d")
_EDGE = struct.Struct("<d3?")
_CURVE3D = struct.Struct("<ii2d")
_PCURVE = struct.Struct("<iii2d")
_FACE = struct.Struct("<?dii")
_CONIC_REALS_2D = {LINE: 4, CIRCLE: 7, ELLIPSE: 8, PARABOLA: 7, HYPERBOLA: 8}
_CONIC_REALS_3D = {LINE: 6, CIRCLE: 13, ELLIPSE: 14, PARABOLA: 13, HYPERBOLA: 14}
_SURFACE_REALS = {PLANE: 12, CYLINDER: 13, CONE: 14, SPHERE: 13, TORUS: 14}
# Regularity (continuity and two surfaces in place), polygon in space, polygon on a mesh, two polygons on a mesh.
_EDGE_SKIPS = {4: 17, 5: 8, 6: 12, 7: 16}
_REALS = {n: struct.Struct(f"<{n}d") for n in (2, 3, 4, 6, 7, 8, 12, 13, 14)}


class _Cursor:
    """A place in the bytes; every ``take_*`` moves it."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def section(self, name: bytes) -> int:
        """The count of the section `name`, with the cursor behind its line."""
        start = self.data.find(name, self.at, self.at + len(name) + 64)
        if start < 0:
            found = self.data[self.at : self.at + 24]
            raise KernelError(f"the kernel's binary shape has {found!r} where section {name!r} was expected")
        end = self.data.index(b"\n", start)
        self.at = end + 1
        return int(self.data[start + len(name) : end])

    def take_byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def take_bool(self) -> bool:
        return self.take_byte() != 0

    def take_int(self) -> int:
        (value,) = _INT.unpack_from(self.data, self.at)
        self.at += 4
        return int(value)

    def take_short(self) -> int:
        self.at += 2
        return self.data[self.at - 2] | self.data[self.at - 1] << 8

    def take_reals(self, count: int) -> tuple[float, ...]:
        values = _REALS[count].unpack_from(self.data, self.at)
        self.at += 8 * count
        return values

    def take_array(self, count: int) -> np.ndarray:
        values = np.frombuffer(self.data, "<f8", count, self.at)
        self.at += 8 * count
        return values

    def take_knots(self, count: int) -> np.ndarray:
        """Flat knots from (real, multiplicity) pairs."""
        pairs = np.frombuffer(self.data, _KNOT, count, self.at)
        self.at += 12 * count
        return np.repeat(pairs["knot"], pairs["times"])


def parse_shape(data: bytes) -> ShapeCode:
    """Read the bytes of ``BinTools.Write`` (V4).

    Raises
    ------
    KernelError
        The bytes are not that format: a kernel of another version.
    """
    cursor = _Cursor(data)
    try:
        datums, locations = _parse_locations(cursor)
        curves2d = _parse_curves(cursor, b"Curve2ds ", 2)
        curves = _parse_curves(cursor, b"Curves ", 3)
        for _ in range(cursor.section(b"Polygon3D ")):
            _skip_polygon3d(cursor)
        for _ in range(cursor.section(b"PolygonOnTriangulations ")):
            _skip_polygon(cursor)
        surfaces = [Surface(0)] + [_parse_surface(cursor) for _ in range(cursor.section(b"Surfaces "))]
        meshes = [_parse_triangulation(cursor) for _ in range(cursor.section(b"Triangulations "))]
        return _parse_shapes(cursor, (datums, locations, curves2d, curves, surfaces, meshes))
    except (struct.error, IndexError, ValueError, KeyError) as error:
        raise KernelError(
            f"the kernel's binary form of the shape ends or is malformed at byte {cursor.at} of {len(data)}: {error}"
        ) from error


def _skip_polygon3d(cursor: _Cursor) -> None:
    n_nodes, has_parameters = cursor.take_int(), cursor.take_bool()
    cursor.at += 8 + n_nodes * (32 if has_parameters else 24)


def _skip_polygon(cursor: _Cursor) -> None:
    n_nodes = cursor.take_int()
    cursor.at += 4 * n_nodes + 8
    if cursor.take_bool():
        cursor.at += 8 * n_nodes


def _parse_triangulation(cursor: _Cursor) -> Triangulation:
    n_nodes, n_triangles = cursor.take_int(), cursor.take_int()
    has_uv, has_normals = cursor.take_bool(), cursor.take_bool()
    cursor.at += 8  # deflection
    nodes = cursor.take_array(3 * n_nodes).reshape(-1, 3)
    cursor.at += 16 * n_nodes if has_uv else 0
    triangles = np.frombuffer(cursor.data, "<i4", 3 * n_triangles, cursor.at).reshape(-1, 3) - 1
    cursor.at += 12 * n_triangles
    normals = None
    if has_normals:
        normals = np.frombuffer(cursor.data, "<f4", 3 * n_nodes, cursor.at).reshape(-1, 3)
        cursor.at += 12 * n_nodes
    return Triangulation(nodes, triangles, normals)


def _parse_locations(cursor: _Cursor) -> tuple[dict[int, np.ndarray], list[tuple[tuple[int, int], ...]]]:
    datums: dict[int, np.ndarray] = {}
    locations: list[tuple[tuple[int, int], ...]] = [()]
    for index in range(1, cursor.section(b"Locations ") + 1):
        if cursor.take_byte() == 1:
            datums[index] = cursor.take_array(12).reshape(3, 4)
            locations.append(((index, 1),))
            continue
        chain: tuple[tuple[int, int], ...] = ()
        while part := cursor.take_int():
            power = cursor.take_int()
            # The innermost datum comes first (TopLoc_Location::FirstDatum), chains are in matrix order.
            chain = multiply(tuple((datum, p * power) for datum, p in locations[part]), chain)
        locations.append(chain)
    return datums, locations


def multiply(left: tuple[tuple[int, int], ...], right: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """The product of two locations: chains of (datum, power), neighbours of one datum merged as the kernel does."""
    chain = list(left)
    for datum, power in right:
        if chain and chain[-1][0] == datum:
            power += chain.pop()[1]
        if power:
            chain.append((datum, power))
    return tuple(chain)


def _parse_curves(cursor: _Cursor, name: bytes, dim: int) -> list[Curve]:
    count = cursor.section(name)
    return [Curve(0)] + [_parse_curve(cursor, dim) for _ in range(count)]


def _parse_curve(cursor: _Cursor, dim: int) -> Curve:
    kind = cursor.take_byte()
    n_reals = (_CONIC_REALS_2D if dim == 2 else _CONIC_REALS_3D).get(kind)
    if n_reals is not None:
        return Curve(kind, cursor.take_reals(n_reals))
    if kind == TRIMMED:
        cursor.take_reals(2)
        return _parse_curve(cursor, dim)
    if kind == OFFSET_CURVE:
        cursor.at += 8 if dim == 2 else 32
        _parse_curve(cursor, dim)
        return Curve(OFFSET_CURVE)
    if kind == BEZIER:
        rational, degree = cursor.take_bool(), cursor.take_short()
        poles, weights = _take_poles(cursor, degree + 1, dim, rational)
        knots = np.repeat([0.0, 1.0], degree + 1)
        return Curve(kind, spline=Spline(degree, poles, weights, knots))
    if kind == BSPLINE:
        rational, periodic, degree = cursor.take_bool(), cursor.take_bool(), cursor.take_short()
        n_poles, n_knots = cursor.take_int(), cursor.take_int()
        poles, weights = _take_poles(cursor, n_poles, dim, rational)
        return Curve(kind, spline=Spline(degree, poles, weights, cursor.take_knots(n_knots), periodic))
    raise KernelError(f"the kernel's binary shape holds a curve of unknown kind {kind}")


def _take_poles(cursor: _Cursor, count: int, dim: int, rational: bool) -> tuple[np.ndarray, np.ndarray | None]:
    width = dim + 1 if rational else dim
    rows = cursor.take_array(count * width).reshape(count, width)
    return (rows[:, :dim], rows[:, dim]) if rational else (rows, None)


def _parse_surface(cursor: _Cursor) -> Surface:
    kind = cursor.take_byte()
    n_reals = _SURFACE_REALS.get(kind)
    if n_reals is not None:
        return Surface(kind, cursor.take_reals(n_reals))
    if kind == EXTRUSION:
        return Surface(kind, cursor.take_reals(3), curve=_parse_curve(cursor, 3))
    if kind == REVOLUTION:
        return Surface(kind, cursor.take_reals(6), curve=_parse_curve(cursor, 3))
    if kind == BEZIER_SURFACE:
        return _parse_bezier_surface(cursor)
    if kind == BSPLINE_SURFACE:
        return _parse_bspline_surface(cursor)
    if kind == RECTANGLE:
        cursor.take_reals(4)
        return _parse_surface(cursor)
    if kind == OFFSET:
        return Surface(kind, (_REAL.unpack(cursor.data[cursor.at : cursor.at + 8])[0],), basis=_skip_real(cursor))
    raise KernelError(f"the kernel's binary shape holds a surface of unknown kind {kind}")


def _skip_real(cursor: _Cursor) -> Surface:
    cursor.at += 8
    return _parse_surface(cursor)


def _parse_bezier_surface(cursor: _Cursor) -> Surface:
    rational = cursor.take_bool() | cursor.take_bool()
    degrees = cursor.take_short(), cursor.take_short()
    shape = degrees[0] + 1, degrees[1] + 1
    poles, weights = _take_grid(cursor, shape, rational)
    knots = [np.repeat([0.0, 1.0], degree + 1) for degree in degrees]
    return Surface(BEZIER_SURFACE, spline=SplineSurface(degrees, poles, weights, knots[0], knots[1]))


def _parse_bspline_surface(cursor: _Cursor) -> Surface:
    rational = cursor.take_bool() | cursor.take_bool()
    periodic = cursor.take_bool(), cursor.take_bool()
    degrees = cursor.take_short(), cursor.take_short()
    shape = cursor.take_int(), cursor.take_int()
    n_knots = cursor.take_int(), cursor.take_int()
    poles, weights = _take_grid(cursor, shape, rational)
    knots_u, knots_v = cursor.take_knots(n_knots[0]), cursor.take_knots(n_knots[1])
    return Surface(BSPLINE_SURFACE, spline=SplineSurface(degrees, poles, weights, knots_u, knots_v, periodic))


def _take_grid(cursor: _Cursor, shape: tuple[int, int], rational: bool) -> tuple[np.ndarray, np.ndarray | None]:
    poles, weights = _take_poles(cursor, shape[0] * shape[1], 3, rational)
    return poles.reshape(*shape, 3), None if weights is None else weights.reshape(shape)


_Geometry = tuple[
    dict[int, np.ndarray],
    list[tuple[tuple[int, int], ...]],
    list[Curve],
    list[Curve],
    list[Surface],
    list[Triangulation],
]


def _parse_shapes(cursor: _Cursor, geometry: _Geometry) -> ShapeCode:
    count = cursor.section(b"TShapes ")
    types, closed = [-1] * (count + 1), [False] * (count + 1)
    children: list[list[tuple[int, int, int]]] = [[] for _ in range(count + 1)]
    edges: dict[int, EdgeCode] = {}
    faces: dict[int, FaceCode] = {}
    points: dict[int, tuple[float, float, float]] = {}
    data = cursor.data
    for row in range(1, count + 1):
        kind = types[row] = cursor.take_byte()
        if kind == EDGE:
            edges[row] = _parse_edge(cursor)
        elif kind == VERTEX:
            points[row] = _parse_vertex(cursor)
        elif kind == FACE:
            faces[row] = _parse_face(cursor)
        at = cursor.at
        closed[row] = data[at + 4] != 0  # free, modified, checked, orientable, closed, infinite, convex
        start = end = at + 7
        while data[end] != 42:
            end += 9
        children[row] = [(o, count + 1 - i, place) for o, i, place in _SUB.iter_unpack(data[start:end])]
        cursor.at = end + 1
    orientation, index, location = _SUB.unpack_from(data, cursor.at)
    root = (orientation, count + 1 - index, location)
    return ShapeCode(*geometry, types, children, closed, edges, faces, points, root)


def _parse_vertex(cursor: _Cursor) -> tuple[float, float, float]:
    _, x, y, z = _VERTEX.unpack_from(cursor.data, cursor.at)
    cursor.at += 32
    while kind := cursor.take_byte():  # points on curves and surfaces: parameter, indices
        cursor.at += {1: 8 + 4 + 4, 2: 8 + 4 + 4 + 4, 3: 8 + 8 + 4 + 4}[kind]
    return x, y, z


def _parse_edge(cursor: _Cursor) -> EdgeCode:
    data = cursor.data
    tolerance, _, _, degenerate = _EDGE.unpack_from(data, cursor.at)
    cursor.at += 11
    curve, location, first, last = 0, 0, 0.0, 0.0
    pcurves: list[PCurve] = []
    while kind := cursor.take_byte():
        at = cursor.at
        if kind == 1:
            curve, location, first, last = _CURVE3D.unpack_from(data, at)
            cursor.at = at + 24
        elif kind == 2:
            pcurve, surface, place, low, high = _PCURVE.unpack_from(data, at)
            pcurves.append(PCurve(surface, place, pcurve, 0, low, high))
            cursor.at = at + 28
        elif kind == 3:
            pcurve, other = _INT.unpack_from(data, at)[0], _INT.unpack_from(data, at + 4)[0]
            surface, place = _INT.unpack_from(data, at + 9)[0], _INT.unpack_from(data, at + 13)[0]
            low, high = _REALS[2].unpack_from(data, at + 17)
            pcurves.append(PCurve(surface, place, pcurve, other, low, high))
            cursor.at = at + 33
        elif kind in _EDGE_SKIPS:
            cursor.at = at + _EDGE_SKIPS[kind]
        else:
            raise KernelError(f"the kernel's binary shape holds an edge representation of unknown kind {kind}")
    return EdgeCode(tolerance, degenerate, curve, location, first, last, tuple(pcurves))


def _parse_face(cursor: _Cursor) -> FaceCode:
    natural, tolerance, surface, location = _FACE.unpack_from(cursor.data, cursor.at)
    cursor.at += 17
    mesh = cursor.take_int() if cursor.take_byte() == 2 else 0
    return FaceCode(natural, tolerance, surface, location, mesh)
