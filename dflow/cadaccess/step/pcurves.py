"""The curve of every edge in its faces' (u, v): projected on planes, in closed form on surfaces of revolution.

A line or circle that is an iso-curve becomes a line in (u, v), with the edge's own parameter; any other curve becomes
the kernel's cubic (`projection`). Loops are then unrolled: each curve is moved by whole turns to begin where the one
before it ends. Where neighbours meet at a pole or apex with different angles, an edge without length lies between them,
as in the kernel's shapes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dflow.cadaccess.files.part21 import RefusedError
from dflow.cadaccess.geometry import bsplines, curves
from dflow.cadaccess.geometry.curves import CurveTable
from dflow.cadaccess.geometry.runs import run_numbers, run_starts
from dflow.cadaccess.geometry.surfaces import SurfaceTable
from dflow.cadaccess.kernel.bintools import (
    BSPLINE,
    BSPLINE_SURFACE,
    CIRCLE,
    CONE,
    CYLINDER,
    ELLIPSE,
    LINE,
    PLANE,
    SPHERE,
    TORUS,
    Spline,
    SplineSurface,
)
from dflow.cadaccess.step import projection
from dflow.cadaccess.step.geometric_items import FULL_TURN, Geometry
from dflow.cadaccess.step.projection import Projected, project

_STATIONS = np.linspace(0.0, 1.0, 5)
_STRAIGHT = 1e-8
"""The largest variation of the rates of an iso-curve."""

_MAX_OFF = 5.0
"""In tolerances: how far an edge may lie from a curved surface; fitted curves deviate by 2e-5 mm."""

_MAX_STRAY = 100.0
"""In tolerances: how far the kernel's cubics, which follow a whole ellipse to about 1e-5 of its size, may leave the
curve."""

_UNEVEN = 1000.0
"""Ratio of speeds along a spline beyond which the kernel may interpolate other points of it."""

_BULGE = 1e-7
"""In (u, v)."""

_NEAR_AXIS = 1e-5
"""mm, closer to which the kernel corrects angles."""

_SLACK = 1e-4


@dataclass(frozen=True, slots=True)
class Uses:
    """U uses of edges in faces, by face and loop in stored order; see `tables.ShapeTables`. On curved faces that is the
    order in which the loop runs.
    """

    face: np.ndarray
    edge: np.ndarray
    loop: np.ndarray
    forward: np.ndarray


@dataclass(frozen=True, slots=True)
class Pole:
    """An edge without length: the use it comes before, its vertex, and where it runs in (u, v)."""

    before_use: int
    vertex: int
    start: tuple[float, float]
    reach: float


def trace(geometry: Geometry, uses: Uses) -> tuple[CurveTable, list[Pole]]:
    """Return the uses' curves in (u, v), and the edges at poles.

    Raises
    ------
    RefusedError
        An edge off its surface, through a pole, or a loop that does not close in (u, v).
    """
    n = len(uses.face)
    kind = np.zeros(n, np.int8)
    zeros = np.zeros((n, 2))
    first, last = geometry.edges.first[uses.edge], geometry.edges.last[uses.edge]
    table = CurveTable(kind, zeros, zeros.copy(), zeros.copy(), np.zeros((n, 2)), first, last, {})
    kinds = geometry.faces.kind[uses.face]
    curved = np.flatnonzero((kinds != PLANE) & (kinds != BSPLINE_SURFACE))
    _check_planes(geometry, uses, np.flatnonzero(kinds == PLANE))
    for face in geometry.faces.splines:
        _trace_patch(geometry, uses, face, table)
    poles: list[Pole] = []
    if len(curved):
        ends = _trace_curved(geometry, uses, curved, table)
        poles = _unroll(geometry, uses, curved, ends, table)
        _check_windows(geometry.edge_stored, uses, curved, table)
        _check_sphere_seams(uses, curved, table, poles)
    return table, poles


def _trace_patch(geometry: Geometry, uses: Uses, face: int, table: CurveTable) -> None:
    rows = np.flatnonzero(uses.face == face)
    if len(rows) != 4 or uses.loop[rows[0]] != uses.loop[rows[-1]]:
        raise RefusedError("a spline surface that is cut off within its own sides")
    found = trace_sides(geometry, uses.edge[rows], uses.forward[rows], face)
    table.kind[rows], table.origin[rows], table.x[rows] = found.kind, found.origin, found.x


def _check_planes(geometry: Geometry, uses: Uses, rows: np.ndarray) -> None:
    edge, face = uses.edge[rows], uses.face[rows]
    normal, origin = geometry.faces.z[face], geometry.faces.origin[face]
    ends = geometry.points[geometry.edge_vertices[edge]] - origin[:, None]
    off = np.abs(np.einsum("uij,uj->ui", ends, normal)).max(initial=0.0)
    bent = np.flatnonzero(geometry.edges.kind[edge] != LINE)
    if len(bent):
        t = 0.5 * (geometry.edges.first[edge[bent]] + geometry.edges.last[edge[bent]])[:, None]
        middle = curves.evaluate(geometry.edges, edge[bent], t)[0][:, 0] - origin[bent]
        off = max(off, np.abs(np.einsum("ij,ij->i", middle, normal[bent])).max())
        round_ = bent[(geometry.edges.kind[edge[bent]] == CIRCLE) | (geometry.edges.kind[edge[bent]] == ELLIPSE)]
        tilt = np.linalg.norm(np.cross(geometry.edge_axes[edge[round_]], normal[round_]), axis=1)
        off = max(off, float((tilt * geometry.edges.radii[edge[round_], 0]).max(initial=0.0)))
    if not off <= geometry.tolerance:
        raise RefusedError("an edge that is not on its plane")


def _trace_curved(geometry: Geometry, uses: Uses, rows: np.ndarray, table: CurveTable) -> np.ndarray:
    """Fill in the curves `rows`; returns (n, 2, 2): (u, v) at the beginning and end of the edges' ranges."""
    face, edge = uses.face[rows], uses.edge[rows]
    first, last = geometry.edges.first[edge], geometry.edges.last[edge]
    t = first[:, None] + (last - first)[:, None] * _STATIONS
    projected = project(geometry, face, edge, t)
    if not np.abs(projected.off).max() <= _MAX_OFF * geometry.tolerance:
        raise RefusedError("an edge that is not on its surface")
    inner = projected.rho > 1e-3 * projected.rho.max(axis=1, keepdims=True)
    iso, rate = _iso_rates(geometry.edges.kind[edge], projected, inner)
    ends = np.empty((len(rows), 2, 2))
    straight = np.flatnonzero(iso)
    if len(straight):
        ends[straight] = _fill_lines(
            table,
            rows[straight],
            t[straight],
            projected.take(straight),
            inner[straight],
            rate[straight],
            geometry.faces.kind[face[straight]] == TORUS,
        )
    free = np.flatnonzero(~iso)
    ranges = zip(edge[free].tolist(), first[free].tolist(), last[free].tolist(), strict=True)
    n_points = np.array([projection.count_points(geometry.edges.splines.get(e), *span) for e, *span in ranges], np.intp)
    for n in np.unique(n_points).tolist():
        if n > projection.MOST_POINTS:
            raise RefusedError("a curve of very many knots")
        i = free[n_points == n]
        ends[i] = _fill_cubics(geometry, table, rows[i], face[i], edge[i], n)
    return ends


