"""The geometric items of a traversal's rows: coordinates, frames, curves with their ranges, and surfaces; all rows at
once.

Conventions are the kernel's (``StepToGeom``, ``gp_Ax2``): a frame's x is the reference direction made normal to the
axis, directions are unit vectors, a conic's range begins at the angle of its first vertex in [0, 2π).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from dflow.cadaccess.files.part21 import Instances, RefusedError, parse_reals
from dflow.cadaccess.files.units import Units
from dflow.cadaccess.geometry import curves
from dflow.cadaccess.geometry.curves import CurveTable
from dflow.cadaccess.geometry.surfaces import SurfaceTable
from dflow.cadaccess.kernel.bintools import CIRCLE, CONE, ELLIPSE, LINE, TORUS, Spline, SplineSurface
from dflow.cadaccess.step.traversal import Rows, Traversal

FULL_TURN = 2 * np.pi

TOLERANCE = 1e-5
"""mm, for parts of up to a metre, and in proportion beyond: how far a vertex may lie from its edge's curve, and an edge
from its face's surface. A file beyond that is read by the kernel.
"""

_ANGULAR = 1e-9
"""Radians within which two angles are one."""

_MAX_CUT = 1e-3
"""The share of a spline's range that may lie beyond a vertex."""

_STEEPEST = np.pi / 2 - 1e-5
"""Radians, the largest half angle of a cone."""

_CONFUSION = 1e-7
"""mm, the kernel's own ``Precision::Confusion``."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """V vertices, E edges, F faces, in mm.

    Attributes
    ----------
    points : (V, 3) float64.
    edges : E curves over the ranges of their edges; edge_axes : (E, 3) float64, the axes of conics.
    edge_vertices : (E, 2) int64, along the curve; edge_stored : (E,) bool, the file has curves on surfaces for it.
    faces : F surfaces; a circle about an axis stands as the torus that it is.
    face_named, face_v_start : see `tables.ShapeTables`.
    tolerance : mm, see `TOLERANCE`.
    """

    points: np.ndarray
    edges: CurveTable
    edge_axes: np.ndarray
    edge_vertices: np.ndarray
    edge_stored: np.ndarray
    faces: SurfaceTable
    face_named: np.ndarray
    face_v_start: np.ndarray
    tolerance: float


def build_geometry(traversal: Traversal, units: Units) -> Geometry:
    """The geometry of a traversal's rows.

    Raises
    ------
    RefusedError
        Malformed numbers, frames without directions, vertices off their curves.
    """
    rows = traversal.rows
    splines = {row: parse_curve(traversal.instances, text) for row, text in rows.edge_splines.items()}
    patches = {row: parse_surface(traversal.instances, text) for row, text in rows.face_splines.items()}
    places = parse_reals(rows.point_texts, 3) * units.length
    directions = _unit(parse_reals(rows.direction_texts, 3))
    frames = _frames(np.array(rows.placements, np.intp).reshape(-1, 3), places, directions)
    points = places[rows.vertices]
    tolerance = TOLERANCE * max(1.0, float(np.abs(points).max(initial=0.0)) / 1000.0)
    ends = np.array(rows.edge_vertices, np.intp).reshape(-1, 2)
    edges, axes = _edge_table(rows, splines, (places, directions, frames), units)
    _set_ranges(edges, points[ends], ends[:, 0] == ends[:, 1], tolerance)
    named = np.array(rows.face_kinds, np.int8)
    faces, v_start = _face_table(rows, named, patches, (places, directions, frames), units)
    stored = np.array(rows.edge_stored, bool)
    return Geometry(points, edges, axes, ends, stored, faces, named, v_start, tolerance)


def _unit(vectors: np.ndarray) -> np.ndarray:
    sizes = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    if not (sizes > 1e-12).all():
        raise RefusedError("a direction without length")
    return vectors / sizes[:, None]


def _frames(placements: np.ndarray, places: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """(n, 4, 3) float64: origin, z, x, y."""
    z, across = directions[placements[:, 1]], directions[placements[:, 2]]
    x = across - np.einsum("ij,ij->i", across, z)[:, None] * z
    if len(x) and float(np.abs(x).max(axis=1).min()) < 1e-6:
        raise RefusedError("a placement whose directions are parallel")
    x = _unit(x)
    return np.stack([places[placements[:, 0]], z, x, np.cross(z, x)], axis=1)


_Found = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Points, directions and frames by row."""


