"""Moments of trimmed faces against closed forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from OCP.BRep import BRep_Builder
from OCP.BRepAlgoAPI import BRepAlgoAPI_Cut
from OCP.BRepPrimAPI import BRepPrimAPI_MakeCylinder, BRepPrimAPI_MakeSphere
from OCP.collections import Array1_double, Array1_gp_Pnt2d, Array1_int
from OCP.Geom2d import Geom2d_BSplineCurve
from OCP.gp import gp_Ax2, gp_Dir, gp_Pnt, gp_Pnt2d
from OCP.TopAbs import TopAbs_EDGE, TopAbs_FACE
from OCP.TopExp import TopExp_Explorer
from OCP.TopoDS import TopoDS, TopoDS_Shape

from dflow.cadaccess import Brep, CadLoader
from dflow.cadaccess.geometry.surfaces import profile
from dflow.cadaccess.kernel.bintools import CONE, CYLINDER, PLANE, SPHERE, TORUS
from dflow.cadaccess.measure import moments
from tests.cadaccess import solids

RADII = {CYLINDER: (2.0, 0.0), CONE: (3.0, 0.4), SPHERE: (2.5, 0.0), TORUS: (5.0, 1.5)}


@pytest.mark.parametrize("kind", RADII)
def test_antiderivatives_have_the_products_of_the_profile_as_slopes(kind: int) -> None:
    v, step = np.linspace(-1.2, 1.2, 9)[None], 1e-4
    kinds, radii = np.array([kind], np.int8), np.array([RADII[kind]])
    rho, zeta, rho_unit, zeta_unit = profile(kinds, radii, v)
    after, before = (moments.antiderivatives(kinds, radii, v + s) for s in (step, -step))
    speed = after.speed[:, None]
    rho_slope, zeta_slope = speed * rho_unit, speed * zeta_unit
    wanted = {
        "rho": rho,
        "rho_rho": rho * rho,
        "rho_zeta": rho * zeta,
        "rho_zeta_slope": rho * zeta_slope,
        "rho_rho_slope": rho * rho_slope,
        "flux": rho * (rho * zeta_slope - zeta * rho_slope),
    }
    for name, value in wanted.items():
        slope = (getattr(after, name) - getattr(before, name)) / (2 * step)
        np.testing.assert_allclose(slope, value, atol=1e-5, err_msg=name)


def _outward(brep: Brep) -> tuple[np.ndarray, moments.Moments]:
    """(F, 1) what turns values of the faces taken forward into outward ones, and the moments."""
    side = np.where(brep.tables.face_reversed, -1.0, 1.0)[:, None]
    found = moments.integrate(brep.tables, brep.chords)
    assert found.known.all()
    return side, found


def _row(brep: Brep, kind: int) -> int:
    (row,) = np.flatnonzero(brep.tables.faces.kind == kind)
    return int(row)


def test_a_cylinder(tmp_path: Path) -> None:
    radius, height = 2.0, 7.0
    brep = solids.open_brep(solids.cylinder(radius, height), tmp_path)
    side, found = _outward(brep)
    row, area = _row(brep, CYLINDER), 2 * np.pi * radius * height
    assert found.area[row] == pytest.approx(area, rel=1e-12)
    np.testing.assert_allclose(found.first[row], [0, 0, area * height / 2], atol=1e-10)
    np.testing.assert_allclose(found.vector_area[row], 0, atol=1e-10)
    assert side[row, 0] * found.flux[row] == pytest.approx(area * radius, rel=1e-12)
    top = int(np.argmax(np.where(brep.tables.faces.kind == PLANE, brep.tables.faces.origin[:, 2], -1)))
    disc = np.pi * radius**2
    assert found.area[top] == pytest.approx(disc, rel=1e-12)
    np.testing.assert_allclose(side[top] * found.vector_area[top], [0, 0, disc], atol=1e-10)
    assert side[top, 0] * found.flux[top] == pytest.approx(disc * height, rel=1e-12)


def test_half_a_cylinder_has_a_vector_area(tmp_path: Path) -> None:
    """That of the plane side which closes it, turned round: its diameter times its height."""
    radius, height = 2.0, 7.0
    brep = solids.open_brep(solids.cylinder(radius, height, np.pi), tmp_path)
    side, found = _outward(brep)
    row = _row(brep, CYLINDER)
    np.testing.assert_allclose(side[row] * found.vector_area[row], [0, 2 * radius * height, 0], atol=1e-10)
    np.testing.assert_allclose(found.first[row, 1], height * 2 * radius**2, rtol=1e-12)  # the arc's, r² ∫ sin


def test_a_cone_a_sphere_and_a_torus(tmp_path: Path) -> None:
    low, high, height = 3.0, 1.0, 4.0
    brep = solids.open_brep(solids.cone(low, high, height), tmp_path)
    side, found = _outward(brep)
    row, slant = _row(brep, CONE), np.hypot(low - high, height)
    area = np.pi * (low + high) * slant
    assert found.area[row] == pytest.approx(area, rel=1e-12)
    assert found.first[row, 2] == pytest.approx(area * height / 3 * (low + 2 * high) / (low + high), rel=1e-12)
    np.testing.assert_allclose(side[row] * found.vector_area[row], [0, 0, np.pi * (low**2 - high**2)], atol=1e-10)
    assert side[row, 0] * found.flux[row] == pytest.approx(np.pi * low * height * (low + high), rel=1e-12)

    brep = solids.open_brep(solids.sphere(2.5), tmp_path)
    side, found = _outward(brep)
    assert found.area[0] == pytest.approx(4 * np.pi * 2.5**2, rel=1e-12)
    assert side[0, 0] * found.flux[0] == pytest.approx(4 * np.pi * 2.5**3, rel=1e-12)

    brep = solids.open_brep(solids.torus(5.0, 1.5), tmp_path)
    side, found = _outward(brep)
    assert found.area[0] == pytest.approx(4 * np.pi**2 * 5.0 * 1.5, rel=1e-12)
    assert side[0, 0] * found.flux[0] == pytest.approx(3 * 2 * np.pi**2 * 5.0 * 1.5**2, rel=1e-12)


SOLIDS: dict[str, tuple[TopoDS_Shape, float, tuple[float, float, float]]] = {
    "box": (solids.box(2.0, 3.0, 5.0), 30.0, (1.0, 1.5, 2.5)),
    "cylinder": (solids.cylinder(2.0, 7.0), 28 * np.pi, (0.0, 0.0, 3.5)),
    "cone": (solids.cone(3.0, 0.0, 4.0), 12 * np.pi, (0.0, 0.0, 1.0)),
    "half ball": (BRepPrimAPI_MakeSphere(2.0, 0.0, np.pi / 2).Shape(), 16 * np.pi / 3, (0.0, 0.0, 0.75)),
    "torus": (solids.torus(5.0, 1.5), 22.5 * np.pi**2, (0.0, 0.0, 0.0)),
}


@pytest.mark.parametrize("how", solids.PLACES)
@pytest.mark.parametrize("name", SOLIDS)
def test_a_solids_faces_add_up_to_nothing_and_its_cones_to_volume_and_centroid(
    name: str, how: str, tmp_path: Path
) -> None:
    shape, volume, centre = SOLIDS[name]
    brep = solids.open_brep(solids.place(shape, how), tmp_path)
    _, found = _outward(brep)
    used = np.where(brep.tables.shell_reversed, -1.0, 1.0)
    face = brep.tables.shell_face
    np.testing.assert_allclose(used @ found.vector_area[face], 0, atol=1e-9)
    signed = -volume if how == "reversed" else volume
    assert used @ found.flux[face] / 3 == pytest.approx(signed, rel=1e-9)
    if how in ("at_origin", "reversed"):
        total = used @ moments.cone_moments(brep.tables, brep.chords, found)[face]
        np.testing.assert_allclose(total / signed, centre, atol=1e-9)


def test_a_face_on_both_sides_of_a_cones_apex_is_not_known(tmp_path: Path) -> None:
    brep = solids.open_brep(solids.cone(3.0, 1.0, 4.0), tmp_path)
    row, tables, chords = _row(brep, CONE), brep.tables, brep.chords
    assert moments.integrate(tables, chords).known[row]
    tables.faces.radii[row, 0] = 0.5 * tables.faces.radii[row, 0]  # the apex moves into the face
    assert not moments.integrate(tables, chords).known[row]


def test_a_boundary_may_run_straight_at_any_speed(tmp_path: Path) -> None:
    """A rim whose curve in (u, v) is a straight spline of four polynomials."""
    shape, radius, height = solids.cylinder(), 2.0, 7.0
    face = TopoDS.Face(TopExp_Explorer(shape, TopAbs_FACE).Current())
    edge = TopoDS.Edge(TopExp_Explorer(face, TopAbs_EDGE).Current())
    poles, knots = Array1_gp_Pnt2d(1, 7), Array1_double(1, 5)
    multiplicities = Array1_int(1, 5)
    for i, u in enumerate((0.0, 0.1, 0.9, 1.3, 4.0, 5.9, 2 * np.pi), 1):
        poles.SetValue(i, gp_Pnt2d(u, height))
    for i, (t, times) in enumerate(((0.0, 4), (0.9, 1), (2.0, 1), (5.0, 1), (2 * np.pi, 4)), 1):
        knots.SetValue(i, t)
        multiplicities.SetValue(i, times)
    BRep_Builder().UpdateEdge(edge, Geom2d_BSplineCurve(poles, knots, multiplicities, 3), face, 1e-7)
    brep = solids.open_brep(shape, tmp_path)
    assert len(brep.tables.use_curves.splines) == 1
    _, found = _outward(brep)
    row = _row(brep, CYLINDER)
    assert found.area[row] == pytest.approx(2 * np.pi * radius * height, rel=1e-12)
    np.testing.assert_allclose(found.vector_area[row], 0, atol=1e-9)
    assert brep.volume() == pytest.approx(np.pi * radius**2 * height, rel=1e-12)
    np.testing.assert_allclose(brep.centroid(), [0, 0, height / 2], atol=1e-9)


@pytest.mark.parametrize("tilt", [20.0, 35.0, 57.0, 67.0, 89.0])
@pytest.mark.parametrize("share", [0.1, 0.4, 0.7])
def test_a_circle_oblique_to_a_sphere_s_axis_bounds_its_cap_exactly(tmp_path: Path, tilt: float, share: float) -> None:
    """Without curves in (u, v) the kernel fits a spline there, which strays from the circle."""
    axis = gp_Dir(np.sin(np.radians(tilt)), 0.3, np.cos(np.radians(tilt)))
    far = gp_Pnt(*(share * 10.0 * np.array([axis.X(), axis.Y(), axis.Z()])))
    tool = BRepPrimAPI_MakeCylinder(gp_Ax2(far, axis), 30.0, 30.0).Shape()
    cap = BRepAlgoAPI_Cut(solids.sphere(10.0), tool).Shape()
    path = solids.write_step(cap, tmp_path / "cap.step", pcurves=False)
    brep = CadLoader().create_from_file(path).get_brep()
    height = 10.0 * (1.0 + share)
    exact = 2.0 * np.pi * 10.0 * height + np.pi * 100.0 * (1.0 - share**2)
    assert brep.area() == pytest.approx(exact, rel=1e-9)
    assert brep.volume() == pytest.approx(np.pi * height**2 * (30.0 - height) / 3.0, rel=1e-9)
