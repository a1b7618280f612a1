"""A part's picture in numpy alone, on runs of pixels.

`spans` tells what is nearest where; brightness is worked out afterwards, for what is seen, and pixel by pixel only
where it changes along a run. No library is to be loaded, and pictures are the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dflow.render import view as look
from dflow.render.mesh import MeshArrays
from dflow.render.spans import Corners, Floats, Ints, Planes, Runs, boundary, count_up, cover, planes, visible_runs
from dflow.render.view import View, to_camera

Image = npt.NDArray[np.uint8]

BACKGROUND, EDGE = 0, 255
BRIGHTEST = 254
"""Codes of a picture: nothing, an edge, and between them the brightness of a face, 254 for light 1."""

_KEY_BITS = 62
_FLAT = 1e-6
"""Twice the area in square pixels below which a triangle is seen edge-on."""
_LEVEL = 0.05
"""Pixels that corners of a flat face may lie before or behind the plane of its largest triangle."""
_EVEN = 0.5
"""Codes by which the brightness of what is shaded evenly may differ."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is seen, pixel by pixel, first row on top.

    codes : (height, width) uint8: `BACKGROUND`, `EDGE`, else 1 to `BRIGHTEST`
    runs : of the flattened picture: layer i is triangle ``chosen[i - 1]``, also under edges
    chosen : (n,) int64, the triangles that were drawn
    """

    codes: Image
    runs: Runs
    chosen: Ints

    @property
    def layers(self) -> npt.NDArray[np.unsignedinteger]:
        """(height, width) unsigned integers: 0 where there is no face."""
        return self.runs.layers().reshape(self.codes.shape)


def _palette() -> Image:
    light = np.arange(256)[:, None] / BRIGHTEST
    colors = np.rint(np.minimum(light, 1.0) * np.array(look.MATERIAL_RGB)).astype(np.uint8)
    colors[BACKGROUND], colors[EDGE] = look.BACKGROUND_RGB, look.EDGE_RGB
    colors.flags.writeable = False
    return colors


PALETTE = _palette()
"""(256, 3) uint8: the colour of each code."""


def draw_software(
    mesh: MeshArrays, view: View, size: tuple[int, int], *, face_colors: Image | None = None, supersampling: int = 1
) -> Image:
    """Draw a part in colour; same arguments and result as `dflow.render.offscreen.OffscreenWindow.draw`.

    supersampling : how many pixels each way are averaged into one
    """
    drawing = draw(mesh, view, (size[0] * supersampling, size[1] * supersampling), edge_width=supersampling)
    picture = PALETTE[drawing.codes]
    if face_colors is not None:
        layers = drawing.layers
        lit = (layers > 0) & (drawing.codes != EDGE)
        light = drawing.codes[lit][:, None] / BRIGHTEST
        face = mesh.triangle_faces[drawing.chosen[layers[lit] - 1]]
        picture[lit] = np.rint(light * np.asarray(face_colors, np.float64)[face])
    if supersampling == 1:
        return picture
    blocks = picture.reshape(size[1], supersampling, size[0], supersampling, 3)
    return np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)


def draw(mesh: MeshArrays, view: View, size: tuple[int, int], *, edge_width: int = 1) -> Drawing:
    """Draw a part in codes.

    size : width and height in pixels; edge_width : in pixels
    """
    width, height = size
    n_bits = len(mesh.triangles).bit_length()
    depth_bits = min(_KEY_BITS - n_bits, 50)
    stage = _Stage(view, size, depth_bits)
    placed = stage.place(np.concatenate([mesh.vertices, mesh.edge_points]))
    x, y, near = placed[:, : len(mesh.vertices)]
    light = BRIGHTEST * look.light(to_camera(mesh.normals))
    # Rows are the vertices a, b, c of all triangles: contiguous, where (T, 3) would be strided.
    corner = np.ascontiguousarray(mesh.triangles.T, np.intp)
    corners = Corners(x[corner], y[corner], near[corner])
    twice_area = corners.twice_area()
    chosen = _facing(corners, twice_area, 0.5 * 2**depth_bits)
    corner, corners, twice_area = corner[:, chosen], corners.take(chosen), twice_area[chosen]
    lit = light[corner]
    both = planes(corners, twice_area, np.stack([corners.depth, lit]))
    depth, shades = both.quantity(0), both.quantity(1)
    shape = _shapes(mesh.vertex_faces[corner[0]], lit, (corners, twice_area, depth), stage.pixel)
    sides = boundary(np.where(twice_area < 0, corner, corner[::-1]), shape, len(x))
    runs = visible_runs(cover(x, y, sides, size), depth, size, (depth_bits, n_bits))
    codes = _shade(runs, lit, shades, width)
    if len(mesh.edge_segments):
        # A line lies in the surface: let it win over whatever is before it by less than three pixels' worth of depth.
        ends = placed[:, mesh.edge_segments.T + len(mesh.vertices)]
        column, row, near = _line_points(ends)
        near += 3.0 * edge_width * stage.pixel
        front = _Front(runs.layers(), depth.with_nothing(), size)
        for right, down in np.ndindex(edge_width, edge_width):
            codes[front.seen(column + right, row + down, near)] = EDGE
    return Drawing(codes.reshape(height, width), runs, chosen)


@dataclass(frozen=True, slots=True)
class _Stage:
    """Where points of the world come to lie in a picture."""

    view: View
    size: tuple[int, int]
    depth_bits: int

    @property
    def _reach(self) -> float:
        return 1.01 * self.view.half_depth + 1e-3 * self.view.half_height

    @property
    def pixel(self) -> float:
        """The depth of a pixel's side."""
        return float(self.view.half_height / self.size[1] / self._reach * 2.0**self.depth_bits)

    def place(self, points: npt.NDArray[np.floating]) -> Floats:
        """Columns, rows and depths (3, n): pixels, and numbers below ``2 ** depth_bits``, larger is nearer."""
        width, height = self.size
        scale = height / (2 * self.view.half_height)
        middle = np.array([width / 2, height / 2, 0.5 * 2.0**self.depth_bits])
        turn = look.AXES * np.array([[scale], [-scale], [middle[2] / self._reach]])
        placed: Floats = turn @ points.T.astype(np.float64, order="C")
        placed += (middle - turn @ self.view.center)[:, None]
        return placed


