"""Surfaces as tables, and their points and normals in numpy.

Planes, cylinders, cones, spheres and tori are stacked by frame and radii and evaluated together; B-splines, revolutions
and extrusions are evaluated face by face. Parameters are the kernel's (``ElSLib``, ``Geom_SurfaceOfRevolution``,
``Geom_SurfaceOfLinearExtrusion``). Offset surfaces have no table: the kernel evaluates them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dflow.cadaccess import bsplines, curves, shapecode
from dflow.cadaccess.curves import CurveTable
from dflow.cadaccess.shapecode import SplineSurface, Surface

AXIAL = (shapecode.CYLINDER, shapecode.CONE, shapecode.SPHERE, shapecode.TORUS)
"""Surfaces of revolution of a line or circle, with the angle as u."""

_NUDGES = (1e-7, 1e-6, 1e-4, 1e-2)


@dataclass(frozen=True, slots=True)
class SurfaceTable:
    """The surfaces of n faces, in place.

    Attributes
    ----------
    kind : (n,) int8, `shapecode`'s surface kinds.
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

    @property
    def evaluable(self) -> np.ndarray:
        """(n,) bool: rows that numpy can evaluate."""
        table = np.isin(self.kind, (shapecode.PLANE, *AXIAL))
        rows = [*self.splines, *(r for r, sweep in self.sweeps.items() if sweep.evaluable[0])]
        table[rows] = True
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
        if value == shapecode.PLANE or value in AXIAL:
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
        if surface.kind == shapecode.REVOLUTION:
            frame[row, 0], frame[row, 1] = surface.values[:3], surface.values[3:]
        else:
            frame[row, 1] = surface.values


