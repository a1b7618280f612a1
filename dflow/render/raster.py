"""Rasterisation of triangles and lines, compiled.

A picture is drawn triangle by triangle, row by row, into a depth buffer (the nearest triangle wins, the earlier of two
that are equally near). A pixel belongs to a triangle if its centre lies inside. Both triangles at a side compute its
column in a row by the same sum, from the side's upper end: there is neither a gap nor an overlap.

Pixels are counted from the upper left; depths are in pixels, larger is nearer.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dflow.compiled import compiled, inlined

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.uint8]

EDGE, BRIGHTEST = 255, 254
"""Codes: an edge, and the brightness of a face under light 1; 0 is nothing."""
FLAT = 1e-6
"""Twice the area in square pixels below which a triangle counts as edge-on."""
EVEN = 0.5
"""Largest difference of codes within an evenly shaded triangle."""
BEFORE = 1.5
"""Pixels by which an edge may lie behind a face and still be visible: it lies in the face's surface."""

Plane = tuple[float, float, float]
"""A quantity that changes evenly over the picture: by column, by row, and at the centre of the first pixel."""
Side = tuple[float, float, float]
"""Column and row of its upper end, and columns per row."""


@compiled("void(float32[:, ::1], float64[:, ::1], float64[::1], float64[:, ::1])")
def place(points: Singles, turn: Floats, shift: Floats, out: Floats) -> None:
    """Column, row and depth (n, 3) of points (n, 3): turned by the rows of `turn` (3, 3) and shifted by (3,)."""
    for i in range(len(points)):
        x, y, z = np.float64(points[i, 0]), np.float64(points[i, 1]), np.float64(points[i, 2])
        for k in range(3):
            out[i, k] = turn[k, 0] * x + turn[k, 1] * y + turn[k, 2] * z + shift[k]


@compiled()
def _twice_area(placed: Floats, i: int, j: int, k: int) -> float:
    """Negative for triangles that face the viewer (rows run down)."""
    right, down = placed[j, 0] - placed[i, 0], placed[j, 1] - placed[i, 1]
    right2, down2 = placed[k, 0] - placed[i, 0], placed[k, 1] - placed[i, 1]
    return right * down2 - right2 * down


@compiled()
def _is_closed(placed: Floats, triangles: Indices) -> bool:
    """Return whether a surface's front hides its back: both cover the same area, and the front is nearer."""
    size = shift = volume = 0.0
    for t in range(len(triangles)):
        i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        area = _twice_area(placed, i, j, k)
        size += abs(area)
        shift += area
        volume += area * (placed[i, 2] + placed[j, 2] + placed[k, 2])
    return abs(shift) < 1e-3 * size and volume < 0


@compiled()
def _first(at: float, end: int) -> int:
    """The first pixel whose centre does not lie before `at`, from 0 to `end`; 0 if `at` is no number."""
    pixel = np.ceil(at - 0.5)
    if pixel >= end:
        return end
    return int(pixel) if pixel > 0.0 else 0


@compiled()
def _plane(placed: Floats, corners: tuple[int, int, int], values: tuple[float, float, float], scale: float) -> Plane:
    a, b, c = corners
    right, down = placed[b, 0] - placed[a, 0], placed[b, 1] - placed[a, 1]
    right2, down2 = placed[c, 0] - placed[a, 0], placed[c, 1] - placed[a, 1]
    rise, rise2 = values[1] - values[0], values[2] - values[0]
    by_column = (rise * down2 - rise2 * down) * scale
    by_row = (rise2 * right - rise * right2) * scale
    return by_column, by_row, values[0] + by_column * (0.5 - placed[a, 0]) + by_row * (0.5 - placed[a, 1])


@compiled()
def _side(placed: Floats, upper: int, lower: int) -> Side:
    run, fall = placed[lower, 0] - placed[upper, 0], placed[lower, 1] - placed[upper, 1]
    return placed[upper, 0], placed[upper, 1], run / fall


@compiled()
def _code(light: float | np.float32) -> int:
    """The code of a brightness times `BRIGHTEST`, half a code having been added."""
    return int(min(max(light, 1.0), BRIGHTEST + 0.49))


@inlined
def _fill_run(
    depth: Singles,
    codes: Bytes,
    owner: Indices,
    run: tuple[int, int],
    near: tuple[float, float],
    lit: tuple[float, float],
    number: int,
) -> None:
    """A triangle's pixels in a row; run : the first and how many; near, lit : a pixel's more and the first one's."""
    # Unsigned, since each signed index is tested for being negative; no views, which cost as much as twenty pixels.
    first, n = np.uint64(run[0]), np.uint64(run[1])
    step, at = np.float32(near[0]), np.float32(near[1])
    if owner.size:
        for i in range(n):
            if step * np.float32(i) + at > depth[first + i]:
                owner[first + i] = number
    rise, base = np.float32(lit[0]), np.float32(lit[1] + 0.5)
    if rise == 0.0:
        code = _code(base)
        for i in range(n):
            here = step * np.float32(i) + at
            if here > depth[first + i]:
                depth[first + i], codes[first + i] = here, code
    else:
        for i in range(n):
            here = step * np.float32(i) + at
            if here > depth[first + i]:
                depth[first + i], codes[first + i] = here, _code(rise * np.float32(i) + base)


