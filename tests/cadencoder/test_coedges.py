"""Coedges in order, the coedge of an arc, frames and scale factors."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.cadencoder.coedges import along_coedges, arc_coedges, arrange, frames, scale_factors
from dflow.cadencoder.graph import directed_arcs, face_graph
from tests.cadencoder.polyhedra import Coedges, box


def test_walking_begins_at_each_loops_first_coedge_and_follows_next() -> None:
    stored = Coedges(
        coedge_face=np.array([0, 0, 0, 1, 1], np.int32),
        coedge_edge=np.array([5, 6, 7, 6, 5], np.int32),
        coedge_reversed=np.array([0, 1, 0, 0, 1], np.int8),
        coedge_next=np.array([2, 0, 1, 4, 3], np.int32),
    )
    walked = arrange(stored, n_edges=8, walked=True)
    assert walked.order.tolist() == [0, 2, 1, 3, 4]
    assert walked.edge.tolist() == [5, 7, 6, 6, 5]
    assert walked.following.tolist() == [1, 2, 0, 4, 3]
    assert walked.mate.tolist() == [4, 1, 3, 2, 0]
    assert walked.backwards.tolist() == [0, 0, 1, 0, 1]
    assert arrange(stored, n_edges=8, walked=False).following.tolist() == stored.coedge_next.tolist()


def test_an_arcs_coedge_is_the_one_of_its_edge_in_its_source_face() -> None:
    topology = box().topology()
    coedges = arrange(topology, n_edges=12, walked=True)
    arcs = directed_arcs(
        face_graph(topology.coedge_face, topology.coedge_edge, n_faces=6, n_edges=12), collapse=True, kept="highest"
    )
    rows = arc_coedges(arcs, coedges)
    assert np.array_equal(coedges.face[rows], arcs.source)
    assert np.array_equal(coedges.edge[rows], arcs.edge)
    grids = along_coedges(box().edge_samples(4), coedges, rows)
    assert np.array_equal(grids, box().coedge_samples(4)[coedges.order][rows][..., :6])


def test_a_frame_has_the_tangent_as_v_and_the_normal_as_w() -> None:
    samples = np.zeros((3, 3, 12))
    samples[:, 1, :3] = [7, 8, 9]
    samples[0, 1, 3:9] = [0, 3, 4, 0, 0, 1]  # a tangent that is not quite normal to the normal
    samples[1, 1, 3:9] = [0, 0, 1, 0, 0, 1]  # along it
    samples[2, 1, 3:9] = np.nan
    first, second, third = frames(samples)
    assert np.allclose(first, [[1, 0, 0, 7], [0, 1, 0, 8], [0, 0, 1, 9], [0, 0, 0, 1]])
    assert np.isnan(second).all()
    assert np.isnan(third).all()


def test_scale_factors_are_those_of_the_published_reading_of_the_coordinates() -> None:
    brep = box(1.0, 2.0, 7.0)
    coedges = arrange(brep.topology(), n_edges=12, walked=False)
    grids = brep.face_samples(3, 3)
    found = scale_factors(grids, coedges)
    for row, (face, mate) in enumerate(zip(coedges.face, coedges.mate, strict=True)):
        both = np.stack([np.moveaxis(grids[side, ..., :3], -1, 0) for side in (face, coedges.face[mate])])
        assert found[row] == pytest.approx(2 / np.ptp(both.reshape(3, -1), axis=1).max())