def _shapes(
    face: npt.NDArray[np.int32], light: Floats, triangles: tuple[Corners, Floats, Planes], pixel: float
) -> Ints:
    """The shape that each of n triangles belongs to: a flat face's largest triangle, else itself.

    light : (3, n) at the corners; pixel : the depth of a pixel's side
    """
    corners, twice_area, depth = triangles
    area = np.abs(twice_area)
    largest = np.zeros(int(face.max(initial=-1)) + 1)
    np.maximum.at(largest, face, area)
    first = (area == largest[face]).nonzero()[0]
    found = np.zeros(len(largest), np.int64)
    found[face[first]] = first
    shape = found[face]
    level = depth.x[shape] * (corners.x - 0.5) + depth.y[shape] * (corners.y - 0.5) + depth.at[shape]
    bent = (np.abs(level - corners.depth) > _LEVEL * pixel) | (np.abs(light - light[0][shape]) > _EVEN)
    curved = np.zeros(len(largest), bool)
    curved[face[bent.any(axis=0)]] = True
    return np.where(curved[face], np.arange(len(face)), shape)


def _shade(runs: Runs, light: Floats, shades: Planes, width: int) -> Image:
    """Codes of all pixels: light (3, n) at the corners of the triangles that were drawn, and as planes."""
    table = np.zeros(light.shape[1] + 1, np.uint8)
    table[1:] = _code(light[0])
    code, count = table[runs.layer], runs.lengths
    smooth = np.zeros(len(table), bool)
    smooth[1:] = light.max(axis=0) - light.min(axis=0) > _EVEN
    bent = smooth[runs.layer].nonzero()[0]
    if not len(bent):
        return code.repeat(count)
    first, length, triangle = runs.begin[bent], count[bent], runs.layer[bent] - 1
    row = first // width
    step = shades.x[triangle]
    start = shades.y[triangle] * row + shades.at[triangle] + step * (first - row * width)
    stop = start + step * (length - 1)
    code[bent] = _code(0.5 * (start + stop))
    codes = code.repeat(count)
    steep = (np.abs(step) * length > 1.0).nonzero()[0]
    if len(steep):
        # Between its ends a run is as bright as they are: with them in bounds no pixel need be looked at.
        start, stop, length = _bound(start[steep]), _bound(stop[steep]), length[steep]
        step = ((stop - start) / np.maximum(length - 1, 1)).astype(np.float32)
        which, along = count_up(np.zeros(len(steep), np.int64), length)
        bright = step[which] * along.astype(np.float32) + start.astype(np.float32)[which]
        codes[first[steep][which] + along] = bright.astype(np.uint8)
    return codes


def _bound(light: Floats) -> Floats:
    """Brightness times `BRIGHTEST`, so that whole parts are codes of faces."""
    return np.minimum(np.maximum(light + 0.5, 1.0), BRIGHTEST + 0.49)


def _code(light: Floats) -> Image:
    """Brightness times `BRIGHTEST` as codes of faces."""
    return _bound(light).astype(np.uint8)


def _facing(corners: Corners, twice_area: Floats, middle: float) -> Ints:
    """The triangles worth drawing: all that are not seen edge-on; of a closed skin only those that face the viewer.

    Front and back of a closed skin cover the same area, and the front lies nearer: if both hold, the back is hidden.
    """
    size = np.abs(twice_area)
    shift = float(twice_area.sum())
    volume = float((twice_area * (corners.depth.sum(axis=0) * (1 / 3) - middle)).sum())
    if abs(shift) < 1e-3 * float(size.sum()) and volume < 0:
        return (twice_area < -_FLAT).nonzero()[0]
    return (size > _FLAT).nonzero()[0]


def _line_points(ends: Floats) -> tuple[Ints, Ints, Floats]:
    """Columns, rows and depths of a point in every column or row, whichever are more, of segments `ends` (3, 2, S)."""
    run = ends[:, 1] - ends[:, 0]
    n_steps = np.ceil(np.abs(run[:2]).max(axis=0)).astype(np.int64) + 1
    segment, along = count_up(np.zeros(len(n_steps), np.int64), n_steps)
    step = run / np.maximum(n_steps - 1, 1)
    points = ends[:, 0].take(segment, axis=1)
    points += step.take(segment, axis=1) * along
    column, row = points[:2].astype(np.int64)
    return column, row, points[2]


@dataclass(frozen=True, slots=True)
class _Front:
    """What is drawn already: the layer of each pixel, flat, and the depth of each layer, the last one's of nothing."""

    layers: npt.NDArray[np.unsignedinteger]
    depth: Planes
    size: tuple[int, int]

    def seen(self, column: Ints, row: Ints, near: Floats) -> Ints:
        """Flat indices of those pixels that lie in the picture and, at depth `near`, before it."""
        width, height = self.size
        pixel = row * width + column
        inside = (column.view(np.uint64) < width) & (row.view(np.uint64) < height)  # what is negative is large so
        if not inside.all():
            column, row, near, pixel = column[inside], row[inside], near[inside], pixel[inside]
        layer, depth = self.layers[pixel].astype(np.int64) - 1, self.depth
        there = depth.x[layer] * column + depth.y[layer] * row + depth.at[layer]
        return pixel[near > there]
