"""A third opinion on areas, volumes, lengths, boxes and senses: fine triangulations that neither dflow nor the kernel
integrates.

From the kernel the arbiter takes the statements of the file only: each face's surface and its edges' curves in space,
of a shape that was not healed. All else is its own: it inverts the edges' points onto the surface (in closed form on
planes, cylinders, cones, spheres and tori, whose points it computes itself), finds the trimmed region from the loops'
directions on the closed surface, without curves on the surface, seams or bounds, cuts it into strips and triangles, and
adds these up. Which side of a face is out follows from rays through the triangles of its solid, not from any flag.

Each figure comes from triangulations of three finenesses, each with half the steps of the one before. The error of
chords and flat triangles falls with the square of the step; what extrapolation from the first two and from the last two
differ by is the figure's error. A face whose loops do not close, or bound no region, has an infinite error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from OCP.BRep import BRep_Tool
from OCP.BRepAdaptor import BRepAdaptor_Curve, BRepAdaptor_Surface
from OCP.GeomAbs import GeomAbs_CurveType as CurveType
from OCP.GeomAbs import GeomAbs_SurfaceType as SurfaceType
from OCP.gp import gp_Pnt
from OCP.ShapeAnalysis import ShapeAnalysis_Surface
from OCP.TopAbs import TopAbs_EDGE, TopAbs_FACE, TopAbs_FORWARD, TopAbs_REVERSED, TopAbs_SOLID
from OCP.TopExp import TopExp, TopExp_Explorer
from OCP.TopoDS import TopoDS, TopoDS_Edge, TopoDS_Face, TopoDS_Shape

LEVELS = 3
_ARC = math.pi / 16
"""Of a turn: the step of the coarsest triangulation."""
_PIECES = 16
"""Chords of a free-form curve at the coarsest level, at least."""
_STEPS = 8
"""Across a free-form face at the coarsest level, at least."""
OPEN = 1e-2
"""Of a solid's area: a sum of its faces' areas as outward vectors that is larger tells of an open shell."""
_MAX_CELLS = 3_000_000
_TURN = 2 * math.pi


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and how far off it may be."""

    value: float
    error: float

    def allows(self, value: float, slack: float = 0.0) -> bool:
        """Whether `value` is right as far as the arbiter can tell."""
        return abs(value - self.value) <= self.error + slack


def extrapolate(values: list[float]) -> Estimate:
    """The limit of values whose error falls to a quarter from each to the next."""
    if len(values) < 2 or not np.isfinite(values).all():
        return Estimate(values[-1] if values else math.nan, math.inf)
    if len(values) == 2:
        step = (values[1] - values[0]) / 3
        return Estimate(values[1] + step, abs(step))
    before = values[-2] + (values[-2] - values[-3]) / 3
    after = values[-1] + (values[-1] - values[-2]) / 3
    rounding = 1e-10 * max(map(abs, values))
    first, second = abs(values[-2] - values[-3]), abs(values[-1] - values[-2])
    falling = second <= max(0.5 * first, rounding)  # else the finest steps are still too coarse
    return Estimate(after, abs(after - before) + (1e-3 if falling else 10.0) * second + rounding)


# -- surfaces


