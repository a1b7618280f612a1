"""STEP files read from their text: the same arrays as the kernel's reading of them, or left to the kernel."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from OCP.BRepAlgoAPI import BRepAlgoAPI_Cut, BRepAlgoAPI_Fuse
from OCP.BRepBuilderAPI import BRepBuilderAPI_MakePolygon, BRepBuilderAPI_NurbsConvert
from OCP.BRepOffsetAPI import BRepOffsetAPI_ThruSections
from OCP.BRepPrimAPI import BRepPrimAPI_MakeSphere
from OCP.gp import gp_Ax2, gp_Dir, gp_Pnt
from OCP.TopAbs import TopAbs_FACE
from OCP.TopExp import TopExp_Explorer
from OCP.TopoDS import TopoDS_Shape

from dflow.cadaccess import Brep, CadLoader, CadModel, loader
from dflow.cadaccess.files.formats import CadFormat
from dflow.cadaccess.files.part21 import RefusedError
from dflow.cadaccess.kernel.healing import Healing
from dflow.cadaccess.kernel.reading import Transfer
from dflow.cadaccess.step.reader import read_step
from tests.cadaccess import solids


def _hollow_box() -> TopoDS_Shape:
    """A box with two voids: a box and a drum."""
    drum = solids.BRepPrimAPI_MakeCylinder(gp_Ax2(gp_Pnt(7, 7, 2), gp_Dir(0, 0, 1)), 1.0, 5.0).Shape()
    box = solids.BRepPrimAPI_MakeBox(gp_Pnt(1, 1, 1), 2.0, 3.0, 4.0).Shape()
    return BRepAlgoAPI_Cut(BRepAlgoAPI_Cut(solids.box(10, 10, 10), box).Shape(), drum).Shape()


def _lens() -> TopoDS_Shape:
    """A half ball with a pole, seams, and a circle that it shares with the pin it stands on."""
    ball = BRepPrimAPI_MakeSphere(gp_Ax2(gp_Pnt(0, 0, 6), gp_Dir(0, 0, 1)), 3.0, 0.0, np.pi / 2).Shape()
    return BRepAlgoAPI_Fuse(ball, solids.cylinder(2.0, 6.0)).Shape()


def _crossing_cylinders() -> TopoDS_Shape:
    """Faces that end in curves without a closed form on the surface (B-splines in space)."""
    lying = solids.gp_Ax2(gp_Pnt(-5, 0, 3.5), gp_Dir(1, 0, 0))
    return BRepAlgoAPI_Cut(solids.cylinder(), solids.BRepPrimAPI_MakeCylinder(lying, 1.2, 10.0).Shape()).Shape()


SHAPES: dict[str, Callable[[], TopoDS_Shape]] = {
    "box": solids.box,
    "cylinder": solids.cylinder,
    "wedge": lambda: solids.cylinder(angle=1.3),
    "frustum": solids.cone,
    "cone": lambda: solids.cone(3.0, 0.0, 4.0),
    "torus": solids.torus,
    "pocket": solids.pocket,
    "drilled": solids.drilled,
    "boss": solids.boss,
    "hollow": _hollow_box,
    "lens": _lens,
}


def _dome() -> TopoDS_Shape:
    return BRepPrimAPI_MakeSphere(gp_Ax2(gp_Pnt(0, 0, -1), gp_Dir(0, 0, 1)), 2.5, 0.0, np.pi / 2).Shape()


def _tower(*, ruled: bool) -> TopoDS_Shape:
    """Through three squares, each turned against the one below: spline surfaces between planes."""
    maker = BRepOffsetAPI_ThruSections(True, ruled)
    for height, turn in ((0.0, 0.0), (3.0, 0.4), (7.0, 0.6)):
        wire = BRepBuilderAPI_MakePolygon()
        for corner in range(4):
            angle = turn + corner * np.pi / 2
            wire.Add(gp_Pnt(4.0 * np.cos(angle), 4.0 * np.sin(angle), height))
        wire.Close()
        maker.AddWire(wire.Wire())
    maker.Build()
    return maker.Shape()


SPLINE_SURFACES: dict[str, Callable[[], TopoDS_Shape]] = {
    "box of splines": lambda: BRepBuilderAPI_NurbsConvert(solids.box(), True).Shape(),
    "ruled tower": lambda: _tower(ruled=True),
    "smooth tower": lambda: _tower(ruled=False),
}


def _lying_pin(x: float, radius: float, length: float) -> TopoDS_Shape:
    return solids.BRepPrimAPI_MakeCylinder(gp_Ax2(gp_Pnt(x, 0.3, 0.2), gp_Dir(1, 0.1, 0.2)), radius, length).Shape()


def _cut_at_a_slant(shape: TopoDS_Shape) -> TopoDS_Shape:
    above = solids.BRepPrimAPI_MakeCylinder(gp_Ax2(gp_Pnt(0, 0, 5), gp_Dir(0.2, 0.1, 1)), 30.0, 40.0).Shape()
    return BRepAlgoAPI_Cut(shape, above).Shape()


FREE_CURVES: dict[str, Callable[[], TopoDS_Shape]] = {
    "crossing cylinders": _crossing_cylinders,
    "cylinder cut at a slant": lambda: _cut_at_a_slant(solids.cylinder(2.0, 9.0)),
    "cone cut at a slant": lambda: _cut_at_a_slant(solids.cone(3.0, 1.0, 9.0)),
    "dome with a pin": lambda: BRepAlgoAPI_Fuse(_dome(), _lying_pin(0.4, 0.7, 6.0)).Shape(),
    "ring with a pin": lambda: BRepAlgoAPI_Fuse(solids.torus(), _lying_pin(5.0, 0.4, 4.0)).Shape(),
}


@pytest.fixture
def kernel_model(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], CadModel]:
    """Opens a file with the kernel, whatever its text would allow."""

    def open_model(path: Path) -> CadModel:
        with monkeypatch.context() as patched:
            patched.setattr(loader.text_model, "open_text", lambda *_: (None, ""))
            return CadLoader().create_from_file(path)

    return open_model


def assert_same(one: Brep, other: Brep) -> None:
    """All that the encoder asks of a brep is equal, to rounding."""
    box = other.bounding_box()
    size = float(np.linalg.norm(box[3:] - box[:3]))
    for name in ("face_types", "face_loops", "edge_types", "edge_convexities"):
        np.testing.assert_array_equal(getattr(one, name)(), getattr(other, name)(), err_msg=name)
    np.testing.assert_allclose(one.face_areas(), other.face_areas(), rtol=1e-6)
    np.testing.assert_allclose(one.face_centroids(), other.face_centroids(), atol=1e-5 * size)
    np.testing.assert_allclose(one.edge_lengths(), other.edge_lengths(), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(one.edge_dihedral_angles(), other.edge_dihedral_angles(), atol=1e-5)
    np.testing.assert_allclose(one.bounding_box(), box, atol=1e-6 * size)
    np.testing.assert_allclose(one.volume(), other.volume(), rtol=1e-6)
    for mine, kernels in (
        (one.edge_samples(7), other.edge_samples(7)),
        (one.face_samples(7, 7), other.face_samples(7, 7)),
    ):
        np.testing.assert_allclose(mine[..., :3], kernels[..., :3], atol=1e-6 * size)
        np.testing.assert_allclose(mine[..., 3:], kernels[..., 3:], atol=1e-5)
    for field in dataclasses.fields(one.topology()):
        mine, kernels = getattr(one.topology(), field.name), getattr(other.topology(), field.name)
        np.testing.assert_array_equal(mine, kernels, err_msg=field.name)


@pytest.mark.parametrize("how", ["at_origin", "placed", "mirrored"])
@pytest.mark.parametrize("name", SHAPES)
def test_arrays_are_those_of_the_kernels_reading(
    name: str, how: str, tmp_path: Path, kernel_model: Callable[[Path], CadModel]
) -> None:
    path = solids.write_step(solids.place(SHAPES[name](), how), tmp_path / "part.step")
    model = CadLoader().create_from_file(path)
    turned = (name, how) == ("torus", "mirrored")  # the kernel's writer turns its loop; full healing turns it back
    assert model.read_report.healing == ("full" if turned else "text")
    assert_same(model.get_brep(), kernel_model(path).get_brep())


@pytest.mark.parametrize("name", ["hollow", "boss", "lens"])
def test_the_kernels_shape_comes_when_it_is_asked_for(name: str, tmp_path: Path) -> None:
    model = CadLoader().create_from_file(solids.write_step(SHAPES[name](), tmp_path / "part.step"))
    brep = model.get_brep()
    assert brep.kernel.face_map.Extent() == brep.n_faces
    assert brep.is_valid()
    assert len(model.get_mesh().triangles) >= brep.n_faces


def test_several_bodies_are_the_kernels(tmp_path: Path, kernel_model: Callable[[Path], CadModel]) -> None:
    moved = solids.place(solids.boss(), "placed")
    path = solids.write_step(solids.compound(_hollow_box(), moved, solids.sphere()), tmp_path / "part.step")
    model, kernels = CadLoader().create_from_file(path), kernel_model(path)
    assert model.get_body_count() == kernels.get_body_count() == 3
    for body in range(3):
        assert_same(model.get_brep(body), kernels.get_brep(body))
        assert model.get_brep(body).face_names() == kernels.get_brep(body).face_names()


@pytest.mark.parametrize("unit", ["M", "CM", "UM", "FT", "MIL"])
def test_units_of_length_are_the_kernels(unit: str, tmp_path: Path, kernel_model: Callable[[Path], CadModel]) -> None:
    path = solids.write_step(solids.boss(), tmp_path / "part.step", unit=unit)
    model, kernels = CadLoader().create_from_file(path), kernel_model(path)
    assert (model.read_report.healing, model.read_report.unit) == ("text", kernels.read_report.unit)
    assert_same(model.get_brep(), kernels.get_brep())


def test_degrees_are_the_kernels(tmp_path: Path, kernel_model: Callable[[Path], CadModel]) -> None:
    path = solids.write_step(solids.cone(), tmp_path / "part.step")
    content = path.read_bytes()
    radians = re.search(rb"#(\d+) = \( NAMED_UNIT\(\*\) PLANE_ANGLE_UNIT\(\) SI_UNIT\(\$,\.RADIAN\.\) \);", content)
    slope = re.search(rb"CONICAL_SURFACE\('',#\d+,[^,]+,([-+.\dE]+)\)", content)
    assert radians is not None
    assert slope is not None
    degree = b"#%s = ( CONVERSION_BASED_UNIT('DEGREE',#9001) NAMED_UNIT(#9002) PLANE_ANGLE_UNIT() );\n" % radians.group(
        1
    )
    degree += b"#9001 = PLANE_ANGLE_MEASURE_WITH_UNIT(PLANE_ANGLE_MEASURE(1.74532925199E-02),#9003);\n"
    degree += b"#9002 = DIMENSIONAL_EXPONENTS(0.,0.,0.,0.,0.,0.,0.);\n"
    degree += b"#9003 = ( NAMED_UNIT(*) PLANE_ANGLE_UNIT() SI_UNIT($,.RADIAN.) );"
    turned = slope.group(0).replace(slope.group(1), b"%.12f" % np.degrees(float(slope.group(1))))
    path.write_bytes(content.replace(slope.group(0), turned).replace(radians.group(0), degree))
    model = CadLoader().create_from_file(path)
    assert model.read_report.healing == "text"
    assert_same(model.get_brep(), kernel_model(path).get_brep())


def test_inches_and_names_are_the_kernels(tmp_path: Path, kernel_model: Callable[[Path], CadModel]) -> None:
    path = solids.write_step(solids.drilled(), tmp_path / "part.step", unit="INCH")
    content = path.read_bytes()
    for name in (b"plain", b"it''s", b"\\X2\\00FC\\X0\\ber"):
        head, _, rest = content.partition(b"ADVANCED_FACE('',")
        content = head + b"ADVANCED_FACE('%s'," % name + rest
    path.write_bytes(content)
    model, kernels = CadLoader().create_from_file(path), kernel_model(path)
    assert model.read_report.healing == "text"
    assert model.read_report.unit == kernels.read_report.unit
    assert model.get_brep().face_names() == kernels.get_brep().face_names()
    assert {"plain", "it's", "über"} <= set(model.get_brep().face_names())
    assert_same(model.get_brep(), kernels.get_brep())


def _edit(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        assert old in content
        return content.replace(old, new)

    return change


REFUSED = {
    "another entity": _edit(b"MANIFOLD_SOLID_BREP(", b"FACETED_BREP("),
    "no faces": _edit(b"ADVANCED_FACE(", b"FACE_SURFACE("),
    "a face of a kind unknown": _edit(b" = PLANE(", b" = OFFSET_SURFACE("),
    "a placement without an axis": lambda content: re.sub(rb"(AXIS2_PLACEMENT_3D\('',#\d+),#\d+", rb"\1,$", content),
    "a number that is none": _edit(b"CARTESIAN_POINT('',(", b"CARTESIAN_POINT('',(1.E+999,"),
    "a length that is not finite": lambda content: content.replace(b"(0.,0.,0.)", b"(1.E999,0.,0.)"),
    "a reference to nothing": _edit(b"CLOSED_SHELL('',(#", b"CLOSED_SHELL('',(#99999"),
    "cut off": lambda content: content[: len(content) // 2],
    "a section more": _edit(b"DATA;", b"DATA;\nENDSEC;\nDATA;"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_leaves_doubt_is_refused(name: str, tmp_path: Path) -> None:
    content = solids.write_step(solids.drilled(), tmp_path / "part.step").read_bytes()
    read_step(content)
    with pytest.raises(RefusedError):
        read_step(REFUSED[name](content))


@pytest.mark.parametrize("how", ["at_origin", "placed", "mirrored"])
@pytest.mark.parametrize("name", SPLINE_SURFACES)
def test_whole_spline_surfaces_are_the_kernels(
    name: str, how: str, tmp_path: Path, kernel_model: Callable[[Path], CadModel]
) -> None:
    shape = solids.place(SPLINE_SURFACES[name](), how)
    path = solids.write_step(shape, tmp_path / "part.step", unit="CM", pcurves=False)
    model, kernels = CadLoader().create_from_file(path), kernel_model(path)
    assert model.read_report.healing == "text"
    assert_same(model.get_brep(), kernels.get_brep())
    np.testing.assert_allclose(model.get_brep().face_uv_bounds(), kernels.get_brep().face_uv_bounds(), atol=1e-9)


def test_cut_off_spline_surfaces_are_left_to_the_kernel(tmp_path: Path) -> None:
    shape = BRepBuilderAPI_NurbsConvert(solids.cylinder(), True).Shape()
    path = solids.write_step(shape, tmp_path / "part.step")
    with pytest.raises(RefusedError):
        read_step(path.read_bytes())
    assert CadLoader().create_from_file(path).get_brep().volume() == pytest.approx(4 * np.pi * 7, rel=1e-5)


@pytest.mark.parametrize("how", ["at_origin", "placed", "mirrored"])
@pytest.mark.parametrize("name", FREE_CURVES)
def test_windows_follow_free_curves_as_the_kernels(
    name: str, how: str, tmp_path: Path, kernel_model: Callable[[Path], CadModel]
) -> None:
    path = solids.write_step(solids.place(FREE_CURVES[name](), how), tmp_path / "part.step", pcurves=False)
    model, kernels = CadLoader().create_from_file(path), kernel_model(path)
    turned = (name, how) == ("ring with a pin", "mirrored")  # as "torus" above
    assert model.read_report.healing == ("full" if turned else "text")
    assert_same(model.get_brep(), kernels.get_brep())
    bounds, wanted = model.get_brep().face_uv_bounds(), kernels.get_brep().face_uv_bounds()
    turns = np.round((bounds - wanted) / (2 * np.pi))
    np.testing.assert_allclose(bounds - 2 * np.pi * turns, wanted, atol=1e-9)


def test_a_window_that_follows_a_stored_curve_is_left_to_the_kernel(tmp_path: Path) -> None:
    path = solids.write_step(_crossing_cylinders(), tmp_path / "part.step")
    with pytest.raises(RefusedError, match="beyond its corners"):
        read_step(path.read_bytes())
    model = CadLoader().create_from_file(path)
    assert model.read_report.healing == "light"
    assert model.get_brep().n_faces == 4


def test_a_ball_with_a_free_curve_is_left_to_the_kernel(tmp_path: Path) -> None:
    shape = BRepAlgoAPI_Fuse(solids.sphere(), _lying_pin(0.4, 0.7, 6.0)).Shape()
    path = solids.write_step(solids.place(shape, "placed"), tmp_path / "part.step", pcurves=False)
    with pytest.raises(RefusedError, match="a ball with a free curve"):
        read_step(path.read_bytes())


@pytest.mark.parametrize("how", solids.PLACES)
def test_a_face_whose_bound_is_a_point_is_left_to_the_kernel(how: str, tmp_path: Path) -> None:
    path = solids.write_step(solids.place(solids.sphere(), how), tmp_path / "part.step")
    with pytest.raises(RefusedError, match="VERTEX_LOOP"):
        read_step(path.read_bytes())
    assert CadLoader().create_from_file(path).get_brep().area() == pytest.approx(4 * np.pi * 2.5**2, rel=1e-6)


def test_a_solid_inside_out_is_left_to_the_kernel(tmp_path: Path) -> None:
    path = solids.write_step(solids.box().Reversed(), tmp_path / "part.step")
    model = CadLoader().create_from_file(path)
    assert model.read_report.healing != "text"
    assert model.get_brep().volume() == pytest.approx(30.0)


def test_an_open_shell_is_left_to_the_kernel(tmp_path: Path) -> None:
    path = solids.write_step(solids.compound(solids.box(), _face_of(solids.box(9, 9, 9))), tmp_path / "part.step")
    model = CadLoader().create_from_file(path)
    assert model.read_report.healing != "text"
    assert model.get_face_count() == 7


def _face_of(shape: TopoDS_Shape) -> TopoDS_Shape:
    return TopExp_Explorer(shape, TopAbs_FACE).Current()


def test_what_is_wrong_with_the_text_is_healed_fully_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = solids.write_step(solids.box().Reversed(), tmp_path / "part.step")
    levels = []
    transfer = loader.reading.transfer

    def note_level(path: Path, content: bytes, cad_format: CadFormat, level: Healing | None = None) -> Transfer:
        levels.append(level)
        return transfer(path, content, cad_format, level)

    monkeypatch.setattr(loader.reading, "transfer", note_level)
    report = CadLoader().create_from_file(path).read_report
    assert (levels, report.healing, report.fallback) == (["full"], "full", "a solid has no positive volume")