def _iso_rates(kind: np.ndarray, projected: Projected, inner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) bool, lines and circles along u or v alone, and their rates du, dv, (n, 2), one of them 0."""
    count = inner.sum(axis=1)
    du, dv = np.where(inner, projected.du, 0.0), np.where(inner, projected.dv, 0.0)  # at poles the rates are undefined
    turn, rise = du.sum(axis=1) / count, dv.sum(axis=1) / count
    even_u = (np.abs(du - turn[:, None]) * inner).max(axis=1) <= _STRAIGHT
    even_v = (np.abs(dv - rise[:, None]) * inner).max(axis=1) <= _STRAIGHT
    along_u = even_u & (np.abs(np.abs(turn) - 1.0) < 1e-6) & (np.abs(dv).max(axis=1) < 1e-6)
    along_v = even_v & (np.abs(np.abs(rise) - 1.0) < 1e-6) & (np.abs(du * projected.rho).max(axis=1) < 1e-6)
    iso = ((kind == LINE) | (kind == CIRCLE)) & (along_u | along_v)
    rate = np.zeros((len(kind), 2))
    rate[along_u, 0], rate[along_v & ~along_u, 1] = np.sign(turn[along_u]), np.sign(rise[along_v & ~along_u])
    return iso, rate


def _fill_lines(
    table: CurveTable,
    rows: np.ndarray,
    t: np.ndarray,
    projected: Projected,
    inner: np.ndarray,
    rate: np.ndarray,
    wraps: np.ndarray,
) -> np.ndarray:
    """Fill in iso-curves; `wraps`: whose v is an angle of its own (tori)."""
    start_u = projected.u - rate[:, :1] * t
    middle = np.argmax(inner & (np.arange(t.shape[1]) >= t.shape[1] // 2), axis=1)
    base = start_u[np.arange(len(rows)), middle][:, None]
    off_turn = np.remainder(start_u - base + np.pi, FULL_TURN) - np.pi
    origin_u = base[:, 0] + (off_turn * inner).sum(axis=1) / inner.sum(axis=1)
    start_v = projected.v - rate[:, 1:] * t
    rise = start_v - start_v[:, 2:3]
    rise -= np.where(wraps[:, None], FULL_TURN * np.round(rise / FULL_TURN), 0.0)
    origin_v = start_v[:, 2] + (rise * inner).sum(axis=1) / inner.sum(axis=1)
    table.kind[rows] = LINE
    table.origin[rows] = np.stack([origin_u, origin_v], axis=1)
    table.x[rows] = rate
    return table.origin[rows][:, None] + rate[:, None] * np.stack([t[:, 0], t[:, -1]], axis=1)[..., None]


def _fill_cubics(
    geometry: Geometry, table: CurveTable, rows: np.ndarray, face: np.ndarray, edge: np.ndarray, n: int
) -> np.ndarray:
    """Curves that are no iso-curves, as cubics through `n` points; returns (k, 2, 2) as `_trace_curved`."""
    first, last = geometry.edges.first[edge], geometry.edges.last[edge]
    t = first[:, None] + (last - first)[:, None] * np.linspace(0.0, 1.0, 2 * n - 1)
    projected = project(geometry, face, edge, t)
    if not np.abs(projected.off).max() <= _MAX_OFF * geometry.tolerance:
        raise RefusedError("an edge that is not on its surface")
    if not projected.rho.min() > _NEAR_AXIS:
        raise RefusedError("a curve through a pole")
    if (projected.speed.max(axis=1) > _UNEVEN * projected.speed.min(axis=1)).any():
        raise RefusedError("a curve of uneven speed")
    uv = np.stack([np.unwrap(projected.u), projected.v], axis=2)
    rings = geometry.faces.kind[face] == TORUS
    uv[rings, :, 1] = np.unwrap(uv[rings, :, 1])
    poles, middles = projection.interpolate(uv[:, ::2])
    stray = np.abs(middles - uv[:, 1::2])
    stray[..., 0] *= projected.rho[:, 1::2]
    stray[..., 1] *= _v_size(geometry.faces, face)[:, None]
    if not stray.max() <= _MAX_STRAY * geometry.tolerance:
        raise RefusedError("a curve on a surface that no cubic follows")
    table.kind[rows] = BSPLINE
    for row, own, low, high in zip(rows.tolist(), poles, first.tolist(), last.tolist(), strict=True):
        table.splines[row] = Spline(3, own, None, projection.flat_knots(low, high, n))
    return uv[:, [0, -1]]


def _v_size(faces: SurfaceTable, face: np.ndarray) -> np.ndarray:
    """(n,) mm per unit of v."""
    kind, radii = faces.kind[face], faces.radii[face]
    return np.where(kind == SPHERE, radii[:, 0], np.where(kind == TORUS, radii[:, 1], 1.0))


def _unroll(geometry: Geometry, uses: Uses, rows: np.ndarray, ends: np.ndarray, table: CurveTable) -> list[Pole]:
    """Move the curves `rows` by whole turns until every loop is continuous; return its edges at poles."""
    face, loop = uses.face[rows], uses.loop[rows]
    faces = geometry.faces
    n = len(rows)
    forward = uses.forward[rows][:, None]
    enters, leaves = np.where(forward, ends[:, 0], ends[:, 1]), np.where(forward, ends[:, 1], ends[:, 0])
    head = run_starts(loop)
    number = run_numbers(head, n)
    before = np.arange(n) - 1
    before[head] = np.append(head[1:], n) - 1
    gap = leaves[before] - enters
    jump = np.round(gap / FULL_TURN)
    jump[faces.kind[face] != TORUS, 1] = 0.0
    rest = gap - FULL_TURN * jump
    polar, reach = _turns_at_poles(faces, face, uses.edge[rows], (leaves[before], enters), before)
    jump[polar, 0] = np.round((gap[polar, 0] + reach[polar]) / FULL_TURN)
    rest[polar, 0] = 0.0
    _check_gaps(geometry, face, enters, rest)
    total = np.add.reduceat(jump, head, axis=0)
    if total.any():
        raise RefusedError("a loop around a face without a seam")
    moves = np.cumsum(jump, axis=0)
    moves -= moves[head][number]
    shift = FULL_TURN * moves
    shift += _align(geometry, face, rows, table, shift, head, number)
    _shift_curves(table, rows, shift)
    return [
        Pole(
            int(rows[i]),
            _vertex(geometry, uses, int(rows[i])),
            tuple((leaves[before[i]] + shift[before[i]]).tolist()),
            float(reach[i]),
        )
        for i in np.flatnonzero(polar).tolist()
    ]


def _turns_at_poles(
    faces: SurfaceTable, face: np.ndarray, edge: np.ndarray, meeting: tuple[np.ndarray, np.ndarray], before: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return which curves a loop enters at a pole, (n,) bool, and how far u runs there, (n,).

    `meeting` : (u, v) at the end of the curve before and at the start of each curve, (n, 2) each.
    """
    left, entered = meeting
    at_pole, sign = _at_pole(faces, face, entered)
    polar = at_pole & _at_pole(faces, face, left)[0]
    same_edge = edge == edge[before]
    turn = np.remainder(-sign * (left - entered)[:, 0], FULL_TURN)  # the way the pole's edge runs
    turn = np.where(same_edge, FULL_TURN, turn)
    if (polar & ((turn < 1e-6) | (~same_edge & (turn > FULL_TURN - 1e-6)))).any():
        raise RefusedError("a loop that passes through a pole")
    return polar, np.where(polar, sign * turn, 0.0)