class Patch:
    """A face's surface: points at (u, v) and (u, v) of points.

    Attributes
    ----------
    periods : of u and v; 0 where the surface does not close.
    v_limits : where v ends at a pole or at the surface's end; infinite where it does not.
    u_limits : likewise; used where it is finite.
    steps : of u and v at the coarsest level; inf where the surface is straight.
    """

    periods = (0.0, 0.0)
    u_limits = (-math.inf, math.inf)
    v_limits = (-math.inf, math.inf)
    steps = (math.inf, math.inf)

    def points(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """(n, 3) on the surface."""
        raise NotImplementedError

    def invert(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, 2) and (n,) bool: where u is undefined, as at a pole."""
        raise NotImplementedError


class Round(Patch):
    """Planes, cylinders, cones, spheres and tori."""

    def __init__(self, kind: SurfaceType, adaptor: BRepAdaptor_Surface) -> None:
        self.kind = kind
        name = {
            SurfaceType.GeomAbs_Plane: "Plane",
            SurfaceType.GeomAbs_Cylinder: "Cylinder",
            SurfaceType.GeomAbs_Cone: "Cone",
            SurfaceType.GeomAbs_Sphere: "Sphere",
            SurfaceType.GeomAbs_Torus: "Torus",
        }[kind]
        item = getattr(adaptor, name)()
        place = item.Position()
        self.origin = _xyz(place.Location())
        self.frame = np.array([_xyz(place.XDirection()), _xyz(place.YDirection()), _xyz(place.Direction())])
        self.radius = self.minor = self.slope = 0.0
        if kind == SurfaceType.GeomAbs_Plane:
            return
        self.periods, self.steps = (_TURN, 0.0), (_ARC, math.inf)
        if kind == SurfaceType.GeomAbs_Torus:
            self.radius, self.minor = item.MajorRadius(), item.MinorRadius()
            self.periods, self.steps = (_TURN, _TURN), (_ARC, _ARC)
            self.v_limits = (0.0, _TURN)
        elif kind == SurfaceType.GeomAbs_Cone:
            self.radius, self.slope = item.RefRadius(), item.SemiAngle()
        else:
            self.radius = item.Radius()
        if kind == SurfaceType.GeomAbs_Sphere:
            self.steps, self.v_limits = (_ARC, _ARC), (-math.pi / 2, math.pi / 2)

    @property
    def apex(self) -> float:
        """A cone's v at its apex."""
        return -self.radius / math.sin(self.slope)

    def points(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        if self.kind == SurfaceType.GeomAbs_Plane:
            return self.origin + np.column_stack([u, v]) @ self.frame[:2]
        if self.kind == SurfaceType.GeomAbs_Cylinder:
            out, up = np.full_like(v, self.radius), v
        elif self.kind == SurfaceType.GeomAbs_Cone:
            out, up = self.radius + v * math.sin(self.slope), v * math.cos(self.slope)
        elif self.kind == SurfaceType.GeomAbs_Sphere:
            out, up = self.radius * np.cos(v), self.radius * np.sin(v)
        else:
            out, up = self.radius + self.minor * np.cos(v), self.minor * np.sin(v)
        return self.origin + np.column_stack([out * np.cos(u), out * np.sin(u), up]) @ self.frame

    def invert(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y, z = self.frame @ (points - self.origin).T
        if self.kind == SurfaceType.GeomAbs_Plane:
            return np.column_stack([x, y]), np.zeros(len(x), bool)
        u, far = np.arctan2(y, x), np.hypot(x, y)
        if self.kind == SurfaceType.GeomAbs_Cylinder:
            v = z
        elif self.kind == SurfaceType.GeomAbs_Cone:
            v = z / math.cos(self.slope)
            beyond = self.radius + v * math.sin(self.slope) < 0
            u = np.where(beyond, u + math.pi, u)
        elif self.kind == SurfaceType.GeomAbs_Sphere:
            v = np.arctan2(z, far)
        else:
            miss = [np.abs(np.hypot(far * side - self.radius, z) - self.minor) for side in (1.0, -1.0)]
            inner = miss[1] < miss[0]  # of a spindle torus, where the tube reaches over the axis
            u = np.where(inner, u + math.pi, u)
            v = np.arctan2(z, np.where(inner, -far, far) - self.radius)
        lost = far <= 1e-7 * max(self.radius, self.minor, float(far.max(initial=0.0)))
        return np.column_stack([u, v]), lost


class Free(Patch):
    """Any other surface: points by the kernel, (u, v) by its projection, whose result is checked."""

    def __init__(self, face: TopoDS_Face, adaptor: BRepAdaptor_Surface) -> None:
        self.adaptor = adaptor
        self.analysis = ShapeAnalysis_Surface(BRep_Tool.Surface_s(face))
        self.gap = 0.0
        surface = self.analysis.Surface()
        own = surface.Bounds()
        finite = [abs(end) < 1e50 for end in own]
        self.u_limits = (own[0], own[1]) if all(finite[:2]) else (-math.inf, math.inf)
        self.v_limits = (own[2], own[3]) if all(finite[2:]) else (-math.inf, math.inf)
        self.periods = (
            own[1] - own[0] if all(finite[:2]) and surface.IsUClosed() else 0.0,
            own[3] - own[2] if all(finite[2:]) and surface.IsVClosed() else 0.0,
        )
        self.straight = _is_straight(adaptor)
        self.spans = (_n_spans(adaptor, "U"), _n_spans(adaptor, "V"))
        self.fit(np.array([[own[0], own[2]], [own[1], own[3]]]))

    def fit(self, uv: np.ndarray) -> None:
        """Set the steps for a face whose boundary has points uv : (n, 2)."""
        sizes = np.ptp(uv, axis=0).tolist()
        whole = [own[1] - own[0] for own in (self.u_limits, self.v_limits)]
        steps = [math.inf, math.inf]
        for axis in range(2):
            if self.straight[axis]:
                continue
            parts = [size / _STEPS for size in (sizes[axis], whole[axis]) if 0 < size < 1e50]
            if self.spans[axis] > 1:
                parts.append(whole[axis] / (2 * self.spans[axis]))
            steps[axis] = min(parts, default=math.inf)
        self.steps = (steps[0], steps[1])

    def points(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        kind = self.adaptor.GetType()
        if kind == SurfaceType.GeomAbs_SurfaceOfExtrusion:
            return self._on_basis(u) + v[:, None] * _xyz(self.adaptor.Direction())
        if kind == SurfaceType.GeomAbs_SurfaceOfRevolution:
            axis = self.adaptor.AxeOfRevolution()
            origin, along = _xyz(axis.Location()), _xyz(axis.Direction())
            arm = self._on_basis(v) - origin
            up = (arm @ along)[:, None] * along
            out, aside = arm - up, np.cross(along, arm)
            return origin + up + np.cos(u)[:, None] * out + np.sin(u)[:, None] * aside
        at = gp_Pnt()
        both, place = np.unique(u + 1j * v, return_inverse=True)
        found = np.empty((len(both), 3))
        for i, pair in enumerate(both.tolist()):
            self.adaptor.D0(pair.real, pair.imag, at)
            found[i] = at.X(), at.Y(), at.Z()
        return found[place]

    def _on_basis(self, t: np.ndarray) -> np.ndarray:
        """(n, 3) on the curve that the surface sweeps."""
        curve, at = self.adaptor.BasisCurve(), gp_Pnt()
        each, place = np.unique(t, return_inverse=True)
        found = np.empty((len(each), 3))
        for i, value in enumerate(each.tolist()):
            curve.D0(value, at)
            found[i] = at.X(), at.Y(), at.Z()
        return found[place]

    def invert(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        out = np.empty((len(points), 2))
        for i, point in enumerate(points.tolist()):
            found = self.analysis.ValueOfUV(gp_Pnt(*point), 1e-7)
            out[i] = found.X(), found.Y()
            self.gap = max(self.gap, self.analysis.Gap())
        lost = np.zeros(len(points), bool)
        if math.isfinite(self.u_limits[0]):
            low, high = self.u_limits
            aside = np.where(
                out[:, 0] < 0.5 * (low + high), out[:, 0] + 0.3 * (high - low), out[:, 0] - 0.3 * (high - low)
            )
            lost = np.linalg.norm(self.points(aside, out[:, 1]) - points, axis=1) <= 1e-6 * np.ptp(points)
        return out, lost


def _is_straight(adaptor: BRepAdaptor_Surface) -> tuple[bool, bool]:
    """Whether all lines of constant v, and all of constant u, are straight and evenly divided."""
    kind = adaptor.GetType()
    if kind in (SurfaceType.GeomAbs_BSplineSurface, SurfaceType.GeomAbs_BezierSurface):
        plain = not (adaptor.IsURational() or adaptor.IsVRational())
        one = _n_spans(adaptor, "U") == 1, _n_spans(adaptor, "V") == 1
        return plain and one[0] and adaptor.UDegree() == 1, plain and one[1] and adaptor.VDegree() == 1
    return False, kind == SurfaceType.GeomAbs_SurfaceOfExtrusion


def _n_spans(adaptor: BRepAdaptor_Surface, axis: str) -> int:
    """How many polynomials a surface consists of along an axis, as far as it has them."""
    kind = adaptor.GetType()
    if kind == SurfaceType.GeomAbs_BSplineSurface:
        return int(getattr(adaptor, f"Nb{axis}Knots")()) - 1
    if (kind, axis) in ((SurfaceType.GeomAbs_SurfaceOfExtrusion, "U"), (SurfaceType.GeomAbs_SurfaceOfRevolution, "V")):
        curve = adaptor.BasisCurve()
        if curve.GetType() == CurveType.GeomAbs_BSplineCurve:
            return int(curve.NbKnots()) - 1
    return 1


def _xyz(item: object) -> np.ndarray:
    return np.array([item.X(), item.Y(), item.Z()])  # type: ignore[attr-defined]


# -- edges


def edge_line(edge: TopoDS_Edge, level: int, *, straight: bool = False, joined: bool = False) -> np.ndarray:
    """(n, 3) points along an edge's curve from its first to its last parameter.

    `straight` : a line may be one chord; `joined` : the vertices take the place of the ends.
    """
    curve = BRepAdaptor_Curve(edge)
    low, high = curve.FirstParameter(), curve.LastParameter()
    kind = curve.GetType()
    if kind == CurveType.GeomAbs_Line and straight:
        pieces = 1
    elif kind in (CurveType.GeomAbs_Circle, CurveType.GeomAbs_Ellipse):
        pieces = max(math.ceil(abs(high - low) / _ARC - 1e-9), 2) << level
    elif kind == CurveType.GeomAbs_BSplineCurve:
        pieces = max(_PIECES, 2 * (curve.NbKnots() - 1)) << level
    else:
        pieces = _PIECES << level
    at = gp_Pnt()
    out = np.empty((pieces + 1, 3))
    for i, t in enumerate(np.linspace(low, high, pieces + 1).tolist()):
        curve.D0(t, at)
        out[i] = at.X(), at.Y(), at.Z()
    for end, vertex in ((0, TopExp.FirstVertex_s(edge)), (-1, TopExp.LastVertex_s(edge))):
        if joined and not vertex.IsNull():
            out[end] = _xyz(BRep_Tool.Pnt_s(vertex))
    return out


def edge_length(edge: TopoDS_Edge, levels: int = LEVELS) -> Estimate:
    """mm, by chords."""
    lines = [edge_line(edge, level) for level in range(levels)]
    return extrapolate([float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum()) for line in lines])


def _boundary(face: TopoDS_Face) -> list[tuple[TopoDS_Edge, bool]]:
    """The edges that bound a face's material, and whether each is taken backwards; not those taken both ways."""
    uses: list[tuple[TopoDS_Edge, bool]] = []
    walk = TopExp_Explorer(face.Oriented(TopAbs_FORWARD), TopAbs_EDGE)
    while walk.More():
        edge = TopoDS.Edge(walk.Current())
        walk.Next()
        if BRep_Tool.Degenerated_s(edge) or not BRep_Tool.IsGeometric_s(edge):
            continue
        backwards = edge.Orientation() == TopAbs_REVERSED
        other = next((i for i, (e, b) in enumerate(uses) if b != backwards and e.IsSame(edge)), None)
        if other is None:
            uses.append((edge, backwards))
        else:
            del uses[other]
    return uses


# -- the trimmed region


@dataclass(slots=True)
class Chords:
    """Pieces of boundary in (u, v), n of each: from (u0, v0) to (u1, v1), u0 < u1; `ahead` where the loop runs so."""

    u0: np.ndarray
    v0: np.ndarray
    u1: np.ndarray
    v1: np.ndarray
    ahead: np.ndarray


def _loop_chords(patch: Patch, lines: list[np.ndarray]) -> np.ndarray:
    """(n, 4) directed chords (u, v, u, v) of lines of points, unwrapped along each chord."""
    found = []
    for points in lines:
        uv, lost = patch.invert(points)
        ends = [uv[:-1], uv[1:]]
        keep = ~(lost[:-1] & lost[1:])
        # u is undefined at a pole: a chord that ends there runs along a line of constant u.
        start, end = ends[0].copy(), ends[1].copy()
        start[lost[:-1], 0] = end[lost[:-1], 0]
        end[lost[1:], 0] = ends[0][lost[1:], 0]
        for axis, period in enumerate(patch.periods):
            if period:
                end[:, axis] -= period * np.round((end[:, axis] - start[:, axis]) / period)
        found.append(np.column_stack([start, end])[keep])
    return np.concatenate(found) if found else np.zeros((0, 4))


def _wrap(chords: np.ndarray, axis: int, low: float, period: float) -> np.ndarray:
    """The chords cut where they pass low + k · period along an axis, and moved into one period."""
    a, b = chords[:, axis], chords[:, axis + 2]
    turn = np.floor((np.minimum(a, b) - low) / period)
    cut = low + (turn + 1) * period
    over = np.maximum(a, b) > cut
    share = np.divide(cut - a, b - a, out=np.zeros_like(a), where=over)
    middle = chords[:, :2] + share[:, None] * (chords[:, 2:] - chords[:, :2])
    middle[:, axis] = cut
    first, second = chords.copy(), chords[over].copy()
    first[over, 2:] = middle[over]
    second[:, :2] = middle[over]
    out = np.concatenate([first, second])
    centre = 0.5 * (out[:, axis] + out[:, axis + 2])
    shift = np.floor((centre - low) / period) * period
    out[:, axis] -= shift
    out[:, axis + 2] -= shift
    return out


@dataclass(slots=True)
class Strips:
    """Trapezoids between two lines of constant u: (n,) each; `bad`, the part of u where the loops do not close."""

    u0: np.ndarray
    u1: np.ndarray
    low0: np.ndarray
    low1: np.ndarray
    high0: np.ndarray
    high1: np.ndarray
    bad: float


def _strips(patch: Patch, directed: np.ndarray, level: int) -> Strips:
    """The trimmed region: between each crossing of a line of constant u where material begins and the next."""
    low, high = patch.v_limits
    pu, pv = patch.periods
    u_low = patch.u_limits[0] if math.isfinite(patch.u_limits[0]) else 0.0
    if pu:
        directed = _wrap(directed, 0, u_low, pu)
    if pv:
        directed = _wrap(directed, 1, low, pv)
    ahead = directed[:, 2] > directed[:, 0]
    level_ = directed[:, 2] != directed[:, 0]
    ordered = np.where(ahead[:, None], directed, directed[:, [2, 3, 0, 1]])[level_]
    ahead = ahead[level_]
    events = [ordered[:, 0], ordered[:, 2]]
    if pu:
        events.append(np.array([u_low, u_low + pu]))
    elif not len(directed) and math.isfinite(patch.u_limits[0]):
        events.append(np.array(patch.u_limits))
    line = np.unique(np.concatenate(events))
    if len(line) < 2:
        return Strips(*(np.zeros(0) for _ in range(6)), bad=math.inf)
    if math.isfinite(patch.steps[0]):
        n = max(math.ceil((line[-1] - line[0]) / patch.steps[0] - 1e-9), 1) << level
        line = np.union1d(line, np.linspace(line[0], line[-1], n + 1))
    first, last = np.searchsorted(line, ordered[:, 0]), np.searchsorted(line, ordered[:, 2])
    count = last - first
    chord = np.repeat(np.arange(len(ordered)), count)
    strip = np.arange(len(chord)) - np.repeat(np.cumsum(count) - count - first, count)
    slope = (ordered[:, 3] - ordered[:, 1]) / (ordered[:, 2] - ordered[:, 0])
    v0 = ordered[chord, 1] + (line[strip] - ordered[chord, 0]) * slope[chord]
    v1 = ordered[chord, 1] + (line[strip + 1] - ordered[chord, 0]) * slope[chord]
    order = np.lexsort((v0 + v1, strip))
    strip, v0, v1, enters = strip[order], v0[order], v1[order], ahead[chord[order]]
    n_strips = len(line) - 1
    n_crossings = np.bincount(strip, minlength=n_strips)
    begin = np.cumsum(n_crossings) - n_crossings
    width = np.diff(line)
    base = _material_at_bottom(patch, directed, line, strip, v0 + v1, enters, n_crossings, begin, width)
    odd = (n_crossings + base) % 2 == 1
    bad = odd & ~np.isfinite(high)
    if pv:
        bad = n_crossings % 2 == 1
    number = np.arange(len(strip)) - begin[strip]
    inside = (number + base[strip]) % 2 == 0
    final = number == n_crossings[strip] - 1
    onward = np.minimum(np.arange(len(strip)) + 1, max(len(strip) - 1, 0))
    high0, high1 = np.where(final, high, v0[onward]), np.where(final, high, v1[onward])
    keep = inside & ~bad[strip]
    start = np.flatnonzero((base == 1) & ~bad)
    nothing = n_crossings[start] == 0
    at = np.minimum(begin[start], max(len(strip) - 1, 0))
    top0 = np.where(nothing, high, v0[at] if len(strip) else high)
    top1 = np.where(nothing, high, v1[at] if len(strip) else high)
    bottom = np.full(len(start), low)
    return Strips(
        u0=np.append(line[strip[keep]], line[start]),
        u1=np.append(line[strip[keep] + 1], line[start + 1]),
        low0=np.append(v0[keep], bottom),
        low1=np.append(v1[keep], bottom),
        high0=np.append(high0[keep], top0),
        high1=np.append(high1[keep], top1),
        bad=float(width[bad].sum() / (line[-1] - line[0])),
    )


def _material_at_bottom(
    patch: Patch,
    directed: np.ndarray,
    line: np.ndarray,
    strip: np.ndarray,
    twice_v: np.ndarray,
    enters: np.ndarray,
    n_crossings: np.ndarray,
    begin: np.ndarray,
    width: np.ndarray,
) -> np.ndarray:
    """(strips,) int: 1 where the lowest v of a strip lies in the material."""
    low, high = patch.v_limits
    if not math.isfinite(low):
        return np.zeros(len(width), int)
    if not math.isfinite(high):
        return n_crossings % 2
    # Material lies to the left of a loop: a crossing towards larger u lets it begin.
    step = np.where(enters, 1, -1)
    total = np.cumsum(step)
    depth = (
        total - np.where(n_crossings > 0, total[np.maximum(begin - 1, 0)] * (begin > 0), 0)[strip]
        if len(strip)
        else total
    )
    above = np.empty_like(twice_v)
    final = np.arange(len(strip)) == (begin + n_crossings)[strip] - 1
    above[:-1] = twice_v[1:]
    above[final] = 2 * high
    wrong = [np.zeros(len(width)) for _ in range(2)]
    for base in range(2):
        outside = (depth + base < 0) | (depth + base > 1)
        wrong[base] = np.bincount(strip, outside * (above - twice_v + 1e-3 * (high - low)), len(width))
    found = (wrong[1] < wrong[0]).astype(int)
    for row in np.flatnonzero(n_crossings == 0).tolist():
        found[row] = _material_beside(directed, 0.5 * (line[row] + line[row + 1]), patch)
    return found


def _material_beside(directed: np.ndarray, u: float, patch: Patch) -> int:
    """1 where a line of constant u that no loop crosses lies in the material, as the next loop along u tells."""
    low, high = patch.v_limits
    votes = 0
    for v in np.linspace(low, high, 9)[1:-1] + 1e-4 * (high - low):
        a, b = directed[:, 1] > v, directed[:, 3] > v
        over = np.flatnonzero(a != b)
        if not len(over):
            continue
        share = (v - directed[over, 1]) / (directed[over, 3] - directed[over, 1])
        away = directed[over, 0] + share * (directed[over, 2] - directed[over, 0]) - u
        if patch.periods[0]:
            away %= patch.periods[0]
        behind = bool((away < 0).all())
        nearest = np.where((away < 0) == behind, np.abs(away), np.inf).argmin()
        votes += 1 if b[over[nearest]] != behind else -1  # of a loop that runs upwards, the material is to the left
    return int(votes > 0) if len(directed) else 1


# -- faces


@dataclass(slots=True)
class Triangles:
    """(n, 3, 3) corners, mm, counter-clockwise seen from where the cross product of the surface's slopes points."""

    corners: np.ndarray
    bad: float


@dataclass(slots=True)
class FaceFigures:
    """What the triangles of a face add up to; `flux`: of the position, through the side of the slopes' product."""

    area: Estimate
    centroid: list[Estimate]
    flux: Estimate
    low: np.ndarray
    high: np.ndarray
    coarse: Triangles
    slack: float
    """mm: how far the file's edges stray from the surface and their ends from their vertices."""


def triangulate(face: TopoDS_Face, level: int) -> Triangles:
    """The triangles of one face."""
    patch = _patch(face)
    lines = _lines(face, level)
    return _triangles(patch, lines, level)


def face_figures(face: TopoDS_Face, centre: np.ndarray, levels: int = LEVELS) -> FaceFigures:
    """Area in mm², centroid, and flux of (P - centre) through one face."""
    patch = _patch(face)
    areas, fluxes, centroids = [], [], []
    coarse = last = Triangles(np.zeros((0, 3, 3)), math.inf)
    lines: list[np.ndarray] = []
    for level in range(levels):
        lines = _lines(face, level)
        last = _triangles(patch, lines, level)
        if not level:
            coarse = last
        if not last.bad <= 1e-6 or not len(last.corners):
            break
        a, b, c = (last.corners[:, i] - centre for i in range(3))
        normal = 0.5 * np.cross(b - a, c - a)
        size = np.linalg.norm(normal, axis=1)
        if not size.sum() > 0:
            break
        areas.append(float(size.sum()))
        middle = (a + b + c) / 3
        fluxes.append(float(np.einsum("ij,ij->", middle, normal)))
        centroids.append(centre + size @ middle / size.sum())
    area, flux = extrapolate(areas), extrapolate(fluxes)
    if last.bad > 1e-6:
        area, flux = Estimate(area.value, math.inf), Estimate(flux.value, math.inf)
    around = sum(float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum()) for line in lines)
    slack = _slack(patch, face, lines)
    area = _widened(area, slack * around)
    flux = _widened(flux, slack * around * _reach(last.corners, centre))
    shift = slack * around / area.value * _reach(last.corners, last.corners[0, 0]) if areas else math.inf
    corners = last.corners.reshape(-1, 3)
    none = np.full(3, np.nan)
    return FaceFigures(
        area=area,
        centroid=[_widened(extrapolate([float(c[axis]) for c in centroids]), shift) for axis in range(3)],
        flux=flux,
        low=corners.min(axis=0) if len(corners) else none,
        high=corners.max(axis=0) if len(corners) else none,
        coarse=coarse,
        slack=slack,
    )


def _widened(estimate: Estimate, slack: float) -> Estimate:
    return Estimate(estimate.value, estimate.error + slack)


def _reach(corners: np.ndarray, centre: np.ndarray) -> float:
    return float(np.linalg.norm(corners.reshape(-1, 3) - centre, axis=1).max()) if len(corners) else 0.0


def _patch(face: TopoDS_Face) -> Patch:
    adaptor = BRepAdaptor_Surface(face, False)
    kind = adaptor.GetType()
    if kind in (
        SurfaceType.GeomAbs_Plane,
        SurfaceType.GeomAbs_Cylinder,
        SurfaceType.GeomAbs_Cone,
        SurfaceType.GeomAbs_Sphere,
        SurfaceType.GeomAbs_Torus,
    ):
        return Round(kind, adaptor)
    return Free(face, adaptor)


def _lines(face: TopoDS_Face, level: int) -> list[np.ndarray]:
    flat = BRepAdaptor_Surface(face, False).GetType() == SurfaceType.GeomAbs_Plane
    found = []
    for edge, backwards in _boundary(face):
        line = edge_line(edge, level, straight=flat, joined=True)
        found.append(line[::-1] if backwards else line)
    return found


def _slack(patch: Patch, face: TopoDS_Face, lines: list[np.ndarray]) -> float:
    """mm: the edges' largest distance from the surface, or of a curve's end from its vertex."""
    if not lines:
        return 0.0
    points = np.concatenate(lines)
    uv, _ = patch.invert(points)
    away = float(np.linalg.norm(patch.points(uv[:, 0], uv[:, 1]) - points, axis=1).max())
    for edge, _ in _boundary(face):
        curve = BRepAdaptor_Curve(edge)
        ends = (
            (TopExp.FirstVertex_s(edge), curve.FirstParameter()),
            (TopExp.LastVertex_s(edge), curve.LastParameter()),
        )
        for vertex, t in ends:
            if not vertex.IsNull():
                away = max(away, BRep_Tool.Pnt_s(vertex).Distance(curve.Value(t)))
    return away


def _triangles(patch: Patch, lines: list[np.ndarray], level: int) -> Triangles:
    directed = _loop_chords(patch, lines)
    if isinstance(patch, Round) and patch.kind == SurfaceType.GeomAbs_Cone and len(directed):
        _bound_by_apex(patch, directed)
    if isinstance(patch, Free) and len(directed):
        patch.fit(directed.reshape(-1, 2))
    strips = _strips(patch, directed, level)
    if not np.isfinite(np.concatenate([strips.low0, strips.high0])).all():
        return Triangles(np.zeros((0, 3, 3)), math.inf)
    tall = np.maximum(strips.high0 - strips.low0, strips.high1 - strips.low1)
    step = patch.steps[1] / 2**level
    cells = np.maximum(np.ceil(tall / step - 1e-9), 1).astype(int) if math.isfinite(step) else np.ones(len(tall), int)
    if cells.sum() > _MAX_CELLS:
        return Triangles(np.zeros((0, 3, 3)), math.inf)
    row = np.repeat(np.arange(len(cells)), cells)
    part = np.arange(len(row)) - np.repeat(np.cumsum(cells) - cells, cells)
    shares = part / cells[row], (part + 1) / cells[row]
    corner = {}
    for side, (u, low, high) in enumerate(
        ((strips.u0, strips.low0, strips.high0), (strips.u1, strips.low1, strips.high1))
    ):
        for top, share in enumerate(shares):
            v = low[row] + share * (high[row] - low[row])
            corner[side, top] = patch.points(u[row], v)
    one = np.stack([corner[0, 0], corner[1, 0], corner[1, 1]], axis=1)
    other = np.stack([corner[0, 0], corner[1, 1], corner[0, 1]], axis=1)
    return Triangles(np.concatenate([one, other]), strips.bad)


def _bound_by_apex(patch: Round, directed: np.ndarray) -> None:
    v = directed[:, 1::2]
    near = 1e-9 * (1 + np.abs(v).max())
    side = 1.0 if math.sin(patch.slope) > 0 else -1.0
    if (side * (v - patch.apex) >= -near).all():
        patch.v_limits = (patch.apex, math.inf) if side > 0 else (-math.inf, patch.apex)
    elif (side * (v - patch.apex) <= near).all():
        patch.v_limits = (-math.inf, patch.apex) if side > 0 else (patch.apex, math.inf)


# -- solids


def faces_of(shape: TopoDS_Shape) -> list[TopoDS_Face]:
    """Every face once, in the order of the kernel's map."""
    from dflow.cadaccess.kernel.shape import KernelShape

    kernel = KernelShape(shape)
    return [kernel.face(row) for row in range(kernel.face_map.Extent())]


def solids_of(shape: TopoDS_Shape) -> Iterator[TopoDS_Shape]:
    """Every solid as placed."""
    walk = TopExp_Explorer(shape, TopAbs_SOLID)
    while walk.More():
        yield walk.Current()
        walk.Next()


def material_side(faces: list[np.ndarray]) -> list[int]:
    """For each face's triangles of a solid, 1 where their normals point out of it, -1 where into it, 0 if unknown."""
    every = np.concatenate(faces) if faces else np.zeros((0, 3, 3))
    rays = _Rays(every)
    out = []
    for triangles in faces:
        normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        size = np.linalg.norm(normal, axis=1)
        chosen = np.argsort(size)[::-1][:1000:200] if len(size) > 1000 else np.argsort(size)[::-1][:5]
        vote = 0
        for i in chosen.tolist():
            if size[i] > 0:
                vote += rays.side(_INSIDE @ triangles[i], normal[i] / size[i])
        out.append(int(np.sign(vote)))
    return out


_INSIDE = np.array([0.414, 0.341, 0.245])
_ASIDE = np.array([0.531, 0.297, 0.794])
"""A point of a triangle and a slant of rays that no symmetric part leads through an edge of another triangle."""


class _Rays:
    """Rays through triangles."""

    def __init__(self, triangles: np.ndarray) -> None:
        self.a = triangles[:, 0]
        self.ab, self.ac = triangles[:, 1] - self.a, triangles[:, 2] - self.a
        self.size = float(np.ptp(triangles.reshape(-1, 3), axis=0).max(initial=0.0))

    def side(self, point: np.ndarray, normal: np.ndarray) -> int:
        """1 where a ray along `normal` meets the surface an even number of times and the one against it an odd."""
        slanted = normal + 0.2 * np.cross(normal, _ASIDE)
        ahead, back = (self._count(point, sign * slanted) % 2 for sign in (1.0, -1.0))
        return 0 if ahead == back else (1 if not ahead else -1)

    def _count(self, point: np.ndarray, along: np.ndarray) -> int:
        p = np.cross(along, self.ac)
        det = np.einsum("ij,ij->i", self.ab, p)
        with np.errstate(divide="ignore", invalid="ignore"):
            off = point - self.a
            s = np.einsum("ij,ij->i", off, p) / det
            q = np.cross(off, self.ab)
            t = q @ along / det
            far = np.einsum("ij,ij->i", self.ac, q) / det
            hit = (s >= 0) & (t >= 0) & (s + t <= 1) & (far > 1e-7 * self.size)
        return int(hit.sum())


def volume(shape: TopoDS_Shape, levels: int = LEVELS) -> Estimate:
    """mm³ of the material of all solids; always positive for closed ones, of which one that is there twice counts
    once.
    """
    value = error = 0.0
    seen: set[bytes] = set()
    for solid in solids_of(shape):
        walk = TopExp_Explorer(solid, TopAbs_FACE)
        faces = []
        while walk.More():
            faces.append(TopoDS.Face(walk.Current()))
            walk.Next()
        centre = _middle(solid)
        figures = [face_figures(face, centre, levels) for face in faces]
        place = np.sort(np.concatenate([f.coarse.corners for f in figures]).reshape(-1, 3).round(6), axis=0).tobytes()
        if place in seen:
            continue
        seen.add(place)
        sides = material_side([f.coarse.corners for f in figures])
        outward = np.zeros(3)
        for side, figure in zip(sides, figures, strict=True):
            value += side * figure.flux.value / 3
            error += figure.flux.error / 3 if side else math.inf
            outward += side * _vector_area(figure.coarse.corners)
        if np.linalg.norm(outward) > OPEN * sum(f.area.value for f in figures):
            error = math.inf
    return Estimate(value, error)


def _vector_area(corners: np.ndarray) -> np.ndarray:
    a, b, c = (corners[:, i] for i in range(3))
    return 0.5 * np.cross(b - a, c - a).sum(axis=0)


def box_side(faces: list[TopoDS_Face], centre: np.ndarray, levels: int, side: int) -> Estimate:
    """One of x_min, y_min, z_min, x_max, y_max, z_max of all faces, mm: triangles do not reach it quite."""
    found = []
    for level in (levels - 2, levels - 1):
        ends = []
        for face in faces:
            corners = triangulate(face, level).corners.reshape(-1, 3)
            if not len(corners):
                return Estimate(math.nan, math.inf)
            ends.append(corners[:, side % 3].min() if side < 3 else corners[:, side % 3].max())
        found.append(float(min(ends) if side < 3 else max(ends)))
    slack = max(_slack(_patch(face), face, _lines(face, 0)) for face in faces)
    return Estimate(found[1], 2 * abs(found[1] - found[0]) + 1e-9 * abs(found[1]) + slack)


def _middle(shape: TopoDS_Shape) -> np.ndarray:
    walk = TopExp_Explorer(shape, TopAbs_EDGE)
    points = []
    while walk.More():
        vertex = TopExp.FirstVertex_s(TopoDS.Edge(walk.Current()))
        if not vertex.IsNull():
            points.append(_xyz(BRep_Tool.Pnt_s(vertex)))
        walk.Next()
    return np.mean(points, axis=0) if points else np.zeros(3)
