"""A shape as the kernel holds it: queries face by face and edge by edge, slow and exact, for what has no table, and as
the oracle of tests.

Rows are those of `exploration`, which are the kernel's own map order. One thread only: OCCT's shapes are not
thread-safe.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from functools import cached_property
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np
from OCP.Bnd import Bnd_Box
from OCP.BRep import BRep_Tool
from OCP.BRepAdaptor import BRepAdaptor_Curve, BRepAdaptor_Surface
from OCP.BRepBndLib import BRepBndLib
from OCP.BRepCheck import BRepCheck_Analyzer
from OCP.BRepGProp import BRepGProp, BRepGProp_Domain, BRepGProp_Face, BRepGProp_Vinert
from OCP.BRepTools import BRepTools
from OCP.collections import IndexedMap_TopoDS_Shape_TopTools_ShapeMapHasher as ShapeMap
from OCP.gp import gp_Pnt, gp_Pnt2d, gp_Vec
from OCP.GProp import GProp_GProps
from OCP.IntTools import IntTools_FClass2d
from OCP.TopAbs import (
    TopAbs_EDGE,
    TopAbs_FACE,
    TopAbs_IN,
    TopAbs_ON,
    TopAbs_REVERSED,
    TopAbs_SHAPE,
    TopAbs_SHELL,
    TopAbs_SOLID,
)
from OCP.TopExp import TopExp, TopExp_Explorer
from OCP.TopoDS import TopoDS, TopoDS_Edge, TopoDS_Face, TopoDS_Shape

from dflow.errors import CadError, GeometryError, KernelError

P = ParamSpec("P")
R = TypeVar("R")

CLASSIFIER_TOLERANCE = 1e-6
"""Tolerance given to `IntTools_FClass2d`, as brepgraph gives it."""

RELATIVE_ERROR = 1e-9
"""Error bound of the kernel's area and volume integrals: its default rule, without one, is off by up to 1e-3 of a
curved trim's area. The bound holds for the area; a centroid's error, which the kernel does not bound, was 100 times
larger.
"""

_NULL = 1e-9
"""mm per unit of parameter: a shorter first derivative counts as null."""

_NUDGES = (0.0, 1e-7, 1e-6, 1e-4, 1e-2)


def _guarded(query: Callable[Concatenate[KernelShape, P], R]) -> Callable[Concatenate[KernelShape, P], R]:
    """Turn what the kernel raises into a `KernelError` that names the query."""

    @functools.wraps(query)
    def guarded(self: KernelShape, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return query(self, *args, **kwargs)
        except CadError:
            raise
        except Exception as error:  # OCCT's exceptions have no common base of their own
            which = f" {args[0]}" if args and isinstance(args[0], int) else ""
            raise KernelError(
                f"the kernel raised {type(error).__name__} in the query {query.__name__}{which}: {error}"
            ) from error

    return guarded


class KernelShape:
    """A shape as the kernel holds it, with its faces and edges by row.

    Parameters
    ----------
    shape : the shape, or a function that returns it on first use.
    """

    def __init__(self, shape: TopoDS_Shape | Callable[[], TopoDS_Shape]) -> None:
        self._given = shape

    @cached_property
    def shape(self) -> TopoDS_Shape:
        """The kernel's shape."""
        return self._given if isinstance(self._given, TopoDS_Shape) else self._given()

    @cached_property
    def face_map(self) -> ShapeMap:
        """The kernel's face map; key ``row + 1``."""
        found = ShapeMap()
        TopExp.MapShapes_s(self.shape, TopAbs_FACE, found)
        return found

    @cached_property
    def edge_map(self) -> ShapeMap:
        """The kernel's edge map, degenerate edges included; key ``row + 1``."""
        found = ShapeMap()
        TopExp.MapShapes_s(self.shape, TopAbs_EDGE, found)
        return found

    @cached_property
    def bodies(self) -> list[TopoDS_Shape]:
        """Solids, then the shells and faces that belong to none, in the kernel's order."""
        found: list[TopoDS_Shape] = []
        solids, shells, faces = TopAbs_SOLID, TopAbs_SHELL, TopAbs_FACE
        for kind, avoid in ((solids, TopAbs_SHAPE), (shells, solids), (faces, shells)):
            seen = ShapeMap()
            walk = TopExp_Explorer(self.shape, kind, avoid)
            while walk.More():
                seen.Add(walk.Current())
                walk.Next()
            found += [seen.FindKey(i) for i in range(1, seen.Extent() + 1)]
        return found

    def face(self, row: int) -> TopoDS_Face:
        """The face of a row."""
        return TopoDS.Face(self.face_map.FindKey(row + 1))

    def edge(self, row: int) -> TopoDS_Edge:
        """The edge of a row of the kernel's map (degenerate ones count)."""
        return TopoDS.Edge(self.edge_map.FindKey(row + 1))

    @_guarded
    def uv_bounds(self, row: int) -> tuple[float, float, float, float]:
        """u_min, u_max, v_min, v_max of the trimmed face."""
        return tuple(BRepTools.UVBounds_s(self.face(row)))

    @_guarded
    def face_moments(self, row: int) -> tuple[float, np.ndarray]:
        """Area in mm² and centroid (3,) in mm; a NaN centroid where the area is 0."""
        found = GProp_GProps()
        BRepGProp.SurfaceProperties_s(self.face(row), found, RELATIVE_ERROR)
        return found.Mass(), _centre(found)

    @_guarded
    def surface_points(self, row: int, uv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points and outward unit normals at uv : (m, 2); both (m, 3) float64, NaN normals where there is none."""
        face = self.face(row)
        surface = BRepAdaptor_Surface(face, True)
        bounds = self.uv_bounds(row)
        centre = 0.5 * (bounds[0] + bounds[1]), 0.5 * (bounds[2] + bounds[3])
        sign = -1.0 if face.Orientation() == TopAbs_REVERSED else 1.0
        points, normals = np.empty((len(uv), 3)), np.full((len(uv), 3), np.nan)
        for i, (u, v) in enumerate(uv.tolist()):
            for nudge in _NUDGES:
                at, normal = _point_and_normal(surface, u + nudge * (centre[0] - u), v + nudge * (centre[1] - v))
                if not nudge:
                    points[i] = at
                if normal is not None:
                    exact = _normal_at_pole(surface, u, v, normal) if nudge else None
                    normals[i] = sign * (normal if exact is None else exact)
                    break
        return points, normals

    @_guarded
    def stretch(self, row: int, uv: np.ndarray) -> np.ndarray:
        """(m,) float64: surface area per area of parameters, at uv : (m, 2)."""
        surface = BRepAdaptor_Surface(self.face(row), True)
        at, du, dv = gp_Pnt(), gp_Vec(), gp_Vec()
        out = np.empty(len(uv))
        for i, (u, v) in enumerate(uv.tolist()):
            surface.D1(u, v, at, du, dv)
            out[i] = du.Crossed(dv).Magnitude()
        return out

    @_guarded
    def inside(self, row: int, uv: np.ndarray, *, closed: bool = True) -> np.ndarray:
        """(m,) bool: which of uv : (m, 2) lie in the trimmed face, or if `closed` on it, by `IntTools_FClass2d`."""
        classifier = IntTools_FClass2d(self.face(row), CLASSIFIER_TOLERANCE)
        states = (classifier.Perform(gp_Pnt2d(u, v)) for u, v in uv.tolist())
        wanted = (TopAbs_IN, TopAbs_ON) if closed else (TopAbs_IN,)
        return np.fromiter((s in wanted for s in states), bool, len(uv))

    def _curve(self, row: int) -> BRepAdaptor_Curve:
        edge = self.edge(row)
        if not BRep_Tool.IsGeometric_s(edge):
            raise GeometryError(f"edge {row} of the shape has no curve, in space or on a surface")
        return BRepAdaptor_Curve(edge)

    @_guarded
    def edge_length(self, row: int) -> float:
        """Length in mm."""
        found = GProp_GProps()
        BRepGProp.LinearProperties_s(self.edge(row), found)
        return found.Mass()

    @_guarded
    def edge_points(self, row: int, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points and first derivatives at parameters t : (m,); both (m, 3) float64."""
        curve = self._curve(row)
        at, slope = gp_Pnt(), gp_Vec()
        out = np.empty((2, len(t), 3))
        for i, value in enumerate(t.tolist()):
            curve.D1(value, at, slope)
            out[0, i] = at.X(), at.Y(), at.Z()
            out[1, i] = slope.X(), slope.Y(), slope.Z()
        return out[0], out[1]

    @_guarded
    def edge_range(self, row: int) -> tuple[float, float]:
        """First and last parameter."""
        curve = self._curve(row)
        return curve.FirstParameter(), curve.LastParameter()

    @_guarded
    def face_cone(self, row: int) -> tuple[float, np.ndarray]:
        """Signed volume in mm³ of the cone from the origin over a face, and the volume times its centroid (3,)."""
        face = self.face(row)
        found = BRepGProp_Vinert(BRepGProp_Face(face), BRepGProp_Domain(face), gp_Pnt(0.0, 0.0, 0.0), RELATIVE_ERROR)
        centre = found.CentreOfMass()
        return found.Mass(), found.Mass() * np.array([centre.X(), centre.Y(), centre.Z()])

    @_guarded
    def bounding_box(self) -> np.ndarray:
        """(6,) float64, mm: the smallest box of the exact geometry, without tolerances and meshes; NaN when empty."""
        return _box_of(self.shape)

    @_guarded
    def face_box(self, row: int) -> np.ndarray:
        """(6,) float64, mm: the smallest box of one face."""
        return _box_of(self.face(row))

    @_guarded
    def edge_box(self, row: int) -> np.ndarray:
        """(6,) float64, mm: the smallest box of one edge."""
        return _box_of(self.edge(row))

    @_guarded
    def is_valid(self) -> bool:
        """Return the result of the kernel's own check; it costs about as much as reading."""
        return bool(BRepCheck_Analyzer(self.shape).IsValid())


def _box_of(shape: TopoDS_Shape) -> np.ndarray:
    box = Bnd_Box()
    BRepBndLib.AddOptimal_s(shape, box, False, False)
    if box.IsVoid():
        return np.full(6, np.nan)
    box.SetGap(0.0)
    low, high = box.CornerMin(), box.CornerMax()
    return np.array([low.X(), low.Y(), low.Z(), high.X(), high.Y(), high.Z()])


def _centre(found: GProp_GProps) -> np.ndarray:
    if found.Mass() == 0.0:
        return np.full(3, np.nan)
    centre = found.CentreOfMass()
    return np.array([centre.X(), centre.Y(), centre.Z()])


def _point_and_normal(
    surface: BRepAdaptor_Surface, u: float, v: float
) -> tuple[tuple[float, float, float], np.ndarray | None]:
    at, du, dv = gp_Pnt(), gp_Vec(), gp_Vec()
    surface.D1(u, v, at, du, dv)
    point = (at.X(), at.Y(), at.Z())
    cross = du.Crossed(dv)
    size, scale = cross.Magnitude(), du.Magnitude() * dv.Magnitude()
    # Next to a pole the cross product is noise of either sign: a floor on its sine and on du.
    if not math.isfinite(size) or scale == 0.0 or size < 1e-9 * scale or min(du.Magnitude(), dv.Magnitude()) < _NULL:
        return point, None
    return point, np.array([cross.X(), cross.Y(), cross.Z()]) / size


def _normal_at_pole(surface: BRepAdaptor_Surface, u: float, v: float, near: np.ndarray) -> np.ndarray | None:
    """Return the normal where Su or Sv is null: the limit ``Suv × Sv`` or ``Su × Suv`` (as in `CSLib::Normal`), on the
    side of `near`, the normal a small step away; None where both are null, or that limit is.

    The kernel's first derivatives can be off by 1e-12 of the surface's size: over a step of 1e-7, a normal by 1e-5.
    """
    at, du, dv, duu, dvv, duv = gp_Pnt(), gp_Vec(), gp_Vec(), gp_Vec(), gp_Vec(), gp_Vec()
    surface.D2(u, v, at, du, dv, duu, dvv, duv)
    null_u, null_v = du.Magnitude() < _NULL, dv.Magnitude() < _NULL
    if null_u == null_v:
        return None
    along, limit = (dv, duv.Crossed(dv)) if null_u else (du, du.Crossed(duv))
    size = limit.Magnitude()
    if not size > _NULL * along.Magnitude():
        return None
    normal = np.array([limit.X(), limit.Y(), limit.Z()]) / size
    return normal if normal @ near > 0 else -normal
