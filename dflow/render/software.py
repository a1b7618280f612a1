"""The same picture without any graphics library: a z-buffer in numpy.

Used where EGL is missing. Drawn at twice the size and averaged down, so that it looks better than the fast one, at
5 to 20 times its cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dflow.render import view as look
from dflow.render.mesh import MeshArrays
from dflow.render.view import View, to_camera

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

SUPERSAMPLING = 2
FRAGMENTS_AT_ONCE = 1_000_000
"""Pixels filled per step, about 200 MB: bounds the memory of meshes with many layers."""


@dataclass(frozen=True, slots=True)
class Fragments:
    """Pixels that triangles cover: `pixel` flat index, `depth` (larger is nearer), `triangle`, `weight` (N, 3)."""

    pixel: Ints
    depth: Floats
    triangle: Ints
    weight: Floats


def draw_software(mesh: MeshArrays, view: View, size: tuple[int, int], *, face_colors: Image | None = None) -> Image:
    """Draw a part; same arguments and result as `dflow.render.offscreen.OffscreenWindow.draw`."""
    width, height = size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING
    picture = np.tile(np.array(look.BACKGROUND_RGB, np.float64), (width * height, 1))
    depth = np.full(width * height, -np.inf)
    if len(mesh.triangles):
        corners = _to_pixels(mesh.vertices, view, width, height)[mesh.triangles]
        normals = to_camera(mesh.normals)[mesh.triangles]
        colors = _triangle_colors(mesh, face_colors)
        for fragments in rasterise(corners, width, height):
            shown = nearest(fragments, depth)
            pixel = fragments.pixel[shown]
            depth[pixel] = fragments.depth[shown]
            light = look.light(np.einsum("nk,nkc->nc", fragments.weight[shown], normals[fragments.triangle[shown]]))
            picture[pixel] = colors[fragments.triangle[shown]] * light[:, None]
    _draw_segments(mesh, view, picture, depth, width, height)
    blocks = picture.reshape(size[1], SUPERSAMPLING, size[0], SUPERSAMPLING, 3)
    return np.clip(np.rint(blocks.mean(axis=(1, 3))), 0, 255).astype(np.uint8)


def rasterise(corners: Floats, width: int, height: int) -> Iterator[Fragments]:
    """The pixels whose centres triangles cover, row span by row span, in batches of bounded size.

    Parameters
    ----------
    corners : (T, 3, 3) float64, per corner: column, row (both in pixels) and depth
    width, height : of the picture in pixels
    """
    triangle, row, first, last = _spans(corners, width, height)
    n_pixels = np.maximum(last - first + 1, 0)
    ends = np.cumsum(n_pixels)
    batch = ends // FRAGMENTS_AT_ONCE
    for number in np.unique(batch):
        chosen = np.flatnonzero((batch == number) & (n_pixels > 0))
        counts = n_pixels[chosen]
        span = np.repeat(chosen, counts)
        column = first[span] + np.arange(len(span)) - np.repeat(np.cumsum(counts) - counts, counts)
        yield _interpolate(corners, triangle[span], column, row[span], width)


def _spans(corners: Floats, width: int, height: int) -> tuple[Ints, Ints, Ints, Ints]:
    """For each triangle and picture row: triangle, row, first and last column covered (last < first: none)."""
    top = np.clip(np.ceil(corners[:, :, 1].min(axis=1) - 0.5), 0, height).astype(np.intp)
    bottom = np.clip(np.floor(corners[:, :, 1].max(axis=1) - 0.5), -1, height - 1).astype(np.intp)
    n_rows = np.maximum(bottom - top + 1, 0)
    n_rows[np.abs(_twice_area(corners)) < 1e-12] = 0
    triangle = np.repeat(np.arange(len(corners)), n_rows)
    row = top[triangle] + np.arange(len(triangle)) - np.repeat(np.cumsum(n_rows) - n_rows, n_rows)
    left, right = np.full(len(row), np.inf), np.full(len(row), -np.inf)
    for i in range(3):
        p, q = corners[triangle, i, :2], corners[triangle, (i + 1) % 3, :2]
        rise = q[:, 1] - p[:, 1]
        along = (row + 0.5 - p[:, 1]) / np.where(rise == 0, np.inf, rise)
        crosses = (rise != 0) & (along >= 0) & (along <= 1)
        x = p[:, 0] + along * (q[:, 0] - p[:, 0])
        left = np.where(crosses, np.minimum(left, x), left)
        right = np.where(crosses, np.maximum(right, x), right)
    first = np.ceil(np.clip(left - 0.5, 0, width)).astype(np.intp)
    last = np.floor(np.clip(right - 0.5, -1, width - 1)).astype(np.intp)
    return triangle, row, first, last


def _twice_area(corners: Floats) -> Floats:
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])


def _interpolate(corners: Floats, triangle: Ints, column: Ints, row: Ints, width: int) -> Fragments:
    """Barycentric weights and depth at pixel centres; both are linear in the picture."""
    x, y = column + 0.5, row + 0.5
    a, b, c = corners[triangle, 0], corners[triangle, 1], corners[triangle, 2]
    area = _twice_area(corners)[triangle]
    weight_b = ((x - a[:, 0]) * (c[:, 1] - a[:, 1]) - (y - a[:, 1]) * (c[:, 0] - a[:, 0])) / area
    weight_c = ((b[:, 0] - a[:, 0]) * (y - a[:, 1]) - (b[:, 1] - a[:, 1]) * (x - a[:, 0])) / area
    weight = np.stack([1 - weight_b - weight_c, weight_b, weight_c], axis=1)
    depth = weight[:, 0] * a[:, 2] + weight_b * b[:, 2] + weight_c * c[:, 2]
    return Fragments(row * width + column, depth, triangle, weight)


def nearest(fragments: Fragments, depth: Floats) -> Ints:
    """Indices of the fragments that are nearer than `depth` at their pixel, the nearest one of each pixel."""
    visible = np.flatnonzero(fragments.depth > depth[fragments.pixel])
    order = np.lexsort((fragments.depth[visible], fragments.pixel[visible]))
    ordered = visible[order]
    pixel = fragments.pixel[ordered]
    last = np.ones(len(pixel), bool)
    last[:-1] = pixel[1:] != pixel[:-1]
    return ordered[last]


def _to_pixels(points: npt.NDArray[np.floating], view: View, width: int, height: int) -> Floats:
    """World points as (column, row, depth), column and row in pixels, depth in mm."""
    camera = to_camera(points - view.center)
    scale = height / (2 * view.half_height)
    return np.stack([camera[:, 0] * scale + width / 2, height / 2 - camera[:, 1] * scale, camera[:, 2]], axis=1)


def _triangle_colors(mesh: MeshArrays, face_colors: Image | None) -> Floats:
    if face_colors is None:
        return np.tile(np.array(look.MATERIAL_RGB, np.float64), (len(mesh.triangles), 1))
    return np.asarray(face_colors, np.float64)[mesh.triangle_faces]


def _draw_segments(mesh: MeshArrays, view: View, picture: Floats, depth: Floats, width: int, height: int) -> None:
    if not len(mesh.edge_segments):
        return
    ends = _to_pixels(mesh.edge_points, view, width, height)[mesh.edge_segments]
    length = np.abs(ends[:, 1, :2] - ends[:, 0, :2]).max(axis=1)
    n_steps = np.ceil(length).astype(np.intp) + 1
    segment = np.repeat(np.arange(len(ends)), n_steps)
    step = np.arange(len(segment)) - np.repeat(np.cumsum(n_steps) - n_steps, n_steps)
    along = step / np.maximum(n_steps[segment] - 1, 1)
    points = ends[segment, 0] + along[:, None] * (ends[segment, 1] - ends[segment, 0])
    # A line lies in the surface: let it win over whatever is behind it by less than three pixels' worth of depth.
    bias = 3.0 * 2 * view.half_height / height
    for shift in ((0, 0), (1, 0), (0, 1), (1, 1)):  # as wide as one pixel of the final picture
        column, row = points[:, 0].astype(np.intp) + shift[0], points[:, 1].astype(np.intp) + shift[1]
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        pixel = row[inside] * width + column[inside]
        seen = points[inside, 2] + bias > depth[pixel]
        picture[pixel[seen]] = look.EDGE_RGB
