"""Surfaces of faces: points at (u, v) and (u, v) of points."""

from __future__ import annotations

import math

import numpy as np
from OCP.BRep import BRep_Tool
from OCP.BRepAdaptor import BRepAdaptor_Surface
from OCP.GeomAbs import GeomAbs_CurveType as CurveType
from OCP.GeomAbs import GeomAbs_SurfaceType as SurfaceType
from OCP.gp import gp_Pnt
from OCP.ShapeAnalysis import ShapeAnalysis_Surface
from OCP.TopoDS import TopoDS_Face

ARC = math.pi / 16
"""Of a turn: the step of the coarsest triangulation."""
_STEPS = 8
"""Across a free-form face at the coarsest level, at least."""
_TURN = 2 * math.pi


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
        self.origin = xyz(place.Location())
        self.frame = np.array([xyz(place.XDirection()), xyz(place.YDirection()), xyz(place.Direction())])
        self.radius = self.minor = self.slope = 0.0
        if kind == SurfaceType.GeomAbs_Plane:
            return
        self.periods, self.steps = (_TURN, 0.0), (ARC, math.inf)
        if kind == SurfaceType.GeomAbs_Torus:
            self.radius, self.minor = item.MajorRadius(), item.MinorRadius()
            self.periods, self.steps = (_TURN, _TURN), (ARC, ARC)
            self.v_limits = (0.0, _TURN)
        elif kind == SurfaceType.GeomAbs_Cone:
            self.radius, self.slope = item.RefRadius(), item.SemiAngle()
        else:
            self.radius = item.Radius()
        if kind == SurfaceType.GeomAbs_Sphere:
            self.steps, self.v_limits = (ARC, ARC), (-math.pi / 2, math.pi / 2)

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
        self.spans = (_n_spans(adaptor, "U"), _n_spans(adaptor, "V"))
        self.fit(np.array([[own[0], own[2]], [own[1], own[3]]]))

    def fit(self, uv: np.ndarray) -> None:
        """Set the steps for a face whose boundary has points uv : (n, 2)."""
        sizes = np.ptp(uv, axis=0).tolist()
        whole = [own[1] - own[0] for own in (self.u_limits, self.v_limits)]
        steps = [math.inf, math.inf]
        # Straight lines of a surface that twists are not enough: two triangles between two of them miss its area.
        is_extrusion = self.adaptor.GetType() == SurfaceType.GeomAbs_SurfaceOfExtrusion
        for axis in range(1 if is_extrusion else 2):
            parts = [size / _STEPS for size in (sizes[axis], whole[axis]) if 0 < size < 1e50]
            if self.spans[axis] > 1:
                parts.append(whole[axis] / (2 * self.spans[axis]))
            steps[axis] = min(parts, default=math.inf)
        self.steps = (steps[0], steps[1])

    def points(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        kind = self.adaptor.GetType()
        if kind == SurfaceType.GeomAbs_SurfaceOfExtrusion:
            return self._on_basis(u) + v[:, None] * xyz(self.adaptor.Direction())
        if kind == SurfaceType.GeomAbs_SurfaceOfRevolution:
            axis = self.adaptor.AxeOfRevolution()
            origin, along = xyz(axis.Location()), xyz(axis.Direction())
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


def xyz(item: object) -> np.ndarray:
    return np.array([item.X(), item.Y(), item.Z()])  # type: ignore[attr-defined]


def patch_of(face: TopoDS_Face) -> Patch:
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
