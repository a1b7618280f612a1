"""Opening files: formats by content, units, assemblies, bodies, and what is wrong with a file that cannot be read."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from OCP.BRep import BRep_Builder
from OCP.BRepBuilderAPI import BRepBuilderAPI_MakeEdge, BRepBuilderAPI_MakeWire
from OCP.collections import IndexedMap_TopoDS_Shape_TopTools_ShapeMapHasher
from OCP.gp import gp_Circ, gp_Pnt
from OCP.IGESControl import IGESControl_Writer
from OCP.TopAbs import TopAbs_EDGE, TopAbs_FACE
from OCP.TopExp import TopExp, TopExp_Explorer
from OCP.TopoDS import TopoDS, TopoDS_Shape

from dflow.cadaccess import CadLoader, HOOPSLoader, HOOPSTools, loader
from dflow.cadaccess.kernel import reading
from dflow.cadaccess.kernel.reading import Transfer
from dflow.cadaccess.step import text_model
from dflow.errors import KernelError, NoGeometryError, UnreadableFileError
from tests.cadaccess import broken, solids


@pytest.mark.parametrize("suffix", [".step", ".brep", ".igs", ""])
@pytest.mark.parametrize("packed", [False, True])
def test_format_is_told_by_content(suffix: str, packed: bool, tmp_path: Path) -> None:
    for written, path in (
        ("step", solids.write_step(solids.box(), tmp_path / "a")),
        ("brep", solids.write_brep(solids.box(), tmp_path / "b")),
        ("iges", _write_iges(tmp_path / "c")),
    ):
        content = path.read_bytes()
        named = tmp_path / f"{written}_part{suffix}"
        named.write_bytes(gzip.compress(content) if packed else content)
        model = CadLoader().create_from_file(named)
        assert model.read_report.format == written
        assert model.get_brep().area() == pytest.approx(62.0, rel=1e-9)


def _write_iges(path: Path) -> Path:
    writer = IGESControl_Writer("MM", 1)
    writer.AddShape(solids.box())
    writer.Write(str(path))
    return path


def test_binary_brep_is_read(tmp_path: Path) -> None:
    from OCP.BinTools import BinTools

    path = tmp_path / "part.brep"
    BinTools.Write_s(solids.torus(), str(path))
    model = CadLoader().create_from_file(path)
    assert model.read_report.format == "binary_brep"
    assert model.get_brep().volume() == pytest.approx(2 * np.pi**2 * 5 * 1.5**2, rel=1e-9)


def test_inches_become_millimetres(tmp_path: Path) -> None:
    path = solids.write_step(solids.box(25.4, 25.4, 25.4), tmp_path / "inch.step", unit="INCH")
    assert b"INCH" in path.read_bytes()
    model = CadLoader().create_from_file(path)
    assert model.read_report.unit.lower() == "inch"
    assert model.get_brep().volume() == pytest.approx(25.4**3, rel=1e-9)


def test_a_byte_order_mark_and_crlf_are_no_obstacle(tmp_path: Path) -> None:
    content = solids.write_step(solids.box(), tmp_path / "a.step").read_bytes()
    path = tmp_path / "windows ü 测试.step"
    path.write_bytes(b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n"))
    assert CadLoader().create_from_file(path).get_face_count() == 6


def test_a_sheet_is_a_body_and_has_no_volume(tmp_path: Path) -> None:
    face = TopExp_Explorer(solids.box(), TopAbs_FACE).Current()
    model = solids.open_model(face, tmp_path)
    brep = model.get_brep()
    assert (model.get_body_count(), brep.n_faces, brep.n_edges) == (1, 1, 4)
    assert np.isnan(brep.volume())
    assert not brep.is_closed()
    assert np.isnan(brep.edge_dihedral_angles()).all()
    assert (brep.edge_convexities() == 0).all()
    np.testing.assert_allclose(brep.centroid(), brep.face_centroids()[0])


def test_a_wire_has_edges_and_arrays_without_faces(tmp_path: Path) -> None:
    edge = BRepBuilderAPI_MakeEdge(gp_Circ(solids.gp_Ax2(gp_Pnt(0, 0, 0), solids.gp_Dir(0, 0, 1)), 2.0)).Edge()
    model = solids.open_model(BRepBuilderAPI_MakeWire(edge).Wire(), tmp_path)
    brep = model.get_brep()
    assert (model.get_body_count(), brep.n_faces, brep.n_edges) == (0, 0, 1)
    assert brep.face_samples(5, 5).shape == (0, 5, 5, 7)
    assert brep.surface_samples(4, 0)[0].shape == (0, 4, 3)
    assert brep.face_areas().shape == brep.face_types().shape == brep.face_loops().shape == (0,)
    assert brep.face_centroids().shape == (0, 3)
    assert len(brep.topology().coedge_face) == 0
    assert brep.edge_lengths()[0] == pytest.approx(4 * np.pi)
    assert np.isnan(brep.centroid()).all()
    np.testing.assert_allclose(brep.bounding_box(), [-2, -2, 0, 2, 2, 0], atol=1e-9)
    assert len(model.get_mesh().triangles) == 0


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"hello, not a CAD file", "not a STEP"),
        (b"ISO-10303-21;\nHEADER;\n", "before its DATA"),
        (b"ISO-10303-21;\nHEADER;\nENDSEC;\nDATA;\n#1=CARTESIAN_POINT('',(0.,0.", "no end"),
        (b"DBRep_DrawableShape\n\nCASCADE Topology V1, (c) Matra-Datavision\n", "BREP"),
    ],
)
def test_unreadable_files_say_why(content: bytes, cause: str, tmp_path: Path) -> None:
    path = tmp_path / "part.step"
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=cause):
        CadLoader().create_from_file(path)


def test_a_step_file_without_shapes_has_no_geometry(tmp_path: Path) -> None:
    path = tmp_path / "points.step"
    header = b"ISO-10303-21;\nHEADER;\nFILE_DESCRIPTION((''),'2;1');\nFILE_NAME('','',(''),(''),'','','');\n"
    body = b"FILE_SCHEMA(('AUTOMOTIVE_DESIGN'));\nENDSEC;\nDATA;\n#1=CARTESIAN_POINT('',(0.,0.,0.));\nENDSEC;\n"
    path.write_bytes(header + body + b"END-ISO-10303-21;\n")
    with pytest.raises(NoGeometryError):
        CadLoader().create_from_file(path)


def test_opened_models_are_listed_and_hoops_names_work(tmp_path: Path) -> None:
    loader = HOOPSLoader()
    path = solids.write_brep(solids.box(), tmp_path / "a.brep")
    model = loader.create_from_file(str(path))
    assert loader.opened == [model]
    assert loader.get_model() is model
    loader.set_general_options({"read_feature": True})
    assert loader.get_general_options() == {"read_feature": True}
    tools = HOOPSTools()
    assert tools.adapt_brep(model, tools.brep_options()) is model


def test_importing_the_package_does_not_import_the_kernel() -> None:
    code = "import sys, dflow, dflow.cadaccess; sys.exit('OCP' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


# -- the better reading is taken


def _heal_as(monkeypatch: pytest.MonkeyPatch, healed: Callable[[], TopoDS_Shape]) -> None:
    """Let full healing give another shape than the file's."""
    transfer = reading.transfer

    def give(*arguments: Any) -> Transfer:
        moved = transfer(*arguments)
        return Transfer(healed(), "full", moved.reader) if arguments[3:] == ("full",) else moved

    monkeypatch.setattr(reading, "transfer", give)


