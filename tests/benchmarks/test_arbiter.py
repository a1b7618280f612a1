"""The arbiter on shapes with closed forms, and what it makes of files that the kernel misreads."""

from __future__ import annotations

import math
import os
import signal
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from OCP.BRepAlgoAPI import BRepAlgoAPI_Common, BRepAlgoAPI_Cut
from OCP.BRepBuilderAPI import BRepBuilderAPI_MakeEdge, BRepBuilderAPI_NurbsConvert
from OCP.BRepFill import BRepFill
from OCP.BRepPrimAPI import BRepPrimAPI_MakeBox, BRepPrimAPI_MakeSphere
from OCP.gp import gp_Pnt
from OCP.TopoDS import TopoDS_Shape

from tests.benchmarks import agreement, arbiter, disputes
from tests.benchmarks.arbiter import Estimate
from tests.cadaccess import broken, solids
from tests.cadaccess.test_brep import FORMS


def _area(shape: TopoDS_Shape) -> Estimate:
    found = [arbiter.face_figures(face, np.zeros(3)).area for face in arbiter.faces_of(shape)]
    return Estimate(sum(f.value for f in found), sum(f.error for f in found))


@pytest.mark.parametrize("how", solids.PLACES)
@pytest.mark.parametrize("form", FORMS)
def test_closed_forms(form: str, how: str) -> None:
    make, volume, area = FORMS[form]
    shape = solids.place(make(), how)
    for found, wanted in ((_area(shape), area), (arbiter.volume(shape), volume)):
        assert found.allows(wanted)
        assert found.error < 1e-4 * wanted


def _half_ball() -> TopoDS_Shape:
    """Cut through the poles, so that lines of constant u run from pole to pole without a loop across."""
    ball = BRepPrimAPI_MakeSphere(2.0).Shape()
    return BRepAlgoAPI_Common(ball, BRepPrimAPI_MakeBox(gp_Pnt(-5, 0, -5), 10, 10, 10).Shape()).Shape()


def _bitten_ball() -> TopoDS_Shape:
    """Without the cap beyond x = 1: one loop on the side of the ball."""
    ball = BRepPrimAPI_MakeSphere(2.0).Shape()
    return BRepAlgoAPI_Cut(ball, BRepPrimAPI_MakeBox(gp_Pnt(1, -5, -5), 10, 10, 10).Shape()).Shape()


def _half_ring() -> TopoDS_Shape:
    """The half y > 0 of a torus."""
    return BRepAlgoAPI_Common(solids.torus(), BRepPrimAPI_MakeBox(gp_Pnt(-9, 0, -9), 18, 18, 18).Shape()).Shape()


def _free(make: Callable[[], TopoDS_Shape]) -> Callable[[], TopoDS_Shape]:
    """The same with B-splines for surfaces and curves."""
    return lambda: BRepBuilderAPI_NurbsConvert(make(), True).Shape()


PARTS = {
    "half ball": (_half_ball, 16 / 3 * math.pi, 12 * math.pi),
    "bitten ball": (_bitten_ball, 9 * math.pi, 15 * math.pi),
    "half ring": (_half_ring, 0.5 * 2 * math.pi**2 * 5 * 1.5**2, 0.5 * 4 * math.pi**2 * 5 * 1.5 + 2 * math.pi * 1.5**2),
    "cylinder of splines": (_free(solids.cylinder), 28 * math.pi, 36 * math.pi),
    "cone of splines": (_free(solids.cone), math.pi * 4 / 3 * 13, math.pi * (10 + 4 * math.sqrt(20))),
}


@pytest.mark.parametrize("name", PARTS)
def test_trimmed_round_faces_and_free_forms(name: str) -> None:
    make, volume, area = PARTS[name]
    for found, wanted in ((_area(make()), area), (arbiter.volume(make()), volume)):
        assert found.allows(wanted)
        assert found.error < 1e-3 * wanted


def test_a_ruled_face_that_twists() -> None:
    """z = x y over the unit square: straight lines both ways."""
    poles = gp_Pnt(0, 0, 0), gp_Pnt(1, 0, 0), gp_Pnt(1, 1, 1), gp_Pnt(0, 1, 0)
    lines = (BRepBuilderAPI_MakeEdge(poles[i], poles[j]).Edge() for i, j in ((0, 1), (3, 2)))
    found = _area(BRepFill.Face_s(*lines))
    t, weights = np.polynomial.legendre.leggauss(20)
    x = 0.5 * (t + 1)
    wanted = 0.25 * weights @ np.sqrt(1 + x[:, None] ** 2 + x**2) @ weights
    assert found.allows(wanted)
    assert found.error < 1e-3 * wanted


@pytest.mark.parametrize("turned", [False, True])
def test_a_cavity_is_no_material_whichever_way_it_faces(turned: bool) -> None:
    inner = broken.shell_of(BRepPrimAPI_MakeBox(gp_Pnt(0.5, 0.5, 0.5), 1.0, 1.0, 1.0).Shape())
    solid = broken.solid_of(broken.shell_of(solids.box()), inner.Reversed() if turned else inner)
    assert arbiter.volume(solid).value == pytest.approx(29.0)


