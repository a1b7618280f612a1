"""Spline surfaces whose face is the whole of them: its loop runs once around along the four sides."""

from __future__ import annotations

import numpy as np

from dflow.cadaccess import bsplines, curves
from dflow.cadaccess.curves import CurveTable
from dflow.cadaccess.shapecode import LINE, SplineSurface
from dflow.cadaccess.steptext.geometry import Geometry
from dflow.cadaccess.steptext.records import RefusedError

_TOLERANCE = 1e-7
"""mm, the kernel's own ``Precision::Confusion``: an edge that keeps so near a side becomes a line in (u, v)."""

_SHARES = np.linspace(0.0, 1.0, 33)


def trace_sides(geometry: Geometry, edges: np.ndarray, forward: np.ndarray, face: int) -> CurveTable:
    """The lines in (u, v) along which a spline face's loop runs.

    Parameters
    ----------
    edges, forward : (4,), the loop's uses in the order in which it runs.

    Raises
    ------
    RefusedError
        The loop is not the surface's own four sides, counter-clockwise, at the sides' own parameters.
    """
    surface = geometry.faces.splines[face]
    first, last = geometry.edges.first[edges], geometry.edges.last[edges]
    points = curves.evaluate(geometry.edges, edges, first[:, None] + (last - first)[:, None] * _SHARES)[0]
    corners, sides = _boundary(surface)
    found = np.where(forward[:, None, None], points, points[:, ::-1])
    for turn in range(4):
        order = (np.arange(4) + turn) % 4
        if np.abs(found - sides[order]).max() <= _TOLERANCE:
            start = np.where(forward[:, None], corners[order], corners[(order + 1) % 4])
            end = np.where(forward[:, None], corners[(order + 1) % 4], corners[order])
            rate = (end - start) / (last - first)[:, None]
            n = len(edges)
            kind, none = np.full(n, LINE, np.int8), np.zeros((n, 2))
            return CurveTable(kind, start - first[:, None] * rate, rate, none, none, first, last, {})
    raise RefusedError("a spline surface that is cut off within its own sides")


def _boundary(surface: SplineSurface) -> tuple[np.ndarray, np.ndarray]:
    """(4, 2) corners in (u, v), counter-clockwise, and (4, n, 3) the sides from each to the next."""
    low_u, high_u = surface.knots_u[0], surface.knots_u[-1]
    low_v, high_v = surface.knots_v[0], surface.knots_v[-1]
    u, v = low_u + (high_u - low_u) * _SHARES, low_v + (high_v - low_v) * _SHARES
    along_u = bsplines.evaluate_grid(surface, u, v[[0, -1]])[0]
    along_v = bsplines.evaluate_grid(surface, u[[0, -1]], v)[0]
    corners = np.array([(low_u, low_v), (high_u, low_v), (high_u, high_v), (low_u, high_v)])
    return corners, np.stack([along_u[:, 0], along_v[1], along_u[::-1, 1], along_v[0, ::-1]])
