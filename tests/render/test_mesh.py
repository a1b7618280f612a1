"""Meshes are settled before they are drawn: dtypes, finite coordinates, segments."""

from __future__ import annotations

import numpy as np

from dflow.render.mesh import clean_arrays, segments_of
from tests.render import shapes


def test_segments_do_not_join_two_polylines():
    assert segments_of(np.array([0, 3, 5]), 5).tolist() == [[0, 1], [1, 2], [3, 4]]


def test_segments_of_empty_polylines_and_of_nothing():
    assert segments_of(np.array([0, 0, 2, 2]), 2).tolist() == [[0, 1]]
    assert segments_of(np.array([0]), 0).shape == (0, 2)


def test_triangles_and_segments_with_coordinates_that_are_not_finite_are_dropped():
    mesh = shapes.box()
    mesh.vertices[0] = np.nan
    mesh.edge_points[0] = np.inf
    clean = clean_arrays(mesh)
    assert len(clean.triangles) == 10
    assert len(clean.edge_segments) == 23
    assert np.isfinite(clean.vertices).all()
    assert np.isfinite(clean.edge_points).all()
    assert clean.vertices.min() >= 0  # the stand-in lies within the part
    assert clean.vertices.max() <= 1


def test_a_mesh_of_nothing_is_empty_and_a_wire_is_not():
    assert clean_arrays(shapes.nothing()).is_empty
    assert not clean_arrays(shapes.wire()).is_empty
