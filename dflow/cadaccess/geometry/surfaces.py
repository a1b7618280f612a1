"""Surfaces as tables, and their points and normals in numpy.

Planes, cylinders, cones, spheres and tori are stacked by frame and radii and evaluated together; B-splines, revolutions
and extrusions are evaluated face by face. Parameters are the kernel's (``ElSLib``, ``Geom_SurfaceOfRevolution``,
``Geom_SurfaceOfLinearExtrusion``). Offset surfaces have no table: the kernel evaluates them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dflow.cadaccess.geometry import bsplines, curves
from dflow.cadaccess.geometry.curves import CurveTable
from dflow.cadaccess.kernel import bintools
from dflow.cadaccess.kernel.bintools import SplineSurface, Surface

AXIAL = (bintools.CYLINDER, bintools.CONE, bintools.SPHERE, bintools.TORUS)
"""Surfaces of revolution of a line or circle, with the angle as u."""

_NUDGES = (1e-7, 1e-6, 1e-4, 1e-2)


@dataclass(frozen=True, slots=True)
class SurfaceTable:
    """The surfaces of n faces, in place.

    Attributes
    ----------
    kind : (n,) int8, `bintools`' surface kinds.
    origin, x, y, z : (n, 3) float64, mm; an extrusion keeps its direction in z, a revolution its axis in origin and z.
    radii : (n, 2) float64: radius and, for a cone the half angle in radians, for a torus the minor radius.
    handed : (n,) float64, +1 for a right-handed frame, -1 for a left-handed one (mirrored parts).
    splines, sweeps : row -> B-spline, or the swept curve as a table of one row.
    """

    kind: np.ndarray
    origin: np.ndarray
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    radii: np.ndarray
    handed: np.ndarray
    splines: dict[int, SplineSurface]
    sweeps: dict[int, CurveTable]

    def take(self, rows: np.ndarray) -> SurfaceTable:
        """The table of these rows, in their order."""
        columns = (self.kind, self.origin, self.x, self.y, self.z, self.radii, self.handed)
        kind, origin, x, y, z, radii, handed = (column[rows] for column in columns)
        splines, sweeps = curves.rows_of(self.splines, rows), curves.rows_of(self.sweeps, rows)
        return SurfaceTable(kind, origin, x, y, z, radii, handed, splines, sweeps)

    @property
    def evaluable(self) -> np.ndarray:
        """(n,) bool: rows that numpy can evaluate."""
        table = (self.kind >= bintools.PLANE) & (self.kind <= bintools.TORUS)
        if self.splines or self.sweeps:
            table[[*self.splines, *(r for r, sweep in self.sweeps.items() if sweep.evaluable[0])]] = True
        return table


def build_table(surfaces: Sequence[Surface], matrices: Sequence[np.ndarray | None]) -> SurfaceTable:
    """Stack the faces' surfaces, each moved by its (3, 4) matrix (None: not moved)."""
    n = len(surfaces)
    kind = np.fromiter((s.kind for s in surfaces), np.int8, n)
    frame, radii = np.zeros((n, 4, 3)), np.zeros((n, 2))  # origin, z, x, y: the format's order
    splines: dict[int, SplineSurface] = {}
    sweeps: dict[int, CurveTable] = {}
    for value in np.unique(kind).tolist():
        rows = np.flatnonzero(kind == value)
        if value == bintools.PLANE or value in AXIAL:
            numbers = np.array([surfaces[row].values for row in rows.tolist()])
            frame[rows] = numbers[:, :12].reshape(-1, 4, 3)
            radii[rows, : numbers.shape[1] - 12] = numbers[:, 12:]
        else:
            for row in rows.tolist():
                _place_free_form(row, surfaces[row], matrices[row], frame, splines, sweeps)
    for row, matrix in enumerate(matrices):
        if matrix is not None:
            frame[row] = frame[row] @ matrix[:, :3].T
            frame[row, 0] += matrix[:, 3]
    origin, z, x, y = (frame[:, i] for i in range(4))
    handed = np.where(np.einsum("ij,ij->i", np.cross(x, y), z) < 0, -1.0, 1.0)
    return SurfaceTable(kind, origin, x, y, z, radii, handed, splines, sweeps)


