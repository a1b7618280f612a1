"""Hops and shortest paths, against networkx and a search of all shortest paths."""

from __future__ import annotations

from itertools import pairwise

import networkx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dflow.cadencoder.graph import FaceGraph
from dflow.cadencoder.paths import extended_adjacency, hop_counts, shortest_edge_paths
from tests.cadencoder.polyhedra import box
from tests.cadencoder.test_graph import graph_of


def graph_from(n_faces: int, pairs: list[tuple[int, int]]) -> FaceGraph:
    ends = np.array([sorted(p) for p in pairs], np.int32).reshape(-1, 2)
    return FaceGraph(n_faces, ends[:, 0], ends[:, 1], np.arange(len(pairs), dtype=np.int32) + 10)


def chain(n_faces: int) -> FaceGraph:
    return graph_from(n_faces, [(k, k + 1) for k in range(n_faces - 1)])


@st.composite
def graphs(draw: st.DrawFn) -> FaceGraph:
    n_faces = draw(st.integers(1, 9))
    face = st.integers(0, n_faces - 1)
    pairs = draw(st.lists(st.tuples(face, face).filter(lambda p: p[0] != p[1]), max_size=20 if n_faces > 1 else 0))
    return graph_from(n_faces, pairs)


def as_networkx(graph: FaceGraph) -> networkx.MultiGraph:
    result = networkx.MultiGraph()
    result.add_nodes_from(range(graph.n_faces))
    for source, destination, edge in zip(graph.source.tolist(), graph.destination.tolist(), graph.edge, strict=True):
        result.add_edge(source, destination, edge=int(edge))
    return result


def test_faces_of_a_box_are_one_hop_apart_or_two():
    hops = hop_counts(graph_of(box()))
    assert np.array_equal(np.sort(hops, axis=1), np.tile([0, 1, 1, 1, 1, 2], (6, 1)))
    assert (hops[0, 1], hops[2, 4], hops[3, 5]) == (2, 2, 2)


def test_a_chain_longer_than_a_machine_word_has_all_distances():
    n_faces = 150
    index = np.arange(n_faces)
    assert np.array_equal(hop_counts(chain(n_faces)), np.abs(index[:, None] - index))


def test_faces_without_a_path_are_infinitely_far():
    graph = graph_from(4, [(0, 1), (2, 3)])
    hops = hop_counts(graph)
    assert (hops[0, 1], hops[0, 2]) == (1, -1)
    distances = extended_adjacency(hops)
    assert distances.dtype == np.float64
    assert np.isinf(distances[:2, 2:]).all()
    assert np.isfinite(distances[:2, :2]).all()
    assert np.all(shortest_edge_paths(graph, hops)[:2, 2:] == -1)


def test_no_face_and_one_face_have_no_paths():
    for n_faces in (0, 1):
        graph = graph_from(n_faces, [])
        hops = hop_counts(graph)
        assert hops.shape == (n_faces, n_faces)
        assert np.all(hops == 0)
        assert shortest_edge_paths(graph, hops, max_length=3).shape == (n_faces, n_faces, 3)


def test_a_path_takes_the_lowest_face_and_the_lowest_edge():
    # 0 to 3 through 1 or 2; faces 0 and 1 share edges 14 and 15 as well.
    graph = graph_from(4, [(0, 2), (2, 3), (0, 1), (1, 3), (0, 1), (0, 1)])
    paths = shortest_edge_paths(graph, hop_counts(graph), max_length=3)
    assert paths[0, 3].tolist() == [12, 13, -1]
    assert paths[3, 0].tolist() == [13, 12, -1]
    assert paths[0, 0].tolist() == [-1, -1, -1]


def test_a_path_longer_than_a_row_keeps_its_first_edges():
    graph = chain(6)
    paths = shortest_edge_paths(graph, hop_counts(graph), max_length=3)
    assert paths[0, 5].tolist() == [10, 11, 12]
    assert paths[5, 0].tolist() == [14, 13, 12]
    assert paths[1, 3].tolist() == [11, 12, -1]


def test_blocks_of_rows_do_not_change_the_paths(monkeypatch):
    generator = np.random.default_rng(0)
    pairs = [tuple(generator.choice(30, 2, replace=False).tolist()) for _ in range(60)]
    graph = graph_from(30, pairs)
    hops = hop_counts(graph)
    whole = shortest_edge_paths(graph, hops)
    monkeypatch.setattr("dflow.cadencoder.paths._BLOCK_CELLS", 1)
    assert np.array_equal(shortest_edge_paths(graph, hops), whole)


@given(graphs())
def test_hops_agree_with_networkx(graph):
    expected = np.full((graph.n_faces, graph.n_faces), -1)
    for source, lengths in networkx.all_pairs_shortest_path_length(as_networkx(graph)):
        for destination, length in lengths.items():
            expected[source, destination] = length
    assert np.array_equal(hop_counts(graph), expected)


@given(graphs(), st.integers(1, 5))
def test_paths_are_the_lexicographically_first_of_all_shortest_ones(graph, max_length):
    network = as_networkx(graph)
    paths = shortest_edge_paths(graph, hop_counts(graph), max_length=max_length)
    for source in range(graph.n_faces):
        for destination in range(graph.n_faces):
            edges: list[int] = []
            if source != destination and networkx.has_path(network, source, destination):
                faces = min(networkx.all_shortest_paths(network, source, destination))
                steps = pairwise(faces)
                edges = [min(d["edge"] for d in network.get_edge_data(a, b).values()) for a, b in steps]
            expected = (edges + [-1] * max_length)[:max_length]
            assert paths[source, destination].tolist() == expected
