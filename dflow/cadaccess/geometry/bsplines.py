"""B-spline and Bézier evaluation in numpy (The NURBS Book, Piegl and Tiller, algorithms A2.2 and A4.1 to A4.4,
vectorised).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dflow.cadaccess.geometry.runs import run_starts
from dflow.cadaccess.kernel.bintools import Spline, SplineSurface

_SAME_KNOT = 1e-9
"""The distance within which the kernel counts two parameters as the same (``Precision::PConfusion``)."""


def unroll(knots: np.ndarray, degree: int, n_poles: int) -> tuple[np.ndarray, np.ndarray]:
    """Flat knots and pole indices of a periodic spline as an open one over one period.

    The kernel stores a periodic spline with its end knots' multiplicity m and ``sum(mult) - m`` poles; its first basis
    function starts at the knot ``degree + 1 - m`` places before the first stored one.
    """
    period = knots[-1] - knots[0]
    first_times = int(np.count_nonzero(knots == knots[0]))
    inner = knots[: len(knots) - first_times]  # one period without its closing knot
    need = degree + 1 - first_times
    before = inner[len(inner) - need :] - period if need > 0 else inner[:0]
    wanted = n_poles + 2 * degree + 1
    line = [before, inner]
    total, turn = len(before) + len(inner), 1
    while total < wanted:
        line.append(inner + turn * period)
        total += len(inner)
        turn += 1
    flat = np.concatenate(line)[:wanted]
    poles = np.arange(n_poles + degree) % n_poles
    return flat, poles


def find_spans(knots: np.ndarray, degree: int, n_poles: int, t: np.ndarray) -> np.ndarray:
    """(m,) int64: the knot interval, of some length, that each parameter lies in."""
    span = np.searchsorted(knots, t, side="right") - 1
    np.minimum(span, n_poles - 1, out=span)
    np.maximum(span, degree, out=span)
    if knots[n_poles - 1] < knots[n_poles]:  # elsewhere a knot at or below t is followed by one above
        return span
    # A span of no length (the parameter beyond a repeated end knot) would divide by zero.
    while np.any(empty := (knots[span] == knots[span + 1]) & (span > degree)):
        span = np.where(empty, span - 1, span)
    return span


def basis(knots: np.ndarray, degree: int, span: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The degree + 1 non-zero basis functions and their first derivatives in the knot intervals `span`, (m, degree + 1)
    each.
    """
    near = knots.take(
        np.arange(1 - degree, degree + 1)[:, None] + span
    )  # one row per knot, so that rows are contiguous
    to_right, to_left = near[degree:] - t, t - near[:degree]
    values = np.ones((1, len(t)))
    lower = values
    for p in range(1, degree + 1):
        lower = values
        values = np.empty((p + 1, len(t)))
        right, left = to_right[:p], to_left[degree - p :]
        share = lower / (right + left)
        values[:-1] = right * share
        values[-1] = 0.0
        values[1:] += left * share
    slopes = np.zeros_like(values)
    if degree:
        share = degree * lower / (near[degree:] - near[:degree])
        slopes[:-1] -= share
        slopes[1:] += share
    return values.T, slopes.T


def _wrap(t: np.ndarray, low: float, high: float) -> np.ndarray:
    """Parameters moved into the period [low, high]."""
    return np.where((t < low) | (t > high), low + np.mod(t - low, high - low), t)


