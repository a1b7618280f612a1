"""Mates of coedges."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dflow.cadencoder.features import coedge_mates
from tests.cadencoder.polyhedra import box


def test_the_two_coedges_of_every_edge_of_a_box_are_mates():
    topology = box().topology()
    mates = coedge_mates(topology.coedge_edge, n_edges=12)
    assert mates.dtype == np.int32
    assert np.all(mates != np.arange(24))
    assert np.array_equal(topology.coedge_edge[mates], topology.coedge_edge)
    assert np.all(topology.coedge_face[mates] != topology.coedge_face)
    assert np.all(topology.coedge_reversed[mates] != topology.coedge_reversed)


def test_a_coedge_on_the_border_is_its_own_mate():
    topology = box(faces=5).topology()
    mates = coedge_mates(topology.coedge_edge, n_edges=12)
    assert np.count_nonzero(mates == np.arange(20)) == 4


def test_the_coedges_of_a_seam_are_mates_though_their_face_is_one():
    assert coedge_mates(np.array([0, 1, 2, 1], np.int32), n_edges=3).tolist() == [0, 3, 2, 1]


def test_coedges_of_an_edge_with_three_faces_are_their_own_mates():
    assert coedge_mates(np.array([0, 0, 0], np.int32), n_edges=1).tolist() == [0, 1, 2]


@given(st.lists(st.integers(0, 6), max_size=20))
def test_mates_are_an_involution_within_an_edge(edges):
    edge = np.array(edges, np.int32)
    mates = coedge_mates(edge, n_edges=7)
    assert np.array_equal(mates[mates], np.arange(len(edge)))
    assert np.array_equal(edge[mates], edge)
    uses = np.bincount(edge, minlength=7)[edge]
    assert np.array_equal(mates != np.arange(len(edge)), uses == 2)
