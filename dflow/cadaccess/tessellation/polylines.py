"""Curves cut into straight pieces: edges in space, and the boundaries of faces in (u, v).

Every boundary is cut as its edge is, so that both faces of an edge meet at its corners.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dflow.cadaccess.geometry.tables import ShapeTables
from dflow.cadaccess.kernel.bintools import BEZIER, BSPLINE, OFFSET_CURVE, PLANE, TORUS
from dflow.cadaccess.kernel.shape import KernelShape
from dflow.cadaccess.measure.trimming import Chords
from dflow.cadaccess.tessellation.splines import (
    CONICS,
    SPLINES,
    Conics,
    Splines,
    basis_functions,
    conic_terms,
    pack_conics,
    pack_splines,
)
from dflow.cadaccess.tessellation.triangulation import Outline
from dflow.compiled import arguments, compiled, inlined, record
from dflow.errors import CadError

_FINEST = 16
"""A boundary has as many pieces as it has chords, up to that."""


class _Chords(NamedTuple):
    """The arrays of `Chords` by chord, and which faces close."""

    face: np.ndarray
    use: np.ndarray
    t0: np.ndarray
    t1: np.ndarray
    start: np.ndarray
    end: np.ndarray
    sagitta: np.ndarray
    closed: np.ndarray


_CHORDS = record(
    _Chords,
    "int32[::1], int64[::1], float64[::1], float64[::1], float64[:, ::1], float64[:, ::1], float64[::1], boolean[::1]",
)


def face_outlines(tables: ShapeTables, chords: Chords, n_pieces: np.ndarray) -> tuple[Outline, np.ndarray]:
    """Return the boundaries in straight pieces of the faces that close and have a table; and (b,) int64, the rows of
    the others.

    Parameters
    ----------
    n_pieces : (K,) int64, into how many pieces each edge is cut
    """
    curves, faces = tables.use_curves, tables.faces
    free = np.zeros(len(faces.kind), np.bool_)
    if faces.splines or faces.sweeps:
        free |= faces.evaluable
    cuts = _Chords(
        chords.face, chords.use, chords.t0, chords.t1, chords.start, chords.end, chords.sagitta, chords.closed
    )
    *outline, rest = _outlines(
        cuts, free, faces.kind, tables.use_edge, n_pieces, pack_conics(curves), pack_splines(curves)
    )
    return Outline(*outline), rest


def edge_lines(
    tables: ShapeTables, splines: Splines, kernel: Callable[[], KernelShape], n_pieces: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Polylines of the edges that are not degenerate: (P, 3) float32 points in mm; (n + 1,) int32 where each begins.

    Parameters
    ----------
    splines : the edges' own
    kernel : returns the kernel's shape, which evaluates edges that have no table; edges without any curve are NaN
    """
    edges = tables.edges
    points, offsets, untabled = _edge_lines(
        tables.edge_degenerate, edges.first, edges.last, n_pieces, pack_conics(edges), splines
    )
    for place, row in untabled.tolist():
        own = slice(offsets[place], offsets[place + 1])
        try:
            points[own] = kernel().edge_points(row, np.linspace(*kernel().edge_range(row), own.stop - own.start))[0]
        except CadError:
            points[own] = np.nan  # an edge without any curve, which pictures leave out
    return points, offsets


# -- points on curves


@compiled()
def _trace_conic(conics: Conics, row: int, t0: float, t1: float, count: int, out: np.ndarray, at: int) -> None:
    """Write the count + 1 points that cut a line or conic evenly from t0 to t1."""
    kind, origin, x, y, radii = conics.kind, conics.origin, conics.x, conics.y, conics.radii
    for k in range(count + 1):
        along = k / count
        a, b, _, _ = conic_terms(kind[row], t0 * (1 - along) + t1 * along, radii[row, 0], radii[row, 1])
        for c in range(out.shape[1]):
            out[at + k, c] = (a * x[row, c] + b * y[row, c]) + origin[row, c]


@compiled()
def _trace_spline(
    splines: Splines, one: int, t0: float, t1: float, count: int, values: np.ndarray, out: np.ndarray, at: int
) -> None:
    """Write the count + 1 points that cut a spline evenly from t0 to t1; `values` is the work array of
    `basis_functions`.
    """
    shapes, poles, weights, knots = splines.shapes, splines.poles, splines.weights, splines.knots
    n_poles, first_knot, degree, wrap = shapes[one, 2], shapes[one, 3], shapes[one, 4], shapes[one, 5] != 0
    for k in range(count + 1):
        along = k / count
        t = t0 * (1 - along) + t1 * along
        first, total = shapes[one, 1] + basis_functions(knots, first_knot, degree, n_poles, wrap, t, values), 0.0
        for i in range(degree + 1):
            values[0, i] *= weights[first + i]
            total += values[0, i]
        for c in range(out.shape[1]):
            point = 0.0
            for i in range(degree + 1):
                point += values[0, i] * poles[first + i, c]
            out[at + k, c] = point / total


@inlined
def _spline_of(row: int, kind: np.ndarray, number: np.ndarray) -> int:
    """The number of a curve's spline; -1 for lines and conics, -2 for a spline that is missing."""
    if kind[row] != BEZIER and kind[row] != BSPLINE:
        return -1
    return number[row] if row < len(number) and number[row] >= 0 else -2


@inlined
def _fill_nan(count: int, out: np.ndarray, at: int) -> None:
    """Write count + 1 points of NaN."""
    for k in range(count + 1):
        for c in range(out.shape[1]):
            out[at + k, c] = np.nan


@inlined
def _allocate_basis(shapes: np.ndarray) -> np.ndarray:
    """Allocate the work array of `basis_functions` for any of the splines."""
    degree = 0
    for i in range(len(shapes)):
        degree = max(degree, shapes[i, 4])
    return np.empty((2, degree + 1))


