"""Bounding boxes against closed forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from OCP.BRepPrimAPI import BRepPrimAPI_MakeCylinder, BRepPrimAPI_MakeSphere, BRepPrimAPI_MakeTorus
from OCP.gp import gp_Ax2, gp_Dir, gp_Pnt
from OCP.TopoDS import TopoDS_Shape

from dflow.cadaccess.geometry import curves
from dflow.cadaccess.kernel import bintools
from dflow.cadaccess.kernel.bintools import Curve
from dflow.cadaccess.measure import bounding_box
from tests.cadaccess import solids

AXIS = np.array([1.0, 2.0, 2.0]) / 3.0
PLACE = np.array([10.0, -20.0, 5.0])
FRAME = gp_Ax2(gp_Pnt(*PLACE.tolist()), gp_Dir(*AXIS.tolist()))
ACROSS = np.sqrt(1.0 - AXIS**2)


def _box(shape: TopoDS_Shape, folder: Path) -> np.ndarray:
    brep = solids.open_brep(shape, folder)
    return bounding_box.bounding_box(brep.tables, brep.kernel, brep.chords, brep.face_uv_bounds())


def test_a_tilted_cylinder(tmp_path: Path) -> None:
    found = _box(BRepPrimAPI_MakeCylinder(FRAME, 2.0, 7.0).Shape(), tmp_path)
    np.testing.assert_allclose(found, [*(PLACE - 2 * ACROSS), *(PLACE + 7 * AXIS + 2 * ACROSS)], atol=1e-9)


def test_a_tilted_torus(tmp_path: Path) -> None:
    found = _box(BRepPrimAPI_MakeTorus(FRAME, 5.0, 1.5).Shape(), tmp_path)
    reach = 5.0 * ACROSS + 1.5
    np.testing.assert_allclose(found, [*(PLACE - reach), *(PLACE + reach)], atol=1e-9)


def test_a_tilted_half_ball_reaches_its_radius_on_one_side_only(tmp_path: Path) -> None:
    found = _box(BRepPrimAPI_MakeSphere(FRAME, 3.0, 0.0, np.pi / 2).Shape(), tmp_path)
    np.testing.assert_allclose(found, [*(PLACE - 3 * ACROSS), *(PLACE + 3.0)], atol=1e-9)


def test_an_empty_shape_has_no_box(tmp_path: Path) -> None:
    brep = solids.open_brep(solids.box(), tmp_path)
    np.testing.assert_array_equal(bounding_box._box_of(np.zeros((0, 3))), np.full(6, np.nan))
    np.testing.assert_allclose(brep.bounding_box(), [0, 0, 0, 2, 3, 5], atol=1e-12)


def test_an_ellipse_has_its_extremes_within_its_range() -> None:
    x, y = np.array([0.6, 0.8, 0.0]), np.array([-0.8, 0.6, 0.0])
    ellipse = Curve(bintools.ELLIPSE, (1.0, 2.0, 3.0, 0.0, 0.0, 1.0, *x, *y, 5.0, 2.0))
    whole = curves.build_table([ellipse], np.array([0.0]), np.array([2 * np.pi]), 3)
    points = bounding_box.arc_extremes(whole, np.zeros(1, int))[0]
    reach = np.hypot(5.0 * x, 2.0 * y)
    np.testing.assert_allclose(points.max(axis=0), np.array([1, 2, 3]) + reach, atol=1e-12)
    np.testing.assert_allclose(points.min(axis=0), np.array([1, 2, 3]) - reach, atol=1e-12)
    short = curves.build_table([ellipse], np.array([0.1]), np.array([0.2]), 3)
    ends = curves.evaluate(short, np.zeros(1, int), np.array([[0.1, 0.2]]))[0][0]
    points = bounding_box.arc_extremes(short, np.zeros(1, int))[0]
    assert (points >= ends.min(axis=0) - 1e-12).all()
    assert (points <= ends.max(axis=0) + 1e-12).all()
