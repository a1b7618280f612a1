"""Points and normals of triangles, from their (u, v) on the surfaces."""

from __future__ import annotations

import math

import numpy as np

from dflow.cadaccess.geometry import bsplines, surfaces
from dflow.cadaccess.geometry.curves import CurveTable
from dflow.cadaccess.geometry.tables import ShapeTables
from dflow.cadaccess.kernel import bintools
from dflow.cadaccess.kernel.bintools import CONE, PLANE, SPHERE, TORUS, SplineSurface
from dflow.cadaccess.tessellation.splines import (
    CONICS,
    SPLINES,
    Conics,
    Splines,
    basis_functions,
    conic_terms,
    pack_conics,
    pack_splines,
)
from dflow.cadaccess.tessellation.triangulation import UVTriangles
from dflow.compiled import arguments, compiled, inlined


def evaluate_elementary(
    tables: ShapeTables, triangles: UVTriangles
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return points and outward unit normals (V, 3) float32, corners (T, 3) int32 and face rows (T,) int32 of the
    triangles; rows of points and normals on other surfaces than planes, cylinders, cones, spheres and tori are not
    filled in.
    """
    faces = tables.faces
    return _evaluate_elementary(
        faces.kind,
        faces.origin,
        faces.x,
        faces.y,
        faces.z,
        faces.radii,
        faces.handed,
        tables.face_reversed,
        triangles.first_point,
        triangles.first_triangle,
        triangles.points,
        triangles.corners,
    )


@inlined
def _profile(kind: int, big: float, second: float, v: float) -> tuple[float, float, float, float]:
    """Distance from the axis and height along it, ``rho, zeta``, with unit slopes ``rho', zeta'``."""
    if kind == CONE:
        sin, cos = math.sin(second), math.cos(second)
        return big + v * sin, v * cos, sin, cos
    if kind == SPHERE:
        sin, cos = math.sin(v), math.cos(v)
        return big * cos, big * sin, -sin, cos
    if kind == TORUS:
        sin, cos = math.sin(v), math.cos(v)
        return big + second * cos, second * sin, -sin, cos
    return big, v, 0.0, 1.0


@compiled(
    "Tuple((float32[:, ::1], float32[:, ::1], int32[:, ::1], int32[::1]))"
    "(int8[::1], float64[:, :], float64[:, :], float64[:, :], float64[:, :], float64[:, ::1], float64[::1], "
    "boolean[::1], int64[::1], int64[::1], float64[:, ::1], int32[:, ::1])"
)
def _evaluate_elementary(
    kind: np.ndarray,
    origin: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    radii: np.ndarray,
    handed: np.ndarray,
    backwards: np.ndarray,
    first_point: np.ndarray,
    first_triangle: np.ndarray,
    uv: np.ndarray,
    corners: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """See `evaluate_elementary`. The arrays are no record: its fields would have to be contiguous, which frames of
    tables are not always.
    """
    points, normals = np.empty((len(uv), 3), np.float32), np.empty((len(uv), 3), np.float32)
    turned, owners = np.empty((len(corners), 3), np.int32), np.empty(len(corners), np.int32)
    for row in range(len(kind)):
        side = -handed[row] if backwards[row] else handed[row]
        for i in range(first_triangle[row], first_triangle[row + 1]):
            owners[i] = row
            for k in range(3):
                turned[i, k] = corners[i, 2 - k if backwards[row] else k]
        for i in range(first_point[row], first_point[row + 1]):
            u, v = uv[i, 0], uv[i, 1]
            if kind[row] == PLANE:
                for c in range(3):
                    points[i, c] = u * x[row, c] + (v * y[row, c] + origin[row, c])
                    normals[i, c] = side * z[row, c]
            elif kind[row] <= TORUS:
                rho, zeta, rho_slope, zeta_slope = _profile(kind[row], radii[row, 0], radii[row, 1], v)
                inside = rho < 0 and kind[row] != SPHERE  # beyond a cone's apex, on a torus' inner side
                sign, cos, sin = -side if inside else side, math.cos(u), math.sin(u)
                for c in range(3):
                    out = cos * x[row, c] + sin * y[row, c]
                    points[i, c] = rho * out + (zeta * z[row, c] + origin[row, c])
                    normals[i, c] = sign * zeta_slope * out - sign * rho_slope * z[row, c]
    return points, normals, turned, owners


def evaluate_free_forms(tables: ShapeTables, triangles: UVTriangles, points: np.ndarray, normals: np.ndarray) -> None:
    """Fill in the points and outward unit normals (V, 3) float32 of all faces on splines, revolutions and extrusions;
    normals that have no limit are NaN.
    """
    faces = tables.faces
    for row in [*faces.splines, *faces.sweeps]:
        begin, stop = int(triangles.first_point[row]), int(triangles.first_point[row + 1])
        if begin == stop:
            continue
        uv, out = triangles.points[begin:stop], (points[begin:stop], normals[begin:stop])
        side = -1.0 if tables.face_reversed[row] else 1.0
        if row in faces.splines:
            undefined = _evaluate_spline(faces.splines[row], uv, side, *out)
        else:
            turning = faces.kind[row] == bintools.REVOLUTION
            undefined = _evaluate_sweep(faces.sweeps[row], turning, faces.origin[row], faces.z[row], uv, side, *out)
        if undefined.any():
            singular, limits = np.flatnonzero(undefined), np.zeros((len(uv), 3))
            surfaces.limit_normals(faces, row, uv[:, 0], uv[:, 1], limits, undefined)
            out[1][singular] = side * limits[singular]


def _evaluate_spline(
    surface: SplineSurface, uv: np.ndarray, side: float, points: np.ndarray, normals: np.ndarray
) -> np.ndarray:
    poles, weights, knots = surface.poles, surface.weights, [surface.knots_u, surface.knots_v]
    weights = np.ones(poles.shape[:2]) if weights is None else weights
    for axis in range(2):
        if surface.periodic[axis]:
            knots[axis], index = bsplines.unroll(knots[axis], surface.degrees[axis], poles.shape[axis])
            poles, weights = poles.take(index, axis), weights.take(index, axis)
        if not poles.shape[axis] > surface.degrees[axis] < len(knots[axis]) - poles.shape[axis]:
            return _fill_nan(points, normals)
    net = np.concatenate([poles * weights[..., None], weights[..., None]], axis=2)
    flat = knots[0].copy(), knots[1].copy()
    return _fill_spline(net, flat, surface.degrees, surface.periodic, uv, side, points, normals)


def _evaluate_sweep(
    curve: CurveTable,
    turning: bool,
    origin: np.ndarray,
    axis: np.ndarray,
    uv: np.ndarray,
    side: float,
    points: np.ndarray,
    normals: np.ndarray,
) -> np.ndarray:
    splines = pack_splines(curve)
    if curve.splines and not len(splines.shapes):
        return _fill_nan(points, normals)
    net = np.column_stack([splines.poles * splines.weights[:, None], splines.weights])
    frame, homogeneous = np.stack([origin, axis]), splines._replace(poles=net)
    return _fill_sweep(turning, frame, pack_conics(curve), homogeneous, uv, side, points, normals)


def _fill_nan(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Make all points NaN of a face whose knots do not fit its poles; return (m,) bool, no normal is undefined."""
    points[:], normals[:] = np.nan, np.nan
    return np.zeros(len(points), np.bool_)


# -- normals


@inlined
def _cross(a: np.ndarray, b: np.ndarray, row: int, c: int) -> float:
    """One coordinate of the cross product of two rows."""
    i, j = (c + 1) % 3, (c + 2) % 3
    return a[row, i] * b[row, j] - a[row, j] * b[row, i]


@compiled()
def _length(vectors: np.ndarray, row: int) -> float:
    return math.sqrt(vectors[row, 0] ** 2 + vectors[row, 1] ** 2 + vectors[row, 2] ** 2)


@compiled()
def _fill_normals(du: np.ndarray, dv: np.ndarray, side: float, normals: np.ndarray) -> np.ndarray:
    """Fill in the unit normals; (m,) bool, where the cross product is only noise."""
    undefined, long_u, long_v = np.empty(len(du), np.bool_), 0.0, 0.0
    for i in range(len(du)):
        long_u, long_v = max(long_u, _length(du, i)), max(long_v, _length(dv, i))
    for i in range(len(du)):
        here_u, here_v, square = _length(du, i), _length(dv, i), 0.0
        for c in range(3):
            square += _cross(du, dv, i, c) ** 2
        size = math.sqrt(square)
        undefined[i] = not size > 1e-9 * here_u * here_v or here_u < 1e-9 * long_u or here_v < 1e-9 * long_v
        for c in range(3):
            normals[i, c] = side * _cross(du, dv, i, c) / (size if size > 0 else 1.0)
    return undefined


# -- splines


@inlined
def _sum_poles(
    net: np.ndarray, first_u: int, first_v: int, values_u: np.ndarray, values_v: np.ndarray, found: np.ndarray
) -> None:
    """Fill in point, du and dv (3, 4) in homogeneous coordinates."""
    for c in range(4):
        point = du = dv = 0.0
        for i in range(values_u.shape[1]):
            line = slope = 0.0
            for j in range(values_v.shape[1]):
                pole = net[first_u + i, first_v + j, c]
                line += values_v[0, j] * pole
                slope += values_v[1, j] * pole
            point += values_u[0, i] * line
            du += values_u[1, i] * line
            dv += values_u[0, i] * slope
        found[0, c], found[1, c], found[2, c] = point, du, dv


@compiled(
    "boolean[::1](float64[:, :, ::1], UniTuple(float64[::1], 2), UniTuple(int64, 2), UniTuple(boolean, 2), "
    "float64[:, ::1], float64, float32[:, ::1], float32[:, ::1])"
)
def _fill_spline(
    net: np.ndarray,
    knots: tuple[np.ndarray, np.ndarray],
    degrees: tuple[int, int],
    wraps: tuple[bool, bool],
    uv: np.ndarray,
    side: float,
    points: np.ndarray,
    normals: np.ndarray,
) -> np.ndarray:
    """net : (n_u, n_v, 4), the poles times their weights, and these. Return (m,) bool, undefined normals."""
    du, dv, found = np.empty((len(uv), 3)), np.empty((len(uv), 3)), np.empty((3, 4))
    (knots_u, knots_v), (degree_u, degree_v), (wrap_u, wrap_v) = knots, degrees, wraps
    values_u, values_v = np.empty((2, degree_u + 1)), np.empty((2, degree_v + 1))
    n_u, n_v = net.shape[0], net.shape[1]
    first_u = 0
    for i in range(len(uv)):
        if i == 0 or uv[i, 0] != uv[i - 1, 0]:
            first_u = basis_functions(knots_u, 0, degree_u, n_u, wrap_u, uv[i, 0], values_u)
        first_v = basis_functions(knots_v, 0, degree_v, n_v, wrap_v, uv[i, 1], values_v)
        _sum_poles(net, first_u, first_v, values_u, values_v, found)
        for c in range(3):
            at = found[0, c] / found[0, 3]
            points[i, c] = at
            du[i, c] = (found[1, c] - at * found[1, 3]) / found[0, 3]
            dv[i, c] = (found[2, c] - at * found[2, 3]) / found[0, 3]
    return _fill_normals(du, dv, side, normals)


# -- sweeps


@inlined
def _rotate(vectors: np.ndarray, row: int, axis: np.ndarray, cos: float, sin: float) -> None:
    """Rodrigues' rotation of one of the vectors about `axis`."""
    x, y, z = vectors[row, 0], vectors[row, 1], vectors[row, 2]
    along = x * axis[0] + y * axis[1] + z * axis[2]
    turned = (y * axis[2] - z * axis[1], z * axis[0] - x * axis[2], x * axis[1] - y * axis[0])
    for c in range(3):
        vectors[row, c] = along * axis[c] + cos * (vectors[row, c] - along * axis[c]) - sin * turned[c]


@compiled(
    arguments("boolean, float64[:, ::1]", CONICS, SPLINES, "float64[:, ::1], float64, float32[:, ::1], float32[:, ::1]")
)
def _fill_sweep(
    turning: bool,
    frame: np.ndarray,
    conics: Conics,
    splines: Splines,
    uv: np.ndarray,
    side: float,
    points: np.ndarray,
    normals: np.ndarray,
) -> np.ndarray:
    """frame : (2, 3), origin and axis of a revolution, or nothing and an extrusion's direction; conics and splines : of
    the one curve, the poles (n, 4) times their weights, and these. Return (m,) bool, where the normals are undefined.
    """
    axis, net, knots, origin, x, y = frame[1], splines.poles, splines.knots, conics.origin, conics.x, conics.y
    kind, big, small = conics.kind[0], conics.radii[0, 0], conics.radii[0, 1]
    degree, wrap = (splines.shapes[0, 4], splines.shapes[0, 5] != 0) if len(net) > 0 else (0, False)
    arm, du, dv = np.empty((len(uv), 3)), np.empty((len(uv), 3)), np.empty((len(uv), 3))
    values, found = np.empty((2, degree + 1)), np.empty((2, 4))
    for i in range(len(uv)):
        t = uv[i, 1] if turning else uv[i, 0]
        slope = dv if turning else du
        if len(net) > 0:
            first = basis_functions(knots, 0, degree, len(net), wrap, t, values)
            for c in range(4):
                found[0, c] = found[1, c] = 0.0
                for j in range(degree + 1):
                    found[0, c] += values[0, j] * net[first + j, c]
                    found[1, c] += values[1, j] * net[first + j, c]
            for c in range(3):
                arm[i, c] = found[0, c] / found[0, 3]
                slope[i, c] = (found[1, c] - arm[i, c] * found[1, 3]) / found[0, 3]
        else:
            a, b, da, db = conic_terms(kind, t, big, small)
            for c in range(3):
                arm[i, c] = a * x[0, c] + b * y[0, c] + origin[0, c]
                slope[i, c] = da * x[0, c] + db * y[0, c]
        if turning:
            cos, sin = math.cos(uv[i, 0]), math.sin(uv[i, 0])
            for c in range(3):
                arm[i, c] -= frame[0, c]
            _rotate(arm, i, axis, cos, sin)
            _rotate(dv, i, axis, cos, sin)
        for c in range(3):
            if turning:
                k, n = (c + 1) % 3, (c + 2) % 3
                du[i, c] = axis[k] * arm[i, n] - axis[n] * arm[i, k]
                points[i, c] = frame[0, c] + arm[i, c]
            else:
                dv[i, c] = axis[c]
                points[i, c] = arm[i, c] + uv[i, 1] * axis[c]
    return _fill_normals(du, dv, side, normals)
