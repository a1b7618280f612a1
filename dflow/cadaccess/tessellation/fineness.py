"""Fineness of a tessellation: the number of chords of curves, and the largest extent of a flat triangle in (u, v).

An arc has at least one chord for each `_ARC` of a turn, as in `trimming`, and two or four where its chords would
deviate by too much of the shape's size: faces that share an arc seldom differ, and their corners then still meet. A
spline turns no more than its control polygon, whose length and turn give the number of chords as for an arc.
"""

from __future__ import annotations

import math

import numpy as np

from dflow.cadaccess.geometry import curves
from dflow.cadaccess.geometry.curves import CurveTable
from dflow.cadaccess.geometry.tables import ShapeTables
from dflow.cadaccess.kernel import bintools
from dflow.cadaccess.kernel.bintools import CIRCLE, CONE, CYLINDER, ELLIPSE, LINE, SPHERE, TORUS
from dflow.cadaccess.tessellation.splines import CONICS, SPLINES, Conics, Splines, pack_conics
from dflow.compiled import arguments, compiled, inlined

_ARC = math.pi / 4
_DEFLECTION = 1e-3
"""Of the shape's size: the deviation of chords above which an arc gets more of them."""
_OPEN_CONIC = 16
"""Pieces of a parabola or hyperbola."""


def edge_pieces(tables: ShapeTables, splines: Splines) -> tuple[float, np.ndarray]:
    """Return the shape's size, about the diagonal of its bounding box in mm, and (K,) int64, into how many straight
    pieces each edge is cut.
    """
    edges = tables.edges
    return _edge_pieces(tables.points, pack_conics(edges), edges.first, edges.last, splines)


def face_steps(tables: ShapeTables, low: np.ndarray, high: np.ndarray, size: float) -> np.ndarray:
    """(F, 2) float64, how far a flat piece may reach in u and in v; inf where the surface is straight.

    Parameters
    ----------
    low, high : (F, 2) float64, the faces' boxes in (u, v)
    size : of the shape, mm
    """
    table = tables.faces
    steps = _axial_steps(table.kind, table.radii, low, high, size)
    for row, spline in table.splines.items():
        for axis, knots in enumerate((spline.knots_u, spline.knots_v)):
            poles = _closed(spline.poles.swapaxes(0, axis), spline.periodic[axis])
            span = float(knots[-1] - knots[0])
            steps[row, axis] = _spline_step(poles.reshape(-1, 3), poles.shape[1], span, size)
    for row, sweep in table.sweeps.items():
        turning = table.kind[row] != bintools.EXTRUSION
        axis = int(turning)
        steps[row, axis] = _sweep_step(sweep, float(high[row, axis] - low[row, axis]), size)
        if turning:
            along = np.linspace(low[row, 1], high[row, 1], 5)
            points = curves.evaluate(sweep, np.zeros(1, int), along[None])[0][0]
            arms = np.cross(points - table.origin[row], table.z[row])
            steps[row, 0] = _arc_step(float(np.linalg.norm(arms, axis=1).max()), size)
    return steps


def _closed(poles: np.ndarray, periodic: bool) -> np.ndarray:
    """Return a copy of the poles, of a period with the first two again, which close its polygon."""
    return np.concatenate([poles, poles[:2]]).copy() if periodic else poles.copy()


def _sweep_step(sweep: CurveTable, span: float, size: float) -> float:
    """The step along a swept curve, over `span` of its parameter."""
    kind = int(sweep.kind[0])
    if kind in (bintools.CIRCLE, bintools.ELLIPSE):
        return _arc_step(float(sweep.radii[0].max()), size)
    if kind in (bintools.PARABOLA, bintools.HYPERBOLA):
        return span / _OPEN_CONIC if span > 0 else np.inf
    spline = sweep.splines.get(0)
    if spline is None:
        return np.inf
    return _spline_step(_closed(spline.poles, spline.periodic), 1, float(spline.knots[-1] - spline.knots[0]), size)


@compiled()
def _clamp_to_int(number: float, low: float, high: float) -> int:
    """`number` cut off to low … high, as an integer; low for NaN."""
    return int(min(number, high)) if number > low else int(low)


@compiled()
def _chords_per_arc(radius: float, size: float) -> int:
    """Return how many chords an eighth of a turn needs: 1, 2 or 4."""
    wanted = abs(radius * (1 - math.cos(0.5 * _ARC))) * (1.0 / (_DEFLECTION * size))
    return 4 if wanted > 4.0 else 2 if wanted > 1.0 else 1


@compiled()
def _polygon(poles: np.ndarray, begin: int, stop: int, by: int) -> tuple[float, float]:
    """Length and turn, in radians, of the control polygon ``poles[begin:stop:by]``."""
    length, turn, last = 0.0, 0.0, 0.0
    for i in range(begin, stop - by, by):
        square = dot = 0.0
        for c in range(3):
            leg = poles[i + by, c] - poles[i, c]
            square += leg * leg
            dot += leg * (poles[i, c] - poles[i - by, c]) if i > begin else 0.0
        here = math.sqrt(square)
        if here > 0 and last > 0:
            turn += math.acos(min(max(dot / (here * last), -1.0), 1.0))
        length, last = length + here, here
    return length, turn