def _check_gaps(geometry: Geometry, face: np.ndarray, uv: np.ndarray, gap: np.ndarray) -> None:
    """Neighbouring curves must meet, to within the file's tolerance in space."""
    faces = geometry.faces
    around, up = np.abs(gap[:, 0] * _radius_at(faces, face, uv)), np.abs(gap[:, 1]) * _v_size(faces, face)
    far = np.maximum(around, up)
    if not (far <= 10 * geometry.tolerance).all():
        raise RefusedError("a loop whose curves do not meet on its surface")


def _shift_curves(table: CurveTable, rows: np.ndarray, shift: np.ndarray) -> None:
    table.origin[rows] += shift
    for i, row in enumerate(rows.tolist()):
        if table.kind[row] == BSPLINE:
            spline = table.splines[row]
            table.splines[row] = Spline(spline.degree, spline.poles + shift[i], None, spline.knots)
            table.origin[row] = 0.0


def _vertex(geometry: Geometry, uses: Uses, use: int) -> int:
    return int(geometry.edge_vertices[uses.edge[use], 0 if uses.forward[use] else 1])


def _at_pole(faces: SurfaceTable, face: np.ndarray, uv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which (u, v) are a sphere's pole or a cone's apex, and which way u runs along it with the face on the
    left.
    """
    kind, v = faces.kind[face], uv[:, 1]
    rho = _radius_at(faces, face, uv)
    at = ((kind == SPHERE) | (kind == CONE)) & (np.abs(rho) < 1e-6)
    # A cone's apex has the face above it in v where the face's radius is positive.
    return at, np.where((kind == SPHERE) & (v > 0), -1.0, 1.0)


def _radius_at(faces: SurfaceTable, face: np.ndarray, uv: np.ndarray) -> np.ndarray:
    kind, radii, v = faces.kind[face], faces.radii[face], uv[:, 1]
    rho = np.ones(len(v))
    rho = np.where(kind == CYLINDER, radii[:, 0], rho)
    rho = np.where(kind == CONE, radii[:, 0] + v * np.sin(radii[:, 1]), rho)
    rho = np.where(kind == SPHERE, radii[:, 0] * np.cos(v), rho)
    return np.where(kind == TORUS, radii[:, 0] + radii[:, 1] * np.cos(v), rho)


def _align(
    geometry: Geometry,
    face: np.ndarray,
    rows: np.ndarray,
    table: CurveTable,
    shift: np.ndarray,
    head: np.ndarray,
    number: np.ndarray,
) -> np.ndarray:
    """(n, 2): whole turns by which each loop moves into the window of its face's widest loop."""
    low, high = _spans(table, rows)
    low, high = np.minimum.reduceat(low + shift, head, axis=0), np.maximum.reduceat(high + shift, head, axis=0)
    owner = face[head]
    window = _widest(high - low, owner)
    turning = np.stack([np.ones(len(owner), bool), geometry.faces.kind[owner] == TORUS], axis=1)
    start = np.stack([np.zeros(len(owner)), geometry.face_v_start[owner]], axis=1)
    middle = 0.5 * (low + high)
    # As the kernel's healing: the middle lies in [0, 2π), where the kernel's parameter begins.
    base = -FULL_TURN * np.floor((middle[window] + start + 1e-6) / FULL_TURN)
    out = np.where(turning, FULL_TURN * np.round((middle[window] - middle) / FULL_TURN) + base, 0.0)
    outside = (low + out < low[window] + base - _SLACK) | (high + out > high[window] + base + _SLACK)
    if (turning & outside).any():
        raise RefusedError("loops of one face that lie in different turns")
    if (turning & (high - low > FULL_TURN + _SLACK)[window]).any():
        raise RefusedError("a face of more than one turn")
    return out[number]


def _widest(size: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """(n,) int64: for each loop the first of its face's loops whose box, of `size` : (n, 2), has the largest area."""
    area, first = size.prod(axis=1), run_starts(owner)
    group = run_numbers(first, len(owner))
    largest = np.flatnonzero(area == np.maximum.reduceat(area, first)[group])
    return largest[run_starts(group[largest])][group]


def _spans(table: CurveTable, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, 2) each: boxes in (u, v)."""
    start = table.origin[rows] + table.first[rows][:, None] * table.x[rows]
    end = table.origin[rows] + table.last[rows][:, None] * table.x[rows]
    low, high = np.minimum(start, end), np.maximum(start, end)
    for i, row in enumerate(rows.tolist()):
        spline = table.splines.get(row)
        if spline is not None:
            low[i], high[i] = spline.poles.min(axis=0), spline.poles.max(axis=0)
    return low, high


def _check_windows(stored: np.ndarray, uses: Uses, rows: np.ndarray, table: CurveTable) -> None:
    """Refuse faces whose extent in (u, v) is not that of their corners and iso-curves, where the file stores curves on
    surfaces.

    Where a free curve reaches farther, the kernel's extent, and with it every grid on the face, depends on the poles of
    the file's curve, which is not read.
    """
    free = np.flatnonzero((table.kind[rows] == BSPLINE) & stored[uses.edge[rows]])
    if not len(free):
        return
    low, high = _spans(table, rows)
    ends = np.array([table.splines[row].poles[[0, -1]] for row in rows[free].tolist()])
    corner_low, corner_high = low.copy(), high.copy()
    corner_low[free], corner_high[free] = ends.min(axis=1), ends.max(axis=1)
    face = uses.face[rows]
    least, most = np.full((face.max() + 1, 2), np.inf), np.full((face.max() + 1, 2), -np.inf)
    np.minimum.at(least, face, corner_low)
    np.maximum.at(most, face, corner_high)
    if (low < least[face] - _BULGE).any() or (high > most[face] + _BULGE).any():
        raise RefusedError("a face that reaches beyond its corners along a free curve")


def _check_sphere_seams(uses: Uses, rows: np.ndarray, table: CurveTable, poles: list[Pole]) -> None:
    """Refuse faces with a loop through both poles of a sphere and along a free curve: rounding errors decide whether
    the kernel replaces the seam.
    """
    at_poles = np.bincount(uses.face[[pole.before_use for pole in poles]], minlength=uses.face.max() + 1)
    if (at_poles[uses.face[rows[table.kind[rows] == BSPLINE]]] > 1).any():
        raise RefusedError("a ball with a free curve")


_TOLERANCE = 1e-7
"""mm, the kernel's own ``Precision::Confusion``: an edge within this distance of a side becomes a line in (u, v)."""

_SHARES = np.linspace(0.0, 1.0, 33)


def trace_sides(geometry: Geometry, edges: np.ndarray, forward: np.ndarray, face: int) -> CurveTable:
    """The lines in (u, v) along which a spline face's loop runs.

    Parameters
    ----------
    edges, forward : (4,), the loop's uses in the order in which it runs.

    Raises
    ------
    RefusedError
        The loop is not the surface's own four sides, counter-clockwise, at the sides' own parameters.
    """
    surface = geometry.faces.splines[face]
    first, last = geometry.edges.first[edges], geometry.edges.last[edges]
    points = curves.evaluate(geometry.edges, edges, first[:, None] + (last - first)[:, None] * _SHARES)[0]
    corners, sides = _boundary(surface)
    found = np.where(forward[:, None, None], points, points[:, ::-1])
    for turn in range(4):
        order = (np.arange(4) + turn) % 4
        if np.abs(found - sides[order]).max() <= _TOLERANCE:
            start = np.where(forward[:, None], corners[order], corners[(order + 1) % 4])
            end = np.where(forward[:, None], corners[(order + 1) % 4], corners[order])
            rate = (end - start) / (last - first)[:, None]
            n = len(edges)
            kind, none = np.full(n, LINE, np.int8), np.zeros((n, 2))
            return CurveTable(kind, start - first[:, None] * rate, rate, none, none, first, last, {})
    raise RefusedError("a spline surface that is cut off within its own sides")


def _boundary(surface: SplineSurface) -> tuple[np.ndarray, np.ndarray]:
    """(4, 2) corners in (u, v), counter-clockwise, and (4, n, 3) the sides from each to the next."""
    low_u, high_u = surface.knots_u[0], surface.knots_u[-1]
    low_v, high_v = surface.knots_v[0], surface.knots_v[-1]
    u, v = low_u + (high_u - low_u) * _SHARES, low_v + (high_v - low_v) * _SHARES
    along_u = bsplines.evaluate_grid(surface, u, v[[0, -1]])[0]
    along_v = bsplines.evaluate_grid(surface, u[[0, -1]], v)[0]
    corners = np.array([(low_u, low_v), (high_u, low_v), (high_u, high_v), (low_u, high_v)])
    return corners, np.stack([along_u[:, 0], along_v[1], along_u[::-1, 1], along_v[0, ::-1]])
