"""Solids with closed-form answers, made by the kernel and handed over as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from OCP.BRep import BRep_Builder
from OCP.BRepAlgoAPI import BRepAlgoAPI_Cut, BRepAlgoAPI_Fuse
from OCP.BRepBuilderAPI import (
    BRepBuilderAPI_MakeEdge,
    BRepBuilderAPI_MakeFace,
    BRepBuilderAPI_MakePolygon,
    BRepBuilderAPI_MakeWire,
    BRepBuilderAPI_Transform,
)
from OCP.BRepFilletAPI import BRepFilletAPI_MakeFillet
from OCP.BRepPrimAPI import (
    BRepPrimAPI_MakeBox,
    BRepPrimAPI_MakeCone,
    BRepPrimAPI_MakeCylinder,
    BRepPrimAPI_MakePrism,
    BRepPrimAPI_MakeSphere,
    BRepPrimAPI_MakeTorus,
)
from OCP.BRepTools import BRepTools
from OCP.gp import gp_Ax1, gp_Ax2, gp_Circ, gp_Dir, gp_Pnt, gp_Trsf, gp_Vec
from OCP.Interface import Interface_Static
from OCP.STEPControl import STEPControl_StepModelType, STEPControl_Writer
from OCP.TopAbs import TopAbs_EDGE
from OCP.TopExp import TopExp_Explorer
from OCP.TopoDS import TopoDS, TopoDS_Compound, TopoDS_Shape

from dflow.cadaccess import Brep, CadLoader, CadModel

PLACES = ("at_origin", "placed", "mirrored", "reversed")


def place(shape: TopoDS_Shape, how: str) -> TopoDS_Shape:
    """The shape where it is, moved and turned, mirrored, or turned inside out twice over (a reversed solid)."""
    if how == "at_origin":
        return shape
    if how == "reversed":
        return shape.Reversed()
    move = gp_Trsf()
    if how == "mirrored":
        move.SetMirror(gp_Ax2(gp_Pnt(1, 2, 3), gp_Dir(1, 1, 0.3)))
        return BRepBuilderAPI_Transform(shape, move, True).Shape()
    move.SetRotation(gp_Ax1(gp_Pnt(3, 1, 2), gp_Dir(0.2, 1, 0.7)), 0.8)
    shift = gp_Trsf()
    shift.SetTranslation(gp_Vec(100, -50, 20))
    return shape.Moved(_location(shift.Multiplied(move)))


def _location(trsf: gp_Trsf) -> object:
    from OCP.TopLoc import TopLoc_Location

    return TopLoc_Location(trsf)


def box(x: float = 2.0, y: float = 3.0, z: float = 5.0) -> TopoDS_Shape:
    return BRepPrimAPI_MakeBox(x, y, z).Shape()


def cylinder(radius: float = 2.0, height: float = 7.0, angle: float = 2 * np.pi) -> TopoDS_Shape:
    return BRepPrimAPI_MakeCylinder(radius, height, angle).Shape()


def cone(low: float = 3.0, high: float = 1.0, height: float = 4.0) -> TopoDS_Shape:
    return BRepPrimAPI_MakeCone(low, high, height).Shape()


def sphere(radius: float = 2.5) -> TopoDS_Shape:
    return BRepPrimAPI_MakeSphere(radius).Shape()


def torus(major: float = 5.0, minor: float = 1.5) -> TopoDS_Shape:
    return BRepPrimAPI_MakeTorus(major, minor).Shape()


def pocket() -> TopoDS_Shape:
    """A 10 × 10 × 10 box with a 4 × 4 × 3 pocket from the top."""
    tool = BRepPrimAPI_MakeBox(gp_Pnt(3, 3, 7), gp_Pnt(7, 7, 12)).Shape()
    return BRepAlgoAPI_Cut(box(10, 10, 10), tool).Shape()


def drilled() -> TopoDS_Shape:
    """A 10 × 10 × 4 plate with a through hole of radius 2 in its middle."""
    tool = BRepPrimAPI_MakeCylinder(gp_Ax2(gp_Pnt(5, 5, -1), gp_Dir(0, 0, 1)), 2.0, 6.0).Shape()
    return BRepAlgoAPI_Cut(box(10, 10, 4), tool).Shape()


def touching_hole() -> TopoDS_Shape:
    """A plate with a round hole that touches its left side: loops of its first and last faces meet in a point."""
    outline = BRepBuilderAPI_MakePolygon()
    for corner in ((0, 0), (10, 0), (10, 10), (0, 10)):
        outline.Add(gp_Pnt(*corner, 0))
    outline.Close()
    round_ = BRepBuilderAPI_MakeEdge(gp_Circ(gp_Ax2(gp_Pnt(2, 5, 0), gp_Dir(0, 0, 1)), 2.0)).Edge()
    face = BRepBuilderAPI_MakeFace(outline.Wire(), True)
    face.Add(TopoDS.Wire(BRepBuilderAPI_MakeWire(round_).Wire().Reversed()))
    return BRepPrimAPI_MakePrism(face.Face(), gp_Vec(0, 0, 3)).Shape()


def boss() -> TopoDS_Shape:
    """A 10 × 10 × 4 plate with a standing cylinder of radius 2 and height 3."""
    tool = BRepPrimAPI_MakeCylinder(gp_Ax2(gp_Pnt(5, 5, 4), gp_Dir(0, 0, 1)), 2.0, 3.0).Shape()
    return BRepAlgoAPI_Fuse(box(10, 10, 4), tool).Shape()


def filleted_cylinder() -> TopoDS_Shape:
    """A cylinder whose two rims carry a torus fillet of radius 0.5."""
    shape = cylinder()
    maker = BRepFilletAPI_MakeFillet(shape)
    walk = TopExp_Explorer(shape, TopAbs_EDGE)
    seen = []
    while walk.More():
        edge = TopoDS.Edge(walk.Current())
        if BRep_is_circle(edge) and not any(edge.IsSame(other) for other in seen):
            seen.append(edge)
            maker.Add(0.5, edge)
        walk.Next()
    return maker.Shape()


def BRep_is_circle(edge: object) -> bool:
    from OCP.BRepAdaptor import BRepAdaptor_Curve
    from OCP.GeomAbs import GeomAbs_Circle

    return BRepAdaptor_Curve(edge).GetType() == GeomAbs_Circle


def compound(*shapes: TopoDS_Shape) -> TopoDS_Shape:
    builder, whole = BRep_Builder(), TopoDS_Compound()
    builder.MakeCompound(whole)
    for shape in shapes:
        builder.Add(whole, shape)
    return whole


def write_brep(shape: TopoDS_Shape, path: Path) -> Path:
    BRepTools.Write_s(shape, str(path))
    return path


def write_step(
    shape: TopoDS_Shape, path: Path, unit: str = "MM", *, pcurves: bool = True, assembly: bool = True
) -> Path:
    """Write the shape; `assembly` : a compound as a product for each of its parts, else as one."""
    writer = STEPControl_Writer()
    Interface_Static.SetCVal_s("write.step.unit", unit)
    Interface_Static.SetIVal_s("write.surfacecurve.mode", int(pcurves))
    default = Interface_Static.IVal_s("write.step.assembly")
    Interface_Static.SetIVal_s("write.step.assembly", default if assembly else 0)
    writer.Transfer(shape, STEPControl_StepModelType.STEPControl_AsIs)
    writer.Write(str(path))
    Interface_Static.SetCVal_s("write.step.unit", "MM")
    Interface_Static.SetIVal_s("write.surfacecurve.mode", 1)
    Interface_Static.SetIVal_s("write.step.assembly", default)
    return path


def open_model(shape: TopoDS_Shape, folder: Path, suffix: str = ".brep") -> CadModel:
    path = folder / f"part{suffix}"
    (write_brep if suffix == ".brep" else write_step)(shape, path)
    return CadLoader().create_from_file(path)


def open_brep(shape: TopoDS_Shape, folder: Path, suffix: str = ".brep") -> Brep:
    return open_model(shape, folder, suffix).get_brep()
