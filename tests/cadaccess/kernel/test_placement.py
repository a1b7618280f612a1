"""Shapes placed with scale or mirror, rebuilt in place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from OCP.BRepGProp import BRepGProp
from OCP.gp import gp_Ax2, gp_Dir, gp_Pnt, gp_Trsf, gp_Vec
from OCP.GProp import GProp_GProps
from OCP.TopLoc import TopLoc_Location
from OCP.TopoDS import TopoDS_Shape

from dflow.cadaccess.kernel import placement
from tests.cadaccess import solids

PATH = Path("part.brep")


def _volume(shape: TopoDS_Shape) -> float:
    found = GProp_GProps()
    BRepGProp.VolumeProperties_s(shape, found)
    return abs(found.Mass())


def _scaled(factor: float) -> TopLoc_Location:
    move = gp_Trsf()
    move.SetScale(gp_Pnt(1, 2, 3), factor)
    return TopLoc_Location(move)


def test_a_rigid_placement_is_left_as_it_is() -> None:
    shape = solids.place(solids.box(), "placed")
    found, code = placement.encode_in_place(PATH, shape)
    assert found.IsSame(shape)
    assert len(code.faces) == 6


@pytest.mark.parametrize("factor", [2.0, 0.1])
def test_a_scale_is_applied_to_the_geometry(factor: float) -> None:
    found, code = placement.encode_in_place(PATH, solids.box(2, 3, 5).Located(_scaled(factor), False))
    assert not placement.has_scale(code)
    assert _volume(found) == pytest.approx(30 * factor**3, rel=1e-9)
    points = np.array(list(code.points.values()))
    assert len(points) == 8


def test_only_what_is_scaled_is_rebuilt() -> None:
    plain = solids.box()
    whole = solids.compound(plain, solids.box(1, 1, 1).Located(_scaled(3.0), False))
    found, code = placement.encode_in_place(PATH, whole)
    first, second = placement._parts(found)
    assert first.IsSame(plain)
    assert _volume(second) == pytest.approx(27.0, rel=1e-9)
    assert len(code.faces) == 12


def test_a_mirror_is_applied_too() -> None:
    move = gp_Trsf()
    move.SetMirror(gp_Ax2(gp_Pnt(0, 0, 0), gp_Dir(0, 0, 1)))
    shift = gp_Trsf()
    shift.SetTranslation(gp_Vec(1, 0, 0))
    place = TopLoc_Location(shift.Multiplied(move))
    found, code = placement.encode_in_place(PATH, solids.cone().Located(place, False))
    assert not placement.has_scale(code)
    assert _volume(found) == pytest.approx(np.pi * 4 / 3 * (9 + 3 + 1), rel=1e-9)
