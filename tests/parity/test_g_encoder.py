"""G: the encoder's arrays, shapes and types."""

from __future__ import annotations

import networkx
import numpy as np
import pytest

from dflow.cadencoder import RECIPES, BrepEncoder
from dflow.storage import MemoryStorage
from tests.cadaccess import solids


@pytest.fixture(scope="module")
def encoder(model):
    return BrepEncoder(model.get_brep())


@pytest.fixture(scope="module")
def n_faces(model):
    return model.get_face_count()


@pytest.fixture(scope="module")
def n_edges(model):
    return model.get_edge_count()


def is_array(array, shape, dtype):
    return (array.shape, array.dtype) == (tuple(shape), np.dtype(dtype))


def test_g01_arrays_are_returned_and_saved_where_there_is_a_storage(model):
    storage = MemoryStorage()
    returned = BrepEncoder(model.get_brep(), storage).push_face_indices()
    alone = BrepEncoder(model.get_brep()).push_face_indices()
    assert returned.tolist() == alone.tolist() == storage.load_data("faces/face_indices").tolist()


def test_g02_what_is_stored_is_not_computed_again_and_groups_are_declared(model, n_faces):
    storage = MemoryStorage()
    storage.save_data("faces/face_areas", np.full(n_faces, 7, np.float32))
    encoder = BrepEncoder(model.get_brep(), storage)
    (_, areas, _, _), _ = encoder.push_face_attributes()
    assert set(areas) == {7}
    assert "face_types" in storage.get_schema()["groups"]["faces"]["arrays"]


def test_g03_face_indices(encoder, n_faces):
    indices = encoder.push_face_indices()
    assert is_array(indices, [n_faces], "int32")
    assert indices.tolist() == list(range(n_faces))


def test_g04_face_attributes(encoder, n_faces, model):
    (types, areas, centroids, loops), names = encoder.push_face_attributes()
    assert is_array(types, [n_faces], "int32")
    assert is_array(areas, [n_faces], "float32")
    assert is_array(centroids, [n_faces, 3], "float32")
    assert is_array(loops, [n_faces], "int32")
    assert areas.sum() == pytest.approx(model.get_brep().area(), rel=1e-5)
    assert {names[code] for code in set(types.tolist())} <= {"Plane", "Cylinder", "Cone", "Torus"}


def test_g05_face_discretization(encoder, n_faces):
    samples = encoder.push_face_discretization(pointsamples=20)
    assert is_array(samples, [n_faces, 20, 7], "float32")
    assert set(np.unique(samples[..., 6])) <= {0, 1}


def test_g06_face_grids(encoder, n_faces):
    assert is_array(encoder.push_facegrid(4, 6), [n_faces, 4, 6, 7], "float32")


def test_g07_neighbours_are_counted(encoder, tmp_path):
    box = BrepEncoder(solids.open_brep(solids.box(), tmp_path))
    assert box.push_face_neighbors_count().tolist() == [4] * 6
    assert encoder.push_face_neighbors_count().dtype == np.int32


def test_g08_edge_indices(encoder, n_edges):
    assert encoder.push_edge_indices().tolist() == list(range(n_edges))


def test_g09_edge_attributes(tmp_path):
    (types, lengths, dihedrals, convexities), names = BrepEncoder(
        solids.open_brep(solids.box(), tmp_path)
    ).push_edge_attributes()
    assert {names[code] for code in types.tolist()} == {"Line"}
    assert lengths.dtype == dihedrals.dtype == np.float32
    assert dihedrals == pytest.approx(np.pi / 2)
    assert convexities.tolist() == [1] * 12


def test_g10_curve_grids(encoder, n_edges):
    grid = encoder.push_curvegrid(7)
    assert is_array(grid, [n_edges, 7, 6], "float32")
    assert np.linalg.norm(grid[..., 3:], axis=-1) == pytest.approx(1, abs=1e-4)


def test_g11_the_face_adjacency_graph(model, n_faces):
    storage = MemoryStorage()
    graph = BrepEncoder(model.get_brep(), storage).push_face_adjacency_graph()
    assert isinstance(graph, networkx.DiGraph)
    assert graph.number_of_nodes() == n_faces
    assert graph.number_of_edges() == len(storage.load_data("graph/edges_source"))


def test_g12_hops_between_faces(tmp_path):
    hops = BrepEncoder(solids.open_brep(solids.box(), tmp_path)).push_extended_adjacency()
    assert is_array(hops, [6, 6], "float32")
    assert sorted(hops[0].tolist()) == [0, 1, 1, 1, 1, 2]


def test_g13_edges_on_the_way_between_faces(encoder, n_faces, n_edges):
    paths = encoder.push_face_pair_edges_path(16)
    assert is_array(paths, [n_faces, n_faces, 16], "int32")
    assert paths.min() == -1
    assert paths.max() < n_edges
    assert (paths[0, 0] == -1).all()


def test_g14_distance_histograms(encoder, n_faces):
    histograms = encoder.push_average_face_pair_distance_histograms(grid=5, num_bins=64)
    assert is_array(histograms, [n_faces, n_faces, 64], "float32")
    assert histograms.sum(axis=-1) == pytest.approx(1, abs=1e-3)


def test_g15_angle_histograms(encoder, n_faces):
    histograms = encoder.push_average_face_pair_angle_histograms(grid=5, num_bins=64)
    assert is_array(histograms, [n_faces, n_faces, 64], "float32")
    assert histograms.sum(axis=-1) == pytest.approx(1, abs=1e-3)


def test_g17_names_of_types_reach_the_attribset(explorer):
    faces = explorer.get_descriptions("face_types")
    edges = explorer.get_descriptions("edge_types")
    assert dict(zip(faces["id"], faces["name"], strict=True))[1] == "Cylinder"
    assert dict(zip(edges["id"], edges["name"], strict=True))[1] == "Circle"


def test_g18_one_call_encodes_a_recipe(model):
    assert {"uvnet", "brepmfr"} <= set(RECIPES)
    arrays = BrepEncoder(model.get_brep()).encode("uvnet")
    assert {"faces/face_uv_grids", "edges/edge_u_grids", "graph/edges_source"} <= set(arrays)