def _face_table(
    rows: Rows, named: np.ndarray, patches: dict[int, SplineSurface], found: _Found, units: Units
) -> tuple[SurfaceTable, np.ndarray]:
    """The faces' surfaces, and (F,) where their v begins for the kernel."""
    kinds, place = named.copy(), np.array(rows.face_places, np.intp)
    frame = np.zeros((len(kinds), 4, 3))
    frame[place >= 0] = found[2][place[place >= 0]]
    radii = _parse_radii(rows.face_radii)
    angled = kinds == CONE
    radii *= units.length
    radii[angled, 1] *= units.angle / units.length
    v_start, handed = np.zeros(len(kinds)), np.ones(len(kinds))
    turned = np.array(list(rows.face_axes), np.intp)
    if len(turned):
        axes = np.array(list(rows.face_axes.values()), np.intp)
        frame[turned], radii[turned], v_start[turned], handed[turned] = _as_tori(
            frame[turned], radii[turned, 0], found[0][axes[:, 0]], found[1][axes[:, 1]]
        )
        kinds[turned] = TORUS
    if not (radii >= 0).all() or (radii[angled, 1] > _STEEPEST).any() or (radii[angled, 1] < 1e-6).any():
        raise RefusedError("a surface with invalid radii")
    rings = kinds == TORUS
    if (radii[rings, 1] > radii[rings, 0] * (1 + 1e-12)).any() or (radii[rings, 1] <= 0).any():
        raise RefusedError("a torus that meets itself")
    origin, z, x, y = (frame[:, i] for i in range(4))
    scaled = {row: replace(patch, poles=patch.poles * units.length) for row, patch in patches.items()}
    return SurfaceTable(kinds, origin, x, y, z, radii, handed, scaled, {}), v_start