def test_an_open_shell_has_no_volume() -> None:
    assert arbiter.volume(broken.lidless_box()).error == math.inf


def test_faces_that_nothing_bounds_are_not_decided() -> None:
    assert _area(broken.flat_face()).error == math.inf
    assert _area(broken.flat_face(broken.DIAMOND, closed=False)).error == math.inf


def test_a_box_reaches_as_far_as_its_faces() -> None:
    faces = arbiter.faces_of(solids.torus())
    for side, wanted in enumerate((-6.5, -6.5, -1.5, 6.5, 6.5, 1.5)):
        assert arbiter.box_side(faces, np.zeros(3), 3, side).allows(wanted)


def _falling(levels: int) -> Estimate:
    return Estimate(1.0, 4.0**-levels)


@pytest.mark.parametrize(
    ("ours", "kernel", "verdict"),
    [
        (1.0, 2.0, "dflow right"),
        (1.0, 1.01, "dflow right"),
        (2.0, 1.0, "kernel right"),
        (2.0, 3.0, "neither"),
        (1.0, 1.0001, "too close to call"),
        (1.005, 1.006, "too close to call"),
    ],
)
def test_verdicts(ours: float, kernel: float, verdict: str) -> None:
    assert disputes.judge(ours, kernel, _falling)[1] == verdict


def test_what_cannot_be_told_is_undecided() -> None:
    assert disputes.judge(1.0, 2.0, lambda _: Estimate(1.0, math.inf))[1] == "undecided"


# -- files


def test_a_file_that_both_read_alike(tmp_path: Path) -> None:
    path = solids.write_step(solids.drilled(), tmp_path / "part.step")
    (result,) = disputes.compare_files([path], every_face=True)
    assert (result.path, result.n_faces, result.failures(), result.differences) == ("text", 7, {}, [])
    assert result.n_compared > 50


def test_a_file_whose_unit_the_kernel_takes_for_millimetres(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    content = solids.write_step(solids.box(), tmp_path / "part.step").read_bytes()
    path = tmp_path / "scaled.step"
    unit = b"( LENGTH_UNIT() NAMED_UNIT(*) SI_UNIT(.MILLI.,.METRE.) )"
    assert unit in content
    mil = b"( CONVERSION_BASED_UNIT('MIL',#9002) LENGTH_UNIT() NAMED_UNIT(#9001) )"
    inch = (
        b"#9001 = DIMENSIONAL_EXPONENTS(1.,0.,0.,0.,0.,0.,0.);\n"
        b"#9002 = LENGTH_MEASURE_WITH_UNIT(LENGTH_MEASURE(0.001),#9003);\n"
        b"#9003 = ( CONVERSION_BASED_UNIT('INCH',#9004) LENGTH_UNIT() NAMED_UNIT(#9001) );\n"
        b"#9004 = LENGTH_MEASURE_WITH_UNIT(LENGTH_MEASURE(25.4),#9005);\n"
        b"#9005 = ( LENGTH_UNIT() NAMED_UNIT(*) SI_UNIT(.MILLI.,.METRE.) );\n"
    )
    path.write_bytes(content.replace(unit, mil).replace(b"DATA;\n", b"DATA;\n" + inch, 1))
    (result,) = disputes.compare_files([path])
    assert set(result.counts()) == {"dflow right"}
    volume = next(d for d in result.differences if d.figure == "volume")
    assert (volume.ours, volume.kernel) == pytest.approx((30 * 0.0254**3, 30.0))
    agreement.print_disputes([path], every_face=False)
    assert f"dflow right: {len(result.differences)} figures in 1 files" in capsys.readouterr().out


def test_a_file_that_dflow_refuses(tmp_path: Path) -> None:
    path = tmp_path / "part.step"
    path.write_bytes(b"ISO-10303-21;\nHEADER;\nENDSEC;\n")
    (result,) = disputes.compare_files([path])
    assert "DATA section" in result.failures()["dflow"]


def test_a_file_that_ends_the_process_leaves_the_others_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = solids.write_step(solids.box(), tmp_path / "part.step")
    monkeypatch.setattr(disputes, "_plain_step", lambda _: os.kill(os.getpid(), signal.SIGSEGV))
    results = list(disputes.compare_files([path, path]))
    assert [r.failures() for r in results] == [{"the kernel": "the kernel crashed"}] * 2


def test_a_drawn_part_of_a_folder_leaves_out_the_held_out_names(tmp_path: Path) -> None:
    names = [f"part{i}.step" for i in range(40)]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "notes.txt").touch()
    even = {name for name in names if zlib.crc32(name.encode()) % 2 == 0}
    assert len(agreement.folder_files(tmp_path, None, 1)) == 40
    assert {path.name for path in agreement.folder_files(tmp_path, 100, 1)} == even
    drawn = agreement.folder_files(tmp_path, 5, 1)
    assert len(drawn) == 5
    assert drawn == agreement.folder_files(tmp_path, 5, 1) != agreement.folder_files(tmp_path, 5, 2)
