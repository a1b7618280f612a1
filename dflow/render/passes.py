"""Compiled loops over a mesh, in one pass where numpy would need several."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from dflow.compiled import compiled

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int32]
Shorts = npt.NDArray[np.uint16]

POINTS_NOT_FINITE, NORMALS_NOT_FINITE, EDGES_NOT_FINITE, SHARED, OUTSIDE, NEGATIVE = 1, 2, 4, 8, 16, 32
"""Faults that `inspect` finds: numbers that are not finite, a vertex of two faces, an invalid vertex index, a negative
face index."""


@compiled("boolean(int32[:, ::1], int64)")
def within(indices: Indices, n: int) -> bool:
    """Return whether all indices (m, k) are at least 0 and less than n."""
    for i in range(indices.shape[0]):
        for k in range(indices.shape[1]):
            if not 0 <= indices[i, k] < n:
                return False
    return True


@compiled()
def _all_finite(rows: Singles) -> bool:
    for i in range(len(rows)):
        if not (np.isfinite(rows[i, 0]) and np.isfinite(rows[i, 1]) and np.isfinite(rows[i, 2])):
            return False
    return True


@compiled("int64(float32[:, ::1], float32[:, ::1], int32[:, ::1], int32[::1], float32[:, ::1], int32[::1])")
def inspect(
    vertices: Singles, normals: Singles, triangles: Indices, faces: Indices, edge_points: Singles, owner: Indices
) -> int:
    """Return the faults of a mesh, as a sum of flags.

    owner : (V,) filled with -1; on return the face that each vertex belongs to, 0 for those of no triangle
    """
    found = 0
    for t in range(len(triangles)):
        for k in range(3):
            vertex = triangles[t, k]
            if not 0 <= vertex < len(owner):
                return OUTSIDE
            if faces[t] < 0:
                return NEGATIVE
            if owner[vertex] < 0:
                owner[vertex] = faces[t]
            elif owner[vertex] != faces[t]:
                found = SHARED
    for vertex in range(len(owner)):
        owner[vertex] = max(owner[vertex], 0)
    if not _all_finite(vertices):
        found |= POINTS_NOT_FINITE
    if not _all_finite(normals):
        found |= NORMALS_NOT_FINITE
    if not _all_finite(edge_points):
        found |= EDGES_NOT_FINITE
    return found


@compiled("int64(int32[::1], int64, int32[:, ::1])")
def connect(offsets: Indices, n_points: int, segments: Indices) -> int:
    """Write pairs of neighbouring points of the polylines that begin at `offsets`; return how many.

    segments : (n_points, 2), written from its first row on
    """
    n, line = 0, 1
    for point in range(n_points - 1):
        while line < len(offsets) - 1 and offsets[line] <= point:
            line += 1
        if line >= len(offsets) - 1 or offsets[line] != point + 1:
            segments[n, 0], segments[n, 1] = point, point + 1
            n += 1
    return n


@compiled("void(float64[:, ::1], float32[:, ::1], float64[:, ::1])")
def widen(axes: Floats, points: Singles, box: Floats) -> None:
    """Extend `box` (2, 3), lowest and highest, by points (n, 3) along the rows of `axes` (3, 3); NaN if a point has
    NaN.
    """
    for k in range(3):
        low, high = box[0, k], box[1, k]
        for i in range(len(points)):
            at = axes[k, 0] * points[i, 0] + axes[k, 1] * points[i, 1] + axes[k, 2] * points[i, 2]
            if np.isnan(at):
                low = high = at
                break
            low, high = min(low, at), max(high, at)
        box[0, k], box[1, k] = low, high


@compiled("void(float32[:, ::1], float64[::1], float64, uint16[:, ::1], uint16[:, ::1])")
def quantise(points: Singles, low: Floats, scale: float, record: Shorts, box: Shorts) -> None:
    """Write points (n, 3) as whole steps of `scale` from `low` into the first three columns of `record`.

    box : (2, 3), on return the lowest and the highest
    """
    for k in range(3):
        least, most = 65535, 0
        for i in range(len(points)):
            step = int(min(np.rint((points[i, k] - low[k]) / scale), 65535.0))
            record[i, k] = step
            least, most = min(least, step), max(most, step)
        box[0, k], box[1, k] = least, most


@compiled("void(float32[:, ::1], int8[:, ::1])")
def quantise_normals(normals: Singles, record: npt.NDArray[np.int8]) -> None:
    """Write components (n, 3), -1 to 1, as -127 to 127 into the columns 8, 9 and 10 of `record`."""
    for i in range(len(normals)):
        for k in range(3):
            component = min(max(normals[i, k], np.float32(-1.0)), np.float32(1.0))
            record[i, 8 + k] = int(np.rint(component * np.float32(127.0)))


@compiled("void(float32[:, ::1], float64[:, ::1], float64[::1], float64[::1])")
def shade(normals: Singles, axes: Floats, lamp: Floats, out: Floats) -> None:
    """Return the brightness (n,), at most 1, of normals (n, 3); normals that point away from the viewer are reversed.

    axes : (3, 3) right, up and to the viewer; lamp : right, up, to the viewer of the direction to the light, then its
        strength, that of the light at the viewer's eye, and the ambient brightness
    """
    for i in range(len(normals)):
        x, y, z = np.float64(normals[i, 0]), np.float64(normals[i, 1]), np.float64(normals[i, 2])
        right = axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z
        up = axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z
        ahead = axes[2, 0] * x + axes[2, 1] * y + axes[2, 2] * z
        scale = 1.0 / max(math.sqrt(right * right + up * up + ahead * ahead), 1e-12)
        if ahead < 0:
            scale = -scale
        key = max((right * lamp[0] + up * lamp[1] + ahead * lamp[2]) * scale, 0.0)
        out[i] = min(lamp[5] + lamp[3] * key + lamp[4] * ahead * scale, 1.0)