@inlined
def _fill_rows(
    depth: Singles,
    codes: Bytes,
    owner: Indices,
    width: int,
    rows: tuple[int, int],
    sides: tuple[Side, Side],
    planes: tuple[Plane, Plane],
    number: int,
) -> None:
    """The rows of a triangle between two of its sides; planes : its depth and brightness."""
    near, lit = planes
    for row in range(rows[0], rows[1]):
        one = sides[0][0] + (row + 0.5 - sides[0][1]) * sides[0][2]
        other = sides[1][0] + (row + 0.5 - sides[1][1]) * sides[1][2]
        begin, stop = _first(min(one, other), width), _first(max(one, other), width)
        if begin < stop:
            nearness = near[0], near[0] * begin + near[1] * row + near[2]
            light = lit[0], lit[0] * begin + lit[1] * row + lit[2]
            _fill_run(depth, codes, owner, (row * width + begin, stop - begin), nearness, light, number)


@compiled()
def _fill_triangle(
    depth: Singles,
    codes: Bytes,
    owner: Indices,
    size: tuple[int, int],
    placed: Floats,
    light: Floats,
    corners: tuple[int, int, int],
    twice_area: float,
    number: int,
) -> None:
    a, b, c = corners
    scale = 1.0 / twice_area
    near = _plane(placed, corners, (placed[a, 2], placed[b, 2], placed[c, 2]), scale)
    lit = _plane(placed, corners, (light[a], light[b], light[c]), scale)
    if max(light[a], light[b], light[c]) - min(light[a], light[b], light[c]) <= EVEN:
        lit = (0.0, 0.0, light[a])
    if placed[b, 1] < placed[a, 1]:
        a, b = b, a
    if placed[c, 1] < placed[b, 1]:
        b, c = c, b
    if placed[b, 1] < placed[a, 1]:
        a, b = b, a
    width, height = size
    top, middle, bottom = _first(placed[a, 1], height), _first(placed[b, 1], height), _first(placed[c, 1], height)
    if top < bottom:
        planes, whole = (near, lit), _side(placed, a, c)
        if top < middle:
            sides = _side(placed, a, b), whole
            _fill_rows(depth, codes, owner, width, (top, middle), sides, planes, number)
        if middle < bottom:
            sides = _side(placed, b, c), whole
            _fill_rows(depth, codes, owner, width, (middle, bottom), sides, planes, number)


@compiled(
    "void(float32[::1], uint8[::1], int32[::1], UniTuple(int64, 2), float64[:, ::1], float64[::1], int32[:, ::1])"
)
def fill_triangles(
    depth: Singles,
    codes: Bytes,
    owner: Indices,
    size: tuple[int, int],
    placed: Floats,
    light: Floats,
    triangles: Indices,
) -> None:
    """Draw triangles (T, 3).

    depth, codes : (height * width,) the picture, changed; owner : the same for the triangle's index, or (0,) if it is
        not recorded
    size : width and height
    placed : (V, 3) column, row, depth; light : (V,) brightness times `BRIGHTEST`
    """
    closed = _is_closed(placed, triangles)
    for back in range(1 if closed else 2):  # triangles that face the viewer first: most of the rest is then hidden
        for t in range(len(triangles)):
            corners = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            area = _twice_area(placed, *corners)
            if abs(area) > FLAT and (area > 0) == (back == 1):
                _fill_triangle(depth, codes, owner, size, placed, light, corners, area, t)


@compiled("void(float32[::1], uint8[::1], UniTuple(int64, 2), float64[:, ::1], int32[:, ::1], int64)")
def draw_lines(
    depth: Singles, codes: Bytes, size: tuple[int, int], placed: Floats, segments: Indices, breadth: int
) -> None:
    """Draw straight pieces (S, 2) where no face hides them.

    depth, codes : (height * width,) the picture, codes are changed; size : width and height
    placed : (P, 3) column, row, depth; breadth : of a line, in pixels
    """
    width, height = size
    for s in range(len(segments)):
        i, j = segments[s, 0], segments[s, 1]
        right, down, ahead = placed[j, 0] - placed[i, 0], placed[j, 1] - placed[i, 1], placed[j, 2] - placed[i, 2]
        # A point in every column or row, whichever are more.
        n_steps = max(int(min(np.ceil(max(abs(right), abs(down))), 1e6)), 1)
        for step in range(n_steps + 1):
            along = step / n_steps
            column, row = placed[i, 0] + right * along, placed[i, 1] + down * along
            near = placed[i, 2] + ahead * along + BEFORE * breadth
            for x in range(breadth):
                for y in range(breadth):
                    if 0.0 <= column + x < width and 0.0 <= row + y < height:
                        pixel = np.uint64(int(row + y) * width + int(column + x))
                        codes[pixel] = EDGE if near > depth[pixel] else codes[pixel]
