"""Curves cut into straight pieces: edges in space, and the boundaries of faces in (u, v).

Every boundary is cut as its edge is, so that both faces of an edge meet at its corners.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dflow.cadaccess.kernel import KernelShape
from dflow.cadaccess.slabs import Outline
from dflow.cadaccess.splines import Splines, collect
from dflow.cadaccess.tables import ShapeTables
from dflow.cadaccess.trimming import Chords
from dflow.compiled import compiled
from dflow.errors import CadError

CIRCLE, ELLIPSE, PARABOLA, HYPERBOLA, BEZIER, BSPLINE, OFFSET_CURVE = 2, 3, 4, 5, 6, 7, 9
"""Kinds of curves and ..."""
PLANE = 1
"""... of surfaces, as `shapecode` numbers them."""

_FINEST = 16
"""A boundary has as many pieces as it has chords, up to that."""


def face_outlines(tables: ShapeTables, chords: Chords, known: np.ndarray, n_pieces: np.ndarray) -> Outline:
    """The boundaries of the known faces in straight pieces.

    Parameters
    ----------
    known : (F,) bool; n_pieces : (K,) int64, into how many pieces each edge is cut.
    """
    curves = tables.use_curves
    splines = collect(curves)
    found = _outlines(
        chords.face,
        chords.use,
        chords.t0,
        chords.t1,
        chords.start,
        chords.end,
        chords.sagitta,
        known,
        tables.faces.kind,
        tables.use_edge,
        n_pieces,
        curves.kind,
        curves.origin,
        curves.x,
        curves.y,
        curves.radii,
        splines.number,
        splines.shapes,
        splines.poles,
        splines.weights,
        splines.knots,
    )
    return Outline(*found)


def edge_lines(
    tables: ShapeTables, splines: Splines, kernel: Callable[[], KernelShape], n_pieces: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Polylines of the edges that are not degenerate: (P, 3) float32 points in mm; (n + 1,) int32 where each begins.

    Parameters
    ----------
    splines : the edges' own
    kernel : gives the kernel's view, which evaluates edges that have no table; without any curve they are NaN
    """
    edges = tables.edges
    points, offsets, odd = _edge_lines(
        tables.edge_degenerate,
        edges.first,
        edges.last,
        n_pieces,
        edges.kind,
        edges.origin,
        edges.x,
        edges.y,
        edges.radii,
        splines.number,
        splines.shapes,
        splines.poles,
        splines.weights,
        splines.knots,
    )
    for place, row in odd.tolist():
        own = slice(offsets[place], offsets[place + 1])
        try:
            points[own] = kernel().edge_points(row, np.linspace(*kernel().edge_range(row), own.stop - own.start))[0]
        except CadError:
            points[own] = np.nan  # an edge without any curve: the picture goes without it
    return points, offsets


# -- points on curves


@compiled()
def _conic_terms(kind: int, t: float, big: float, small: float) -> tuple[float, float]:
    """a and b of ``origin + a x + b y``."""
    if kind == CIRCLE:
        return big * np.cos(t), big * np.sin(t)
    if kind == ELLIPSE:
        return big * np.cos(t), small * np.sin(t)
    if kind == PARABOLA:
        return t * t / (4 * big), t
    if kind == HYPERBOLA:
        return big * np.cosh(t), small * np.sinh(t)
    return t, 0.0


@compiled()
def _find_span(knots: np.ndarray, first: int, degree: int, n_poles: int, t: float) -> int:
    """The knot interval, of some length, that t lies in; `first` is where the spline's knots begin."""
    low, high = degree, n_poles
    while high - low > 1:
        middle = (low + high) // 2
        if knots[first + middle] <= t:
            low = middle
        else:
            high = middle
    while low > degree and knots[first + low] == knots[first + low + 1]:
        low -= 1
    return low


