"""Coedges chained to loops, and their mates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dflow.cadaccess import topology
from dflow.cadaccess.topology import coedge_mates
from tests.cadaccess import solids
from tests.cadencoder.polyhedra import box


def _chain(loop: list[int], start: list[int], end: list[int]) -> list[int]:
    return topology.chain_loops(np.array(loop), np.array(start), np.array(end)).tolist()


def test_stored_order_is_kept_where_it_connects() -> None:
    assert _chain([0, 0, 0, 1, 1], [0, 1, 2, 3, 4], [1, 2, 0, 4, 3]) == [1, 2, 0, 4, 3]


def test_a_loop_that_is_out_of_order_is_chained_by_its_vertices() -> None:
    assert _chain([0, 0, 0, 0], [0, 2, 1, 3], [1, 3, 2, 0]) == [2, 3, 1, 0]


def test_a_closed_edge_does_not_follow_itself_in_a_loop_of_several() -> None:
    assert _chain([0, 0, 0, 0], [4, 0, 4, 6], [4, 4, 6, 0]) == [2, 0, 3, 1]
    assert _chain([0], [4], [4]) == [0]


def test_unknown_vertices_still_give_a_permutation() -> None:
    assert sorted(_chain([0, 0, 0], [-1, 5, -1], [-1, 6, -1])) == [0, 1, 2]


@pytest.mark.parametrize("how", solids.PLACES)
def test_coedges_of_a_box(how: str, tmp_path: Path) -> None:
    brep = solids.open_brep(solids.place(solids.box(), how), tmp_path)
    found = topology.build_topology(brep.tables, brep.kernel_edge_rows)
    assert (found.n_faces, found.n_edges, len(found.coedge_face)) == (6, 12, 24)
    assert np.bincount(found.coedge_face).tolist() == [4] * 6
    assert np.bincount(found.coedge_edge).tolist() == [2] * 12
    backwards = np.bincount(found.coedge_edge, found.coedge_reversed)
    assert backwards.tolist() == [1] * 12  # once along the curve, once against it
    assert (found.coedge_loop[found.coedge_next] == found.coedge_loop).all()


def test_a_seam_has_two_coedges_of_one_face(tmp_path: Path) -> None:
    brep = solids.open_brep(solids.cylinder(), tmp_path)
    found = topology.build_topology(brep.tables, brep.kernel_edge_rows)
    pairs = [found.coedge_face[found.coedge_edge == edge] for edge in range(found.n_edges)]
    assert sorted(len(set(pair.tolist())) for pair in pairs) == [1, 2, 2]


def test_the_two_coedges_of_every_edge_of_a_box_are_mates() -> None:
    topology = box().topology()
    mates = coedge_mates(topology.coedge_edge, n_edges=12)
    assert mates.dtype == np.int32
    assert np.all(mates != np.arange(24))
    assert np.array_equal(topology.coedge_edge[mates], topology.coedge_edge)
    assert np.all(topology.coedge_face[mates] != topology.coedge_face)
    assert np.all(topology.coedge_reversed[mates] != topology.coedge_reversed)


def test_a_coedge_on_the_border_is_its_own_mate() -> None:
    topology = box(faces=5).topology()
    mates = coedge_mates(topology.coedge_edge, n_edges=12)
    assert np.count_nonzero(mates == np.arange(20)) == 4


def test_the_coedges_of_a_seam_are_mates_though_their_face_is_one() -> None:
    assert coedge_mates(np.array([0, 1, 2, 1], np.int32), n_edges=3).tolist() == [0, 3, 2, 1]


def test_coedges_of_an_edge_with_three_faces_are_their_own_mates() -> None:
    assert coedge_mates(np.array([0, 0, 0], np.int32), n_edges=1).tolist() == [0, 1, 2]


@given(st.lists(st.integers(0, 6), max_size=20))
def test_mates_are_an_involution_within_an_edge(edges: list[int]) -> None:
    edge = np.array(edges, np.int32)
    mates = coedge_mates(edge, n_edges=7)
    assert np.array_equal(mates[mates], np.arange(len(edge)))
    assert np.array_equal(edge[mates], edge)
    uses = np.bincount(edge, minlength=7)[edge]
    assert np.array_equal(mates != np.arange(len(edge)), uses == 2)