def _fail() -> TopoDS_Shape:
    raise KernelError("no shape is left")


@pytest.mark.parametrize("healed", [broken.lidless_box, _fail])
def test_a_shape_that_full_healing_makes_worse_stays(
    healed: Callable[[], TopoDS_Shape], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = solids.write_step(solids.touching_hole(), tmp_path / "part.step")
    whole = CadLoader().create_from_file(path)
    assert (whole.read_report.healing, whole.read_report.fallback) == ("full", "face 5 has loops that touch")
    _heal_as(monkeypatch, healed)
    model = CadLoader().create_from_file(path)
    assert (model.read_report.healing, model.read_report.fallback) == ("text", "")
    assert model.find_defects() == {}
    assert model.get_brep().volume() == pytest.approx(whole.get_brep().volume(), rel=1e-9)


def test_a_shape_that_full_healing_makes_no_better_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = solids.write_step(solids.touching_hole(), tmp_path / "part.step")
    monkeypatch.setattr(text_model, "open_text", lambda *_: (None, ""))
    _heal_as(monkeypatch, broken.lidless_box)
    monkeypatch.setattr(loader, "_open_lightly", lambda *_: (None, "it is broken"))
    model = CadLoader().create_from_file(path)
    assert (model.read_report.healing, model.read_report.fallback) == ("full", "it is broken")
    assert model.find_defects().keys() == {"shell open"}


def _without_curves_on_surfaces(shape: TopoDS_Shape) -> TopoDS_Shape:
    found = IndexedMap_TopoDS_Shape_TopTools_ShapeMapHasher()
    TopExp.MapShapes_s(shape, TopAbs_FACE, found)
    for key in range(1, found.Extent() + 1):
        face = TopoDS.Face(found.FindKey(key))
        uses = TopExp_Explorer(face, TopAbs_EDGE)
        while uses.More():
            BRep_Builder().UpdateEdge(TopoDS.Edge(uses.Current()), None, face, 1e-7)
            uses.Next()
    return shape


def test_a_brep_file_without_curves_on_surfaces_is_healed(tmp_path: Path) -> None:
    stored = solids.cylinder(2.0, 7.0, 2.0)
    wanted = solids.open_brep(stored, tmp_path)
    bare = _without_curves_on_surfaces(stored)
    model = solids.open_model(bare, tmp_path)
    report = model.read_report
    assert (report.healing, report.fallback) == ("full", "face 0 has an edge without a curve on its surface")
    assert model.find_defects() == {}
    np.testing.assert_allclose(model.get_brep().face_areas(), wanted.face_areas(), rtol=1e-9)
    assert model.get_brep().volume() == pytest.approx(wanted.volume(), rel=1e-9)


def test_a_hole_of_a_brep_file_that_runs_the_wrong_way_is_taken_off(tmp_path: Path) -> None:
    hole = [(1, 1), (2, 1), (2, 2), (1, 2)]
    model = solids.open_model(broken.flat_face(broken.SQUARE, hole), tmp_path)
    assert (model.read_report.healing, model.read_report.fallback) == ("full", "face 0 has 2 outer loops")
    assert model.find_defects() == {}
    assert model.get_brep().area() == pytest.approx(15.0)


def test_a_brep_file_keeps_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = _without_curves_on_surfaces(solids.cylinder(2.0, 7.0, 2.0))
    monkeypatch.setattr(reading.healing, "heal", lambda _: solids.box())
    model = solids.open_model(bare, tmp_path)
    assert model.read_report.healing == "none"
    assert "curve missing" in model.find_defects()
