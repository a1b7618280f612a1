"""Where every edge runs in its faces' (u, v): on planes projected, on surfaces of revolution solved in closed form.

A line or circle that is an iso-curve becomes a line in (u, v), with the edge's own parameter; any other curve a cubic
that agrees in place and direction with the exact one at its knots, and to `_CUBIC_ERROR` between them. Loops are then
unrolled: each curve is moved by whole turns to begin where the one before it ends. Where neighbours meet at a pole or
apex with different angles, an edge without length lies between them, as the kernel has it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dflow.cadaccess import curves
from dflow.cadaccess.curves import CurveTable
from dflow.cadaccess.runs import run_starts
from dflow.cadaccess.shapecode import BSPLINE, CIRCLE, CONE, CYLINDER, ELLIPSE, LINE, PLANE, SPHERE, TORUS, Spline
from dflow.cadaccess.steptext.geometry import FULL_TURN, Geometry
from dflow.cadaccess.steptext.records import RefusedError
from dflow.cadaccess.surfaces import SurfaceTable

_LOOKS = np.linspace(0.0, 1.0, 5)
_STRAIGHT = 1e-8
"""How far the rates of an iso-curve may vary."""

_CUBIC_ERROR = 1e-8
"""mm a mm of the face's size: how far a cubic may stray from the exact curve."""

_PIECES = (8, 32, 128)
_NEAR_AXIS = 1e-6
_BULGE = 1e-7
"""In (u, v)."""

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
    """The uses' curves in (u, v), and the edges at poles.

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
    curved = np.flatnonzero(geometry.faces.kind[uses.face] != PLANE)
    _check_planes(geometry, uses, np.flatnonzero(geometry.faces.kind[uses.face] == PLANE))
    poles: list[Pole] = []
    if len(curved):
        ends = _trace_curved(geometry, uses, curved, table)
        poles = _unroll(geometry, uses, curved, ends, table)
        _check_windows(uses, curved, table)
    return table, poles


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


@dataclass(frozen=True, slots=True)
class _Look:
    """Curves seen from their surfaces at parameters t : (n, m): u, v, their rates, distance from the axis, and how far
    off the surface; (n, m) each.
    """

    u: np.ndarray
    v: np.ndarray
    du: np.ndarray
    dv: np.ndarray
    rho: np.ndarray
    off: np.ndarray


def _look(geometry: Geometry, face: np.ndarray, edge: np.ndarray, t: np.ndarray) -> _Look:
    """Orthogonal projection onto cylinders, cones, spheres and tori (``ElSLib::Parameters``), with its derivative."""
    faces = geometry.faces
    points, slopes = curves.evaluate(geometry.edges, edge, t)
    frame = np.stack([faces.x[face], faces.y[face], faces.z[face]], axis=2)
    at = (points - faces.origin[face][:, None]) @ frame
    go = slopes @ frame
    x, y, z = at[..., 0], at[..., 1], at[..., 2]
    rho = np.sqrt(x * x + y * y)
    safe = np.maximum(rho, 1e-300)
    cos, sin = x / safe, y / safe
    outward, round_ = go[..., 0] * cos + go[..., 1] * sin, (go[..., 1] * cos - go[..., 0] * sin) / safe
    u, up = np.arctan2(y, x), go[..., 2]
    v, dv, off = np.empty_like(u), np.empty_like(u), np.empty_like(u)
    kind, radii = faces.kind[face], faces.radii[face]
    for value in np.unique(kind).tolist():
        k = kind == value
        big, small = radii[k, :1], radii[k, 1:]
        if value == CYLINDER:
            v[k], dv[k], off[k] = z[k], up[k], rho[k] - big
        elif value == CONE:
            # On the far side of the apex the radius counts as negative and the angle turns by half.
            beyond = big + z[k] * np.tan(small) < 0
            side = np.where(beyond, -1.0, 1.0)
            u[k] += np.where(beyond, np.pi, 0.0)
            reach, pull = side * rho[k] - big, side * outward[k]
            v[k], dv[k] = reach * np.sin(small) + z[k] * np.cos(small), pull * np.sin(small) + up[k] * np.cos(small)
            off[k] = reach * np.cos(small) - z[k] * np.sin(small)
        else:
            reach = rho[k] - big if value == TORUS else rho[k]
            v[k], length = np.arctan2(z[k], reach), reach**2 + z[k] ** 2
            dv[k] = (up[k] * reach - outward[k] * z[k]) / np.maximum(length, 1e-300)
            off[k] = np.sqrt(length) - (small if value == TORUS else big)
    return _Look(u, v, round_, dv, rho, off)


def _trace_curved(geometry: Geometry, uses: Uses, rows: np.ndarray, table: CurveTable) -> np.ndarray:
    """Fill in the curves `rows`; returns (n, 2, 2): (u, v) at the beginning and end of the edges' ranges."""
    face, edge = uses.face[rows], uses.edge[rows]
    first, last = geometry.edges.first[edge], geometry.edges.last[edge]
    t = first[:, None] + (last - first)[:, None] * _LOOKS
    seen = _look(geometry, face, edge, t)
    if not np.abs(seen.off).max() <= geometry.tolerance:
        raise RefusedError("an edge that is not on its surface")
    size = np.where(geometry.faces.kind[face] == SPHERE, geometry.faces.radii[face, 0], 1.0)[:, None]
    apart = seen.rho > np.maximum(_NEAR_AXIS * size, 1e-7)
    inner = seen.rho > 1e-3 * seen.rho.max(axis=1, keepdims=True)
    iso, rate = _iso_rates(geometry.edges.kind[edge], seen, inner)
    ends = np.empty((len(rows), 2, 2))
    straight = np.flatnonzero(iso)
    if len(straight):
        ends[straight] = _fill_lines(
            table,
            rows[straight],
            t[straight],
            _rows(seen, straight),
            inner[straight],
            rate[straight],
            geometry.faces.kind[face[straight]] == TORUS,
        )
    for i in np.flatnonzero(~iso).tolist():
        if not apart[i].all():
            raise RefusedError("a curve through a pole")
        ends[i] = _fill_cubic(geometry, table, int(rows[i]), int(face[i]), int(edge[i]))
    return ends


