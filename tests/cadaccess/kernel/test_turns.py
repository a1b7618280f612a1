"""Loops moved by whole turns, and the poles that they run through or around."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from OCP.BRep import BRep_Builder, BRep_Tool
from OCP.BRepAlgoAPI import BRepAlgoAPI_Cut
from OCP.BRepCheck import BRepCheck_Analyzer
from OCP.BRepGProp import BRepGProp
from OCP.BRepPrimAPI import BRepPrimAPI_MakeCylinder
from OCP.gp import gp_Ax2, gp_Dir, gp_Pnt, gp_Vec2d
from OCP.GProp import GProp_GProps
from OCP.TopAbs import TopAbs_FACE, TopAbs_FORWARD
from OCP.TopExp import TopExp_Explorer
from OCP.TopoDS import TopoDS, TopoDS_Face, TopoDS_Iterator, TopoDS_Shape

from dflow.cadaccess.kernel import turns
from tests.cadaccess import solids


def _area(shape: TopoDS_Shape) -> float:
    found = GProp_GProps()
    BRepGProp.SurfaceProperties_s(shape, found)
    return found.Mass()


def _bored_cylinder() -> TopoDS_Shape:
    """A cylinder of radius 2 and height 7 with a hole of radius 0.5 through its wall."""
    tool = BRepPrimAPI_MakeCylinder(gp_Ax2(gp_Pnt(0, 0, 3.5), gp_Dir(-1, 0.2, 0)), 0.5, 3.0).Shape()
    return BRepAlgoAPI_Cut(solids.cylinder(), tool).Shape()


def _shift(face: TopoDS_Face, n_edges: int, wanted: slice, n_turns: float) -> None:
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
                curve.Translate(gp_Vec2d(2 * np.pi * n_turns, 0.0))
                BRep_Builder().Range(edge, face, *BRep_Tool.Range_s(edge, face))
        walk.Next()


def _wall(shape: TopoDS_Shape) -> TopoDS_Face:
    face = TopoDS.Face(TopExp_Explorer(shape, TopAbs_FACE).Current()).Oriented(TopAbs_FORWARD)
    return TopoDS.Face(face)


@pytest.mark.parametrize("n_turns", [-2.0, -1.0, 1.0, 3.0])
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
    make: Callable[[], TopoDS_Shape], n_edges: int, wanted: slice, n_turns: float
) -> None:
    shape = make()
    area = _area(shape)
    assert not turns.align_turns(shape)
    _shift(_wall(shape), n_edges, wanted, n_turns)
    assert turns.align_turns(shape)
    assert not turns.exceeds_turn(shape)
    assert _area(shape) == pytest.approx(area)
    assert BRepCheck_Analyzer(shape).IsValid()
    assert not turns.align_turns(shape)


def test_a_hole_a_turn_off_makes_its_face_exceed_a_turn() -> None:
    shape = _bored_cylinder()
    assert not turns.exceeds_turn(shape)
    _shift(_wall(shape), 1, slice(None), 1.0)
    assert turns.exceeds_turn(shape)
