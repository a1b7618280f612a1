"""Opening files: formats by content, units, assemblies, bodies, and what is wrong with a file that cannot be read."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from OCP.BRepBuilderAPI import BRepBuilderAPI_MakeEdge, BRepBuilderAPI_MakeWire
from OCP.gp import gp_Circ, gp_Pnt, gp_Trsf, gp_Vec
from OCP.IGESControl import IGESControl_Writer
from OCP.TopAbs import TopAbs_FACE
from OCP.TopExp import TopExp_Explorer
from OCP.TopLoc import TopLoc_Location

from dflow.cadaccess import CadLoader, HOOPSLoader, HOOPSTools
from dflow.errors import NoGeometryError, UnreadableFileError
from tests.cadaccess import solids


def _shifted(shape: object, x: float) -> object:
    move = gp_Trsf()
    move.SetTranslation(gp_Vec(x, 0, 0))
    return shape.Moved(TopLoc_Location(move))  # type: ignore[attr-defined]


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


@pytest.mark.parametrize("suffix", [".step", ".brep"])
def test_bodies_keep_their_places(suffix: str, tmp_path: Path) -> None:
    ball = solids.sphere()
    model = solids.open_model(solids.compound(solids.box(), _shifted(ball, 20), _shifted(ball, 40)), tmp_path, suffix)
    assert (model.get_body_count(), model.get_face_count()) == (3, 8)
    volumes = [model.get_brep(i).volume() for i in range(3)]
    assert sum(volumes) == pytest.approx(model.get_brep().volume(), rel=1e-12)
    centres = sorted(round(float(model.get_brep(i).centroid()[0])) for i in range(3))
    assert centres == [1, 20, 40]
    view = model.for_body(1)
    assert (view.get_body_count(), view.get_face_count()) == (1, model.get_brep(1).n_faces)
    assert view.get_brep() is model.get_brep(1)
    with pytest.raises(IndexError, match="no body 3"):
        model.get_brep(3)
    with pytest.raises(IndexError, match="view of one body"):
        view.get_brep(2)


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


def test_mesh_covers_the_faces_and_looks_outward(tmp_path: Path) -> None:
    model = solids.open_model(solids.place(solids.boss(), "placed"), tmp_path)
    mesh, brep = model.get_mesh(), model.get_brep()
    a, b, c = (mesh.vertices[mesh.triangles[:, i]].astype(float) for i in range(3))
    facet = np.cross(b - a, c - a) / 2
    areas = np.bincount(mesh.triangle_faces, np.linalg.norm(facet, axis=1), brep.n_faces)
    np.testing.assert_allclose(areas, brep.face_areas(), rtol=0.02)
    volume = np.einsum("ij,ij->", a, facet) / 3
    assert volume == pytest.approx(brep.volume(), rel=0.02)
    assert len(mesh.edge_offsets) == brep.n_edges + 1
    assert mesh.edge_offsets[-1] == len(mesh.edge_points)
    assert model.get_mesh(0).triangles.shape == mesh.triangles.shape


def test_meshing_leaves_the_arrays_as_they_were(tmp_path: Path) -> None:
    model = solids.open_model(solids.filleted_cylinder(), tmp_path)
    before = model.get_brep().face_samples(6, 6).copy()
    model.get_mesh()
    again = CadLoader().create_from_file(model.get_filesource()).get_brep()
    np.testing.assert_array_equal(again.face_samples(6, 6), before)


def test_step_face_names_come_back_in_row_order(tmp_path: Path) -> None:
    path = solids.write_step(solids.box(), tmp_path / "named.step")
    parts = path.read_bytes().split(b"ADVANCED_FACE('")
    named = parts[0] + b"".join(b"ADVANCED_FACE('face %d" % i + part for i, part in enumerate(parts[1:]))
    path.write_bytes(named)
    names = CadLoader().create_from_file(path).get_brep().face_names()
    assert sorted(names) == [f"face {i}" for i in range(6)]
    assert solids.open_brep(solids.box(), tmp_path).face_names() == [""] * 6


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
