"""Area, moments and flux of trimmed B-splines, revolutions and extrusions, by quadrature around their loops.

As in `dflow.cadaccess.measure.moments`, ``∬ f du dv = −∮ (∫ f dv) du``; here both integrals are numeric. The inner
one runs from the face's lowest v up to the loop, one Gauss-Legendre rule per knot span, so that each rule integrates
one polynomial piece. The outer one is adaptive: 15 Kronrod points per piece of boundary, checked by the 7 Gauss points
among them, halved until they agree (as QUADPACK's QAG does; Piessens and others, 1983). The kernel's own integral with
an error bound evaluates point by point, once for areas and once for volumes: 4 to 15 times the time on surfaces of many
spans, half of it on the simplest.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from dflow.cadaccess.geometry import bsplines, curves, surfaces
from dflow.cadaccess.geometry.surfaces import SurfaceTable
from dflow.cadaccess.geometry.tables import ShapeTables
from dflow.cadaccess.kernel import bintools
from dflow.cadaccess.kernel.bintools import SplineSurface

N_SUMS = 11
"""Columns of the sums: area, first moment (3), vector area (3), flux, ``∬ P (P·n) dA`` (3)."""

TOLERANCE = 1e-7
"""How far the two rules may differ, as a share of the face's area; the better one's error is far less."""

_FIRST_PIECES = 6
"""The largest number of pieces that a curve is cut into at first."""

_MAX_ROUNDS = 30
_MAX_HALVINGS = 12
_MAX_PIECES = 4096
_BATCH = 60_000
"""Points of a surface that are evaluated together."""

_SIDE = np.array(
    [
        0.9914553711208126,
        0.9491079123427585,
        0.8648644233597691,
        0.7415311855993945,
        0.5860872354676911,
        0.4058451513773972,
        0.2077849550078985,
    ]
)
_KRONROD = np.array(
    [
        0.0229353220105292,
        0.0630920926299786,
        0.1047900103222502,
        0.1406532597159259,
        0.1690047266392679,
        0.1903505780647854,
        0.2044329400752989,
        0.2094821410847278,
    ]
)
_GAUSS = np.array([0.1294849661688697, 0.2797053914892767, 0.3818300505051189, 0.4179591836734694])
_NODES = np.concatenate([-_SIDE, [0.0], _SIDE[::-1]])
_WEIGHTS = np.concatenate([_KRONROD[:-1], _KRONROD[::-1]])
_COARSE = np.zeros(15)
_COARSE[1::2] = np.concatenate([_GAUSS[:-1], _GAUSS[::-1]])
_RULES = tuple(np.polynomial.legendre.leggauss(n) for n in (5, 8, 12))
"""Gauss-Legendre rules of the inner integral, ..."""

_ALL_RULES = np.concatenate([nodes for nodes, _ in _RULES]), np.concatenate([weights for _, weights in _RULES])
_ENDS = np.cumsum([0, *(len(nodes) for nodes, _ in _RULES)]).tolist()
_PARTS = tuple(slice(begin, end) for begin, end in itertools.pairwise(_ENDS))
"""... all of them as one, to be tried in one call, and where each lies in it."""


def integrate_faces(tables: ShapeTables, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sums (k, 11) of the faces `rows` taken forward, and (k,) bool where they are good: the quadrature converged
    to a positive area.

    Parameters
    ----------
    rows : (k,) int, faces with an evaluable free-form surface and closed loops of evaluable curves.
    """
    sums, good = np.zeros((len(rows), N_SUMS)), np.zeros(len(rows), bool)
    uses = np.flatnonzero(tables.use_boundary)
    uses = uses[np.argsort(tables.use_face[uses], kind="stable")]
    first, last = (np.searchsorted(tables.use_face[uses], rows, side) for side in ("left", "right"))
    size = float(np.linalg.norm(np.ptp(tables.points, axis=0))) if len(tables.points) else 0.0
    for i, row in enumerate(rows.tolist()):
        found = _integrate(tables, row, uses[first[i] : last[i]], size)
        if found is not None and found[0] > 0:
            sums[i], good[i] = found, True
    return sums, good


