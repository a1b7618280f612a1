"""The face adjacency graph, against closed forms and networkx."""

from __future__ import annotations

import networkx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dflow.cadencoder.graph import FaceGraph, collapse_arcs, directed_arcs, face_graph, neighbour_counts, to_networkx
from tests.cadencoder.polyhedra import Polyhedron, box


def graph_of(brep: Polyhedron) -> FaceGraph:
    topology = brep.topology()
    return face_graph(topology.coedge_face, topology.coedge_edge, n_faces=brep.n_faces, n_edges=brep.n_edges)


def graph_of_coedges(coedges: list[tuple[int, int]], n_faces: int, n_edges: int) -> FaceGraph:
    faces, edges = np.array(coedges, np.int32).reshape(-1, 2).T
    return face_graph(faces, edges, n_faces=n_faces, n_edges=n_edges)


def test_a_box_has_twelve_arcs_and_four_neighbours_a_face():
    graph = graph_of(box())
    assert graph.n_arcs == 12
    assert graph.nonmanifold_edges == 0
    assert np.array_equal(neighbour_counts(graph), np.full(6, 4))
    assert np.all(graph.source < graph.destination)
    opposite = {(0, 1), (2, 4), (3, 5)}
    assert opposite.isdisjoint(zip(graph.source.tolist(), graph.destination.tolist(), strict=True))


def test_arcs_are_in_edge_order_and_name_their_edge():
    brep = box()
    graph = graph_of(brep)
    topology = brep.topology()
    assert np.array_equal(graph.edge, np.arange(12))
    for source, destination, edge in zip(graph.source, graph.destination, graph.edge, strict=True):
        assert set(topology.coedge_face[topology.coedge_edge == edge]) == {source, destination}


def test_an_open_box_counts_its_border_as_nonmanifold():
    graph = graph_of(box(faces=5))
    assert graph.nonmanifold_edges == 4
    assert graph.n_arcs == 8


def test_a_seam_is_neither_an_arc_nor_nonmanifold():
    # A closed cylinder: caps 0 and 2, mantle 1 with its seam as edge 1.
    graph = graph_of_coedges([(0, 0), (1, 0), (1, 1), (1, 1), (1, 2), (2, 2)], n_faces=3, n_edges=3)
    assert list(zip(graph.source.tolist(), graph.destination.tolist(), graph.edge.tolist(), strict=True)) == [
        (0, 1, 0),
        (1, 2, 2),
    ]
    assert graph.nonmanifold_edges == 0


@pytest.mark.parametrize(
    ("coedges", "arcs", "nonmanifold"),
    [
        ([(0, 0), (1, 0), (2, 0)], 0, 1),  # three faces at one edge
        ([(0, 0), (1, 0), (2, 0), (3, 0)], 0, 1),
        ([(0, 0)], 0, 1),  # a border
        ([], 0, 1),  # a wire
        ([(0, 0), (0, 0), (1, 0)], 1, 0),  # a seam that another face meets: two faces all the same
        ([(0, 0), (0, 0), (0, 0)], 0, 1),  # one face, three times
    ],
)
def test_edges_with_other_than_two_faces_give_no_arc_and_are_counted(coedges, arcs, nonmanifold):
    graph = graph_of_coedges(coedges, n_faces=4, n_edges=1)
    assert (graph.n_arcs, graph.nonmanifold_edges) == (arcs, nonmanifold)


def test_two_faces_that_share_two_edges_have_two_arcs_until_collapsed():
    graph = graph_of_coedges([(1, 1), (0, 1), (0, 0), (1, 0), (2, 2), (1, 2)], n_faces=3, n_edges=3)
    assert graph.edge.tolist() == [0, 1, 2]
    once = collapse_arcs(graph)
    assert once.edge.tolist() == [0, 2]
    assert neighbour_counts(graph).tolist() == [1, 2, 1]
    assert to_networkx(graph).number_of_edges() == 3
    assert to_networkx(graph, collapse=True).number_of_edges() == 2
    assert sorted(data["edge"] for *_, data in to_networkx(graph).edges(data=True)) == [0, 1, 2]


def test_networkx_gets_a_directed_graph_with_every_face_as_a_node():
    graph = FaceGraph(5, *(np.zeros(0, np.int32) for _ in range(3)))
    result = to_networkx(graph)
    assert isinstance(result, networkx.DiGraph)
    assert list(result.nodes) == [0, 1, 2, 3, 4]


def test_a_shape_without_anything_has_an_empty_graph():
    graph = graph_of_coedges([], n_faces=0, n_edges=0)
    assert (graph.n_arcs, graph.n_faces, graph.nonmanifold_edges) == (0, 0, 0)
    assert len(neighbour_counts(graph)) == 0


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), max_size=30))
def test_the_graph_agrees_with_counting_faces_edge_by_edge(coedges):
    graph = graph_of_coedges(coedges, n_faces=6, n_edges=8)
    arcs, nonmanifold = [], 0
    for edge in range(8):
        faces = [f for f, e in coedges if e == edge]
        if len(set(faces)) == 2:
            arcs.append((min(faces), max(faces), edge))
        elif not (len(set(faces)) == 1 and len(faces) == 2):
            nonmanifold += 1
    found = list(zip(graph.source.tolist(), graph.destination.tolist(), graph.edge.tolist(), strict=True))
    assert found == arcs
    assert graph.nonmanifold_edges == nonmanifold
    undirected = networkx.Graph(to_networkx(graph))
    assert neighbour_counts(graph).tolist() == [undirected.degree(n) for n in range(6)]


def test_arcs_both_ways_come_by_source_then_by_the_lowest_edge_of_their_pair():
    # Faces 0 and 2 share edges 1 and 4, 0 and 1 share edge 3, 1 and 2 edge 2.
    faces, edges = np.array([0, 2, 0, 2, 0, 1, 1, 2], np.int32), np.array([1, 1, 4, 4, 3, 3, 2, 2], np.int32)
    graph = face_graph(faces, edges, n_faces=3, n_edges=5)
    every = directed_arcs(graph, collapse=False)
    assert every.source.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
    assert every.edge.tolist() == [1, 4, 3, 2, 3, 1, 4, 2]
    last = directed_arcs(graph, collapse=True, kept="highest")
    assert last.source.tolist() == [0, 0, 1, 1, 2, 2]
    assert last.destination.tolist() == [2, 1, 2, 0, 0, 1]
    assert last.edge.tolist() == [4, 3, 2, 3, 4, 2]  # in the place of the pair's lowest edge
    assert directed_arcs(graph, collapse=True).edge.tolist() == [1, 3, 2, 3, 1, 2]
    assert collapse_arcs(graph, "highest").edge.tolist() == [3, 4, 2]
