"""Levels of healing, and shells turned to face out of the material."""

from __future__ import annotations

import numpy as np
import pytest
from OCP.BRep import BRep_Builder
from OCP.BRepGProp import BRepGProp
from OCP.gp import gp_Trsf, gp_Vec
from OCP.GProp import GProp_GProps
from OCP.TCollection import TCollection_AsciiString
from OCP.TopAbs import TopAbs_SHELL
from OCP.TopExp import TopExp_Explorer
from OCP.TopLoc import TopLoc_Location
from OCP.TopoDS import TopoDS_Shape, TopoDS_Solid

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


def test_full_healing_may_leave_gaps_open() -> None:
    found = healing.parameters("full", False)
    assert found is not None
    assert found.Extent() == 1
    assert found.Find(TCollection_AsciiString("FixShape.FixLackingMode")).ToCString() == "0"
