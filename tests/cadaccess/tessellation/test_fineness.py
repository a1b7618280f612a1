"""Fineness of a tessellation: chords of arcs and splines, and steps on surfaces, against the deviation they allow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from OCP.BRepBuilderAPI import BRepBuilderAPI_MakeEdge, BRepBuilderAPI_NurbsConvert
from OCP.BRepPrimAPI import BRepPrimAPI_MakePrism, BRepPrimAPI_MakeRevol
from OCP.gp import gp_Ax1, gp_Ax2, gp_Dir, gp_Elips, gp_Hypr, gp_Parab, gp_Pnt, gp_Vec
from OCP.TopoDS import TopoDS_Shape

from dflow.cadaccess import Brep
from dflow.cadaccess.geometry import curves
from dflow.cadaccess.kernel.bintools import BSPLINE, CIRCLE, LINE
from dflow.cadaccess.tessellation import fineness
from dflow.cadaccess.tessellation.splines import pack_splines
from tests.cadaccess import solids


def _pieces(brep: Brep) -> tuple[float, np.ndarray]:
    return fineness.edge_pieces(brep.tables, pack_splines(brep.tables.edges))


def _steps(brep: Brep) -> np.ndarray:
    bounds = brep.face_uv_bounds()
    return fineness.face_steps(brep.tables, bounds[:, ::2].copy(), bounds[:, 1::2].copy(), _pieces(brep)[0])


def test_the_size_is_the_diagonal_of_a_box_and_its_lines_are_one_piece_each(tmp_path: Path) -> None:
    size, count = _pieces(solids.open_brep(solids.box(2, 3, 6), tmp_path))
    assert size == pytest.approx(7.0)
    assert count.tolist() == [1] * 12


@pytest.mark.parametrize("how", ["at_origin", "placed"])
def test_the_size_holds_whole_arcs(how: str, tmp_path: Path) -> None:
    size, _ = _pieces(solids.open_brep(solids.place(solids.cylinder(2.0, 7.0, np.pi / 2), how), tmp_path))
    whole = np.sqrt(11**2 + 4**2 + 4**2)  # of the box around the two circles, in any direction
    assert np.hypot(np.hypot(4, 4), 7) <= size <= np.sqrt(3) * whole


@pytest.mark.parametrize(("radius", "height", "per_eighth"), [(2.0, 7.0, 4), (0.05, 7.0, 1), (0.2, 7.0, 2)])
def test_an_arc_has_one_two_or_four_chords_per_eighth_of_a_turn(
    radius: float, height: float, per_eighth: int, tmp_path: Path
) -> None:
    brep = solids.open_brep(solids.cylinder(radius, height), tmp_path)
    size, count = _pieces(brep)
    # The deviation of an eighth's chord, and what is allowed: a thousandth of the size.
    deviation = radius * (1 - np.cos(np.pi / 8)) / (1e-3 * size)
    assert per_eighth == (4 if deviation > 4 else 2 if deviation > 1 else 1)
    kind = brep.tables.edges.kind
    assert count[kind == CIRCLE].tolist() == [8 * per_eighth] * 2
    assert count[kind == LINE].tolist() == [1]
    steps = _steps(brep)[brep.face_types() == 1][0]
    assert steps == pytest.approx([np.pi / 4 / per_eighth, np.inf])


@pytest.mark.parametrize(("angle", "eighths"), [(0.1, 2), (0.7, 2), (np.pi / 2, 2), (1.6, 3), (2 * np.pi, 8)])
def test_an_arc_is_cut_by_begun_eighths_at_least_two(angle: float, eighths: int, tmp_path: Path) -> None:
    brep = solids.open_brep(solids.cylinder(2.0, 7.0, angle), tmp_path)
    assert _pieces(brep)[1][brep.tables.edges.kind == CIRCLE].tolist() == [4 * eighths] * 2


def test_steps_follow_the_widest_radius_each_way(tmp_path: Path) -> None:
    eighth = np.pi / 4
    torus = _steps(solids.open_brep(solids.torus(50.0, 0.2), tmp_path))
    np.testing.assert_allclose(torus, [[eighth / 4, eighth]])
    ball = _steps(solids.open_brep(solids.sphere(), tmp_path))
    np.testing.assert_allclose(ball, [[eighth / 4, eighth / 4]])
    cone = solids.open_brep(solids.cone(low=3.0, high=0.0, height=4.0), tmp_path)
    np.testing.assert_allclose(_steps(cone)[cone.face_types() == 2], [[eighth / 4, np.inf]])


def _splines(shape: TopoDS_Shape) -> TopoDS_Shape:
    return BRepBuilderAPI_NurbsConvert(shape, True).Shape()


@pytest.mark.parametrize(
    "make", [solids.cylinder, solids.drilled, solids.sphere, solids.torus], ids=lambda f: f.__name__
)
def test_chords_of_splines_deviate_as_little_as_those_of_arcs(make: Callable[[], TopoDS_Shape], tmp_path: Path) -> None:
    worst = []
    for shape in (make(), _splines(make())):
        brep = solids.open_brep(shape, tmp_path)
        edges, count = brep.tables.edges, _pieces(brep)[1]
        assert (edges.kind == BSPLINE).any() == (len(worst) == 1)
        found = [0.0]
        for row in np.flatnonzero(edges.evaluable).tolist():
            t = np.linspace(edges.first[row], edges.last[row], count[row] + 1)
            ends = curves.evaluate(edges, np.array([row]), t[None])[0][0]
            middles = curves.evaluate(edges, np.array([row]), 0.5 * (t[1:] + t[:-1])[None])[0][0]
            found.append(float(np.linalg.norm(0.5 * (ends[1:] + ends[:-1]) - middles, axis=1).max()))
        worst.append(max(found))
    assert worst[1] <= 1.5 * worst[0]  # a spline's parameter is not its length


@pytest.mark.parametrize("make", [solids.cylinder, solids.torus], ids=lambda f: f.__name__)
def test_a_periodic_spline_surface_has_the_steps_of_the_surface_that_it_stands_for(
    make: Callable[[], TopoDS_Shape], tmp_path: Path
) -> None:
    plain, free = solids.open_brep(make(), tmp_path), solids.open_brep(_splines(make()), tmp_path)
    assert any(any(spline.periodic) for spline in free.tables.faces.splines.values())
    np.testing.assert_allclose(_steps(free), _steps(plain))


def test_a_straight_spline_is_one_piece_and_has_no_step(tmp_path: Path) -> None:
    brep = solids.open_brep(_splines(solids.box()), tmp_path)
    assert (brep.tables.edges.kind == BSPLINE).any()
    assert _pieces(brep)[1].tolist() == [1] * 12
    assert np.isinf(_steps(brep)).all()


def test_a_swept_arc_has_the_steps_of_its_circle(tmp_path: Path) -> None:
    ellipse = gp_Elips(gp_Ax2(gp_Pnt(9, 0, 0), gp_Dir(0, 1, 0)), 3.0, 2.0)
    edge = BRepBuilderAPI_MakeEdge(ellipse).Edge()
    pushed = solids.open_brep(BRepPrimAPI_MakePrism(edge, gp_Vec(0, 5, 0)).Shape(), tmp_path)
    assert list(pushed.tables.faces.sweeps) == [0]
    np.testing.assert_allclose(_steps(pushed), [[np.pi / 16, np.inf]])
    turned = solids.open_brep(BRepPrimAPI_MakeRevol(edge, gp_Ax1(gp_Pnt(0, 0, 0), gp_Dir(0, 0, 1))).Shape(), tmp_path)
    assert list(turned.tables.faces.sweeps) == [0]
    np.testing.assert_allclose(_steps(turned), [[np.pi / 16, np.pi / 16]])


@pytest.mark.parametrize("conic", [gp_Parab(gp_Ax2(), 1.0), gp_Hypr(gp_Ax2(), 2.0, 1.0)])
def test_a_swept_parabola_or_hyperbola_is_not_flat(conic: object, tmp_path: Path) -> None:
    edge = BRepBuilderAPI_MakeEdge(conic, -3.0, 3.0).Edge()
    pushed = solids.open_model(BRepPrimAPI_MakePrism(edge, gp_Vec(0, 0, 5)).Shape(), tmp_path)
    np.testing.assert_allclose(_steps(pushed.get_brep()), [[6 / 16, np.inf]])
    turn = gp_Ax1(gp_Pnt(-20, 0, 0), gp_Dir(0, 1, 0))
    turned = solids.open_model(BRepPrimAPI_MakeRevol(edge, turn, 1.0).Shape(), tmp_path)
    for model in (pushed, turned):
        mesh = model.get_mesh()
        a, b, c = (mesh.vertices[mesh.triangles[:, i]].astype(float) for i in range(3))
        area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
        assert area == pytest.approx(model.get_brep().area(), rel=0.02)


def test_nothing_has_size_one() -> None:
    edges = curves.build_table([], np.zeros(0), np.zeros(0), 3)
    size, count = fineness.edge_pieces(SimpleNamespace(edges=edges, points=np.zeros((0, 3))), pack_splines(edges))
    assert (size, len(count)) == (1.0, 0)