def _as_tori(
    circles: np.ndarray, radius: np.ndarray, through: np.ndarray, axis: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Circles : (n, 4, 3) frames, turned about axes in their planes: the tori's frames, radii, the circles' parameters
    where the tori's v begins, and on which hand the frames are.
    """
    centre, normal, x, y = (circles[:, i] for i in range(4))
    offset = centre - through
    height = np.einsum("ij,ij->i", offset, axis)
    arm = offset - height[:, None] * axis
    ring = np.linalg.norm(arm, axis=1)
    off_plane = np.abs(np.einsum("ij,ij->i", offset, normal)) + ring * np.abs(np.einsum("ij,ij->i", normal, axis))
    if (ring < 1e-9).any() or (off_plane > 1e-9 * (1.0 + ring)).any():
        raise RefusedError("a circle turned about an axis beside its plane or through its centre")
    out = arm / ring[:, None]
    start = np.arctan2(np.einsum("ij,ij->i", out, y), np.einsum("ij,ij->i", out, x))
    along = np.cos(start)[:, None] * y - np.sin(start)[:, None] * x
    hand = np.where(np.einsum("ij,ij->i", along, axis) < 0, -1.0, 1.0)
    frames = np.stack([through + height[:, None] * axis, hand[:, None] * axis, out, np.cross(axis, out)], axis=1)
    return frames, np.stack([ring, radius], axis=1), start, hand


def _parse_radii(texts: list[bytes]) -> np.ndarray:
    """(n, 2) float64, zeros where a text has fewer."""
    full = [text if b"," in text else (text + b",0." if text else b"0.,0.") for text in texts]
    return parse_reals(full, 2)


def _edge_table(rows: Rows, splines: dict[int, Spline], found: _Found, units: Units) -> tuple[CurveTable, np.ndarray]:
    places, directions, frames = found
    kinds = np.array(rows.edge_kinds, np.int8)
    n = len(kinds)
    origin, x, y, axes = np.zeros((n, 3)), np.zeros((n, 3)), np.zeros((n, 3)), np.zeros((n, 3))
    straight = kinds == LINE
    if straight.any():
        lines = np.array(rows.edge_lines, np.intp).reshape(-1, 2)[straight]
        origin[straight], x[straight] = places[lines[:, 0]], directions[lines[:, 1]]
    radii = np.zeros((n, 2))
    round_ = np.flatnonzero((kinds == CIRCLE) | (kinds == ELLIPSE))
    if len(round_):
        frame = frames[np.array(rows.edge_places, np.intp)[round_]]
        origin[round_], axes[round_], x[round_], y[round_] = (frame[:, i] for i in range(4))
        radii[round_] = _parse_radii([rows.edge_radii[row] for row in round_.tolist()]) * units.length
        long_enough = np.where(kinds[round_] == ELLIPSE, radii[round_, 1], radii[round_, 0])
        if not (long_enough > 0).all() or (radii[round_, 1] > radii[round_, 0]).any():
            raise RefusedError("a conic with invalid radii")
    scaled = {
        row: Spline(s.degree, s.poles * units.length, s.weights, s.knots, s.periodic) for row, s in splines.items()
    }
    return CurveTable(kinds, origin, x, y, radii, np.zeros(n), np.zeros(n), scaled), axes


def _set_ranges(edges: CurveTable, ends: np.ndarray, closed: np.ndarray, tolerance: float) -> None:
    """Fill in `first` and `last` from the edges' end points : (E, 2, 3), which must lie on the curves."""
    offset = ends - edges.origin[:, None, :]
    a, b = np.einsum("eij,ej->ei", offset, edges.x), np.einsum("eij,ej->ei", offset, edges.y)
    t = a
    turning = (edges.kind == CIRCLE) | (edges.kind == ELLIPSE)
    if turning.any():
        small = np.where(edges.kind == ELLIPSE, edges.radii[:, 1], edges.radii[:, 0])[turning, None]
        angle = np.arctan2(b[turning] / small, a[turning] / edges.radii[turning, :1]) % FULL_TURN
        # An angle less than a vertex's tolerance short of a full turn counts as 0.
        angle[FULL_TURN - angle < np.maximum(_ANGULAR, _CONFUSION / edges.radii[turning, :1])] = 0.0
        begin, end = angle[:, 0], np.where(closed[turning], angle[:, 0], angle[:, 1])
        t = t.copy()
        t[turning, 0], t[turning, 1] = begin, np.where(end - begin < _ANGULAR, end + FULL_TURN, end)
    if edges.splines:
        rows = np.array(list(edges.splines), np.intp)
        t[rows] = _spline_ranges(edges, rows, ends[rows])
    edges.first[:], edges.last[:] = t[:, 0], t[:, 1]
    if not (t[:, 1] - t[:, 0] > 1e-9).all():
        raise RefusedError("an edge that runs backwards or has no length")
    _check_ends(edges, t, ends, tolerance)


def _spline_ranges(edges: CurveTable, rows: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(n, 2): where the vertices are on their splines, of which the kernel cuts off what lies a little beyond."""
    whole = np.array([s.knots[[s.degree, -1 - s.degree]] for s in edges.splines.values()])
    reach = _MAX_CUT * (whole[:, 1:] - whole[:, :1])
    low, high = whole - reach * np.array([0.0, 1.0]), whole + reach * np.array([1.0, 0.0])
    t = whole
    for _ in range(3):
        at, slope = curves.evaluate(edges, rows, t)
        short = ends - at
        step = np.einsum("nij,nij->ni", short, slope) / np.maximum(np.einsum("nij,nij->ni", slope, slope), 1e-300)
        if t is whole:
            apart = np.sqrt(np.einsum("nij,nij->ni", short, short)) > _CONFUSION
            if not apart.any():
                return whole
        t = np.where(apart, np.clip(t + step, low, high), whole)
    return t


def _check_ends(edges: CurveTable, t: np.ndarray, ends: np.ndarray, tolerance: float) -> None:
    found = curves.evaluate(edges, np.arange(len(t)), t)[0]
    if len(t) and float(np.abs(found - ends).max()) > tolerance:
        raise RefusedError("a vertex that is not on its edge's curve")


_CURVE = re.compile(
    rb"B_SPLINE_CURVE_WITH_KNOTS\('[^']*',(\d+),\(([#\d,]+)\),\.[A-Z_]+\.,\.([TFU])\.,\.[TFU]\.,\(([\d,]+)\),\(([-+.\dE,]+)\),\.[A-Z_]+\.\)"
)
_RATIONAL_CURVE = re.compile(
    rb"\(BOUNDED_CURVE\(\)B_SPLINE_CURVE\((\d+),\(([#\d,]+)\),\.[A-Z_]+\.,\.([TFU])\.,\.[TFU]\.\)"
    rb"B_SPLINE_CURVE_WITH_KNOTS\(\(([\d,]+)\),\(([-+.\dE,]+)\),\.[A-Z_]+\.\)"
    rb"CURVE\(\)GEOMETRIC_REPRESENTATION_ITEM\(\)RATIONAL_B_SPLINE_CURVE\(\(([-+.\dE,]+)\)\)REPRESENTATION_ITEM\('[^']*'\)\)"
)
_SURFACE = re.compile(
    rb"B_SPLINE_SURFACE_WITH_KNOTS\('[^']*',(\d+),(\d+),\(\(([#\d,()]+)\)\),\.[A-Z_]+\.,\.[TFU]\.,\.[TFU]\.,\.[TFU]\.,"
    rb"\(([\d,]+)\),\(([\d,]+)\),\(([-+.\dE,]+)\),\(([-+.\dE,]+)\),\.[A-Z_]+\.\)"
)
_RATIONAL_SURFACE = re.compile(
    rb"\(BOUNDED_SURFACE\(\)B_SPLINE_SURFACE\((\d+),(\d+),\(\(([#\d,()]+)\)\),\.[A-Z_]+\.,\.[TFU]\.,\.[TFU]\.,\.[TFU]\.\)"
    rb"B_SPLINE_SURFACE_WITH_KNOTS\(\(([\d,]+)\),\(([\d,]+)\),\(([-+.\dE,]+)\),\(([-+.\dE,]+)\),\.[A-Z_]+\.\)"
    rb"GEOMETRIC_REPRESENTATION_ITEM\(\)RATIONAL_B_SPLINE_SURFACE\(\(\(([-+.\dE,()]+)\)\)\)"
    rb"REPRESENTATION_ITEM\('[^']*'\)SURFACE\(\)\)"
)


def parse_curve(instances: Instances, text: bytes) -> Spline:
    """A B-spline curve.

    Raises
    ------
    RefusedError
        It is of another kind, periodic, or its numbers do not fit.
    """
    match = _CURVE.fullmatch(text) or _RATIONAL_CURVE.fullmatch(text)
    if match is None:
        raise RefusedError("a curve that is neither a line, a conic nor a B-spline with knots")
    degree, references, _, times, knots, *weights = match.groups()
    poles = _points(instances, references.split(b","))
    flat = _flat_knots(int(degree), times, knots, len(poles))
    ratio = _weights(weights[0], (len(poles),)) if weights else None
    return Spline(int(degree), poles, ratio, flat, False)


def parse_surface(instances: Instances, text: bytes) -> SplineSurface:
    """A B-spline surface; raises as `parse_curve`."""
    match = _SURFACE.fullmatch(text) or _RATIONAL_SURFACE.fullmatch(text)
    if match is None:
        raise RefusedError("a surface that is neither of the simple kinds nor a B-spline with knots")
    degree_u, degree_v, references, times_u, times_v, knots_u, knots_v, *weights = match.groups()
    rows = [row.split(b",") for row in references.split(b"),(")]
    shape = len(rows), len(rows[0])
    if any(len(row) != shape[1] for row in rows):
        raise RefusedError("a B-spline surface whose rows have different lengths")
    poles = _points(instances, [pole for row in rows for pole in row]).reshape(*shape, 3)
    flat_u = _flat_knots(int(degree_u), times_u, knots_u, shape[0])
    flat_v = _flat_knots(int(degree_v), times_v, knots_v, shape[1])
    ratio = _weights(weights[0].replace(b"),(", b","), shape) if weights else None
    return SplineSurface((int(degree_u), int(degree_v)), poles, ratio, flat_u, flat_v)


def _points(instances: Instances, references: list[bytes]) -> np.ndarray:
    texts = [instances.expect(r, b"CARTESIAN_POINT(") for r in references]
    return parse_reals([t[t.rindex(b"(") + 1 : -2] for t in texts], 3)


def _flat_knots(degree: int, times: bytes, knots: bytes, n_poles: int) -> np.ndarray:
    counts = np.array(times.split(b","), np.bytes_).astype(np.int64)
    values = parse_reals([knots], knots.count(b",") + 1)[0]
    order = degree + 1
    clamped = counts[0] == order and counts[-1] == order
    sound = len(values) == len(counts) >= 2 and (np.diff(values) > 1e-12).all() and (counts[1:-1] < order).all()
    if not (clamped and sound and counts.sum() == n_poles + order and 2 <= order <= 26):
        raise RefusedError("a B-spline whose knots do not fit its poles, or that is periodic")
    return np.repeat(values, counts)


def _weights(text: bytes, shape: tuple[int, ...]) -> np.ndarray | None:
    """None where all are equal."""
    found = parse_reals([text], text.count(b",") + 1)[0]
    if len(found) != np.prod(shape) or not (found > 0).all():
        raise RefusedError("a rational B-spline with invalid weights")
    return None if float(np.ptp(found)) < 1e-15 else found.reshape(shape)
