"""HOOPS AI's calls on loaders, models and breps give dflow's values."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.cadaccess import CadLoader, HOOPSLoader
from tests.cadaccess import solids


@pytest.fixture
def model(tmp_path):
    return solids.open_model(solids.box(1, 2, 3), tmp_path)


def test_loads_are_counted_until_the_loader_is_reset(tmp_path):
    path = solids.write_step(solids.box(), tmp_path / "box.step")
    HOOPSLoader.reinitialize()
    loader = HOOPSLoader()
    loader.create_from_file(path)
    HOOPSLoader().create_from_file(path)
    assert HOOPSLoader.get_load_count() == loader.get_load_count() == 2
    HOOPSLoader.set_auto_reinit_threshold(10)
    HOOPSLoader.reinitialize()
    assert HOOPSLoader.get_load_count() == 0
    assert isinstance(loader, CadLoader)


def test_a_body_is_a_view_of_the_model(model):
    assert model.get_body().get_face_count() == model.get_body(0).get_face_count() == 6


def test_indices_box_and_diagonal(model):
    brep = model.get_brep()
    assert brep.get_face_indices() == list(range(6))
    assert brep.get_edge_indices() == list(range(12))
    assert brep.get_edge_indices_map()[11] == 11
    low, high = np.split(np.array(brep.get_bounding_box()), 2)
    assert np.allclose(sorted(high - low), [1, 2, 3])
    assert brep.get_diagonal_length() == pytest.approx(14**0.5)


def test_the_graph_has_an_edge_per_pair_of_neighbours(model):
    graph = model.get_brep().build_face_adjacency_graph()
    assert (graph.number_of_nodes(), graph.number_of_edges()) == (6, 12)
    assert {degree for _, degree in graph.degree()} == {4}


def test_attributes_of_one_face_and_one_edge(model):
    brep = model.get_brep()
    face = brep.get_face_attributes(0, None)
    assert face["face_type"] == 0
    assert face["face_area"] in (2.0, 3.0, 6.0)
    assert brep.get_edge_attributes(3)["edge_length"] == pytest.approx(brep.edge_lengths()[3])


def test_grids_of_one_face_and_one_edge(model):
    brep = model.get_brep()
    grid = brep.face_samples(5, 4)
    assert np.array_equal(brep.uvgrid(2, 5, 4), grid[2, ..., :3])
    assert np.array_equal(brep.uvgrid(2, 5, 4, method="normal"), grid[2, ..., 3:6])
    assert brep.uvgrid(2, 5, 4, method="visibility_status").shape == (5, 4, 1)
    assert brep.ugrid(7, 10).shape == (10, 3)
    assert brep.face_sample_points(0, pointsamples=7).shape == (7, 3)
    with pytest.raises(ValueError, match="'point', 'normal', 'visibility_status'"):
        brep.uvgrid(0, 5, 5, method="colour")
