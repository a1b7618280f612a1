"""Shapes with a defect each, put together from the kernel's parts without its checks."""

from __future__ import annotations

import math
from collections.abc import Sequence

from OCP.BRep import BRep_Builder
from OCP.BRepBuilderAPI import BRepBuilderAPI_MakeVertex
from OCP.Geom import Geom_CylindricalSurface, Geom_Line, Geom_Plane
from OCP.Geom2d import Geom2d_Line
from OCP.gp import gp_Ax3, gp_Dir, gp_Dir2d, gp_Pln, gp_Pnt, gp_Pnt2d
from OCP.TopAbs import TopAbs_FACE, TopAbs_REVERSED, TopAbs_SHELL
from OCP.TopExp import TopExp_Explorer
from OCP.TopoDS import TopoDS, TopoDS_Edge, TopoDS_Face, TopoDS_Shape, TopoDS_Shell, TopoDS_Solid, TopoDS_Wire

from tests.cadaccess import solids

Corners = Sequence[tuple[float, float]]

SQUARE: Corners = ((0, 0), (4, 0), (4, 4), (0, 4))
DIAMOND: Corners = ((0, 2), (1, 3), (2, 2), (1, 1))
"""A hole in `SQUARE` that touches its left side."""

_BUILDER = BRep_Builder()


def flat_face(*loops: Corners, closed: bool = True, shared: bool = True, short: float = 0.0) -> TopoDS_Face:
    """A face on z = 0 with polygons as loops.

    closed : whether the loops have their last side; shared : whether neighbouring sides share a vertex; short : by how
    much each side ends before its vertex, whose tolerance covers that.
    """
    face = TopoDS_Face()
    _BUILDER.MakeFace(face, Geom_Plane(gp_Pln()), 1e-7)
    for corners in loops:
        wire, n = TopoDS_Wire(), len(corners)
        _BUILDER.MakeWire(wire)
        starts = [_vertex(corner, short) for corner in corners]
        ends = starts if shared else [_vertex(corner, short) for corner in corners]
        for i in range(n if closed else n - 1):
            j = (i + 1) % n
            _BUILDER.Add(wire, _side(corners[i], corners[j], starts[i], ends[j], short))
        _BUILDER.Add(face, wire)
    return face


def _vertex(corner: tuple[float, float], tolerance: float) -> TopoDS_Shape:
    vertex = BRepBuilderAPI_MakeVertex(gp_Pnt(*corner, 0)).Vertex()
    _BUILDER.UpdateVertex(vertex, max(1e-7, 2 * tolerance))
    return vertex


def _side(
    a: tuple[float, float], b: tuple[float, float], first: TopoDS_Shape, last: TopoDS_Shape, short: float
) -> TopoDS_Edge:
    edge = TopoDS_Edge()
    line = Geom_Line(gp_Pnt(*a, 0), gp_Dir(b[0] - a[0], b[1] - a[1], 0))
    _BUILDER.MakeEdge(edge, line, max(1e-7, 2 * short))
    _BUILDER.Add(edge, first)
    _BUILDER.Add(edge, last.Oriented(TopAbs_REVERSED))
    _BUILDER.Range(edge, 0.0, math.dist(a, b) - short)
    return edge


def round_face(turn: float, *, on_surface: bool = True) -> TopoDS_Face:
    """A face on a cylinder of radius 1 and height 2 over an angle of `turn`; `on_surface`: its curves in (u, v)."""
    surface = Geom_CylindricalSurface(gp_Ax3(), 1.0)
    face, wire = TopoDS_Face(), TopoDS_Wire()
    _BUILDER.MakeFace(face, surface, 1e-7)
    _BUILDER.MakeWire(wire)
    corners = [(0.0, 0.0), (turn, 0.0), (turn, 2.0), (0.0, 2.0)]
    points = [surface.Value(*corner) for corner in corners]
    vertices = [BRepBuilderAPI_MakeVertex(point).Vertex() for point in points]
    for i, (u, v) in enumerate(corners):
        j = (i + 1) % 4
        du, dv = corners[j][0] - u, corners[j][1] - v
        length = math.hypot(du, dv)
        curve = surface.VIso(v) if i % 2 == 0 else Geom_Line(points[i], gp_Dir(0, 0, dv))
        edge = TopoDS_Edge()
        _BUILDER.MakeEdge(edge, curve, 1e-7)
        if on_surface:
            _BUILDER.UpdateEdge(edge, Geom2d_Line(gp_Pnt2d(u, v), gp_Dir2d(du, dv)), face, 1e-7)
        _BUILDER.Add(edge, vertices[i])
        _BUILDER.Add(edge, vertices[j].Oriented(TopAbs_REVERSED))
        _BUILDER.Range(edge, 0.0, length)
        _BUILDER.Add(wire, edge)
    _BUILDER.Add(face, wire)
    return face


def solid_of(*shells: TopoDS_Shape) -> TopoDS_Solid:
    """A solid with these shells as they are."""
    solid = TopoDS_Solid()
    _BUILDER.MakeSolid(solid)
    for shell in shells:
        _BUILDER.Add(solid, shell)
    return solid


def shell_of(solid: TopoDS_Shape) -> TopoDS_Shape:
    """A solid's first shell."""
    return TopExp_Explorer(solid, TopAbs_SHELL).Current()


def lidless_box() -> TopoDS_Solid:
    """A solid whose one shell lacks a face."""
    shell, faces = TopoDS_Shell(), TopExp_Explorer(solids.box(), TopAbs_FACE)
    _BUILDER.MakeShell(shell)
    faces.Next()
    while faces.More():
        _BUILDER.Add(shell, TopoDS.Face(faces.Current()))
        faces.Next()
    return solid_of(shell)