# -- outlines


@inlined
def _first_chords(use: np.ndarray, t0: np.ndarray, t1: np.ndarray) -> np.ndarray:
    """(curves + 1,) where each use's chords begin; the chords by which `trimming` bridges gaps count apart."""
    first = np.empty(len(use) + 1, np.int64)
    n = 0
    for i in range(len(use)):
        if i == 0 or use[i] != use[i - 1] or (t0[i] == t1[i]) != (t0[i - 1] == t1[i - 1]):
            first[n] = i
            n += 1
    first[n] = len(use)
    return first[: n + 1]


@inlined
def _count_pieces(n_chords: int, wanted: int, bent: bool, flat: bool) -> int:
    """Return how many pieces a use is cut into. A curve that hardly bends in space may bend in (u, v): there every
    piece of the edge is cut once more, evenly.
    """
    least = 1 if flat else min(n_chords, _FINEST)
    return wanted * -(-least // wanted) if bent else 1


@inlined
def _known_faces(closed: np.ndarray, free: np.ndarray, surface: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(F,) bool, faces that close and are planes, axial or `free`; and the rows of the others."""
    known, rest = np.empty(len(closed), np.bool_), np.empty(len(closed), np.int64)
    n_rest = 0
    for row in range(len(closed)):
        known[row] = closed[row] and (free[row] or PLANE <= surface[row] <= TORUS)
        if not known[row]:
            rest[n_rest] = row
            n_rest += 1
    return known, rest[:n_rest]


@compiled(arguments(_CHORDS, "boolean[::1], int8[::1], int32[:], int64[::1]", CONICS, SPLINES))
def _outlines(
    chords: _Chords,
    free: np.ndarray,
    surface: np.ndarray,
    use_edge: np.ndarray,
    n_pieces: np.ndarray,
    conics: Conics,
    splines: Splines,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`Outline`'s arrays, and the rows of the other faces."""
    use, t0, t1 = chords.use, chords.t0, chords.t1
    known, rest = _known_faces(chords.closed, free, surface)
    first, total = _first_chords(use, t0, t1), 0
    counts = np.empty(len(first) - 1, np.int64)
    for curve in range(len(counts)):
        begin, n_chords = first[curve], first[curve + 1] - first[curve]
        row, wanted = chords.face[begin], max(n_pieces[use_edge[use[begin]]], 1)
        count = _count_pieces(n_chords, wanted, chords.sagitta[begin] > 0, surface[row] == PLANE)
        counts[curve] = count if known[row] else 0
        total += counts[curve]
    face, start, end = np.empty(total, np.int32), np.empty((total, 2)), np.empty((total, 2))
    low, high = np.zeros((len(known), 2)), np.zeros((len(known), 2))
    values, corners = _allocate_basis(splines.shapes), np.empty((total + len(counts), 2))
    at, corner = 0, first[0]
    for curve in range(len(counts)):
        begin, last, count = first[curve], first[curve + 1] - 1, counts[curve]
        row = chords.face[begin]
        if count > 1:
            one = _spline_of(use[begin], conics.kind, splines.number)
            if one >= 0:
                _trace_spline(splines, one, t0[begin], t1[last], count, values, corners, corner)
            elif one == -1:
                _trace_conic(conics, use[begin], t0[begin], t1[last], count, corners, corner)
            else:
                _fill_nan(count, corners, corner)
        for c in range(2):
            corners[corner, c], corners[corner + count, c] = chords.start[begin, c], chords.end[last, c]
            if count > 0 and (at == 0 or face[at - 1] != row):
                low[row, c] = high[row, c] = corners[corner, c]
        for k in range(corner, corner + count):
            face[at] = row
            for c in range(2):
                start[at, c], end[at, c] = corners[k, c], corners[k + 1, c]
                low[row, c] = min(low[row, c], start[at, c], end[at, c])
                high[row, c] = max(high[row, c], start[at, c], end[at, c])
            at += 1
        corner += count + 1
    return face, start, end, low, high, rest


# -- edges


@compiled(arguments("boolean[::1], float64[::1], float64[::1], int64[::1]", CONICS, SPLINES))
def _edge_lines(
    degenerate: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    n_pieces: np.ndarray,
    conics: Conics,
    splines: Splines,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points and offsets; (k, 2) place and row of the edges that have no table."""
    kind = conics.kind
    first_point, untabled = np.zeros(len(kind) + 1, np.int64), np.empty((len(kind), 2), np.int64)
    n_edges = n_odd = 0
    for row in range(len(kind)):
        first_point[row + 1] = first_point[row]
        if degenerate[row]:
            continue
        if kind[row] == 0 or kind[row] == OFFSET_CURVE:
            untabled[n_odd, 0], untabled[n_odd, 1] = n_edges, row
            n_odd += 1
        first_point[row + 1] += n_pieces[row] + 1
        n_edges += 1
    n_points = first_point[-1]
    exact, points = np.empty((n_points, 3)), np.empty((n_points, 3), np.float32)
    offsets, values = np.zeros(n_edges + 1, np.int32), _allocate_basis(splines.shapes)
    place = 0
    for row in range(len(kind)):
        if degenerate[row]:
            continue
        at, count, one = first_point[row], n_pieces[row], _spline_of(row, kind, splines.number)
        if one >= 0:
            _trace_spline(splines, one, first[row], last[row], count, values, exact, at)
        elif one == -1:
            _trace_conic(conics, row, first[row], last[row], count, exact, at)
        else:
            _fill_nan(count, exact, at)
        place += 1
        offsets[place] = first_point[row + 1]
    for i in range(n_points):
        for c in range(3):
            points[i, c] = exact[i, c]
    return points, offsets, untabled[:n_odd]
