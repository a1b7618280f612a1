"""Trimmed faces cut into triangles in (u, v), all faces of a shape at once.

Every face is cut along lines of constant u through the corners of its boundary (a trapezoidal decomposition); between
two neighbouring lines, in a slab, the boundary's pieces pair up by the even-odd rule, so that neither their order nor
their direction matters. Curved faces get more lines, and points along them, so that no triangle is wider than the
face's steps. Trapezoids that meet at a line share all its points: a face has no cracks.

Lines are numbered through the shape, and their u counts steps from the left end of their face.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dflow.compiled import compiled, inlined

_STEPS = 1 << 22
"""Resolution of u within a face: corners closer than that share a line, ..."""
_FEWEST_STEPS = 1 << 6
"""... but the resolution of faces with too many crossings is reduced, down to that."""
_V_STEPS = 1 << 40
_MAX_LINES = 256.0
"""Between two corners, and across a face, at most."""
_MAX_CROSSINGS = 1 << 28
"""Limit of how often the pieces of a flat face cross slabs: about one second of work, ..."""
_MAX_POINTS = 1 << 22
"""... of the points of a curved face, and of the trapezoids of any face."""
_MAX_TRIANGLES = 1 << 24
"""Limit per face; a face whose boundary crosses itself everywhere would have more, and gets none."""
_SHORT = 16
"""Up to so many numbers, insertion sort is the fastest."""


@dataclass(frozen=True, slots=True)
class Outline:
    """The boundaries of F faces in straight pieces.

    Attributes
    ----------
    face : (n,) int32, non-decreasing; start, end : (n, 2) float64, (u, v) of each piece.
    low, high : (F, 2) float64, lowest and highest (u, v) of each face; 0 for a face without pieces.
    """

    face: np.ndarray
    start: np.ndarray
    end: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, slots=True)
class UVTriangles:
    """Triangles in (u, v).

    Attributes
    ----------
    first_point, first_triangle : (F + 1,) int64, where each face's points and triangles begin; faces share no points.
    points : (p, 2) float64, (u, v)
    corners : (t, 3) int32, points, counter-clockwise in (u, v).
    failed : (b,) int64, faces whose pieces do not close, are not finite or cross too often; they have no triangles.
    """

    first_point: np.ndarray
    first_triangle: np.ndarray
    points: np.ndarray
    corners: np.ndarray
    failed: np.ndarray


def triangulate(outline: Outline, steps: np.ndarray) -> UVTriangles:
    """Return the triangles of all faces.

    Parameters
    ----------
    steps : (F, 2) float64, how far a triangle may reach in u and in v; inf both for flat faces, whose trapezoids are
        then as wide as they can be.

    Notes
    -----
    Cost: a sort of the pieces, and about 5 ns per crossing of a piece and a slab; flat faces have O(pieces) triangles.
    Where that would be too much, a face's lines are merged.
    """
    return UVTriangles(*_cut_faces(outline.face, outline.start, outline.end, outline.low, outline.high, steps))


# -- sorting


@inlined
def _insert(order: np.ndarray, begin: int, stop: int, keys: np.ndarray) -> None:
    """Sort the rows ``order[begin:stop]`` by their keys: fast where they are few or nearly in order."""
    for i in range(begin + 1, stop):
        row, key, j = order[i], keys[order[i]], i
        while j > begin and keys[order[j - 1]] > key:
            order[j] = order[j - 1]
            j -= 1
        order[j] = row


@compiled()
def _sort(order: np.ndarray, begin: int, stop: int, keys: np.ndarray, spare: np.ndarray) -> None:
    """Sort the rows ``order[begin:stop]`` by their keys, stably, by insertion and then by merging; spare : as long as
    `order`.
    """
    for low in range(begin, stop, _SHORT):
        _insert(order, low, min(low + _SHORT, stop), keys)
    width = _SHORT
    while width < stop - begin:
        for k in range(begin, stop):
            spare[k] = order[k]
        for low in range(begin, stop, 2 * width):
            i, middle, high = low, min(low + width, stop), min(low + 2 * width, stop)
            j = middle
            for k in range(low, high):
                if i < middle and (j == high or keys[spare[i]] <= keys[spare[j]]):
                    order[k] = spare[i]
                    i += 1
                else:
                    order[k] = spare[j]
                    j += 1
        width *= 2


# -- numbers and room


@compiled()
def _clamp_to_int(number: float, low: float, high: float) -> int:
    """`number` cut off to low … high, as an integer; low for NaN."""
    return int(min(number, high)) if number > low else int(low)


@compiled()
def _grow(array: np.ndarray, least: int) -> np.ndarray:
    """The array if it has at least so many rows; else a longer one that begins like it."""
    if len(array) >= least:
        return array
    wider = np.empty((2 * least, array.shape[1]))
    for i in range(len(array)):
        for c in range(array.shape[1]):
            wider[i, c] = array[i, c]
    return wider


# -- pieces and lines


@compiled()
def _split_steep(
    face: np.ndarray, start: np.ndarray, end: np.ndarray, size: np.ndarray, steps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(n, 4) u, v, u, v: the pieces, those that run nearly along a line, which no line would cut, cut by the step in v;
    and (F + 1,) where each face's begin. A face without width is left out.
    """
    ends, first = np.empty((len(face), 4)), np.zeros(len(size) + 1, np.int64)
    at = 0
    for i in range(len(face)):
        rise, run, row = abs(end[i, 1] - start[i, 1]), abs(end[i, 0] - start[i, 0]), face[i]
        count = 1 if size[row, 0] > 0 else 0
        if rise > 1.5 * steps[row, 1] and run * _STEPS > 0.5 * size[row, 0]:
            count *= _clamp_to_int(np.ceil(rise / steps[row, 1]), 1.0, _MAX_LINES)
        ends = _grow(ends, at + count)
        for k in range(count):
            for c in range(2):
                ends[at, c], ends[at, 2 + c] = start[i, c], end[i, c]
                if count == 1:
                    continue
                ends[at, c] = start[i, c] * (1 - k / count) + end[i, c] * (k / count)
                ends[at, 2 + c] = start[i, c] * (1 - (k + 1) / count) + end[i, c] * ((k + 1) / count)
            at += 1
        first[row + 1] = at
    for row in range(len(size)):
        first[row + 1] = max(first[row + 1], first[row])
    return ends[:at], first