def _integrate(tables: ShapeTables, row: int, uses: np.ndarray, size: float) -> np.ndarray | None:
    """The sums (11,) of one face of a part of this size; None where the quadrature does not converge."""
    use, low, high = _pieces(tables, row, uses)
    uv, step = _along(tables, use, low, high)
    moving = np.abs(step).max(axis=1, initial=0.0) > 0  # pieces of constant u contribute nothing
    use, low, high, uv, step = (part[moving] for part in (use, low, high, uv, step))
    if not len(use):
        return None
    inner = _choose_rule(tables.faces, row, uv, size)
    if inner is None:
        return None
    total, error = np.zeros(N_SUMS), 0.0
    for _ in range(_MAX_ROUNDS):
        each = -step[..., None] * inner.integrals(uv.reshape(-1, 2)).reshape(*step.shape, N_SUMS)
        fine, coarse = np.einsum("k,pkc->pc", _WEIGHTS, each), np.einsum("k,pkc->pc", _COARSE, each)
        scale = _scale(float(total[0] + fine[:, 0].sum()), size, inner.reach)
        off = (np.abs(fine - coarse) / scale).max(axis=1)
        again = (off > 0.5 * TOLERANCE / len(off)) & (error + off.sum() > TOLERANCE)
        total += fine[~again].sum(axis=0)
        error += float(off[~again].sum())
        use, low, high = use[again], low[again], high[again]
        if not len(use):
            return total if np.isfinite(total).all() else None
        if 2 * len(use) > _MAX_PIECES:
            return None
        cut = _cuts(tables.faces, row, uv[again], low, high)
        use, low, high = np.tile(use, 2), np.append(low, cut), np.append(cut, high)
        uv, step = _along(tables, use, low, high)
    return None


