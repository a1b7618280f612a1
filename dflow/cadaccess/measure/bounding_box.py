"""The bounding box of a shape, from its tables wherever they suffice.

Planes, cylinders, cones and extrusions reach no farther than their edges; lines and conics have their extremes in
closed form, spheres and tori too. Free-form faces and edges lie within the hull of their poles: only those whose hull
extends beyond the box of all the rest are computed exactly, faces by the kernel, whose exact boxes can take tens of
milliseconds.
"""

from __future__ import annotations

import numpy as np

from dflow.cadaccess.geometry import bsplines, curves, surfaces
from dflow.cadaccess.geometry.curves import CurveTable
from dflow.cadaccess.geometry.tables import ShapeTables
from dflow.cadaccess.kernel import bintools
from dflow.cadaccess.kernel.bintools import Spline, SplineSurface
from dflow.cadaccess.kernel.shape import KernelShape
from dflow.cadaccess.measure import trimming
from dflow.cadaccess.measure.trimming import Chords

_SLACK = 1e-9
"""Of the largest coordinate: a face that extends beyond the box by less is not computed exactly."""

_RULED = np.isin(np.arange(128), (bintools.PLANE, bintools.CYLINDER, bintools.CONE, bintools.EXTRUSION))
"""By `bintools`' surface kinds."""


def bounding_box(tables: ShapeTables, kernel: KernelShape, chords: Chords, bounds: np.ndarray) -> np.ndarray:
    """(6,) float64, mm: x_min, y_min, z_min, x_max, y_max, z_max of the exact geometry; NaN for an empty shape.

    bounds : (F, 4) float64, the faces' (u, v) bounds.
    """
    edges = tables.edges
    simple = (edges.kind >= bintools.LINE) & (edges.kind <= bintools.ELLIPSE)
    rows = np.flatnonzero(simple)
    ends = np.stack([edges.first[rows], edges.last[rows]], axis=1)
    points = [tables.points, curves.evaluate(edges, rows, ends)[0].reshape(-1, 3)]
    arcs = rows[edges.kind[rows] != bintools.LINE]
    if len(arcs):
        points.append(arc_extremes(edges, arcs).reshape(-1, 3))
    points.append(_round_extremes(tables, chords, bounds))
    every = np.concatenate(points)
    box = _box_of(every[np.isfinite(every).all(axis=1)])
    return _add_free_forms(tables, kernel, chords, np.flatnonzero(~simple & ~tables.edge_degenerate), box)


def _box_of(points: np.ndarray) -> np.ndarray:
    return np.concatenate([points.min(axis=0), points.max(axis=0)]) if len(points) else np.full(6, np.nan)


def _round_extremes(tables: ShapeTables, chords: Chords, bounds: np.ndarray) -> np.ndarray:
    """(n, 3): the points of spheres and tori whose normal runs along an axis, where they lie inside their face."""
    table = tables.faces
    rows = np.flatnonzero(((table.kind == bintools.SPHERE) | (table.kind == bintools.TORUS)) & chords.closed)
    if not len(rows):
        return np.zeros((0, 3))
    across = np.hypot(table.x[rows], table.y[rows])  # (n, 3): how much of each axis lies across the surface's own axis
    u = np.arctan2(table.y[rows], table.x[rows])
    u = np.concatenate([u, u + np.pi] * 2, axis=1)
    near, far = np.arctan2(table.z[rows], across), np.arctan2(table.z[rows], -across)
    v = np.concatenate([near, far, near + np.pi, far + np.pi], axis=1)
    box = bounds[rows]
    u = box[:, :1] + np.mod(u - box[:, :1], 2 * np.pi)
    v = box[:, 2:3] + np.mod(v - box[:, 2:3], 2 * np.pi)
    within = (u <= box[:, 1:2] + trimming.ON_TOLERANCE) & (v <= box[:, 3:] + trimming.ON_TOLERANCE)
    within &= trimming.inside(tables, chords, rows, u, v[..., None])[..., 0]
    return surfaces.evaluate(table, rows, u, v)[0][within]


def _add_free_forms(
    tables: ShapeTables, kernel: KernelShape, chords: Chords, edges: np.ndarray, box: np.ndarray
) -> np.ndarray:
    """Return `box` extended by the free-form edges and by the faces that may reach beyond their edges."""
    done = _RULED[tables.faces.kind]
    done |= ((tables.faces.kind == bintools.SPHERE) | (tables.faces.kind == bintools.TORUS)) & chords.closed
    for row in edges.tolist():
        spline = tables.edges.splines.get(row)
        if spline is None:
            box = _join(box, kernel.edge_box(row))
        elif _sticks_out(spline.poles, box):
            first, last = float(tables.edges.first[row]), float(tables.edges.last[row])
            box = extend_box(box.reshape(2, 3), spline, first, last).ravel()
    for row in np.flatnonzero(~done).tolist():
        surface = tables.faces.splines.get(row)
        if surface is None or _reaches_out(surface, box):
            box = _join(box, kernel.face_box(row))
    return box


