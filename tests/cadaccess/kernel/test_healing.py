"""Levels of healing, and shells turned to face out of the material."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from OCP.BRep import BRep_Builder, BRep_Tool
from OCP.BRepAlgoAPI import BRepAlgoAPI_Cut
from OCP.BRepCheck import BRepCheck_Analyzer
from OCP.BRepGProp import BRepGProp
from OCP.BRepPrimAPI import BRepPrimAPI_MakeCylinder
from OCP.gp import gp_Ax2, gp_Dir, gp_Pnt, gp_Trsf, gp_Vec, gp_Vec2d
from OCP.GProp import GProp_GProps
from OCP.TCollection import TCollection_AsciiString
from OCP.TopAbs import TopAbs_FACE, TopAbs_FORWARD, TopAbs_SHELL
from OCP.TopExp import TopExp_Explorer
from OCP.TopLoc import TopLoc_Location
from OCP.TopoDS import TopoDS, TopoDS_Face, TopoDS_Iterator, TopoDS_Shape, TopoDS_Solid

from dflow.cadaccess.kernel import healing
from tests.cadaccess import solids


@pytest.mark.parametrize(
    ("text", "level"),
    [
        (b"#1=PLANE('',#2);", "planar"),
        (b"#1=SURFACE_CURVE('',#2);#3=PLANE('',#4);", "planar"),
        (b"#1=CYLINDRICAL_SURFACE('',#2,1.);", "light"),
        (b"#1=SURFACE_OF_REVOLUTION('',#2,#3);", "light"),
        (b"#1=(BOUNDED_SURFACE()B_SPLINE_SURFACE(1,1,));", "light"),
    ],
)
def test_the_first_level_follows_the_surfaces(text: bytes, level: str) -> None:
    assert healing.first_level(text) == level


def test_planar_turns_every_mode_off_and_light_leaves_a_few_on() -> None:
    planar, light = healing.parameters("planar"), healing.parameters("light")
    assert planar is not None
    assert light is not None
    assert planar.Extent() == light.Extent() == len(healing._MODES)
    on = [mode for mode in healing._MODES if light.Find(TCollection_AsciiString(f"FixShape.{mode}")).ToCString() == "1"]
    assert set(on) == healing._LIGHT
    assert all(planar.Find(TCollection_AsciiString(f"FixShape.{mode}")).ToCString() == "0" for mode in healing._MODES)
    assert healing.parameters("full") is None


def _shell(shape: TopoDS_Shape) -> TopoDS_Shape:
    return TopExp_Explorer(shape, TopAbs_SHELL).Current()


def _hollow(*, outer_out: bool, inner_out: bool) -> TopoDS_Shape:
    """A cube of 4 mm with a cavity of 1 mm, their shells facing out of themselves or not."""
    move = gp_Trsf()
    move.SetTranslation(gp_Vec(1, 1, 1))
    inner = solids.box(1, 1, 1).Moved(TopLoc_Location(move))
    builder, solid = BRep_Builder(), TopoDS_Solid()
    builder.MakeSolid(solid)
    for shape, out in ((solids.box(4, 4, 4), outer_out), (inner, inner_out)):
        shell = _shell(shape)
        builder.Add(solid, shell if out else shell.Reversed())
    return solid


def _volumes(solid: TopoDS_Shape) -> list[float]:
    found, walk = [], TopExp_Explorer(solid, TopAbs_SHELL)
    while walk.More():
        properties = GProp_GProps()
        BRepGProp.VolumeProperties_s(walk.Current(), properties)
        found.append(properties.Mass())
        walk.Next()
    return found


@pytest.mark.parametrize("outer_out", [True, False])
@pytest.mark.parametrize("inner_out", [True, False])
@pytest.mark.parametrize("outward", [True, False])
def test_shells_are_turned_until_a_cavity_faces_against_its_outer_shell(
    outer_out: bool, inner_out: bool, outward: bool
) -> None:
    solid = _hollow(outer_out=outer_out, inner_out=inner_out)
    side = 1.0 if outward or outer_out else -1.0
    right_already = (64.0 if outer_out else -64.0) == 64.0 * side and (1.0 if inner_out else -1.0) == -side
    assert healing.turn_shells(solid, outward=outward) is not right_already
    np.testing.assert_allclose(_volumes(solid), [64.0 * side, -1.0 * side], rtol=1e-9)
    assert not healing.turn_shells(solid, outward=outward)


def _area(shape: TopoDS_Shape) -> float:
    found = GProp_GProps()
    BRepGProp.SurfaceProperties_s(shape, found)
    return found.Mass()


def _bored_cylinder() -> TopoDS_Shape:
    """A cylinder of radius 2 and height 7 with a hole of radius 0.5 through its wall."""
    tool = BRepPrimAPI_MakeCylinder(gp_Ax2(gp_Pnt(0, 0, 3.5), gp_Dir(-1, 0.2, 0)), 0.5, 3.0).Shape()
    return BRepAlgoAPI_Cut(solids.cylinder(), tool).Shape()


def _shift(face: TopoDS_Face, n_edges: int, wanted: slice, turns: float) -> None:
    """Move the curves of some edges of the loop that has so many, as the kernel's reader may leave them."""
    walk = TopoDS_Iterator(face)
    while walk.More():
        edges, inner = [], TopoDS_Iterator(walk.Value())
        while inner.More():
            edges.append(TopoDS.Edge(inner.Value()))
            inner.Next()
        if len(edges) == n_edges:
            for edge in edges[wanted]:
                curve = BRep_Tool.CurveOnSurface_s(edge, face, 0.0, 0.0)
                curve.Translate(gp_Vec2d(2 * np.pi * turns, 0.0))
                BRep_Builder().Range(edge, face, *BRep_Tool.Range_s(edge, face))
        walk.Next()


