"""Loops of one face that touch, and which of them cross."""

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

from dflow.cadaccess.measure import contacts
from tests.cadaccess import solids
from tests.cadaccess.broken import SQUARE, flat_face

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


def plate(hole: TopoDS_Wire, side: float = 10.0) -> TopoDS_Shape:
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


def _contacts(shape: TopoDS_Shape, folder: Path) -> list[int]:
    brep = solids.open_brep(shape, folder)
    return contacts.find_contacts(brep.tables, brep.chords)[:, 0].tolist()


def _crossing(shape: TopoDS_Shape, folder: Path) -> int:
    brep = solids.open_brep(shape, folder)
    return contacts.find_crossing(brep.tables, brep.chords, brep.touching_loops)


@pytest.mark.parametrize("hole", HOLES.values(), ids=HOLES)
@pytest.mark.parametrize("gap", [0.0, 1e-8, -0.01, -1.0])
def test_a_hole_that_reaches_the_rim_touches_it(hole: Hole, gap: float, tmp_path: Path) -> None:
    assert len(_contacts(plate(hole(gap)), tmp_path)) == 2


@pytest.mark.parametrize("hole", HOLES.values(), ids=HOLES)
@pytest.mark.parametrize("gap", [1e-5, 1e-3, 0.5])
def test_a_hole_however_near_the_rim_is_apart(hole: Hole, gap: float, tmp_path: Path) -> None:
    assert _contacts(plate(hole(gap)), tmp_path) == []


@pytest.mark.parametrize(("gap", "touches"), [(0.0, True), (1e-8, True), (1e-5, False), (1e-3, False), (0.1, False)])
@pytest.mark.parametrize("turn", [0.3, 2.0, np.pi, 5.5])
@pytest.mark.parametrize("outer", ["circle", "ellipse"])
def test_a_circle_in_a_round_face(gap: float, touches: bool, turn: float, outer: str, tmp_path: Path) -> None:
    off = 3.0 - 1.1 - gap
    inner = _wire(gp_Circ(_axes(off * np.cos(turn), off * np.sin(turn)), 1.1))
    around = gp_Circ(_axes(0, 0), 3.0) if outer == "circle" else gp_Elips(_axes(0, 0), 3.0, 3.0 - 1e-12)
    assert (_contacts(_face(_wire(around), inner), tmp_path) == [0]) is touches


def test_loops_along_each_other_touch(tmp_path: Path) -> None:
    inner = _wire(gp_Circ(_axes(0, 0), 3.0))
    assert _contacts(_face(_wire(gp_Elips(_axes(0, 0), 3.0, 3.0 - 1e-9)), inner), tmp_path) == [0]


def test_holes_in_rows_are_apart(tmp_path: Path) -> None:
    shape = solids.drilled()
    assert _contacts(solids.compound(shape, solids.pocket(), plate(_circle(1.0))), tmp_path) == []


@pytest.mark.parametrize("hole", HOLES.values(), ids=HOLES)
@pytest.mark.parametrize(("gap", "crosses"), [(-1.0, True), (-0.1, True), (-1e-3, True), (0.0, False), (0.5, False)])
def test_loops_that_touch_do_not_cross(hole: Hole, gap: float, crosses: bool, tmp_path: Path) -> None:
    assert (_crossing(plate(hole(gap)), tmp_path) >= 0) is crosses


@pytest.mark.parametrize("turn", [0.3, 2.0, np.pi, 5.5])
@pytest.mark.parametrize(("off", "crosses"), [(1.9, False), (2.0, True), (1.0, False)])
def test_circles_cross_in_two_points_alone(off: float, crosses: bool, turn: float, tmp_path: Path) -> None:
    """A hole of 1.1 touches the rim of 3.0 from within where it lies 1.9 from its middle."""
    inner = _wire(gp_Circ(_axes(off * np.cos(turn), off * np.sin(turn)), 1.1))
    assert (_crossing(_face(_wire(gp_Circ(_axes(0, 0), 3.0)), inner), tmp_path) >= 0) is crosses


@pytest.mark.parametrize(
    ("holes", "crosses"),
    [
        ([[(0, 2), (1, 3), (2, 2), (1, 1)]], False),
        ([[(0, 2), (-1, 1), (-2, 2), (-1, 3)]], True),
        ([[(0, 2), (1, 3), (2, 2), (1, 1)], [(2, 2), (3, 3), (4, 2), (3, 1)]], False),
        ([[(0, 2), (1, 3), (2, 2), (1, 1)], [(0, 2), (0.5, 2.2), (1, 2), (0.5, 1.8)]], True),
    ],
    ids=["hole", "hole outside", "holes side by side", "hole in a hole"],
)
def test_holes_that_touch_lie_within_and_side_by_side(holes: list, crosses: bool, tmp_path: Path) -> None:
    assert (_crossing(flat_face(SQUARE, *holes), tmp_path) >= 0) is crosses


def test_loops_along_each_other_do_not_cross(tmp_path: Path) -> None:
    half = flat_face(SQUARE, [(0, 0), (0, 4), (2, 4), (2, 0)])
    assert (_contacts(half, tmp_path), _crossing(half, tmp_path)) == ([0], -1)
