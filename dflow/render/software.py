"""A part's picture without any graphics library; pictures are the same on every machine.

`raster` draws codes, one byte per pixel; a palette turns them into colours afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dflow.render import raster
from dflow.render import view as camera
from dflow.render.mesh import MeshArrays
from dflow.render.raster import BRIGHTEST, EDGE
from dflow.render.view import View

Image = npt.NDArray[np.uint8]

BACKGROUND = 0
"""The code of an empty pixel; `raster` has the others."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawn picture, pixel by pixel, first row on top.

    codes : (height, width) uint8: `BACKGROUND`, `EDGE`, else 1 to `BRIGHTEST`
    triangles : (height, width) int32, the visible triangle, also under edges, -1 where there is none; (0, 0) where they
        were not recorded
    """

    codes: Image
    triangles: npt.NDArray[np.int32]


def _palette() -> Image:
    light = np.arange(256)[:, None] / BRIGHTEST
    colors = np.rint(np.minimum(light, 1.0) * np.array(camera.MATERIAL_RGB)).astype(np.uint8)
    colors[BACKGROUND], colors[EDGE] = camera.BACKGROUND_RGB, camera.EDGE_RGB
    colors.flags.writeable = False
    return colors


PALETTE = _palette()
"""(256, 3) uint8: the colour of each code."""


def draw_software(
    mesh: MeshArrays, view: View, size: tuple[int, int], *, face_colors: Image | None = None, supersampling: int = 1
) -> Image:
    """Draw a part in colour.

    Parameters
    ----------
    mesh : the part
    view : the camera's view
    size : width and height in pixels
    face_colors : (n_faces, 3) uint8 or None for the one material
    supersampling : how many pixels each way are averaged into one

    Returns
    -------
    (height, width, 3) uint8, first row on top.
    """
    large = (size[0] * supersampling, size[1] * supersampling)
    drawing = draw(mesh, view, large, edge_width=supersampling, with_triangles=face_colors is not None)
    picture = PALETTE[drawing.codes]
    if face_colors is not None:
        lit = (drawing.triangles >= 0) & (drawing.codes != EDGE)
        light = drawing.codes[lit][:, None] / BRIGHTEST
        face = mesh.triangle_faces[drawing.triangles[lit]]
        picture[lit] = np.rint(light * np.asarray(face_colors, np.float64)[face])
    if supersampling == 1:
        return picture
    blocks = picture.reshape(size[1], supersampling, size[0], supersampling, 3)
    return np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)


def draw(
    mesh: MeshArrays, view: View, size: tuple[int, int], *, edge_width: int = 1, with_triangles: bool = False
) -> Drawing:
    """Draw a part in codes.

    Parameters
    ----------
    size : width and height in pixels
    edge_width : in pixels
    with_triangles : whether to record which triangle each pixel shows
    """
    width, height = size
    scale = 0.5 * height / view.half_height
    turn = camera.AXES * np.array([[scale], [-scale], [scale]])
    shift = np.array([0.5 * width, 0.5 * height, 0.0]) - turn @ view.center
    depth, codes = np.full(height * width, -np.inf, np.float32), np.zeros(height * width, np.uint8)
    triangles = np.full(height * width if with_triangles else 0, -1, np.int32)
    corners = np.empty((len(mesh.vertices), 3))
    raster.place(mesh.vertices, turn, shift, corners)
    raster.fill_triangles(
        depth, codes, triangles, size, corners, BRIGHTEST * camera.light(mesh.normals), mesh.triangles
    )
    ends = np.empty((len(mesh.edge_points), 3))
    raster.place(mesh.edge_points, turn, shift, ends)
    raster.draw_lines(depth, codes, size, ends, mesh.edge_segments, edge_width)
    return Drawing(codes.reshape(height, width), triangles.reshape((height, width) if with_triangles else (0, 0)))