def _wall(shape: TopoDS_Shape) -> TopoDS_Face:
    face = TopoDS.Face(TopExp_Explorer(shape, TopAbs_FACE).Current()).Oriented(TopAbs_FORWARD)
    return TopoDS.Face(face)


@pytest.mark.parametrize("turns", [-2.0, -1.0, 1.0, 3.0])
@pytest.mark.parametrize(
    ("make", "n_edges", "wanted"),
    [
        (solids.cylinder, 4, slice(0, 1)),
        (solids.cylinder, 4, slice(1, 3)),
        (solids.sphere, 4, slice(2, 4)),
        (solids.torus, 4, slice(0, 2)),
        (_bored_cylinder, 1, slice(None)),
        (_bored_cylinder, 4, slice(2, 3)),
        (_bored_cylinder, 4, slice(None)),
    ],
)
def test_curves_that_lie_whole_turns_off_are_moved_back(
    make: Callable[[], TopoDS_Shape], n_edges: int, wanted: slice, turns: float
) -> None:
    shape = make()
    area = _area(shape)
    assert not healing.align_turns(shape)
    _shift(_wall(shape), n_edges, wanted, turns)
    assert healing.align_turns(shape)
    assert not healing.exceeds_turn(shape)
    assert _area(shape) == pytest.approx(area)
    assert BRepCheck_Analyzer(shape).IsValid()
    assert not healing.align_turns(shape)


def test_a_hole_a_turn_off_makes_its_face_exceed_a_turn() -> None:
    shape = _bored_cylinder()
    assert not healing.exceeds_turn(shape)
    _shift(_wall(shape), 1, slice(None), 1.0)
    assert healing.exceeds_turn(shape)


def test_full_healing_may_leave_gaps_open() -> None:
    found = healing.parameters("full", False)
    assert found is not None
    assert found.Extent() == 1
    assert found.Find(TCollection_AsciiString("FixShape.FixLackingMode")).ToCString() == "0"
