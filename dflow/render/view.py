"""The one view of every preview: isometric from the front right above, Z up, parallel projection, fitted to the part.

The scale rule is the same for all parts: what is drawn fills the picture up to a margin of 4 % on the tighter side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dflow.render.mesh import MeshArrays

MARGIN = 0.04
"""Free border, as a fraction of the picture's side."""

MATERIAL_RGB = (172, 193, 218)
EDGE_RGB = (32, 38, 48)
BACKGROUND_RGB = (255, 255, 255)

AMBIENT = 0.34
KEY_LIGHT = (-0.371, 0.743, 0.557)
"""Direction to the light in camera coordinates (right, up, to the viewer), from the upper left."""
KEY_STRENGTH = 0.42
HEAD_STRENGTH = 0.42
"""A second light at the viewer's eye, so that nothing in sight is black."""

AXES = np.array(
    [
        [1.0, 1.0, 0.0],  # right
        [-1.0, 1.0, 2.0],  # up
        [1.0, -1.0, 1.0],  # to the viewer
    ]
)
AXES /= np.linalg.norm(AXES, axis=1, keepdims=True)
"""(3, 3) float64, rows: the camera's axes in world coordinates (isometric: all three world axes equally shortened)."""


@dataclass(frozen=True, slots=True)
class View:
    """Where the camera looks. `center` (3,) world, mm; `half_height` and `half_depth` mm in camera coordinates."""

    center: npt.NDArray[np.float64]
    half_height: float
    half_depth: float


def to_camera(points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """World points (N, 3) in camera coordinates (right, up, to the viewer), same unit.

    The transpose of a contiguous array: its columns are read at full speed, which matters more than its rows.
    """
    camera: npt.NDArray[np.float64] = AXES @ np.ascontiguousarray(points.T, np.float64)
    return camera.T


def fit_view(mesh: MeshArrays, aspect: float) -> View:
    """The view that shows all of `mesh` in a picture whose width is `aspect` times its height."""
    drawn = [mesh.vertices] if len(mesh.triangles) else []
    if len(mesh.edge_segments):
        drawn.append(mesh.edge_points)
    camera = to_camera(np.concatenate(drawn)).T
    low, high = camera.min(axis=1), camera.max(axis=1)
    half = (high - low) / 2
    half_height = max(half[1], half[0] / aspect) / (1 - 2 * MARGIN)
    if half_height <= 0:  # a single point, or a line towards the viewer
        half_height = max(half[2], 1.0)
    return View(((low + high) / 2) @ AXES, float(half_height), float(half[2]))


def light(normals: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Brightness, at most 1, of camera-space normals (N, 3); those that point away are seen from behind and turned."""
    x, y, z = normals.T
    scale = np.copysign(1.0 / np.maximum(np.sqrt(x * x + y * y + z * z), 1e-12), z)
    right, up, ahead = KEY_LIGHT
    key = np.maximum((x * right + y * up + z * ahead) * scale, 0.0)
    return np.minimum(AMBIENT + KEY_STRENGTH * key + HEAD_STRENGTH * (z * scale), 1.0)
