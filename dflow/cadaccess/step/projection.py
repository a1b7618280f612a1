"""Curves in space projected into a surface's (u, v), orthogonally and in closed form; and cubics through points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dflow.cadaccess.geometry import curves
from dflow.cadaccess.kernel.bintools import CONE, CYLINDER, TORUS, Spline
from dflow.cadaccess.step.geometric_items import Geometry


@dataclass(frozen=True, slots=True)
class Projected:
    """Curves projected onto their surfaces at parameters t : (n, m).

    Attributes
    ----------
    u, v, du, dv : (n, m) float64, the projection and its derivatives.
    rho : (n, m) float64, mm, distance from the surface's axis; off : (n, m), mm, signed distance from the surface;
        speed : (n, m), mm per unit of t.
    """

    u: np.ndarray
    v: np.ndarray
    du: np.ndarray
    dv: np.ndarray
    rho: np.ndarray
    off: np.ndarray
    speed: np.ndarray

    def take(self, rows: np.ndarray) -> Projected:
        """Return the rows of some of the curves."""
        columns = (self.u, self.v, self.du, self.dv, self.rho, self.off, self.speed)
        return Projected(*(column[rows] for column in columns))


def project(geometry: Geometry, face: np.ndarray, edge: np.ndarray, t: np.ndarray) -> Projected:
    """Project orthogonally onto cylinders, cones, spheres and tori (``ElSLib::Parameters``), with its derivative."""
    faces = geometry.faces
    points, slopes = curves.evaluate(geometry.edges, edge, t)
    frame = np.stack([faces.x[face], faces.y[face], faces.z[face]], axis=2)
    at = (points - faces.origin[face][:, None]) @ frame
    go = slopes @ frame
    x, y, z = at[..., 0], at[..., 1], at[..., 2]
    rho = np.sqrt(x * x + y * y)
    safe = np.maximum(rho, 1e-300)
    cos, sin = x / safe, y / safe
    outward, round_ = go[..., 0] * cos + go[..., 1] * sin, (go[..., 1] * cos - go[..., 0] * sin) / safe
    u, up = np.arctan2(y, x), go[..., 2]
    v, dv, off = np.empty_like(u), np.empty_like(u), np.empty_like(u)
    kind, radii = faces.kind[face], faces.radii[face]
    for value in np.unique(kind).tolist():
        k = kind == value
        big, small = radii[k, :1], radii[k, 1:]
        if value == CYLINDER:
            v[k], dv[k], off[k] = z[k], up[k], rho[k] - big
        elif value == CONE:
            # On the far side of the apex the radius counts as negative and the angle turns by half.
            beyond = big + z[k] * np.tan(small) < 0
            side = np.where(beyond, -1.0, 1.0)
            u[k] += np.where(beyond, np.pi, 0.0)
            reach, pull = side * rho[k] - big, side * outward[k]
            v[k], dv[k] = reach * np.sin(small) + z[k] * np.cos(small), pull * np.sin(small) + up[k] * np.cos(small)
            off[k] = reach * np.cos(small) - z[k] * np.sin(small)
        else:
            reach = rho[k] - big if value == TORUS else rho[k]
            v[k], length = np.arctan2(z[k], reach), reach**2 + z[k] ** 2
            dv[k] = (up[k] * reach - outward[k] * z[k]) / np.maximum(length, 1e-300)
            off[k] = np.sqrt(length) - (small if value == TORUS else big)
    return Projected(u, v, round_, dv, rho, off, np.sqrt(np.einsum("nmk,nmk->nm", slopes, slopes)))


_POINTS = 23

MOST_POINTS = 400
"""With more points the kernel is faster."""

_DECAY = 2.0 - np.sqrt(3.0)
"""The factor by which the influence of a point falls from one to the next: ``z + 4 + 1/z = (1 + _DECAY z) (1 + _DECAY /
z) / _DECAY``.
"""

_SHIFTS = (1, 2, 4, 8, 16)
"""``1 / (1 - x)`` is the product of ``1 + x`` to these powers, as far as digits go."""

_END_SLOPE = np.array([-11.0, 18.0, -9.0, 2.0]) / 6.0
"""Of the cubic through four points a step apart, at the first."""


def count_points(spline: Spline | None, first: float, last: float) -> int:
    """Return how many points of a curve between two parameters the kernel interpolates; `spline` is None for lines and
    conics.
    """
    if spline is None:
        return _POINTS
    before, after = spline.knots[:-1], spline.knots[1:]
    wanted = int(np.count_nonzero((before < after) & (after > first) & (before < last))) * (spline.degree + 1)
    return _POINTS + (_POINTS - 1) * max(0, -(-(wanted - _POINTS) // (_POINTS - 1)))


def interpolate(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Interpolate points at evenly spaced parameters by cubics.

    Parameters
    ----------
    points : (m, n, d) float64, of m curves.

    Returns
    -------
    (m, n + 2, d) float64, the poles over `flat_knots`, and (m, n - 1, d), the cubics halfway between the points.
    """
    slopes = _slopes(points)
    after, before = points[:, :-1] + slopes[:, :-1] / 3.0, points[:, 1:] - slopes[:, 1:] / 3.0
    inner = 2.0 * after[:, 1:] - before[:, 1:]
    poles = np.concatenate([points[:, :1], after[:, :1], inner, before[:, -1:], points[:, -1:]], axis=1)
    return poles, 0.125 * (points[:, :-1] + 3.0 * (after + before) + points[:, 1:])


def flat_knots(first: float, last: float, n: int) -> np.ndarray:
    """(n + 6,) float64: n different knots, the outermost four times."""
    return np.concatenate([np.full(3, first), np.linspace(first, last, n), np.full(3, last)])


def _slopes(points: np.ndarray) -> np.ndarray:
    """(m, n, d): slopes at the points, the step of the parameter between them taken as 1.

    They solve ``s[i - 1] + 4 s[i] + s[i + 1] = 3 (p[i + 1] - p[i - 1])`` between given ends: one filter forwards and
    one backwards, then the homogeneous solutions that fit the ends.
    """
    n = points.shape[1]
    slopes = np.zeros_like(points)
    slopes[:, 1:-1] = 3.0 * (points[:, 2:] - points[:, :-2])
    for run in (slopes, slopes[:, ::-1]):
        for shift in _SHIFTS:
            run[:, shift:] += (-_DECAY) ** shift * run[:, :-shift]
    slopes *= _DECAY
    fading = (-_DECAY) ** np.arange(n)[:, None]
    far = fading[-1, 0]
    start = np.einsum("i,mid->md", _END_SLOPE, points[:, :4]) - slopes[:, 0]
    end = -np.einsum("i,mid->md", _END_SLOPE, points[:, :-5:-1]) - slopes[:, -1]
    share = 1.0 - far * far
    slopes += ((start - far * end) / share)[:, None] * fading + ((end - far * start) / share)[:, None] * fading[::-1]
    return slopes