def _pieces(tables: ShapeTables, row: int, uses: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Use, first and last parameter of the pieces a face's boundary is cut into: at the curves' own knots, and where a
    straight curve crosses the surface's.
    """
    table = tables.use_curves
    found: list[tuple[int, np.ndarray]] = []
    for use in uses.tolist():
        first, last = float(table.first[use]), float(table.last[use])
        spline = table.splines.get(use)
        if spline is not None:
            cuts = bsplines.span_breaks(spline, first, last)
            found.append((use, np.append(cuts[: -1 : -(-(len(cuts) - 1) // _FIRST_PIECES)], last)))
        elif table.kind[use] == bintools.LINE:
            crossings = [first, last]
            for origin, slope, axis in zip(table.origin[use].tolist(), table.x[use].tolist(), (0, 1), strict=True):
                if slope:
                    ends = sorted((origin + slope * first, origin + slope * last))
                    crossings.extend(((breaks(tables.faces, row, axis, *ends)[1:-1] - origin) / slope).tolist())
            found.append((use, np.unique(np.clip(crossings, first, last))))
        else:
            found.append((use, np.linspace(first, last, 5)))
    use = np.array([use for use, cuts in found for _ in cuts[1:]], np.int64)
    low = np.concatenate([np.zeros(0), *(cuts[:-1] for _, cuts in found)])
    high = np.concatenate([np.zeros(0), *(cuts[1:] for _, cuts in found)])
    return use, low, high


def _cuts(table: SurfaceTable, row: int, uv: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """(p,) where to halve pieces with these nodes: where they cross one of the surface's knots, else in the middle."""
    t = 0.5 * (low + high)[:, None] + 0.5 * (high - low)[:, None] * _NODES
    cut = 0.5 * (low + high)
    for axis in (0, 1):
        at = uv[..., axis]
        knots = breaks(table, row, axis, float(at.min()), float(at.max()))[1:-1]
        place = np.searchsorted(knots, at)
        piece, node = np.nonzero(np.diff(place, axis=1))
        if len(piece):
            before, after = at[piece, node], at[piece, node + 1]
            share = (knots[np.minimum(place[piece, node], place[piece, node + 1])] - before) / (after - before)
            cut[piece] = t[piece, node] + share * (t[piece, node + 1] - t[piece, node])
    return cut


def _along(tables: ShapeTables, use: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pieces' nodes (p, 15, 2) in (u, v), and (p, 15) the loop's step in u at each, without the rule's weight."""
    half = 0.5 * (high - low)
    t = low[:, None] + half[:, None] * (1.0 + _NODES)
    uv, slope = curves.evaluate(tables.use_curves, use, t)
    return uv, slope[..., 0] * (half * np.where(tables.use_forward[use], 1.0, -1.0))[:, None]


def breaks(table: SurfaceTable, row: int, axis: int, low: float, high: float) -> np.ndarray:
    """low, the surface's knots between, high, in u (axis 0) or v (axis 1)."""
    surface = table.splines.get(row)
    if surface is not None:
        knots = surface.knots_v if axis else surface.knots_u
        return bsplines.knots_between(knots, low, high, periodic=surface.periodic[axis])
    swept = table.sweeps[row].splines.get(0)
    if swept is not None and axis == int(table.kind[row] == bintools.REVOLUTION):
        return bsplines.span_breaks(swept, low, high)
    return np.array([low, high])


@dataclass(frozen=True, slots=True)
class _Inner:
    """The inner integral of one face: over v, from ``knots[0]``, with one rule per knot span.

    `reach` is about the largest distance of the face from the origin, mm.
    """

    table: SurfaceTable
    row: int
    knots: np.ndarray
    rule: tuple[np.ndarray, np.ndarray]
    reach: float

    def integrals(self, uv: np.ndarray) -> np.ndarray:
        """(m, 11) the integrals from the first knot to v, at each u of uv : (m, 2)."""
        out = np.empty((len(uv), N_SUMS))
        span = np.clip(np.searchsorted(self.knots, uv[:, 1], side="right") - 1, 0, len(self.knots) - 1)
        size = len(self.rule[0]) * max(1, int(span.max(initial=0)) + 1)
        for begin in range(0, len(uv), max(1, _BATCH // size)):
            batch = slice(begin, begin + max(1, _BATCH // size))
            out[batch] = self._some(uv[batch, 0], uv[batch, 1], span[batch])
        return out

    def _some(self, u: np.ndarray, v: np.ndarray, span: np.ndarray) -> np.ndarray:
        out = np.zeros((len(u), N_SUMS))
        n_whole = int(span.max())
        beyond = np.flatnonzero(span)
        if n_whole:
            upto = np.cumsum(self.at_nodes(u[beyond], n_whole).sum(axis=2), axis=1)
            out[beyond] = upto[np.arange(len(beyond)), span[beyond] - 1]
        begin = self.knots[span]
        rest = np.flatnonzero(v != begin)
        if len(rest):
            nodes, weights = self.rule
            half = 0.5 * (v[rest] - begin[rest])
            at = begin[rest, None] + half[:, None] * (1.0 + nodes)
            values = _integrands(*self._points(u[rest], at))
            out[rest] += half[:, None] * np.einsum("k,mkc->mc", weights, values)
        return out

    def _points(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points and slopes (m, k, 3) at u : (m,) and v : (m, k)."""
        spline = self.table.splines.get(self.row)
        if spline is not None:
            return bsplines.evaluate_lines(spline, u, v)
        found = surfaces.slopes(self.table, self.row, np.repeat(u, v.shape[1]), v.ravel())
        point, du, dv = (part.reshape(*v.shape, 3) for part in found)
        return point, du, dv

    def at_nodes(self, u: np.ndarray, n_spans: int) -> np.ndarray:
        """(m, n_spans, k, 11) what the rule's nodes give to the integrals over the first spans at each u : (m,)."""
        nodes, weights = self.rule
        begin, half = self.knots[:n_spans], 0.5 * np.diff(self.knots[: n_spans + 1])
        v = begin[:, None] + half[:, None] * (1.0 + nodes)
        spline = self.table.splines.get(self.row)
        if spline is not None:
            values = _integrands(*bsplines.evaluate_spans(spline, u, v))
        else:
            values = _integrands(*surfaces.slopes(self.table, self.row, u[:, None], v.reshape(1, -1)))
        return values.reshape(len(u), *v.shape, N_SUMS) * (half[:, None] * weights)[..., None]


def _integrands(points: np.ndarray, du: np.ndarray, dv: np.ndarray) -> np.ndarray:
    """(…, 11) what is integrated over (u, v), from points and slopes (…, 3)."""
    out = np.empty((*points.shape[:-1], N_SUMS))
    normal = out[..., 4:7]
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        normal[..., i] = du[..., j] * dv[..., k] - du[..., k] * dv[..., j]
    out[..., 0] = np.sqrt(np.einsum("...i,...i->...", normal, normal))
    out[..., 1:4] = points * out[..., :1]
    out[..., 7] = np.einsum("...i,...i->...", points, normal)
    out[..., 8:] = points * out[..., 7:8]
    return out


def _choose_rule(table: SurfaceTable, row: int, uv: np.ndarray, size: float) -> _Inner | None:
    """The cheapest rule that agrees with the next one over all spans at some u. Spans where none does are halved; None
    where that does not help.
    """
    low, high = float(uv[..., 1].min()), float(uv[..., 1].max())
    if not low < high:
        return None
    knots = breaks(table, row, 1, low, high)
    first, last = float(uv[..., 0].min()), float(uv[..., 0].max())
    n_spans = len(breaks(table, row, 0, first, last)) - 1
    u = np.linspace(first, last, min(max(5, 2 * n_spans), 100) + 2)[1:-1]
    for _ in range(_MAX_HALVINGS):
        found = _by_rules(_Inner(table, row, knots, _ALL_RULES, 0.0), u)
        strip = np.abs(found[-1, :, :, 0].sum(axis=1)).max()
        if not 0.0 < strip < np.inf:
            return None
        reach = float(np.abs(found[-1, :, :, 1:4].sum(axis=1)).max() / strip + np.sqrt(strip * (last - first)))
        off = (np.abs(np.diff(found, axis=0)) / _scale(strip, size, reach)).max(axis=(1, 3))  # (rules - 1, spans)
        agree = off.sum(axis=1) <= TOLERANCE
        if agree.any():
            return _Inner(table, row, knots, _RULES[int(agree.argmax())], reach)
        bad = np.flatnonzero(off[-1] > 0.5 * TOLERANCE / len(off[-1]))
        knots = np.sort(np.append(knots, 0.5 * (knots[bad] + knots[bad + 1])))
    return None


def _by_rules(inner: _Inner, u: np.ndarray) -> np.ndarray:
    """(rules, m, spans, 11) the integrals over all spans at each u : (m,) by each rule, from all of them as one."""
    n_spans = len(inner.knots) - 1
    size = max(1, _BATCH // (n_spans * len(inner.rule[0])))
    found = []
    for begin in range(0, len(u), size):
        values = inner.at_nodes(u[begin : begin + size], n_spans)
        found.append(np.stack([values[:, :, part].sum(axis=2) for part in _PARTS]))
    return np.concatenate(found, axis=1)


def _scale(area: float, size: float, reach: float) -> np.ndarray:
    """(11,) the scale of each sum's error: of moments the part's own size, so that a part far from the origin is as
    accurate as one around it.
    """
    area = max(abs(area), np.finfo(float).tiny)
    size = max(size, np.sqrt(area), 1e-6 * reach)
    return area * np.repeat([1.0, size, 1.0, size, size * max(size, reach)], [1, 3, 3, 1, 3])


_PATCH_RULES = tuple(np.polynomial.legendre.leggauss(n) for n in (16, 24))
_RELATIVE = 1e-9
_MAX_CELLS = 36
"""Between the knots; the rules would evaluate millions of points of a large net, and far fewer are enough for it."""


@dataclass(frozen=True, slots=True)
class PatchMoments:
    """Integrals over one surface: ∬ dA in mm², ∬ P dA, ∬ n dA, ∬ P·n dA, and ``∬ P (P·n) dA``."""

    area: float
    first: np.ndarray
    vector_area: np.ndarray
    flux: float
    cone: np.ndarray


def integrate_patch(surface: SplineSurface) -> PatchMoments | None:
    """The moments of a surface; None where the two rules differ by more than 1e-9 of what they add up, and for
    large nets of knots.
    """
    lines = np.unique(surface.knots_u), np.unique(surface.knots_v)
    if (len(lines[0]) - 1) * (len(lines[1]) - 1) > _MAX_CELLS:
        return None
    rough, fine = (_integrate_cells(surface, *(_spread(line, *rule) for line in lines)) for rule in _PATCH_RULES)
    reach = float(np.abs(surface.poles).max())
    allowed = _RELATIVE * fine.area
    settled = (
        abs(rough.area - fine.area) <= allowed
        and np.abs(rough.first - fine.first).max() <= allowed * reach
        and abs(rough.flux - fine.flux) <= allowed * reach
        and np.abs(rough.cone - fine.cone).max() <= allowed * reach**2
    )
    return fine if settled else None


def _integrate_cells(
    surface: SplineSurface, rule_u: tuple[np.ndarray, np.ndarray], rule_v: tuple[np.ndarray, np.ndarray]
) -> PatchMoments:
    (u, share_u), (v, share_v) = rule_u, rule_v
    points, du, dv = bsplines.evaluate_grid(surface, u, v)
    normals = np.cross(du, dv) * (share_u[:, None] * share_v)[..., None]
    sizes = np.sqrt(np.einsum("abk,abk->ab", normals, normals))
    through = np.einsum("abk,abk->ab", points, normals)
    return PatchMoments(
        area=float(sizes.sum()),
        first=np.einsum("ab,abk->k", sizes, points),
        vector_area=normals.sum(axis=(0, 1)),
        flux=float(through.sum()),
        cone=np.einsum("ab,abk->k", through, points),
    )


def _spread(line: np.ndarray, nodes: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rule's nodes and weights over every span of a line of different knots."""
    half = 0.5 * np.diff(line)[:, None]
    return (line[:-1, None] + half * (1.0 + nodes)).ravel(), (half * weights).ravel()
