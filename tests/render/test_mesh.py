"""Meshes are settled before they are drawn: dtypes, finite coordinates, segments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

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


def _changed(**more):
    mesh = shapes.box()
    for name, value in more.items():
        setattr(mesh, name, value)
    return mesh


@pytest.mark.parametrize("vertex", [24, -1, 2**30])
def test_a_triangle_of_a_vertex_that_there_is_not_is_refused(vertex):
    triangles = shapes.box().triangles.copy()
    triangles[5, 1] = vertex
    with pytest.raises(IndexError, match=f"triangles of points .*{vertex}.* where there are 24"):
        clean_arrays(_changed(triangles=triangles))


def test_settled_arrays_are_checked_too():
    clean = clean_arrays(shapes.box())
    with pytest.raises(IndexError, match="edge segments of points 0 to 30, where there are 30"):
        replace(clean, edge_segments=np.array([[0, 30]], np.int32))
    with pytest.raises(IndexError, match="triangles of points 0 to 24"):
        replace(clean, triangles=np.array([[0, 1, 24]], np.int32))
    with pytest.raises(ValueError, match="24 vertices, 23 normals and 24 faces"):
        replace(clean, normals=clean.normals[1:])


def test_a_face_of_a_negative_index_is_refused():
    faces = shapes.box().triangle_faces.copy()
    faces[3] = -1
    with pytest.raises(IndexError, match="a triangle of face -1"):
        clean_arrays(_changed(triangle_faces=faces))


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="23 normals for 24 vertices"):
        clean_arrays(_changed(normals=shapes.box().normals[1:]))
    with pytest.raises(ValueError, match=r"faces \(11,\) for 12 triangles"):
        clean_arrays(_changed(triangle_faces=shapes.box().triangle_faces[1:]))


def test_normals_that_are_not_finite_become_zero():
    normals = shapes.box().normals.copy()
    normals[7] = np.nan
    clean = clean_arrays(_changed(normals=normals))
    assert np.isfinite(clean.normals).all()
    np.testing.assert_array_equal(np.delete(clean.normals, 7, axis=0), np.delete(normals, 7, axis=0))


def test_vertices_that_two_faces_share_are_split():
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1]], np.float32)
    shared = shapes.PolylineMesh(
        points, np.tile([0, 0, 1.0], (4, 1)), [[0, 1, 2], [1, 3, 2]], [4, 7], np.zeros((0, 3)), [0]
    )
    clean = clean_arrays(shared)
    assert len(clean.vertices) == 6
    assert clean.triangle_faces.tolist() == [4, 7]
    np.testing.assert_array_equal(clean.vertices[clean.triangles], points[shared.triangles])
    assert clean.vertex_faces[clean.triangles].tolist() == [[4] * 3, [7] * 3]


def test_a_vertex_of_no_triangle_belongs_to_face_zero():
    clean = clean_arrays(_changed(triangles=shapes.box().triangles[2:], triangle_faces=shapes.box().triangle_faces[2:]))
    assert clean.vertex_faces.tolist() == [0] * 4 + np.repeat(np.arange(1, 6), 4).tolist()