def _rows(seen: _Look, rows: np.ndarray) -> _Look:
    return _Look(seen.u[rows], seen.v[rows], seen.du[rows], seen.dv[rows], seen.rho[rows], seen.off[rows])


def _iso_rates(kind: np.ndarray, seen: _Look, inner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which lines and circles run along u or v alone, (n,) bool, and their rates du, dv, (n, 2), one of them 0."""
    count = inner.sum(axis=1)
    du, dv = np.where(inner, seen.du, 0.0), np.where(inner, seen.dv, 0.0)  # at poles the rates are noise
    turn, rise = du.sum(axis=1) / count, dv.sum(axis=1) / count
    even_u = (np.abs(du - turn[:, None]) * inner).max(axis=1) <= _STRAIGHT
    even_v = (np.abs(dv - rise[:, None]) * inner).max(axis=1) <= _STRAIGHT
    along_u = even_u & (np.abs(np.abs(turn) - 1.0) < 1e-6) & (np.abs(dv).max(axis=1) < 1e-6)
    along_v = even_v & (np.abs(np.abs(rise) - 1.0) < 1e-6) & (np.abs(du * seen.rho).max(axis=1) < 1e-6)
    iso = ((kind == LINE) | (kind == CIRCLE)) & (along_u | along_v)
    rate = np.zeros((len(kind), 2))
    rate[along_u, 0], rate[along_v & ~along_u, 1] = np.sign(turn[along_u]), np.sign(rise[along_v & ~along_u])
    return iso, rate


def _fill_lines(
    table: CurveTable,
    rows: np.ndarray,
    t: np.ndarray,
    seen: _Look,
    inner: np.ndarray,
    rate: np.ndarray,
    wraps: np.ndarray,
) -> np.ndarray:
    """Fill in iso-curves; `wraps`: whose v is an angle of its own (tori)."""
    start_u = seen.u - rate[:, :1] * t
    middle = np.argmax(inner & (np.arange(t.shape[1]) >= t.shape[1] // 2), axis=1)
    base = start_u[np.arange(len(rows)), middle][:, None]
    off_turn = np.remainder(start_u - base + np.pi, FULL_TURN) - np.pi
    origin_u = base[:, 0] + (off_turn * inner).sum(axis=1) / inner.sum(axis=1)
    start_v = seen.v - rate[:, 1:] * t
    rise = start_v - start_v[:, 2:3]
    rise -= np.where(wraps[:, None], FULL_TURN * np.round(rise / FULL_TURN), 0.0)
    origin_v = start_v[:, 2] + (rise * inner).sum(axis=1) / inner.sum(axis=1)
    table.kind[rows] = LINE
    table.origin[rows] = np.stack([origin_u, origin_v], axis=1)
    table.x[rows] = rate
    return table.origin[rows][:, None] + rate[:, None] * np.stack([t[:, 0], t[:, -1]], axis=1)[..., None]


def _fill_cubic(geometry: Geometry, table: CurveTable, use: int, face: int, edge: int) -> np.ndarray:
    """A curve that is no iso-curve, as a cubic B-spline of continuity 1."""
    one_face, one_edge = np.array([face]), np.array([edge])
    torus = geometry.faces.kind[face] == TORUS
    scale = max(geometry.tolerance, _CUBIC_ERROR * float(np.abs(geometry.faces.radii[face]).max()))
    for pieces in _PIECES:
        knots = _places(geometry.edges, edge, pieces)
        middle = 0.5 * (knots[1:] + knots[:-1])
        seen = _look(geometry, one_face, one_edge, np.concatenate([knots, middle])[None])
        n = len(knots)
        if not np.abs(seen.off).max() <= geometry.tolerance:
            raise RefusedError("an edge that is not on its surface")
        u, v = np.unwrap(seen.u[0, :n]), seen.v[0, :n]
        v = np.unwrap(v) if torus else v
        step = np.diff(knots)
        at, go = np.stack([u, v], axis=1), np.stack([seen.du[0, :n], seen.dv[0, :n]], axis=1)
        guess = 0.5 * (at[1:] + at[:-1]) + (step / 8)[:, None] * (go[:-1] - go[1:])
        wrong = guess - np.stack([seen.u[0, n:], seen.v[0, n:]], axis=1)
        wrong[:, 0] -= FULL_TURN * np.round(wrong[:, 0] / FULL_TURN)
        if torus:
            wrong[:, 1] -= FULL_TURN * np.round(wrong[:, 1] / FULL_TURN)
        stray = np.abs(wrong[:, 0] * seen.rho[0, n:]).max() + np.abs(wrong[:, 1]).max() * _v_size(geometry, face)
        if stray <= scale:
            break
    else:
        raise RefusedError("a curve on a surface that no cubic follows")
    inner = np.stack([at[:-1] + (step / 3)[:, None] * go[:-1], at[1:] - (step / 3)[:, None] * go[1:]], axis=1)
    poles = np.concatenate([at[:1], inner.reshape(-1, 2), at[-1:]])
    times = np.full(n, 2)
    times[[0, -1]] = 4
    table.kind[use] = BSPLINE
    table.splines[use] = Spline(3, poles, None, np.repeat(knots, times))
    return at[[0, -1]]


def _v_size(geometry: Geometry, face: int) -> float:
    kind, radii = geometry.faces.kind[face], geometry.faces.radii[face]
    return float(radii[0] if kind == SPHERE else radii[1] if kind == TORUS else 1.0)


def _places(edges: CurveTable, edge: int, pieces: int) -> np.ndarray:
    """Parameters along an edge, its own knots among them."""
    first, last = float(edges.first[edge]), float(edges.last[edge])
    spline = edges.splines.get(edge)
    if spline is None:
        return np.linspace(first, last, pieces + 1)
    own = np.unique(spline.knots)
    share = max(1, -(-pieces // (len(own) - 1)))
    steps = np.arange(share) / share
    return np.append((own[:-1, None] + np.diff(own)[:, None] * steps).ravel(), own[-1])


def _unroll(geometry: Geometry, uses: Uses, rows: np.ndarray, ends: np.ndarray, table: CurveTable) -> list[Pole]:
    """Move the curves `rows` by whole turns until every loop runs on."""
    face, loop = uses.face[rows], uses.loop[rows]
    faces = geometry.faces
    n = len(rows)
    forward = uses.forward[rows][:, None]
    enters, leaves = np.where(forward, ends[:, 0], ends[:, 1]), np.where(forward, ends[:, 1], ends[:, 0])
    head = run_starts(loop)
    number = np.repeat(np.arange(len(head)), np.diff(np.append(head, n)))
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
    shift += _align(faces, face, rows, table, shift, head, number)
    _apply(table, rows, shift)
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
    """Which curves a loop enters at a pole, (n,) bool, and how far u runs there, (n,).

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
    kind, radii = faces.kind[face], faces.radii[face]
    v_size = np.where(kind == SPHERE, radii[:, 0], np.where(kind == TORUS, radii[:, 1], 1.0))
    far = np.maximum(np.abs(gap[:, 0]) * np.abs(_radius_at(faces, face, uv)), np.abs(gap[:, 1]) * v_size)
    if not (far <= 10 * geometry.tolerance).all():
        raise RefusedError("a loop whose curves do not meet on its surface")


def _apply(table: CurveTable, rows: np.ndarray, shift: np.ndarray) -> None:
    table.origin[rows] += shift
    for i, row in enumerate(rows.tolist()):
        if table.kind[row] == BSPLINE:
            spline = table.splines[row]
            table.splines[row] = Spline(spline.degree, spline.poles + shift[i], None, spline.knots)
            table.origin[row] = 0.0


def _vertex(geometry: Geometry, uses: Uses, use: int) -> int:
    return int(geometry.edge_vertices[uses.edge[use], 0 if uses.forward[use] else 1])


def _at_pole(faces: SurfaceTable, face: np.ndarray, uv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which (u, v) are a sphere's pole or a cone's apex, and which way u runs along it with the face on the left."""
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
    faces: SurfaceTable,
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
    out = np.zeros_like(low)
    first = run_starts(owner)
    for begin, end in zip(first.tolist(), [*first[1:].tolist(), len(owner)], strict=True):
        window = begin + int(np.argmax((high - low)[begin:end].prod(axis=1)))
        periods = (FULL_TURN, FULL_TURN if faces.kind[owner[begin]] == TORUS else 0.0)
        for axis, period in enumerate(periods):
            if not period:
                continue
            middle = 0.5 * (low[:, axis] + high[:, axis])
            out[begin:end, axis] = period * np.round((middle[window] - middle[begin:end]) / period)
            # As the kernel's healing: the middle lies in [0, 2π).
            base = -period * np.floor((middle[window] + 1e-6) / period)
            out[begin:end, axis] += base
            lows, highs = low[begin:end, axis] + out[begin:end, axis], high[begin:end, axis] + out[begin:end, axis]
            if lows.min() < low[window, axis] + base - _SLACK or highs.max() > high[window, axis] + base + _SLACK:
                raise RefusedError("loops of one face that lie in different turns")
            if high[window, axis] - low[window, axis] > FULL_TURN + _SLACK:
                raise RefusedError("a face of more than one turn")
    return out[number]


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


def _check_windows(uses: Uses, rows: np.ndarray, table: CurveTable) -> None:
    """A face's extent in (u, v) must be that of its corners and iso-curves.

    Where a free curve reaches farther, the extent that the kernel states, and every grid on the face with it, follows
    the poles of the kernel's own approximation of the curve.
    """
    free = np.flatnonzero(table.kind[rows] == BSPLINE)
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