@compiled()
def _find_lines(
    ends: np.ndarray, first: np.ndarray, low: np.ndarray, size: np.ndarray, steps: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(l, 2) u in steps, and face, of all lines; (F + 1,) where each face's begin; (2 n,) u in steps of the pieces'
    starts and ends; and (F,) how wide a step is.
    """
    keys, corners = np.empty(2 * len(ends)), np.empty(2 * len(ends))
    order, spare = np.empty(2 * len(ends), np.int64), np.empty(2 * len(ends), np.int64)
    lines, first_line, step_width = np.empty((2 * len(ends), 2)), np.zeros(len(size) + 1, np.int64), np.ones(len(size))
    for row in range(len(size)):
        begin, stop = 2 * first[row], 2 * first[row + 1]
        resolution, at = _STEPS, first_line[row]
        searching = begin < stop
        while searching:
            scale, step_width[row] = resolution / size[row, 0], size[row, 0] / resolution
            for i in range(begin, stop):
                keys[i] = np.rint((ends[i // 2, i % 2 * 2] - low[row, 0]) * scale)
            last = begin
            for i in range(begin, stop):
                if i % 2 == 0 or i + 1 == stop or keys[i] != keys[i + 1]:  # pieces mostly end where the next begins
                    order[last] = i
                    last += 1
            _sort(order, begin, last, keys, spare)
            last = _unique_keys(order, begin, last, keys, corners)
            lines, at = _add_lines(corners, begin, last, row, steps[row, 0] * scale, lines, first_line[row])
            levels = _clamp_to_int(np.ceil(size[row, 1] / steps[row, 1]), 1.0, _MAX_LINES)
            most = _MAX_CROSSINGS if np.isinf(steps[row, 0]) and np.isinf(steps[row, 1]) else _MAX_POINTS
            searching = resolution > _FEWEST_STEPS and _count_crossings(
                keys, begin, stop, lines, first_line[row], at, most
            ) > (most - 2 * levels * (at - first_line[row]))
            resolution //= 4
        first_line[row + 1] = at
    return lines, first_line, keys, step_width


@inlined
def _unique_keys(order: np.ndarray, begin: int, stop: int, keys: np.ndarray, found: np.ndarray) -> int:
    """Write the different keys of the sorted rows ``order[begin:stop]``, from `begin` on; where they stop."""
    at = begin
    for k in range(begin, stop):
        if at == begin or keys[order[k]] != found[at - 1]:
            found[at] = keys[order[k]]
            at += 1
    return at


@inlined
def _add_lines(
    corners: np.ndarray, begin: int, stop: int, row: int, step: float, lines: np.ndarray, at: int
) -> tuple[np.ndarray, int]:
    """Write a face's lines: those through its corners, and others between, at most a step apart."""
    for i in range(begin, stop):
        gap = corners[i + 1] - corners[i] if i + 1 < stop else 0.0
        count = 1 if np.isinf(step) else _clamp_to_int(np.ceil(gap / step - 1e-6), 1.0, _MAX_LINES)
        count = min(count, max(int(gap), 1))
        lines = _grow(lines, at + count)
        for k in range(count):
            lines[at, 0], lines[at, 1] = corners[i] + np.floor(k * gap / count), row
            at += 1
    return lines, at


@inlined
def _count_crossings(
    keys: np.ndarray, begin: int, stop: int, lines: np.ndarray, first: int, last: int, most: int
) -> int:
    """Return how often a face's pieces cross slabs; where that cannot be more than half of `most`, an upper bound."""
    total = (stop - begin) // 2 * (last - first)
    if total <= most // 2:
        return total
    total = 0
    for i in range(begin, stop, 2):
        total += abs(_line_at(lines, first, last, keys[i + 1]) - _line_at(lines, first, last, keys[i]))
    return total


@compiled()
def _line_at(lines: np.ndarray, low: int, high: int, key: float) -> int:
    """The first of the lines low … high - 1 that is not left of `key`."""
    while low < high:
        middle = (low + high) // 2
        if lines[middle, 0] < key:
            low = middle + 1
        else:
            high = middle
    return low


# -- trapezoids


@compiled()
def _sweep(
    pieces: np.ndarray,
    first_piece: np.ndarray,
    lines: np.ndarray,
    first_line: np.ndarray,
    steps: np.ndarray,
    failed: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """(t, 6) left and right line of all trapezoids, and v from where to where on both; (F + 1,) where each face's
    begin.

    pieces : (n, 4), of each its left and right end: u in steps, u in steps, v, v
    """
    n = len(pieces)
    order, spare, active = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    above, number = np.empty(n, np.int64), np.empty(n, np.int64)  # of each piece that is the lower one of a trapezoid
    v, key = np.empty((n, 2)), np.empty(n)
    found, first = np.empty((n + 4, 6)), np.zeros(len(first_line), np.int64)
    n_found = first[0]
    for piece in range(n):
        order[piece], above[piece], key[piece] = piece, -1, pieces[piece, 0]
    for row in range(len(first_line) - 1):
        begin, last = first_piece[row], first_piece[row + 1]
        _sort(order, begin, last, key, spare)
        flat = np.isinf(steps[row, 0]) and np.isinf(steps[row, 1])
        coming = stop = begin  # of those that come next, and behind those that are active
        for line in range(first_line[row], first_line[row + 1] - 1):
            left, right = lines[line, 0], lines[line + 1, 0]
            stay = _drop_ended(active, begin, stop, pieces, left)
            stop, coming = _add_started(order, coming, last, pieces, left, active, stay, v)
            if (stop - begin) % 2 or n_found - first[row] > _MAX_POINTS:
                failed[row], n_found = True, first[row]
                break
            _advance(active, begin, stop, pieces, right, v, key)
            if stop - stay > _SHORT:
                _sort(active, begin, stop, key, spare)
            else:
                _insert(active, begin, stop, key)
            found = _grow(found, n_found + (stop - begin) // 2)
            n_found = _pair_trapezoids(active, begin, stop, v, line, flat, above, number, found, n_found)
        first[row + 1] = n_found
    return found[:n_found], first


@inlined
def _left_to_right(keys: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The pieces as `_sweep` expects them, from left to right."""
    pieces = np.empty((len(ends), 4))
    for i in range(len(ends)):
        back = keys[2 * i] > keys[2 * i + 1]
        for k in range(2):
            pieces[i, k], pieces[i, 2 + k] = keys[2 * i + k ^ back], ends[i, 1 + 2 * (k ^ back)]
    return pieces


@inlined
def _drop_ended(active: np.ndarray, begin: int, stop: int, pieces: np.ndarray, line: float) -> int:
    """Remove the pieces that end at a line from ``active[begin:stop]``; return where the others stop."""
    kept = begin
    for i in range(begin, stop):
        if pieces[active[i], 1] > line:
            active[kept] = active[i]
            kept += 1
    return kept


@inlined
def _add_started(
    order: np.ndarray,
    coming: int,
    last: int,
    pieces: np.ndarray,
    line: float,
    active: np.ndarray,
    stop: int,
    v: np.ndarray,
) -> tuple[int, int]:
    """Append the pieces that begin at a line to ``active[…:stop]``; where these stop now, and which comes next."""
    while coming < last and pieces[order[coming], 0] <= line:
        piece = order[coming]
        if pieces[piece, 1] > line:
            active[stop], v[piece, 1] = piece, pieces[piece, 2]
            stop += 1
        coming += 1
    return stop, coming


@inlined
def _advance(
    active: np.ndarray, begin: int, stop: int, pieces: np.ndarray, right: float, v: np.ndarray, key: np.ndarray
) -> None:
    """Move v of the active pieces, at the left and right line of a slab, one slab on; their sum is the key to sort
    by.
    """
    for i in range(begin, stop):
        piece = active[i]
        along = (right - pieces[piece, 0]) / (pieces[piece, 1] - pieces[piece, 0])
        v[piece, 0] = v[piece, 1]
        v[piece, 1] = pieces[piece, 2] * (1 - along) + pieces[piece, 3] * along
        key[piece] = v[piece, 0] + v[piece, 1]


@inlined
def _pair_trapezoids(
    active: np.ndarray,
    begin: int,
    stop: int,
    v: np.ndarray,
    line: int,
    flat: bool,
    above: np.ndarray,
    number: np.ndarray,
    found: np.ndarray,
    n_found: int,
) -> int:
    """Add the trapezoids of one slab; on flat faces those between the same two pieces as before become wider."""
    for i in range(begin, stop, 2):
        lower, upper = active[i], active[i + 1]
        if not (flat and above[lower] == upper and found[number[lower], 1] == line):
            above[lower], number[lower] = upper, n_found
            found[n_found, 0], found[n_found, 2], found[n_found, 3] = line, v[lower, 0], v[upper, 0]
            n_found += 1
        one = number[lower]
        found[one, 1], found[one, 4], found[one, 5] = line + 1, v[lower, 1], v[upper, 1]
    return n_found


# -- points and triangles


@compiled()
def _inner_levels(low: float, high: float, bottom: float, v_step: float) -> tuple[int, int]:
    """Return which multiples of `v_step` above `bottom` lie strictly between: the lowest one's number, and how many."""
    lowest = _clamp_to_int(np.floor((low - bottom) / v_step + 1e-6), 0.0, _MAX_LINES) + 1
    return lowest, max(_clamp_to_int(np.ceil((high - bottom) / v_step - 1e-6), 0.0, _MAX_LINES) - lowest, 0)


@compiled()
def _end_points(
    trapezoids: np.ndarray, lines: np.ndarray, low: np.ndarray, v_step: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(m,) line and v of the lower and upper ends of all sides (left, right, left, …), then of the levels between.

    v_step : (F,) how far those are apart; inf for none
    """
    n = len(trapezoids)
    room = 4 * n
    for side in range(2 * n):
        a, b, own = _side(trapezoids, side)
        row = int(lines[own, 1])
        room += _inner_levels(a, b, low[row, 1], v_step[row])[1]
    line, v = np.empty(room, np.int64), np.empty(room)
    at = 4 * n
    for side in range(2 * n):
        a, b, own = _side(trapezoids, side)
        line[2 * side], v[2 * side], line[2 * side + 1], v[2 * side + 1] = own, a, own, b
        row = int(lines[own, 1])
        lowest, count = _inner_levels(a, b, low[row, 1], v_step[row])
        for k in range(count):
            line[at], v[at] = own, low[row, 1] + (lowest + k) * v_step[row]
            at += 1
    return line, v


@compiled()
def _side(trapezoids: np.ndarray, side: int) -> tuple[float, float, int]:
    """Lower and upper end of a trapezoid's left or right side, and its line."""
    one, right = side // 2, side % 2
    a, b = trapezoids[one, 2 + 2 * right], trapezoids[one, 3 + 2 * right]
    return min(a, b), max(a, b), int(trapezoids[one, right])  # chords of two curves that touch can cross


@inlined
def _group_by_line(line: np.ndarray, n_lines: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows by their lines, in order, and where in there each line's rows stop."""
    order, stop = np.empty(len(line), np.int64), np.zeros(n_lines + 1, np.int64)
    for number in line:
        stop[number + 1] += 1
    for number in range(n_lines):
        stop[number + 1] += stop[number]
    for i in range(len(line)):  # what is their beginning moves to their stop
        order[stop[line[i]]] = i
        stop[line[i]] += 1
    return order, stop


@compiled()
def _merge_points(
    line: np.ndarray, v: np.ndarray, key: np.ndarray, n_lines: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The different points of all lines: (p,) line and v, sorted by these, so that a side is a run of them; and (m,)
    the point that each of the given ones has become.

    key : (m,) v in steps, by which they are told apart
    """
    order, stop = _group_by_line(line, n_lines)
    spare, at_line, at_v = np.empty(len(v), np.int64), np.empty(len(v), np.int64), np.empty(len(v))
    point = np.empty(len(v), np.int64)
    n_points = 0
    for number in range(n_lines):
        begin = stop[number - 1] if number else 0
        _sort(order, begin, stop[number], key, spare)
        for k in range(begin, stop[number]):
            end = order[k]
            if k == begin or key[end] != key[order[k - 1]]:
                at_line[n_points], at_v[n_points] = number, v[end]
                n_points += 1
            point[end] = n_points - 1
    return at_line[:n_points], at_v[:n_points], point


@compiled()
def _triangulate_trapezoids(
    point: np.ndarray, v: np.ndarray, first: np.ndarray, failed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Triangles (t, 3) between each trapezoid's two sides, which are runs of points; (F + 1,) where each face's begin.

    point : the points at the trapezoids' corners, as `_end_points` lists them; first : each face's first trapezoid
    """
    first_triangle = np.zeros(len(first), np.int64)
    for row in range(len(first) - 1):
        total = 0
        for i in range(4 * first[row], 4 * first[row + 1], 2):
            total += point[i + 1] - point[i]
        failed[row] |= total > _MAX_TRIANGLES
        first_triangle[row + 1] = first_triangle[row] + (0 if failed[row] else total)
    corners = np.empty((first_triangle[-1], 3), np.int32)
    for row in range(len(first) - 1):
        at = first_triangle[row]
        for one in range(first[row], first[row] if failed[row] else first[row + 1]):
            at = _triangulate_trapezoid(point, 4 * one, v, corners, at)
    return corners, first_triangle


@inlined
def _triangulate_trapezoid(point: np.ndarray, corner: int, v: np.ndarray, corners: np.ndarray, at: int) -> int:
    """Going up both sides at once, each next point, left or right, closes a triangle with the two points reached
    before; where the next triangles belong.
    """
    left, left_stop, right, right_stop = point[corner], point[corner + 1], point[corner + 2], point[corner + 3]
    low_left, tall_left = v[left], v[left_stop] - v[left]
    low_right, tall_right = v[right], v[right_stop] - v[right]
    while left < left_stop or right < right_stop:
        on_right = left == left_stop or (
            right < right_stop and (v[right + 1] - low_right) / tall_right < (v[left + 1] - low_left) / tall_left
        )
        corners[at, 0], corners[at, 1] = left, right
        if on_right:
            right += 1
        else:
            left += 1
        corners[at, 2] = right if on_right else left
        at += 1
    return at


@compiled(
    "Tuple((int64[::1], int64[::1], float64[:, ::1], int32[:, ::1], int64[::1]))"
    "(int32[::1], float64[:, ::1], float64[:, ::1], float64[:, ::1], float64[:, ::1], float64[:, ::1])"
)
def _cut_faces(
    face: np.ndarray, start: np.ndarray, end: np.ndarray, low: np.ndarray, high: np.ndarray, steps: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    n_faces = len(low)
    size, v_step, failed = np.empty((n_faces, 2)), np.empty(n_faces), np.empty(n_faces, np.bool_)
    for row in range(n_faces):
        for c in range(2):
            wide = high[row, c] - low[row, c]
            size[row, c] = 1.0 if wide <= 0 else wide
        failed[row] = not (np.isfinite(size[row, 0]) and np.isfinite(size[row, 1]))
        if failed[row]:
            size[row, 0] = 0.0
        count = _clamp_to_int(np.ceil(size[row, 1] / steps[row, 1] - 1e-6), 1.0, _MAX_LINES)
        v_step[row] = size[row, 1] / count if np.isfinite(steps[row, 1]) else np.inf
    ends, first_piece = _split_steep(face, start, end, size, steps)
    lines, first_line, keys, step_width = _find_lines(ends, first_piece, low, size, steps)
    trapezoids, first = _sweep(_left_to_right(keys, ends), first_piece, lines, first_line, steps, failed)
    line, v = _end_points(trapezoids, lines, low, v_step)
    key = np.empty(len(v))
    for i in range(len(v)):
        row = int(lines[line[i], 1])
        key[i] = min(max(np.rint((v[i] - low[row, 1]) * ((_V_STEPS - 1) / size[row, 1])), 0.0), _V_STEPS - 1.0)
    line, v, point = _merge_points(line, v, key, first_line[-1])
    corners, first_triangle = _triangulate_trapezoids(point, v, first, failed)
    points, first_point = np.empty((len(v), 2)), np.zeros(n_faces + 1, np.int64)
    for i in range(len(v)):
        row = int(lines[line[i], 1])
        points[i, 0], points[i, 1] = low[row, 0] + lines[line[i], 0] * step_width[row], v[i]
        first_point[row + 1] = i + 1
    for row in range(n_faces):
        first_point[row + 1] = max(first_point[row + 1], first_point[row])
    return first_point, first_triangle, points, corners, np.flatnonzero(failed)