def _place_free_form(
    row: int,
    surface: Surface,
    matrix: np.ndarray | None,
    frame: np.ndarray,
    splines: dict[int, SplineSurface],
    sweeps: dict[int, CurveTable],
) -> None:
    if surface.spline is not None:
        spline = surface.spline
        if matrix is not None:
            poles = spline.poles @ matrix[:, :3].T + matrix[:, 3]
            spline = SplineSurface(
                spline.degrees, poles, spline.weights, spline.knots_u, spline.knots_v, spline.periodic
            )
        splines[row] = spline
    elif surface.curve is not None:
        sweeps[row] = curves.build_table([surface.curve], np.zeros(1), np.zeros(1), 3, [matrix])
        if surface.kind == bintools.REVOLUTION:
            frame[row, 0], frame[row, 1] = surface.values[:3], surface.values[3:]
        else:
            frame[row, 1] = surface.values


def profile(kind: np.ndarray, radii: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
    """Distance from the axis and height along it, ``rho, zeta``, with unit slopes ``rho', zeta'``, each shaped as v :
    (n, …).
    """
    big, second = per_row(radii[:, 0], v), per_row(radii[:, 1], v)
    rho, zeta = np.broadcast_to(big, v.shape).copy(), v.copy()
    rho_slope, zeta_slope = np.zeros(v.shape), np.ones(v.shape)
    cone = np.flatnonzero(kind == bintools.CONE)
    if len(cone):
        sin, cos = np.sin(second[cone]), np.cos(second[cone])
        rho[cone] += v[cone] * sin
        zeta[cone] *= cos
        rho_slope[cone], zeta_slope[cone] = sin, cos
    round_ = np.flatnonzero((kind == bintools.SPHERE) | (kind == bintools.TORUS))
    if len(round_):
        sphere = per_row(kind[round_] == bintools.SPHERE, v)
        sin, cos = np.sin(v[round_]), np.cos(v[round_])
        minor = np.where(sphere, big[round_], second[round_])
        rho[round_] = np.where(sphere, 0.0, big[round_]) + minor * cos
        zeta[round_] = minor * sin
        rho_slope[round_], zeta_slope[round_] = -sin, cos
    return rho, zeta, rho_slope, zeta_slope


def per_row(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    """`values` : (n,) with as many axes as `like` : (n, …), to be broadcast along its rows."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def periods(table: SurfaceTable) -> tuple[np.ndarray, np.ndarray]:
    """(n,) periods in u and v, inf where there is none."""
    turning = axial(table.kind) | (table.kind == bintools.REVOLUTION)
    in_u = np.where(turning, 2 * np.pi, np.inf)
    in_v = np.where(table.kind == bintools.TORUS, 2 * np.pi, np.inf)
    for row, spline in table.splines.items():
        if spline.periodic[0]:
            in_u[row] = spline.knots_u[-1] - spline.knots_u[0]
        if spline.periodic[1]:
            in_v[row] = spline.knots_v[-1] - spline.knots_v[0]
    return in_u, in_v


def limits(table: SurfaceTable) -> tuple[np.ndarray, np.ndarray]:
    """(n, 2) lowest and highest (u, v) that a surface has, infinite where it is unbounded or periodic."""
    highest = np.full((len(table.kind), 2), np.inf)
    highest[table.kind == bintools.SPHERE, 1] = np.pi / 2
    lowest = -highest
    for row, surface in table.splines.items():
        for axis, knots in enumerate((surface.knots_u, surface.knots_v)):
            if not surface.periodic[axis]:
                degree = surface.degrees[axis]
                lowest[row, axis], highest[row, axis] = knots[degree], knots[-degree - 1]
    for row, sweep in table.sweeps.items():
        spline = sweep.splines.get(0)
        if spline is not None and not spline.periodic:
            axis = int(table.kind[row] == bintools.REVOLUTION)
            lowest[row, axis], highest[row, axis] = spline.knots[spline.degree], spline.knots[-spline.degree - 1]
    return lowest, highest


def axial(kind: np.ndarray) -> np.ndarray:
    """(n,) bool: which kinds are in `AXIAL`."""
    return (kind >= bintools.CYLINDER) & (kind <= bintools.TORUS)


def evaluate(table: SurfaceTable, rows: np.ndarray, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points and unit normals ``Su × Sv``, (k, m, 3) or (k, a, b, 3); see `fill`."""
    points, normals = (np.empty((3, *np.broadcast_shapes(u.shape, v.shape))) for _ in range(2))
    fill(table, rows, u, v, points, normals, np.ones(len(rows)))
    return np.moveaxis(points, 0, -1), np.moveaxis(normals, 0, -1)


def fill(
    table: SurfaceTable,
    rows: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    points: np.ndarray,
    normals: np.ndarray | None,
    sign: np.ndarray,
) -> None:
    """Evaluate rows, one coordinate after the other.

    Parameters
    ----------
    rows : (k,) int, evaluable rows.
    u, v : (k, m) float64, each row's parameters, or (k, a, 1) and (k, 1, b): one grid per row, much the cheaper for it.
    points, normals : (3, k, m) or (3, k, a, b) float64, mm, to be filled; the normals are ``sign · Su × Sv``, of unit
        length. At a singular point the normal is the limit from the row's other parameters (their centre); NaN where
        there is none.
    sign : (k,) float64, 1 or -1.
    """
    kind = table.kind[rows]
    for chosen, fill_kind in ((kind == bintools.PLANE, _fill_planes), (axial(kind), _fill_axial)):
        found = np.flatnonzero(chosen)
        if not len(found):
            continue
        which = found if len(found) < len(rows) else slice(None)
        side = sign[which] * table.handed[rows[which]]
        fill_kind(table, rows[which], u[which], v[which], which, points, normals, side)
    for i in np.flatnonzero(kind > bintools.TORUS).tolist():
        at, normal = _evaluate_free_form(table, int(rows[i]), u[i], v[i], normals is not None)
        points[:, i] = np.moveaxis(at, -1, 0)
        if normals is not None:
            normals[:, i] = sign[i] * np.moveaxis(normal, -1, 0)


def _fill_planes(
    table: SurfaceTable,
    rows: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    which: np.ndarray | slice,
    points: np.ndarray,
    normals: np.ndarray | None,
    side: np.ndarray,
) -> None:
    origin, x, y = table.origin[rows], table.x[rows], table.y[rows]
    for c in range(3):
        points[c, which] = u * per_row(x[:, c], u) + (v * per_row(y[:, c], v) + per_row(origin[:, c], v))
    if normals is not None:
        normal = side[:, None] * table.z[rows]
        for c in range(3):
            normals[c, which] = per_row(normal[:, c], u)


def _fill_axial(
    table: SurfaceTable,
    rows: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    which: np.ndarray | slice,
    points: np.ndarray,
    normals: np.ndarray | None,
    side: np.ndarray,
) -> None:
    kind = table.kind[rows]
    rho, zeta, rho_slope, zeta_slope = profile(kind, table.radii[rows], v)
    cos, sin = np.cos(u), np.sin(u)
    origin, x, y, z = table.origin[rows], table.x[rows], table.y[rows], table.z[rows]
    side_out = per_row(side, v) * _axis_side(kind, rho)
    across, along = side_out * zeta_slope, side_out * rho_slope
    for c in range(3):
        out = cos * per_row(x[:, c], u) + sin * per_row(y[:, c], u)
        axis = per_row(z[:, c], v)
        points[c, which] = rho * out + (zeta * axis + per_row(origin[:, c], v))
        if normals is not None:
            normals[c, which] = across * out - along * axis


def _axis_side(kind: np.ndarray, rho: np.ndarray) -> np.ndarray:
    """+1 or -1: which way ``Su × Sv`` points; on the axis (apex, pole) as in the middle of the row."""
    if rho.size == len(rho):  # one value per row: it is its own sum, and a reduction would be slow
        scale, total = np.abs(rho), rho
    else:
        scale = per_row(np.abs(rho).reshape(len(rho), -1).max(axis=1, initial=0.0), rho)
        total = per_row(rho.reshape(len(rho), -1).sum(axis=1), rho)
    middle = np.where(total < 0, -1.0, 1.0)
    side = np.where(np.abs(rho) <= 1e-9 * scale, middle, np.sign(rho))
    side[kind == bintools.SPHERE] = 1.0
    return side


def _evaluate_free_form(
    table: SurfaceTable, row: int, u: np.ndarray, v: np.ndarray, with_normals: bool
) -> tuple[np.ndarray, np.ndarray]:
    points, du, dv = slopes(table, row, u, v)
    if not with_normals:
        return points, points
    normals, undefined = _unit_cross(du.reshape(-1, 3), dv.reshape(-1, 3))
    if undefined.any():
        pairs_u, pairs_v = (a.ravel() for a in np.broadcast_arrays(u, v))
        limit_normals(table, row, pairs_u, pairs_v, normals, undefined)
    return points, normals.reshape(points.shape)


def limit_normals(
    table: SurfaceTable, row: int, u: np.ndarray, v: np.ndarray, normals: np.ndarray, undefined: np.ndarray
) -> None:
    """Fill in the normals (m, 3) where they are `undefined` at u, v : (m,): the limits at poles; elsewhere the normals
    at points moved step by step towards the middle; NaN where there is none.
    """
    singular = np.flatnonzero(undefined)
    for nudge in _NUDGES:
        where = np.flatnonzero(undefined)
        near_u = u[where] + nudge * (0.5 * (u.min() + u.max()) - u[where])
        near_v = v[where] + nudge * (0.5 * (v.min() + v.max()) - v[where])
        _, du, dv = slopes(table, row, near_u, near_v)
        normals[where], undefined[where] = _unit_cross(du, dv)
        if not undefined.any():
            break
    normals[undefined] = np.nan
    limit, known = _limits_at_poles(table, row, u, v, singular)
    side = np.sign(np.einsum("ij,ij->i", limit, normals[singular]))
    known &= np.abs(side) == 1.0  # the moved points decide the side
    normals[singular[known]] = side[known, None] * limit[known]


def _limits_at_poles(
    table: SurfaceTable, row: int, u: np.ndarray, v: np.ndarray, at: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Unit normals (k, 3), of either sign, at the points `at` of u, v : (m,) where du or dv is null, ``duv × dv`` or
    ``du × duv`` (as in the kernel's `CSLib::Normal`); and (k,) bool, where that gives a direction.
    """
    _, du, dv = slopes(table, row, u[at], v[at])
    twist = _twists(table, row, u[at], v[at])
    long_u, long_v, long_twist = (np.sqrt(np.einsum("ij,ij->i", a, a)) for a in (du, dv, twist))
    null_u, null_v = long_u <= 1e-9 * long_twist * np.ptp(v), long_v <= 1e-9 * long_twist * np.ptp(u)
    limit = np.where(null_u[:, None], np.cross(twist, dv), np.cross(du, twist))
    size = np.sqrt(np.einsum("ij,ij->i", limit, limit))
    known = (null_u != null_v) & (size > 1e-9 * long_twist * np.where(null_u, long_v, long_u))
    return limit / np.where(known, size, 1.0)[:, None], known


def _twists(table: SurfaceTable, row: int, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """duv (m, 3) of one B-spline, revolution or extrusion at u, v : (m,)."""
    spline = table.splines.get(row)
    if spline is not None:
        return bsplines.evaluate_twists(spline, u, v)
    if table.kind[row] == bintools.EXTRUSION:
        return np.zeros((len(u), 3))
    axis = table.z[row]
    along = curves.evaluate(table.sweeps[row], np.zeros(1, int), v[None])[1][0]
    return np.cross(axis, _turn(along, axis, np.cos(u)[:, None], np.sin(u)[:, None]))


def _unit_cross(du: np.ndarray, dv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit normals (m, 3), and (m,) bool where the cross product is only noise."""
    cross = np.cross(du, dv)
    size = np.sqrt(np.einsum("ij,ij->i", cross, cross))
    long_u, long_v = np.sqrt(np.einsum("ij,ij->i", du, du)), np.sqrt(np.einsum("ij,ij->i", dv, dv))
    undefined = ~(size > 1e-9 * long_u * long_v) | (long_u < 1e-9 * long_u.max()) | (long_v < 1e-9 * long_v.max())
    return cross / np.where(size > 0, size, 1.0)[:, None], undefined


def slopes(table: SurfaceTable, row: int, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, du and dv of one B-spline, revolution or extrusion, (m, 3) each for u, v : (m,), or (a, b, 3) for a grid,
    u : (a, 1) and v : (1, b).
    """
    shape = (*np.broadcast_shapes(u.shape, v.shape), 3)
    spline = table.splines.get(row)
    if spline is not None:
        evaluate_spline = bsplines.evaluate_points if u.ndim == 1 else bsplines.evaluate_grid
        return evaluate_spline(spline, u.ravel(), v.ravel())
    sweep, one = table.sweeps[row], np.zeros(1, int)
    if table.kind[row] == bintools.EXTRUSION:
        points, du = (a[0].reshape(*u.shape, 3) for a in curves.evaluate(sweep, one, u.reshape(1, -1)))
        direction = table.z[row]
        return points + v[..., None] * direction, np.broadcast_to(du, shape), np.broadcast_to(direction, shape)
    points, along = (a[0].reshape(*v.shape, 3) for a in curves.evaluate(sweep, one, v.reshape(1, -1)))
    origin, axis = table.origin[row], table.z[row]
    cos, sin = np.cos(u)[..., None], np.sin(u)[..., None]
    arm = _turn(points - origin, axis, cos, sin)
    return origin + arm, np.cross(axis, arm), _turn(along, axis, cos, sin)


def _turn(vectors: np.ndarray, axis: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> np.ndarray:
    """Rodrigues' rotation about `axis`."""
    along = (vectors @ axis)[..., None] * axis
    return along + cos * (vectors - along) + sin * np.cross(axis, vectors)