def _open_form(
    knots: np.ndarray, degree: int, n_poles: int, periodic: bool, t: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flat knots and pole indices of the spline as an open one, and the parameters moved into its range."""
    if not periodic:
        return knots, np.arange(n_poles), t
    knots, index = unroll(knots, degree, n_poles)
    return knots, index, _wrap(t, knots[degree], knots[degree + n_poles])


def matrices(
    knots: np.ndarray, degree: int, n_poles: int, periodic: bool, t: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Basis matrices (m, n_poles): values and slopes at t, to be multiplied with the poles."""
    knots, index, t = _open_form(knots, degree, n_poles, periodic, t)
    span = find_spans(knots, degree, len(index), t)
    values, slopes = basis(knots, degree, span, t)
    rows, columns = np.arange(len(t))[:, None], index[span[:, None] + np.arange(-degree, 1)]
    dense, dense_slopes = np.zeros((len(t), n_poles)), np.zeros((len(t), n_poles))
    np.add.at(dense, (rows, columns), values)
    np.add.at(dense_slopes, (rows, columns), slopes)
    return dense, dense_slopes


def evaluate_curves(splines: Sequence[Spline], sizes: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points and first derivatives, (m, d) each, of several splines at their own parameters.

    Parameters
    ----------
    sizes : how many of t : (m,) belong to each spline, one after the other.
    """
    degrees = np.array([spline.degree for spline in splines])
    if (degrees == degrees[0]).all():
        return _evaluate_together(splines, sizes, t)
    points, slopes = (np.empty((len(t), splines[0].poles.shape[1])) for _ in range(2))
    owner = np.repeat(degrees, sizes)
    for degree in np.unique(degrees).tolist():
        own, chosen = owner == degree, np.flatnonzero(degrees == degree)
        points[own], slopes[own] = _evaluate_together([splines[i] for i in chosen.tolist()], sizes[chosen], t[own])
    return points, slopes


def _evaluate_together(splines: Sequence[Spline], sizes: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Splines of one degree: all parameters in one array over all knots and poles in one array."""
    degree = splines[0].degree
    stops = np.cumsum(sizes)
    flats, polygons, ratios, spans, params = [], [], [], [], []
    for spline, begin, end in zip(splines, (stops - sizes).tolist(), stops.tolist(), strict=True):
        flat, own, poles, weights = spline.knots, t[begin:end], spline.poles, spline.weights
        if spline.periodic:
            flat, index, own = _open_form(flat, degree, len(poles), True, own)
            poles, weights = poles[index], None if weights is None else weights[index]
        spans.append(find_spans(flat, degree, len(poles), own))
        flats.append(flat)
        polygons.append(poles)
        ratios.append(weights)
        params.append(own)
    n_poles = np.array([len(poles) for poles in polygons])
    before = np.repeat(np.cumsum(n_poles) - n_poles, sizes)
    span = np.concatenate(spans)
    columns = (span + before)[:, None] + np.arange(-degree, 1)
    span += before + np.repeat((degree + 1) * np.arange(len(splines)), sizes)
    value, slope = basis(np.concatenate(flats), degree, span, np.concatenate(params))
    near = np.concatenate(polygons)[columns]
    if all(weights is None for weights in ratios):
        return np.einsum("mi,mid->md", value, near), np.einsum("mi,mid->md", slope, near)
    plain = (np.ones(len(p)) if w is None else w for p, w in zip(polygons, ratios, strict=True))
    weights = np.concatenate(list(plain))[columns]
    value, slope = value * weights, slope * weights
    total = value.sum(axis=1)[:, None]
    points = np.einsum("mi,mid->md", value, near) / total
    return points, (np.einsum("mi,mid->md", slope, near) - points * slope.sum(axis=1)[:, None]) / total


def span_breaks(spline: Spline, low: float, high: float) -> np.ndarray:
    """low, the knots between, high: within each interval the spline is one polynomial."""
    return knots_between(spline.knots, low, high, periodic=spline.periodic)


def knots_between(knots: np.ndarray, low: float, high: float, *, periodic: bool) -> np.ndarray:
    """low, the different ones of flat `knots` between, high."""
    knots = knots[run_starts(knots)]
    if periodic and (low < knots[0] or high > knots[-1]):
        period = knots[-1] - knots[0]
        turns = np.arange(np.floor((low - knots[0]) / period), np.floor((high - knots[0]) / period) + 1)
        knots = (knots[:-1] + period * turns[:, None]).ravel()  # a period's end is the next one's beginning
    return np.concatenate([[low], knots[(knots > low) & (knots < high)], [high]])


def trim(spline: Spline, first: float, last: float) -> np.ndarray | None:
    """(m, d) the poles of the spline's part between two parameters; None for a part of a periodic spline."""
    degree, knots = spline.degree, spline.knots
    ends = (knots[0], knots[-1]) if spline.periodic else (knots[degree], knots[-degree - 1])
    low, high = max(min(first, last), ends[0]), min(max(first, last), ends[1])
    if low - ends[0] <= _SAME_KNOT and ends[1] - high <= _SAME_KNOT:
        return spline.poles
    if spline.periodic or not low < high:
        return None
    poles = spline.poles if spline.weights is None else _homogeneous(spline)
    poles = _between(knots, poles, degree, low, high)
    return poles if spline.weights is None else poles[:, :-1] / poles[:, -1:]


def bezier_poles(spline: Spline, breaks: np.ndarray) -> np.ndarray:
    """(n, degree + 1, d + 1) the homogeneous Bézier poles of the pieces between `breaks`, as `span_breaks` gives
    them.
    """
    degree = spline.degree
    low, high = breaks[:-1], breaks[1:]
    middle = 0.5 * (low + high)
    knots, index, moved = _open_form(spline.knots, degree, len(spline.poles), spline.periodic, middle)
    spans = find_spans(knots, degree, len(index), moved)
    poles, pieces = _homogeneous(spline)[index], []
    for span, start, end in zip(spans.tolist(), low + moved - middle, high + moved - middle, strict=True):
        # A spline of this span alone, so that an end beyond it by a rounding error takes no part of the next.
        near = knots[np.clip(np.arange(span - degree, span + degree + 2), span - degree + 1, span + degree)]
        pieces.append(_between(near, poles[span - degree : span + 1], degree, start, end))
    return np.stack(pieces)


def bezier_patches(surface: SplineSurface) -> np.ndarray:
    """(n, degree_u + 1, degree_v + 1, 4) the homogeneous poles of a surface's Bézier patches."""
    poles = _net(surface)
    if surface.weights is None:
        poles = np.concatenate([poles, np.ones((*poles.shape[:2], 1))], axis=2)
    strips = _cut_along(poles, surface.degrees[0], surface.knots_u, surface.periodic[0])
    across = np.moveaxis(strips, 2, 0)  # (n_v, strips, degree_u + 1, 4)
    patches = _cut_along(across, surface.degrees[1], surface.knots_v, surface.periodic[1])
    return np.moveaxis(patches, 1, 3).reshape(-1, surface.degrees[0] + 1, surface.degrees[1] + 1, 4)


def _cut_along(poles: np.ndarray, degree: int, knots: np.ndarray, periodic: bool) -> np.ndarray:
    """(pieces, degree + 1, …) Bézier poles along the first axis of poles : (n, …)."""
    line = Spline(degree, poles.reshape(len(poles), -1), None, knots, periodic)
    ends = (knots[0], knots[-1]) if periodic else (knots[degree], knots[-degree - 1])
    pieces = bezier_poles(line, span_breaks(line, *ends))[..., :-1]
    return pieces.reshape(len(pieces), degree + 1, *poles.shape[1:])


def _homogeneous(spline: Spline) -> np.ndarray:
    """(n, d + 1) the poles times their weights, and these."""
    weights = np.ones(len(spline.poles)) if spline.weights is None else spline.weights
    return np.column_stack([spline.poles * weights[:, None], weights])


def _between(knots: np.ndarray, poles: np.ndarray, degree: int, low: float, high: float) -> np.ndarray:
    """The poles of the part between two parameters."""
    knots, poles = _trim_start(knots, poles, degree, low)
    return _trim_start(-knots[::-1], poles[::-1], degree, -high)[1][::-1]


def _trim_start(knots: np.ndarray, poles: np.ndarray, degree: int, t: float) -> tuple[np.ndarray, np.ndarray]:
    """Knots and poles of what comes after t: the last pole of each level of de Boor's algorithm at t, then the rest."""
    span = int(find_spans(knots, degree, len(poles), np.array([t]))[0])
    level = poles[span - degree : span + 1]
    last = [level[-1]]
    for p in range(degree):
        left, right = knots[span - degree + 1 + p : span + 1], knots[span + 1 : span + 1 + degree - p]
        # A part of no length, where a range passes the last knot by a rounding error: all its poles are one point.
        share = np.divide(t - left, right - left, out=np.ones_like(left), where=right != left)[:, None]
        level = (1.0 - share) * level[:-1] + share * level[1:]
        last.append(level[-1])
    return np.append(np.full(degree + 1, t), knots[span + 1 :]), np.concatenate([last[::-1], poles[span + 1 :]])


def evaluate_grid(surface: SplineSurface, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, du and dv on the grid u × v, each (len(u), len(v), 3)."""
    (bu, su), (bv, sv) = _matrices_of(surface, 0, u), _matrices_of(surface, 1, v)
    poles = _net(surface)
    found = _tensor(bu, poles, bv), _tensor(su, poles, bv), _tensor(bu, poles, sv)
    return found if surface.weights is None else _project(*found)


def evaluate_points(surface: SplineSurface, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, du and dv at the pairs (u, v), each (m, 3)."""
    (bu, su), (bv, sv) = _matrices_of(surface, 0, u), _matrices_of(surface, 1, v)
    poles = _net(surface)
    found = _at_pairs(bu, poles, bv), _at_pairs(su, poles, bv), _at_pairs(bu, poles, sv)
    return found if surface.weights is None else _project(*found)


def evaluate_lines(surface: SplineSurface, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, du and dv at u : (m,), v : (m, k), (m, k, 3) each: k points on each of m curves of constant u."""
    lines, across = _lines(surface, u)
    value, slope, columns = _local_basis(surface, v)
    rows = np.arange(len(u))[:, None, None]
    near = lines[rows, columns]
    point, dv = np.einsum("mki,mkid->mkd", value, near), np.einsum("mki,mkid->mkd", slope, near)
    du = np.einsum("mki,mkid->mkd", value, across[rows, columns])
    return (point, du, dv) if surface.weights is None else _project(point, du, dv)


def evaluate_spans(surface: SplineSurface, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, du and dv at u : (m,) and v : (s, k), (m, s, k, 3) each; a row of v lies within one knot interval."""
    lines, across = _lines(surface, u)
    value, slope, columns = _local_basis(surface, v)
    columns = columns[:, columns.shape[1] // 2]
    near = lines[:, columns]
    point, du, dv = value @ near, value @ across[:, columns], slope @ near
    return (point, du, dv) if surface.weights is None else _project(point, du, dv)


def _lines(surface: SplineSurface, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(m, n_v, 3) the poles of the curves of constant u and their slopes in u; 4 for 3 where there are weights."""
    n_u, n_v = surface.poles.shape[:2]
    poles = _net(surface).reshape(n_u, -1)
    lines, across = ((b @ poles).reshape(len(u), n_v, -1) for b in _matrices_of(surface, 0, u))
    return lines, across


def _local_basis(surface: SplineSurface, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Basis functions in v, their slopes and their poles' places, (…, degree + 1) each."""
    degree = surface.degrees[1]
    knots, index, t = _open_form(surface.knots_v, degree, surface.poles.shape[1], surface.periodic[1], v.ravel())
    span = find_spans(knots, degree, len(index), t)
    value, slope = (part.reshape(*v.shape, -1) for part in basis(knots, degree, span, t))
    return value, slope, index[span[:, None] + np.arange(-degree, 1)].reshape(*v.shape, -1)


def evaluate_twists(surface: SplineSurface, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The mixed second derivatives (twist vectors) at the pairs (u, v), (m, 3)."""
    (bu, su), (bv, sv) = _matrices_of(surface, 0, u), _matrices_of(surface, 1, v)
    poles = _net(surface)
    twist = _at_pairs(su, poles, sv)
    if surface.weights is None:
        return twist
    point, du, dv = _at_pairs(bu, poles, bv), _at_pairs(su, poles, bv), _at_pairs(bu, poles, sv)
    p, pu, pv = _project(point, du, dv)
    return (twist[:, :3] - pu * dv[:, 3:] - pv * du[:, 3:] - p * twist[:, 3:]) / point[:, 3:]


def _net(surface: SplineSurface) -> np.ndarray:
    """(n_u, n_v, 3) the poles; where there are weights (n_u, n_v, 4), the poles times their weights, and these."""
    if surface.weights is None:
        return surface.poles
    weights = surface.weights[..., None]
    return np.concatenate([surface.poles * weights, weights], axis=2)


def _matrices_of(surface: SplineSurface, axis: int, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`matrices` of a surface in u (axis 0) or v (axis 1)."""
    knots = surface.knots_v if axis else surface.knots_u
    return matrices(knots, surface.degrees[axis], surface.poles.shape[axis], surface.periodic[axis], t)


def _at_pairs(left: np.ndarray, poles: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(m, d) the row of `left` by the poles by the row of `right`, pair by pair."""
    found: np.ndarray = np.einsum("mi,ijd,mj->md", left, poles, right, optimize=True)
    return found


def _tensor(left: np.ndarray, poles: np.ndarray, right: np.ndarray) -> np.ndarray:
    """``left @ poles @ right.T`` for poles with trailing coordinates."""
    n_u, n_v, d = poles.shape
    half = (left @ poles.reshape(n_u, n_v * d)).reshape(len(left), n_v, d)
    return np.matmul(right, half)


def _project(point: np.ndarray, du: np.ndarray, dv: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From homogeneous coordinates and their slopes to space (quotient rule)."""
    weight = point[..., 3:]
    p = point[..., :3] / weight
    return p, (du[..., :3] - p * du[..., 3:]) / weight, (dv[..., :3] - p * dv[..., 3:]) / weight