def profile(kind: np.ndarray, radii: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
    """Distance from the axis and height along it, ``rho, zeta``, with unit slopes ``rho', zeta'``, each shaped as v :
    (n, m).
    """
    big, second = radii[:, :1], radii[:, 1:]
    rho, zeta = np.broadcast_to(big, v.shape).copy(), v.copy()
    rho_slope, zeta_slope = np.zeros_like(v), np.ones_like(v)
    cone = kind == shapecode.CONE
    if cone.any():
        sin, cos = np.sin(second[cone]), np.cos(second[cone])
        rho[cone] += v[cone] * sin
        zeta[cone] *= cos
        rho_slope[cone], zeta_slope[cone] = sin, cos
    round_ = (kind == shapecode.SPHERE) | (kind == shapecode.TORUS)
    if round_.any():
        sphere = (kind[round_] == shapecode.SPHERE)[:, None]
        sin, cos = np.sin(v[round_]), np.cos(v[round_])
        minor = np.where(sphere, big[round_], second[round_])
        rho[round_] = np.where(sphere, 0.0, big[round_]) + minor * cos
        zeta[round_] = minor * sin
        rho_slope[round_], zeta_slope[round_] = -sin, cos
    return rho, zeta, rho_slope, zeta_slope


def periods(table: SurfaceTable) -> tuple[np.ndarray, np.ndarray]:
    """(n,) periods in u and v, inf where there is none."""
    turning = np.isin(table.kind, (*AXIAL, shapecode.REVOLUTION))
    in_u = np.where(turning, 2 * np.pi, np.inf)
    in_v = np.where(table.kind == shapecode.TORUS, 2 * np.pi, np.inf)
    for row, spline in table.splines.items():
        if spline.periodic[0]:
            in_u[row] = spline.knots_u[-1] - spline.knots_u[0]
        if spline.periodic[1]:
            in_v[row] = spline.knots_v[-1] - spline.knots_v[0]
    return in_u, in_v


def evaluate(table: SurfaceTable, rows: np.ndarray, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points and unit normals ``Su × Sv`` at the pairs (u, v).

    Parameters
    ----------
    rows : (k,) int, evaluable rows; u, v : (k, m) float64, each row's parameters.

    Returns
    -------
    points, normals : (k, m, 3) float64, mm. At a singular point the normal is the limit from the row's other parameters
        (their centre); NaN where there is none.
    """
    kind = table.kind[rows]
    points, normals = np.empty((*u.shape, 3)), np.empty((*u.shape, 3))
    flat = np.flatnonzero(kind == shapecode.PLANE)
    if len(flat):
        points[flat], normals[flat] = _evaluate_planes(table, rows[flat], u[flat], v[flat])
    axial = np.flatnonzero(np.isin(kind, AXIAL))
    if len(axial):
        points[axial], normals[axial] = _evaluate_axial(table, rows[axial], u[axial], v[axial])
    for i in np.flatnonzero(kind > shapecode.TORUS).tolist():
        points[i], normals[i] = _evaluate_free_form(table, int(rows[i]), u[i], v[i])
    return points, normals


def _evaluate_planes(
    table: SurfaceTable, rows: np.ndarray, u: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    x, y = table.x[rows][:, None], table.y[rows][:, None]
    points = u[..., None] * x
    points += v[..., None] * y
    points += table.origin[rows][:, None]
    return points, (table.z[rows] * table.handed[rows][:, None])[:, None]


def _evaluate_axial(
    table: SurfaceTable, rows: np.ndarray, u: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    kind, z = table.kind[rows], table.z[rows][:, None]
    rho, zeta, rho_slope, zeta_slope = profile(kind, table.radii[rows], v)
    out = np.cos(u)[..., None] * table.x[rows][:, None] + np.sin(u)[..., None] * table.y[rows][:, None]
    points = rho[..., None] * out + zeta[..., None] * z + table.origin[rows][:, None]
    side = table.handed[rows][:, None] * _axis_side(kind, rho)
    return points, (side * zeta_slope)[..., None] * out - (side * rho_slope)[..., None] * z


def _axis_side(kind: np.ndarray, rho: np.ndarray) -> np.ndarray:
    """+1 or -1: which way ``Su × Sv`` points; on the axis (apex, pole) as in the middle of the row."""
    scale = np.abs(rho).max(axis=1, keepdims=True)
    middle = np.where(rho.sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
    side = np.where(np.abs(rho) <= 1e-9 * scale, middle, np.sign(rho))
    side[kind == shapecode.SPHERE] = 1.0
    return side


def _evaluate_free_form(table: SurfaceTable, row: int, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    points, du, dv = slopes(table, row, u, v)
    normals, lost = _unit_cross(du, dv)
    for nudge in _NUDGES:
        if not lost.any():
            break
        where = np.flatnonzero(lost)
        near_u = u[where] + nudge * (0.5 * (u.min() + u.max()) - u[where])
        near_v = v[where] + nudge * (0.5 * (v.min() + v.max()) - v[where])
        _, du, dv = slopes(table, row, near_u, near_v)
        normals[where], lost[where] = _unit_cross(du, dv)
    normals[lost] = np.nan
    return points, normals


def _unit_cross(du: np.ndarray, dv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit normals (m, 3), and (m,) bool where the cross product is only noise."""
    cross = np.cross(du, dv)
    size = np.sqrt(np.einsum("ij,ij->i", cross, cross))
    long_u, long_v = np.sqrt(np.einsum("ij,ij->i", du, du)), np.sqrt(np.einsum("ij,ij->i", dv, dv))
    lost = ~(size > 1e-9 * long_u * long_v) | (long_u < 1e-9 * long_u.max()) | (long_v < 1e-9 * long_v.max())
    return cross / np.where(size > 0, size, 1.0)[:, None], lost


def slopes(table: SurfaceTable, row: int, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, du and dv, (m, 3) each, of one B-spline, revolution or extrusion."""
    spline = table.splines.get(row)
    if spline is not None:
        return bsplines.evaluate_points(spline, u, v)
    sweep, one = table.sweeps[row], np.zeros(1, int)
    if table.kind[row] == shapecode.EXTRUSION:
        points, du = (a[0] for a in curves.evaluate(sweep, one, u[None]))
        direction = table.z[row]
        return points + v[:, None] * direction, du, np.broadcast_to(direction, du.shape)
    points, along = (a[0] for a in curves.evaluate(sweep, one, v[None]))
    origin, axis = table.origin[row], table.z[row]
    cos, sin = np.cos(u)[:, None], np.sin(u)[:, None]
    arm = _turn(points - origin, axis, cos, sin)
    return origin + arm, np.cross(axis, arm), _turn(along, axis, cos, sin)


def _turn(vectors: np.ndarray, axis: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> np.ndarray:
    """Rodrigues' rotation about `axis`."""
    along = (vectors @ axis)[:, None] * axis
    return along + cos * (vectors - along) + sin * np.cross(axis, vectors)