def _sticks_out(poles: np.ndarray, box: np.ndarray) -> bool:
    """Return whether the hull of `poles` reaches beyond the box; true for an empty (NaN) box."""
    slack = _SLACK * float(np.abs(box).max(initial=0.0))
    return not bool((poles >= box[:3] - slack).all() and (poles <= box[3:] + slack).all())


def _reaches_out(surface: SplineSurface, box: np.ndarray) -> bool:
    """Return whether a surface, untrimmed, may reach beyond the box; true for an empty box."""
    if not _sticks_out(surface.poles.reshape(-1, 3), box):
        return False
    slack = _SLACK * float(np.abs(box).max(initial=0.0))
    return not lies_within(surface, box[:3] - slack, box[3:] + slack)


def _join(box: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The box of both; NaN stands for an empty one."""
    return np.concatenate([np.fmin(box[:3], other[:3]), np.fmax(box[3:], other[3:])])


_RELATIVE = 1e-12
_MAX_HALVINGS = 50
_MAX_PATCHES = 64


def arc_extremes(table: CurveTable, arcs: np.ndarray) -> np.ndarray:
    """(n, 2 d, d): where the circles and ellipses `arcs` reach farthest along each axis, within their range."""
    big = table.radii[arcs, :1]
    small = np.where(table.kind[arcs] == bintools.CIRCLE, table.radii[arcs, 0], table.radii[arcs, 1])[:, None]
    turn = np.arctan2(small * table.y[arcs], big * table.x[arcs])
    first, last = table.first[arcs][:, None], table.last[arcs][:, None]
    t = np.concatenate([turn, turn + np.pi], axis=1)
    return curves.evaluate(table, arcs, np.minimum(first + np.mod(t - first, 2 * np.pi), last))[0]


def extend_box(box: np.ndarray, spline: Spline, first: float, last: float) -> np.ndarray:
    """Return `box` : (2, d), lowest and highest coordinates, extended by a spline between two parameters, to about
    1e-12 of the largest coordinate.

    Notes
    -----
    A piece lies in the hull of its Bézier poles. It is halved until that reaches no farther than the ends of the pieces
    do; a hull's excess falls by four with each halving.
    """
    breaks = bsplines.span_breaks(spline, min(first, last), max(first, last))
    poles = np.moveaxis(bsplines.bezier_poles(spline, breaks), -1, 0)
    poles, weights = poles[:-1], poles[-1]
    n_axes, n_pieces = poles.shape[:2]
    sides = np.concatenate([-poles, poles]).reshape(-1, poles.shape[2])
    owner = np.repeat(np.arange(2 * n_axes), n_pieces)
    slack = _RELATIVE * float(np.abs(poles / weights).max())
    peak = np.concatenate([-box[0], box[1]])
    _raise_peaks(sides, np.tile(weights, (2 * n_axes, 1)), owner, slack, peak)
    return np.stack([-peak[:n_axes], peak[n_axes:]])


def _raise_peaks(poles: np.ndarray, weights: np.ndarray, owner: np.ndarray, slack: float, peak: np.ndarray) -> None:
    """Raise `peak` : (owners,) to the largest value of any of an owner's Bézier polynomials.

    poles : (n, degree + 1), already multiplied with weights : (n, degree + 1) > 0; slack : by how much the result may
        be too small.
    """
    for _ in range(_MAX_HALVINGS):
        value = poles / weights
        np.maximum.at(peak, owner, np.maximum(value[:, 0], value[:, -1]))
        above = np.flatnonzero(value.max(axis=1) > peak[owner] + slack)
        if not len(above):
            return
        poles, weights = _halve(poles[above]), _halve(weights[above])
        owner = np.tile(owner[above], 2)


def lies_within(surface: SplineSurface, low: np.ndarray, high: np.ndarray) -> bool:
    """Return whether a whole spline surface lies in a box; where that takes too much subdivision, False too."""
    patches = bsplines.bezier_patches(surface)
    for _ in range(_MAX_HALVINGS):
        points = patches[..., :3] / patches[..., 3:]
        outside = (points < low) | (points > high)
        if outside[:, [0, 0, -1, -1], [0, -1, 0, -1]].any():
            return False
        patches = patches[outside.any(axis=(1, 2, 3))]
        if not len(patches):
            return True
        if len(patches) > _MAX_PATCHES:
            return False
        patches = np.swapaxes(_halve(np.swapaxes(_halve(patches), 1, 2)), 1, 2)
    return False


def _halve(poles: np.ndarray) -> np.ndarray:
    """(2 n, p + 1, …) the poles of the left halves, then of the right ones (de Casteljau's algorithm)."""
    left, right = np.empty_like(poles), np.empty_like(poles)
    last = poles.shape[1] - 1
    for step in range(last + 1):
        left[:, step], right[:, last - step] = poles[:, 0], poles[:, -1]
        poles = 0.5 * (poles[:, :-1] + poles[:, 1:])
    return np.concatenate([left, right])
