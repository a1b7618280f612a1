"""Loops of one face that touch or cross: found for what they are, and left to full healing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from OCP.BRepBuilderAPI import (
    BRepBuilderAPI_MakeEdge,
    BRepBuilderAPI_MakeFace,
    BRepBuilderAPI_MakePolygon,
    BRepBuilderAPI_MakeWire,
)
from OCP.BRepPrimAPI import BRepPrimAPI_MakePrism
from OCP.Geom import Geom_Circle, Geom_TrimmedCurve
from OCP.GeomConvert import GeomConvert
from OCP.gp import gp_Ax2, gp_Circ, gp_Dir, gp_Elips, gp_Pnt, gp_Vec
from OCP.TopoDS import TopoDS, TopoDS_Face, TopoDS_Shape, TopoDS_Wire

from dflow.cadaccess import CadLoader, defects
from dflow.cadaccess.files.formats import CadFormat
from dflow.cadaccess.kernel.reading import transfer
from dflow.cadaccess.kernel.shape import KernelShape
from tests.cadaccess import solids

Hole = Callable[[float], TopoDS_Wire]


def _axes(x: float, y: float) -> gp_Ax2:
    return gp_Ax2(gp_Pnt(x, y, 0), gp_Dir(0, 0, 1))


def _wire(*curves: object) -> TopoDS_Wire:
    maker = BRepBuilderAPI_MakeWire()
    for curve in curves:
        maker.Add(BRepBuilderAPI_MakeEdge(curve).Edge())
    return maker.Wire()


def _circle(gap: float) -> TopoDS_Wire:
    """A circle with its left side `gap` to the right of x = 0; its seam lies on the far side."""
    return _wire(gp_Circ(_axes(2.0 + gap, 5.0), 2.0))


def _ellipse(gap: float) -> TopoDS_Wire:
    return _wire(gp_Elips(_axes(3.0 + gap, 4.0), 3.0, 1.5))


def _spline(gap: float) -> TopoDS_Wire:
    """The circle as two B-splines, neither of which ends near x = 0."""
    round_ = Geom_Circle(gp_Circ(_axes(2.0 + gap, 5.0), 2.0))
    spans = [(-2.0, 2.0), (2.0, 2 * np.pi - 2.0)]
    return _wire(*(GeomConvert.CurveToBSplineCurve_s(Geom_TrimmedCurve(round_, *span)) for span in spans))


def _square(gap: float) -> TopoDS_Wire:
    """Stands on its corner, which points to x = 0."""
    corners = [(gap, 5.0), (gap + 2, 3.0), (gap + 4, 5.0), (gap + 2, 7.0)]
    maker = BRepBuilderAPI_MakePolygon()
    for corner in corners:
        maker.Add(gp_Pnt(*corner, 0))
    maker.Close()
    return maker.Wire()


HOLES: dict[str, Hole] = {"circle": _circle, "ellipse": _ellipse, "spline": _spline, "square": _square}


def _plate(hole: TopoDS_Wire, side: float = 10.0) -> TopoDS_Shape:
    """A square plate from x = 0, y = 0 with a straight hole."""
    edge = BRepBuilderAPI_MakePolygon()
    for corner in ((0, 0), (side, 0), (side, side), (0, side)):
        edge.Add(gp_Pnt(*corner, 0))
    edge.Close()
    return BRepPrimAPI_MakePrism(_face(edge.Wire(), hole), gp_Vec(0, 0, 3)).Shape()


def _face(outer: TopoDS_Wire, hole: TopoDS_Wire) -> TopoDS_Face:
    maker = BRepBuilderAPI_MakeFace(outer, True)
    maker.Add(TopoDS.Wire(hole.Reversed()))
    return maker.Face()


def _contact(shape: TopoDS_Shape, folder: Path) -> int:
    brep = solids.open_brep(shape, folder)
    return defects.find_contact(brep.tables, brep.chords)


@pytest.mark.parametrize("hole", HOLES.values(), ids=HOLES)
@pytest.mark.parametrize("gap", [0.0, 1e-8, -0.01, -1.0])
def test_a_hole_that_reaches_the_rim_touches_it(hole: Hole, gap: float, tmp_path: Path) -> None:
    assert _contact(_plate(hole(gap)), tmp_path) >= 0


@pytest.mark.parametrize("hole", HOLES.values(), ids=HOLES)
@pytest.mark.parametrize("gap", [1e-5, 1e-3, 0.5])
def test_a_hole_however_near_the_rim_is_apart(hole: Hole, gap: float, tmp_path: Path) -> None:
    assert _contact(_plate(hole(gap)), tmp_path) == -1


@pytest.mark.parametrize(("gap", "touches"), [(0.0, True), (1e-8, True), (1e-5, False), (1e-3, False), (0.1, False)])
@pytest.mark.parametrize("turn", [0.3, 2.0, np.pi, 5.5])
@pytest.mark.parametrize("outer", ["circle", "ellipse"])
def test_a_circle_in_a_round_face(gap: float, touches: bool, turn: float, outer: str, tmp_path: Path) -> None:
    off = 3.0 - 1.1 - gap
    inner = _wire(gp_Circ(_axes(off * np.cos(turn), off * np.sin(turn)), 1.1))
    around = gp_Circ(_axes(0, 0), 3.0) if outer == "circle" else gp_Elips(_axes(0, 0), 3.0, 3.0 - 1e-12)
    assert (_contact(_face(_wire(around), inner), tmp_path) >= 0) is touches


def test_loops_along_each_other_touch(tmp_path: Path) -> None:
    inner = _wire(gp_Circ(_axes(0, 0), 3.0))
    assert _contact(_face(_wire(gp_Elips(_axes(0, 0), 3.0, 3.0 - 1e-9)), inner), tmp_path) == 0


def test_holes_in_rows_are_apart(tmp_path: Path) -> None:
    shape = solids.drilled()
    assert _contact(solids.compound(shape, solids.pocket(), _plate(_circle(1.0))), tmp_path) == -1


@pytest.mark.parametrize("name", ["circle", "ellipse", "spline"])
def test_touching_loops_are_left_to_full_healing(name: str, tmp_path: Path) -> None:
    path = solids.write_step(_plate(HOLES[name](0.0)), tmp_path / "part.step")
    model = CadLoader().create_from_file(path)
    assert (model.read_report.healing, "loops that touch" in model.read_report.fallback) == ("full", True)
    light = KernelShape(transfer(path, path.read_bytes(), CadFormat.STEP, "light").shape)
    full = KernelShape(transfer(path, path.read_bytes(), CadFormat.STEP, "full").shape)
    assert light.edge_map.Extent() < full.edge_map.Extent() == model.get_brep().n_edges


def test_a_narrow_bridge_needs_no_healing(tmp_path: Path) -> None:
    model = solids.open_model(_plate(_circle(1e-3)), tmp_path, ".step")
    assert model.read_report.healing == "text"
    assert model.get_brep().n_edges == 15
