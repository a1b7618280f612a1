"""`CadModel`: the file, its bodies and views of them, meshes and names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from OCP.gp import gp_Trsf, gp_Vec
from OCP.TopLoc import TopLoc_Location
from OCP.TopoDS import TopoDS_Shape

from dflow.cadaccess import CadLoader, CadModel
from dflow.cadaccess.kernel.shape import KernelShape
from tests.cadaccess import solids


def _shifted(shape: TopoDS_Shape, x: float) -> TopoDS_Shape:
    move = gp_Trsf()
    move.SetTranslation(gp_Vec(x, 0, 0))
    return shape.Moved(TopLoc_Location(move))


@pytest.fixture
def two(tmp_path: Path) -> CadModel:
    """A box and a sphere 20 mm away."""
    return solids.open_model(solids.compound(solids.box(), _shifted(solids.sphere(), 20)), tmp_path)


def test_counts_are_those_of_the_file_or_of_the_body_of_a_view(two: CadModel) -> None:
    assert (two.get_body_count(), two.get_face_count(), two.get_edge_count()) == (2, 7, 13)
    box = two.for_body(0)
    assert (box.get_body_count(), box.get_face_count(), box.get_edge_count()) == (1, 6, 12)


def test_the_representations_name_the_file_and_the_body(two: CadModel) -> None:
    path = two.get_filesource()
    assert Path(path).name == "part.brep"
    assert repr(two) == f"CadModel({path!r})"
    assert repr(two.for_body(1)) == f"CadModel({path!r}, body=1)"


def test_breps_are_built_once_and_shared_with_views(two: CadModel) -> None:
    assert two.get_brep() is two.get_brep()
    assert two.for_body(1).get_brep(0) is two.get_brep(1)


def test_the_only_body_of_a_file_is_the_whole_file(tmp_path: Path) -> None:
    model = solids.open_model(solids.compound(solids.box()), tmp_path)
    assert model.get_brep(0) is model.get_brep()


@pytest.mark.parametrize("index", [-1, 2])
def test_a_body_that_does_not_exist_is_an_error_that_says_how_many_there_are(two: CadModel, index: int) -> None:
    for access in (two.get_brep, two.for_body, two.get_mesh):
        with pytest.raises(IndexError, match=rf"part.brep: no body {index}; the file has 2"):
            access(index)


def test_a_file_is_the_same_by_its_content_whatever_the_path(two: CadModel, tmp_path: Path) -> None:
    copy = tmp_path / "copy.brep"
    copy.write_bytes(Path(two.get_filesource()).read_bytes())
    assert two.is_of_same_file(two.for_body(1))
    assert two.is_of_same_file(CadLoader().create_from_file(copy))
    other = solids.write_brep(solids.box(), tmp_path / "other.brep")
    assert not two.is_of_same_file(CadLoader().create_from_file(other))


def test_a_view_has_the_mesh_and_the_kernels_shape_of_its_body(two: CadModel) -> None:
    ball = two.for_body(1)
    low, high = ball.get_mesh().vertices.min(axis=0), ball.get_mesh().vertices.max(axis=0)
    np.testing.assert_allclose([low[0], high[0]], [17.5, 22.5], atol=0.05)
    assert ball.get_brep().kernel.face_map.Extent() == 1
    assert KernelShape(two.get()).face_map.Extent() == 7


def test_stated_properties_are_of_the_whole_file_only(two: CadModel, tmp_path: Path) -> None:
    single = solids.open_model(solids.box(), tmp_path, ".step")
    assert single.get_brep(0)._stated is not None
    assert two.get_brep()._stated is not None
    assert two.get_brep(0)._stated is None


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