@inlined
def _range_of_chord(length: float, turn: float, span: float, size: float) -> float:
    """Return how much of a parameter range `span` one chord may have."""
    if not turn >= 1e-3:
        return np.inf
    count = math.ceil(turn / _ARC - 1e-6) * _chords_per_arc(length / turn, size)
    step = span / min(max(count, 2), 128)
    return step if step > 0 else np.inf


@compiled("float64(float64, float64)")
def _arc_step(radius: float, size: float) -> float:
    """Return how much of a turn a chord may have."""
    return _ARC / _chords_per_arc(radius, size)


@compiled("float64(float64[:, ::1], int64, float64, float64)")
def _spline_step(poles: np.ndarray, n_columns: int, span: float, size: float) -> float:
    """The range of a flat piece of a spline with `poles` (rows · columns, 3) along its rows; inf where it runs
    straight.
    """
    worst_length = worst_turn = 0.0
    for column in range(n_columns):
        length, turn = _polygon(poles, column, len(poles), n_columns)
        if turn > worst_turn:
            worst_length, worst_turn = length, turn
    return _range_of_chord(worst_length, worst_turn, span, size)


@inlined
def _size(points: np.ndarray, kind: np.ndarray, origin: np.ndarray, radii: np.ndarray, poles: np.ndarray) -> float:
    """About the diagonal of the bounding box of vertices, whole arcs and poles; 1 for nothing."""
    low, high = np.empty(3), np.empty(3)
    for c in range(3):
        low[c], high[c] = np.inf, -np.inf
    for i in range(len(points)):
        _extend(low, high, points, i, 0.0)
    for i in range(len(kind)):
        if kind[i] == CIRCLE or kind[i] == ELLIPSE:
            _extend(low, high, origin, i, max(radii[i, 0], radii[i, 1]))
    for i in range(len(poles)):
        _extend(low, high, poles, i, 0.0)
    if not low[0] <= high[0]:
        return 1.0
    square = (high[0] - low[0]) ** 2 + (high[1] - low[1]) ** 2 + (high[2] - low[2]) ** 2
    return min(max(math.sqrt(square), 1e-6), 1e150)


@inlined
def _extend(low: np.ndarray, high: np.ndarray, points: np.ndarray, row: int, reach: float) -> None:
    if not np.isfinite(points[row, 0] + points[row, 1] + points[row, 2] + reach):
        return
    for c in range(3):
        low[c], high[c] = min(low[c], points[row, c] - reach), max(high[c], points[row, c] + reach)


@compiled(arguments("float64[:, ::1]", CONICS, "float64[::1], float64[::1]", SPLINES))
def _edge_pieces(
    points: np.ndarray, conics: Conics, first: np.ndarray, last: np.ndarray, splines: Splines
) -> tuple[float, np.ndarray]:
    kind, radii, shapes, poles = conics.kind, conics.radii, splines.shapes, splines.poles
    size = _size(points, kind, conics.origin, radii, poles)
    count = np.empty(len(kind), np.int64)
    for row in range(len(kind)):
        count[row] = 1 if kind[row] == LINE else _OPEN_CONIC
        if kind[row] == CIRCLE or kind[row] == ELLIPSE:
            fine = _chords_per_arc(max(radii[row, 0], radii[row, 1]), size)
            count[row] = fine * _clamp_to_int(np.ceil(abs(last[row] - first[row]) / _ARC - 1e-9), 2.0, 1024.0)
    for i in range(len(shapes)):
        row, begin, stop = shapes[i, 0], shapes[i, 1], shapes[i, 1] + shapes[i, 2]
        again = max(shapes[i, 4] - 2, 0) * shapes[i, 5]  # of a period's poles; two of them close its polygon
        length, turn = _polygon(poles, begin, stop - again, 1)
        step = _range_of_chord(length, turn, splines.spans[i], size)
        count[row] = _clamp_to_int(np.ceil(abs(last[row] - first[row]) / step - 1e-6), 1.0, 1024.0)
    return size, count


@compiled("float64[:, ::1](int8[::1], float64[:, ::1], float64[:, ::1], float64[:, ::1], float64)")
def _axial_steps(kind: np.ndarray, radii: np.ndarray, low: np.ndarray, high: np.ndarray, size: float) -> np.ndarray:
    """The steps of cylinders, cones, spheres and tori."""
    steps = np.empty((len(kind), 2))
    for row in range(len(kind)):
        steps[row, 0] = steps[row, 1] = np.inf
        if kind[row] < CYLINDER or kind[row] > TORUS:
            continue
        widest = minor = radii[row, 0]
        if kind[row] == CONE:
            slope = math.sin(radii[row, 1])
            widest = max(abs(widest + low[row, 1] * slope), abs(widest + high[row, 1] * slope))
        elif kind[row] == TORUS:
            minor = radii[row, 1]
            widest += minor
        steps[row, 0] = _ARC / _chords_per_arc(widest, size)
        if kind[row] == SPHERE or kind[row] == TORUS:
            steps[row, 1] = _ARC / _chords_per_arc(minor, size)
    return steps