@compiled()
def _spline_point(
    shapes: np.ndarray,
    one: int,
    poles: np.ndarray,
    weights: np.ndarray,
    knots: np.ndarray,
    t: float,
    level: np.ndarray,
    out: np.ndarray,
    at: int,
) -> None:
    """Write the point of one spline at t by de Boor's algorithm; level : (degree + 1, d + 1), room for its steps."""
    first_pole, n_poles, first_knot, degree = shapes[one, 1], shapes[one, 2], shapes[one, 3], shapes[one, 4]
    dim = poles.shape[1]
    low, high = knots[first_knot + degree], knots[first_knot + n_poles]
    if shapes[one, 5] and (t < low or t > high):
        t = low + (t - low) % (high - low)
    span = _find_span(knots, first_knot, degree, n_poles, t)
    for i in range(degree + 1):
        pole = first_pole + span - degree + i
        level[i, dim] = weights[pole]
        for c in range(dim):
            level[i, c] = poles[pole, c] * weights[pole]
    for step in range(1, degree + 1):
        for i in range(degree, step - 1, -1):
            left = knots[first_knot + span - degree + i]
            right = knots[first_knot + span + 1 + i - step]
            share = (t - left) / (right - left)
            for c in range(dim + 1):
                level[i, c] = (1.0 - share) * level[i - 1, c] + share * level[i, c]
    for c in range(dim):
        out[at, c] = level[degree, c] / level[degree, dim]


@compiled()
def _trace(
    row: int,
    t0: float,
    t1: float,
    count: int,
    kind: np.ndarray,
    origin: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    radii: np.ndarray,
    number: np.ndarray,
    shapes: np.ndarray,
    poles: np.ndarray,
    weights: np.ndarray,
    knots: np.ndarray,
    level: np.ndarray,
    out: np.ndarray,
    at: int,
) -> None:
    """Write the count + 1 points that cut a curve evenly from t0 to t1; NaN where a spline is missing."""
    one = -1
    if kind[row] == BEZIER or kind[row] == BSPLINE:
        one = number[row] if row < len(number) else -1
        if one < 0:
            t0 = np.nan
    for k in range(count + 1):
        along = k / count
        t = t0 * (1 - along) + t1 * along
        if one >= 0:
            _spline_point(shapes, one, poles, weights, knots, t, level, out, at + k)
            continue
        a, b = _conic_terms(kind[row], t, radii[row, 0], radii[row, 1])
        for c in range(out.shape[1]):
            out[at + k, c] = (a * x[row, c] + b * y[row, c]) + origin[row, c]


@compiled()
def _room_for_splines(shapes: np.ndarray, dim: int) -> np.ndarray:
    """Room for de Boor's algorithm with any of the splines."""
    degree = 0
    for i in range(len(shapes)):
        degree = max(degree, shapes[i, 4])
    return np.empty((degree + 1, dim + 1))


# -- outlines


@compiled()
def _end_of_curve(begin: int, use: np.ndarray, t0: np.ndarray, t1: np.ndarray) -> int:
    """Behind the last chord of the use that begins with a chord; `trimming` bridges gaps by chords of their own."""
    stop, gap = begin + 1, t0[begin] == t1[begin]
    while stop < len(use) and use[stop] == use[begin] and (t0[stop] == t1[stop]) == gap:
        stop += 1
    return stop


