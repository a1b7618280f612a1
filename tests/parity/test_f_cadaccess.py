"""F: CAD files opened and asked."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from dflow.cadaccess import CadLoader, HOOPSLoader, HOOPSTools
from dflow.cadencoder import BrepEncoder
from dflow.render import read_glb
from tests.cadaccess import solids


def test_f01_a_file_is_opened(model, part):
    assert model.get_filesource() == str(part)
    assert issubclass(HOOPSLoader, CadLoader)


def test_f02_breps_and_bodies_are_got_by_index(tmp_path):
    model = solids.open_model(solids.compound(solids.box(), solids.sphere()), tmp_path)
    assert model.get_body_count() == 2
    assert model.get_brep().n_faces == 7
    assert sorted(model.get_brep(index).n_faces for index in (0, 1)) == [1, 6]
    with pytest.raises(IndexError):
        model.get_brep(2)


def test_f03_faces_are_counted(model):
    assert model.get_face_count() == model.get_brep().n_faces > 0


def test_f04_adapting_a_brep_is_accepted(model):
    tools = HOOPSTools()
    options = tools.brep_options()
    options["force_compute_uv"] = True
    assert tools.adapt_brep(model, options) is model
    assert tools.adapt_tessellation(model, tools.tessellation_options()) is model


def test_f05_general_options_are_kept():
    loader = CadLoader()
    options = loader.get_general_options()
    assert options == {}
    options["read_feature"] = options["read_solid"] = True
    loader.set_general_options(options)
    assert loader.get_general_options() == {"read_feature": True, "read_solid": True}
    assert CadLoader().get_general_options() == {}


def test_f06_a_brep_is_asked_as_arrays(tmp_path):
    model = solids.open_model(solids.box(2, 3, 5), tmp_path)
    brep = model.get_brep()
    assert (brep.n_faces, brep.n_edges) == (6, 12)
    assert brep.bounding_box().tolist() == pytest.approx([0, 0, 0, 2, 3, 5], abs=1e-6)
    assert sorted(brep.face_areas().tolist()) == pytest.approx([6, 6, 10, 10, 15, 15])
    assert sorted(brep.edge_lengths().tolist()) == pytest.approx([2] * 4 + [3] * 4 + [5] * 4)
    assert brep.face_types().tolist() == [0] * 6
    assert BrepEncoder(brep).push_face_adjacency_graph().number_of_edges() == 12
    assert brep.face_samples(3, 3).shape == (6, 3, 3, 7)


def test_f07_a_mesh_is_made_when_asked(model):
    mesh = model.get_mesh()
    assert mesh.vertices.shape == mesh.normals.shape
    assert mesh.triangles.max() < len(mesh.vertices)
    assert set(mesh.triangle_faces) == set(range(model.get_face_count()))
    assert np.linalg.norm(mesh.normals, axis=1) == pytest.approx(1, abs=1e-4)


def test_f08_models_are_exported_as_obj_step_and_stream_cache(tmp_path, finished):
    model = solids.open_model(solids.drilled(), tmp_path)
    tools = HOOPSTools()
    tools.exportOBJ(model, tmp_path / "part.obj")
    words = Counter(line.split()[0] for line in (tmp_path / "part.obj").read_text().splitlines())
    mesh = model.get_mesh()
    assert (words["v"], words["f"], words["g"]) == (len(mesh.vertices), len(mesh.triangles), model.get_face_count())
    tools.exportSTEP(model, str(tmp_path / "part.step"))
    again = CadLoader().create_from_file(tmp_path / "part.step").get_brep()
    assert again.face_types().tolist() == model.get_brep().face_types().tolist()
    assert again.volume() == pytest.approx(model.get_brep().volume())
    with pytest.raises(FileExistsError, match="overwrite"):
        tools.exportSTEP(model, tmp_path / "part.step")
    tools.exportSTEP(model, tmp_path / "part.step", overwrite=True)
    glb = sorted((finished.root / "stream_cache").rglob("*.glb"))[0]
    assert len(read_glb(glb).triangles) > 0
