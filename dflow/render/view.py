"""The one view of every preview: isometric from the front right above, Z up, parallel projection, fitted to the part.

The scale rule is the same for all parts: the drawing fills the picture up to a margin of 4 % on the tighter side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dflow.render import passes
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
"""A second light at the viewer's eye, so that no visible face is black."""

_LAMP = np.array([*KEY_LIGHT, KEY_STRENGTH, HEAD_STRENGTH, AMBIENT])

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
    """The camera's view. `center` (3,) world, mm; `half_height` and `half_depth` mm in camera coordinates."""

    center: npt.NDArray[np.float64]
    half_height: float
    half_depth: float


def fit_view(mesh: MeshArrays, aspect: float) -> View:
    """Return the view that shows all of `mesh` in a picture whose width is `aspect` times its height."""
    box = np.array([[np.inf] * 3, [-np.inf] * 3])
    if len(mesh.triangles):
        passes.widen(AXES, mesh.vertices, box)
    if len(mesh.edge_segments):
        passes.widen(AXES, mesh.edge_points, box)
    low, high = box
    half = (high - low) / 2
    half_height = max(half[1], half[0] / aspect) / (1 - 2 * MARGIN)
    if half_height <= 0:  # a single point, or a line towards the viewer
        half_height = max(half[2], 1.0)
    return View(((low + high) / 2) @ AXES, float(half_height), float(half[2]))


def light(normals: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the brightness (N,), at most 1, of normals (N, 3); those that point away from the viewer are reversed."""
    found = np.empty(len(normals))
    passes.shade(normals, AXES, _LAMP, found)
    return found
