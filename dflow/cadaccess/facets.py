"""Points and normals of triangles on planes and surfaces of revolution."""

from __future__ import annotations

import math

import numpy as np

from dflow.cadaccess.shapecode import CONE, PLANE, SPHERE, TORUS
from dflow.cadaccess.slabs import Cut
from dflow.cadaccess.tables import ShapeTables
from dflow.compiled import compiled, inlined


def place(tables: ShapeTables, cut: Cut) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Points and outward unit normals (V, 3) float32, corners (T, 3) int32 and face rows (T,) int32 of the triangles;
    those of faces that are neither planes nor surfaces of revolution are still to be filled in.
    """
    faces = tables.faces
    return _place(
        faces.kind,
        faces.origin,
        faces.x,
        faces.y,
        faces.z,
        faces.radii,
        faces.handed,
        tables.face_reversed,
        cut.first_point,
        cut.first_triangle,
        cut.points,
        cut.corners,
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
def _place(
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