@compiled()
def _count_pieces(n_chords: int, wanted: int, bent: bool, flat: bool) -> int:
    """How many pieces a use is cut into. A curve that hardly bends in space may bend in (u, v): there every piece of
    the edge is cut once more, evenly.
    """
    least = 1 if flat else min(n_chords, _FINEST)
    return wanted * -(-least // wanted) if bent else 1


@compiled(
    "Tuple((int32[::1], float64[:, ::1], float64[:, ::1], float64[:, ::1], float64[:, ::1]))"
    "(int32[::1], int64[::1], float64[::1], float64[::1], float64[:, ::1], float64[:, ::1], float64[::1], "
    "boolean[::1], int8[::1], int32[:], int64[::1], int8[::1], float64[:, ::1], float64[:, ::1], float64[:, ::1], "
    "float64[:, ::1], int32[::1], int64[:, ::1], float64[:, ::1], float64[::1], float64[::1])"
)
def _outlines(
    chord_face: np.ndarray,
    use: np.ndarray,
    t0: np.ndarray,
    t1: np.ndarray,
    chord_start: np.ndarray,
    chord_end: np.ndarray,
    sagitta: np.ndarray,
    known: np.ndarray,
    surface: np.ndarray,
    use_edge: np.ndarray,
    n_pieces: np.ndarray,
    kind: np.ndarray,
    origin: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    radii: np.ndarray,
    number: np.ndarray,
    shapes: np.ndarray,
    poles: np.ndarray,
    weights: np.ndarray,
    knots: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`Outline`'s arrays."""
    total = most = begin = 0
    counts = np.empty(len(use), np.int64)  # at each curve's first chord
    while begin < len(use):
        stop, row = _end_of_curve(begin, use, t0, t1), chord_face[begin]
        wanted = max(n_pieces[use_edge[use[begin]]], 1)
        count = _count_pieces(stop - begin, wanted, sagitta[begin] > 0, surface[row] == PLANE) if known[row] else 0
        counts[begin] = count
        total, most, begin = total + count, max(most, count), stop
    face, start, end = np.empty(total, np.int32), np.empty((total, 2)), np.empty((total, 2))
    low, high = np.zeros((len(known), 2)), np.zeros((len(known), 2))
    level, corners = _room_for_splines(shapes, 2), np.empty((most + 1, 2))
    at = begin = 0
    while begin < len(use):
        stop, row, count = _end_of_curve(begin, use, t0, t1), chord_face[begin], counts[begin]
        if count > 1:
            _trace(
                use[begin], t0[begin], t1[stop - 1], count,
                kind, origin, x, y, radii, number, shapes, poles, weights, knots, level, corners, 0,
            )  # fmt: skip
        for c in range(2):
            corners[0, c], corners[count, c] = chord_start[begin, c], chord_end[stop - 1, c]
            if count > 0 and (at == 0 or face[at - 1] != row):
                low[row, c] = high[row, c] = corners[0, c]
        for k in range(count):
            face[at] = row
            for c in range(2):
                start[at, c], end[at, c] = corners[k, c], corners[k + 1, c]
                low[row, c] = min(low[row, c], start[at, c], end[at, c])
                high[row, c] = max(high[row, c], start[at, c], end[at, c])
            at += 1
        begin = stop
    return face, start, end, low, high


# -- edges


@compiled(
    "Tuple((float32[:, ::1], int32[::1], int64[:, ::1]))"
    "(boolean[::1], float64[::1], float64[::1], int64[::1], int8[::1], float64[:, ::1], float64[:, ::1], "
    "float64[:, ::1], float64[:, ::1], int32[::1], int64[:, ::1], float64[:, ::1], float64[::1], float64[::1])"
)
def _edge_lines(
    degenerate: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    n_pieces: np.ndarray,
    kind: np.ndarray,
    origin: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    radii: np.ndarray,
    number: np.ndarray,
    shapes: np.ndarray,
    poles: np.ndarray,
    weights: np.ndarray,
    knots: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points and offsets; (k, 2) place and row of the edges that have no table."""
    n_edges = n_points = n_odd = 0
    for row in range(len(kind)):
        if not degenerate[row]:
            n_edges, n_points = n_edges + 1, n_points + n_pieces[row] + 1
            n_odd += kind[row] == 0 or kind[row] == OFFSET_CURVE
    exact, offsets = np.empty((n_points, 3)), np.zeros(n_edges + 1, np.int32)
    odd = np.empty((n_odd, 2), np.int64)
    level = _room_for_splines(shapes, 3)
    place = at = n_odd = 0
    for row in range(len(kind)):
        if degenerate[row]:
            continue
        if kind[row] == 0 or kind[row] == OFFSET_CURVE:
            odd[n_odd, 0], odd[n_odd, 1] = place, row
            n_odd += 1
        _trace(
            row, first[row], last[row], n_pieces[row],
            kind, origin, x, y, radii, number, shapes, poles, weights, knots, level, exact, at,
        )  # fmt: skip
        place, at = place + 1, at + n_pieces[row] + 1
        offsets[place] = at
    points = np.empty((n_points, 3), np.float32)
    for i in range(n_points):
        for c in range(3):
            points[i, c] = exact[i, c]
    return points, offsets, odd
