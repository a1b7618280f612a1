"""Lengths, angles and volumes against closed forms and fine polylines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from OCP.BRepAlgoAPI import BRepAlgoAPI_Cut
from OCP.BRepBuilderAPI import BRepBuilderAPI_MakeEdge, BRepBuilderAPI_MakeFace, BRepBuilderAPI_MakeWire
from OCP.BRepPrimAPI import BRepPrimAPI_MakeBox, BRepPrimAPI_MakePrism
from OCP.gp import gp_Ax2, gp_Dir, gp_Elips, gp_Pnt, gp_Trsf, gp_Vec
from OCP.TopLoc import TopLoc_Location

from dflow.cadaccess.geometry import curves
from dflow.cadaccess.kernel import bintools
from dflow.cadaccess.kernel.bintools import Curve, Spline
from dflow.cadaccess.measure import properties
from tests.cadaccess import solids


def _length(curve: Curve, first: float, last: float) -> float:
    table = curves.build_table([curve], np.array([first]), np.array([last]), 3)
    return float(properties.curve_lengths(table, np.zeros(1, int))[0])


def _conic(kind: int, *radii: float) -> Curve:
    return Curve(kind, (1.0, 2.0, 3.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, *radii))


@pytest.mark.parametrize("ratio", [1.0, 0.5, 1e-3])
def test_whole_ellipse_is_as_long_as_the_arithmetic_geometric_mean_says(ratio: float) -> None:
    # Perimeter 2 pi (1 - sum of 2^(n-1) c_n^2) / agm(1, b) (Abramowitz and Stegun 17.6).
    a, b, c, total, power = 1.0, ratio, np.sqrt(1 - ratio**2), 0.0, 0.5
    while power < 2**10:
        total += power * c * c
        a, b, c, power = 0.5 * (a + b), np.sqrt(a * b), 0.5 * (a - b), 2 * power
    expected = 2 * np.pi * (1 - total) / a
    assert _length(_conic(bintools.ELLIPSE, 1.0, ratio), 0.0, 2 * np.pi) == pytest.approx(expected, rel=1e-9)


def test_parabola_is_as_long_as_its_integral() -> None:
    # y² = 4 f x from the apex to y: f (s sqrt(1 + s²) + asinh s) with s = y / (2 f).
    s = 5.0 / (2 * 0.75)
    expected = 0.75 * (s * np.sqrt(1 + s * s) + np.arcsinh(s))
    assert _length(_conic(bintools.PARABOLA, 0.75), 0.0, 5.0) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("weights", [None, np.array([1.0, 0.4, 3.0, 1.0, 0.7, 1.0])])
def test_spline_is_as_long_as_a_fine_polyline(weights: np.ndarray | None) -> None:
    poles = np.random.default_rng(1).normal(size=(6, 3))
    spline = Spline(3, poles, weights, np.array([0, 0, 0, 0, 0.2, 0.9, 1, 1, 1, 1.0]))
    curve = Curve(bintools.BSPLINE, spline=spline)
    table = curves.build_table([curve], np.array([0.1]), np.array([0.95]), 3)
    points = curves.evaluate(table, np.zeros(1, int), np.linspace(0.1, 0.95, 200_001)[None])[0][0]
    expected = np.linalg.norm(np.diff(points, axis=0), axis=1).sum()
    assert _length(curve, 0.1, 0.95) == pytest.approx(expected, rel=1e-8)


def test_spline_with_a_cusp_has_a_length() -> None:
    # (t², t³) from -1 to 1: its speed |t| sqrt(4 + 9 t²) has a kink inside a span; twice (13^1.5 - 8) / 27.
    to_bezier = np.array([[1.0, -1.0], [-1.0 / 3, 1.0], [-1.0 / 3, -1.0], [1.0, 1.0]])
    poles = np.column_stack([to_bezier, np.zeros(4)])
    spline = Spline(3, poles, None, np.repeat([-1.0, 1.0], 4))
    expected = 2 * (13**1.5 - 8) / 27
    assert _length(Curve(bintools.BEZIER, spline=spline), -1.0, 1.0) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("how", solids.PLACES)
def test_edges_of_a_box_are_convex_right_angles_and_those_of_a_pocket_concave_ones(how: str, tmp_path: Path) -> None:
    brep = solids.open_brep(solids.place(solids.pocket(), how), tmp_path)
    angles = properties.dihedral_angles(brep.tables, brep.kernel, brep.kernel_edge_rows)
    lengths = properties.edge_lengths(brep.tables, brep.kernel, brep.kernel_edge_rows)
    outer = np.isclose(lengths, 10.0)
    sign = -1.0 if how == "reversed" else 1.0
    np.testing.assert_allclose(angles[outer], sign * np.pi / 2, atol=1e-12)
    # Eight edges inside of the pocket, and four convex ones around its mouth.
    assert np.isclose(angles[~outer], -sign * np.pi / 2).sum() == 8
    assert np.isclose(angles[~outer], sign * np.pi / 2).sum() == 4


def test_a_cavity_counts_as_negative_volume_and_a_turned_one_is_found(tmp_path: Path) -> None:
    inner = solids.box(1.0, 1.0, 1.0).Moved(TopLoc_Location(_shift(1.0)))
    brep = solids.open_brep(BRepAlgoAPI_Cut(solids.box(4.0, 4.0, 4.0), inner).Shape(), tmp_path)
    volumes = properties.shell_volumes(brep.tables, brep.kernel, brep.moments)
    np.testing.assert_allclose(np.sort(volumes), [-1.0, 64.0], rtol=1e-12)
    volume, centre = properties.volume_and_centroid(brep.tables, brep.kernel, brep.chords, brep.moments)
    assert volume == pytest.approx(63.0, rel=1e-12)
    np.testing.assert_allclose(centre, (64 * 2.0 - 1.5) / 63, rtol=1e-12)
    assert properties.turned_shells(brep.tables, brep.kernel, brep.moments, brep.chords, brep.face_uv_bounds()) == (
        False,
        False,
    )
    assert properties._turned(brep.tables, np.abs(volumes)) == (False, True)
    assert properties._turned(brep.tables, -volumes)[0]


def test_a_slit_has_no_area(tmp_path: Path) -> None:
    brep = solids.open_brep(solids.box(), tmp_path)
    noise = np.full(brep.n_faces, 1e-15)
    assert properties.has_area(brep.tables, brep.chords, brep.face_areas()).all()
    assert not properties.has_area(brep.tables, brep.chords, noise).any()


def _shift(by: float) -> gp_Trsf:
    move = gp_Trsf()
    move.SetTranslation(gp_Vec(by, by, by))
    return move


def test_lengths_by_gauss_points_are_the_kernels(tmp_path: Path) -> None:
    ellipse = gp_Elips(gp_Ax2(gp_Pnt(1, 2, 3), gp_Dir(0, 0, 1)), 10.0, 1.0)
    disc = BRepBuilderAPI_MakeFace(BRepBuilderAPI_MakeWire(BRepBuilderAPI_MakeEdge(ellipse).Edge()).Wire()).Face()
    prism = BRepPrimAPI_MakePrism(disc, gp_Vec(0, 0, 2)).Shape()
    cut = BRepAlgoAPI_Cut(solids.cone(3.0, 1.0, 4.0), BRepPrimAPI_MakeBox(gp_Pnt(0.5, -9, -9), gp_Pnt(9, 9, 9)).Shape())
    for shape, code in ((prism, 2), (cut.Shape(), 3)):
        brep = solids.open_brep(shape, tmp_path)
        lengths = brep.edge_lengths(exact=False)
        kernels = [brep.kernel.edge_length(row) for row in brep.kernel_edge_rows.tolist()]
        np.testing.assert_allclose(lengths, kernels, rtol=1e-7)
        off = np.abs(lengths / brep.edge_lengths() - 1)
        conic = brep.edge_types() == code
        assert conic.any()
        assert not off[~conic].any()
        assert code != 2 or (off[conic] > 0.01).all()
    assert (off[conic] < 1e-4).all()  # a hyperbola is nearly straight
