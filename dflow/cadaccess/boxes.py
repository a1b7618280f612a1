"""The bounding box of a shape, from its tables wherever they suffice.

Planes, cylinders, cones and extrusions reach no farther than their edges; lines and conics have their extremes in
closed form, spheres and tori too. Free-form faces and edges lie within the hull of their poles: only those whose hull
sticks out of the box of all the rest are looked at closer, faces by the kernel, whose exact boxes can take tens of
milliseconds.
"""

from __future__ import annotations

import numpy as np

from dflow.cadaccess import curves, extremes, shapecode, surfaces, trimming
from dflow.cadaccess.kernel import KernelShape
from dflow.cadaccess.shapecode import SplineSurface
from dflow.cadaccess.tables import ShapeTables
from dflow.cadaccess.trimming import Chords

_SLACK = 1e-9
"""Of the largest coordinate: what a face may reach beyond the box and still not be looked at."""

_RULED = np.isin(np.arange(128), (shapecode.PLANE, shapecode.CYLINDER, shapecode.CONE, shapecode.EXTRUSION))
"""By `shapecode`'s surface kinds."""


def bounding_box(tables: ShapeTables, kernel: KernelShape, chords: Chords, bounds: np.ndarray) -> np.ndarray:
    """(6,) float64, mm: x_min, y_min, z_min, x_max, y_max, z_max of the exact geometry; NaN for an empty shape.

    bounds : (F, 4) float64, the faces' (u, v) bounds.
    """
    edges = tables.edges
    simple = (edges.kind >= shapecode.LINE) & (edges.kind <= shapecode.ELLIPSE)
    rows = np.flatnonzero(simple)
    ends = np.stack([edges.first[rows], edges.last[rows]], axis=1)
    points = [tables.points, curves.evaluate(edges, rows, ends)[0].reshape(-1, 3)]
    arcs = rows[edges.kind[rows] != shapecode.LINE]
    if len(arcs):
        points.append(extremes.arc_extremes(edges, arcs).reshape(-1, 3))
    points.append(_round_extremes(tables, chords, bounds))
    every = np.concatenate(points)
    box = _box_of(every[np.isfinite(every).all(axis=1)])
    return _add_free_forms(tables, kernel, chords, np.flatnonzero(~simple & ~tables.edge_degenerate), box)


def _box_of(points: np.ndarray) -> np.ndarray:
    return np.concatenate([points.min(axis=0), points.max(axis=0)]) if len(points) else np.full(6, np.nan)


def _round_extremes(tables: ShapeTables, chords: Chords, bounds: np.ndarray) -> np.ndarray:
    """(n, 3): the points of spheres and tori whose normal runs along an axis, where they lie inside their face."""
    table = tables.faces
    rows = np.flatnonzero(((table.kind == shapecode.SPHERE) | (table.kind == shapecode.TORUS)) & chords.closed)
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
    """`box` widened by the free-form edges and by the faces that may reach beyond their edges."""
    done = _RULED[tables.faces.kind]
    done |= ((tables.faces.kind == shapecode.SPHERE) | (tables.faces.kind == shapecode.TORUS)) & chords.closed
    for row in edges.tolist():
        spline = tables.edges.splines.get(row)
        if spline is None:
            box = _join(box, kernel.edge_box(row))
        elif _sticks_out(spline.poles, box):
            first, last = float(tables.edges.first[row]), float(tables.edges.last[row])
            box = extremes.widen(box.reshape(2, 3), spline, first, last).ravel()
    for row in np.flatnonzero(~done).tolist():
        surface = tables.faces.splines.get(row)
        if surface is None or _reaches_out(surface, box):
            box = _join(box, kernel.face_box(row))
    return box


def _sticks_out(poles: np.ndarray, box: np.ndarray) -> bool:
    """Whether the hull of `poles` reaches beyond the box; true for an empty (NaN) box."""
    slack = _SLACK * float(np.abs(box).max(initial=0.0))
    return not bool((poles >= box[:3] - slack).all() and (poles <= box[3:] + slack).all())


def _reaches_out(surface: SplineSurface, box: np.ndarray) -> bool:
    """Whether a surface, untrimmed, may reach beyond the box; true for an empty box."""
    if not _sticks_out(surface.poles.reshape(-1, 3), box):
        return False
    slack = _SLACK * float(np.abs(box).max(initial=0.0))
    return not extremes.lies_within(surface, box[:3] - slack, box[3:] + slack)


def _join(box: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The box of both; NaN stands for an empty one."""
    return np.concatenate([np.fmin(box[:3], other[:3]), np.fmax(box[3:], other[3:])])
