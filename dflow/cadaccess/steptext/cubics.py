"""Cubic splines through points, as the kernel puts them through the points of a curve that it projects on a surface.

``ShapeConstruct_ProjectCurveOnSurface`` takes 23 points of an edge's curve at even parameters (more of a spline of many
knots), and ``Geom2dAPI_Interpolate`` puts a cubic of continuity 2 through them, whose slopes at its ends are those of
the cubics through the first and last four points. How far a face reaches in (u, v) follows the poles of these curves,
and with it every grid on the face; so they are made in the same way here.
"""

from __future__ import annotations

import numpy as np

from dflow.cadaccess.shapecode import Spline

_POINTS = 23

MOST_POINTS = 400
"""More would cost more here than in the kernel."""

_DECAY = 2.0 - np.sqrt(3.0)
"""By how much what happens at one point counts less at the next: ``z + 4 + 1/z = (1 + _DECAY z) (1 + _DECAY / z) /
_DECAY``."""

_SHIFTS = (1, 2, 4, 8, 16)
"""``1 / (1 - x)`` is the product of ``1 + x`` to these powers, as far as digits go."""

_END_SLOPE = np.array([-11.0, 18.0, -9.0, 2.0]) / 6.0
"""Of the cubic through four points a step apart, at the first."""


def count_points(spline: Spline | None, first: float, last: float) -> int:
    """How many points of a curve between two parameters the kernel takes; `spline` is None for lines and conics."""
    if spline is None:
        return _POINTS
    before, after = spline.knots[:-1], spline.knots[1:]
    wanted = int(np.count_nonzero((before < after) & (after > first) & (before < last))) * (spline.degree + 1)
    return _POINTS + (_POINTS - 1) * max(0, -(-(wanted - _POINTS) // (_POINTS - 1)))


def interpolate(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cubics through points at even parameters.

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
