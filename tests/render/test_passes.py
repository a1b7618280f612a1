"""Compiled loops over a mesh, against numpy and the faults that a mesh can have."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.render import passes

RNG = np.random.default_rng(7)


@pytest.mark.parametrize(
    ("indices", "fits"),
    [([[0, 1], [2, 3]], True), ([[0, 4]], False), ([[-1, 0]], False), (np.zeros((0, 2)), True)],
)
def test_indices_are_within_from_zero_to_the_count(indices, fits):
    assert passes.within(np.asarray(indices, np.int32).reshape(-1, 2), 4) is fits


def _inspect(vertices, triangles, faces, *, normals=None, edges=None):
    """The faults and the owners of a mesh, whose normals and edge points are finite unless given."""
    vertices = np.asarray(vertices, np.float32)
    normals = np.zeros_like(vertices) if normals is None else np.asarray(normals, np.float32)
    edges = np.zeros((1, 3), np.float32) if edges is None else np.asarray(edges, np.float32)
    owner = np.full(len(vertices), -1, np.int32)
    triangles, faces = np.asarray(triangles, np.int32), np.asarray(faces, np.int32)
    return passes.inspect(vertices, normals, triangles, faces, edges, owner), owner.tolist()


CORNERS = np.arange(15.0).reshape(5, 3)
BAD = np.where(np.arange(15).reshape(5, 3) == 13, np.inf, CORNERS)


def test_a_sound_mesh_has_no_fault_and_each_vertex_the_face_of_its_triangle():
    assert _inspect(CORNERS, [[0, 1, 2]], [3]) == (0, [3, 3, 3, 0, 0])


@pytest.mark.parametrize(
    ("mesh", "fault"),
    [
        ({"vertices": BAD, "triangles": [[0, 1, 2]], "faces": [0]}, passes.POINTS_NOT_FINITE),
        ({"vertices": CORNERS, "triangles": [[0, 1, 2]], "faces": [0], "normals": BAD}, passes.NORMALS_NOT_FINITE),
        ({"vertices": CORNERS, "triangles": [[0, 1, 2]], "faces": [0], "edges": BAD}, passes.EDGES_NOT_FINITE),
        ({"vertices": CORNERS, "triangles": [[0, 1, 2], [2, 3, 4]], "faces": [0, 1]}, passes.SHARED),
        ({"vertices": CORNERS, "triangles": [[0, 1, 5]], "faces": [0]}, passes.OUTSIDE),
        ({"vertices": CORNERS, "triangles": [[0, -1, 2]], "faces": [0]}, passes.OUTSIDE),
        ({"vertices": CORNERS, "triangles": [[0, 1, 2]], "faces": [-1]}, passes.NEGATIVE),
    ],
)
def test_each_fault_has_its_flag(mesh, fault):
    assert _inspect(**mesh)[0] == fault


def test_faults_add_up():
    found, owner = _inspect(BAD, [[0, 1, 2], [2, 3, 4]], [1, 2], normals=BAD, edges=BAD)
    assert found == passes.SHARED | passes.POINTS_NOT_FINITE | passes.NORMALS_NOT_FINITE | passes.EDGES_NOT_FINITE
    assert owner == [1, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("offsets", "n_points", "pairs"),
    [
        ([0, 3, 5], 5, [[0, 1], [1, 2], [3, 4]]),
        ([0, 1, 2], 2, []),
        ([0, 0, 2, 2], 2, [[0, 1]]),
        ([0], 0, []),
    ],
)
def test_neighbours_of_one_polyline_are_joined(offsets, n_points, pairs):
    segments = np.full((n_points, 2), -1, np.int32)
    n = passes.connect(np.array(offsets, np.int32), n_points, segments)
    assert segments[:n].tolist() == pairs


def test_a_box_is_widened_to_the_points_along_its_axes():
    axes, points = np.linalg.qr(RNG.random((3, 3)))[0], RNG.normal(size=(40, 3)).astype(np.float32)
    box = np.array([[np.inf] * 3, [-np.inf] * 3])
    passes.widen(axes, points[:25], box)
    passes.widen(axes, points[25:], box)
    along = points.astype(float) @ axes.T
    np.testing.assert_allclose(box, [along.min(axis=0), along.max(axis=0)], rtol=1e-12)


def test_a_box_around_nan_is_nan_and_one_around_nothing_stays():
    box = np.array([[0.0] * 3, [1.0] * 3])
    passes.widen(np.eye(3), np.zeros((0, 3), np.float32), box)
    assert box.tolist() == [[0.0] * 3, [1.0] * 3]
    passes.widen(np.eye(3), np.array([[0.5, np.nan, 0.5]], np.float32), box)
    assert np.isnan(box).all()


def test_a_quantised_point_is_within_half_a_step():
    points, low, scale = RNG.uniform(-3, 5, (50, 3)).astype(np.float32), np.array([-3.0, -3.0, -3.0]), 8 / 65535
    record, box = np.full((50, 4), 7, np.uint16), np.empty((2, 3), np.uint16)
    passes.quantise(points, low, scale, record, box)
    assert np.abs(low + record[:, :3] * scale - points).max() <= 0.5001 * scale
    assert (record[:, 3] == 7).all()
    np.testing.assert_array_equal(box, [record[:, :3].min(axis=0), record[:, :3].max(axis=0)])


def test_the_last_step_of_a_quantised_point_is_65535():
    record, box = np.empty((1, 3), np.uint16), np.empty((2, 3), np.uint16)
    passes.quantise(np.full((1, 3), 9.0, np.float32), np.zeros(3), 1e-6, record, box)
    assert record.tolist() == [[65535] * 3]


def test_normals_are_quantised_to_signed_bytes_and_clipped():
    record = np.zeros((3, 12), np.int8)
    normals = np.array([[1, -1, 0], [0.5, 2, -2], [0.003, 0.0, -0.5]], np.float32)
    passes.quantise_normals(normals, record)
    assert record[:, 8:11].tolist() == [[127, -127, 0], [64, 127, -127], [0, 0, -64]]
    assert not record[:, :8].any()
    assert not record[:, 11].any()


def _shade(*normals, lamp):
    out = np.empty(len(normals))
    passes.shade(np.array(normals, np.float32), np.eye(3), np.array(lamp, float), out)
    return out


def test_brightness_is_lambertian_and_independent_of_the_normals_length():
    lamp = (0, 0, 1, 0.5, 0.0, 0.2)  # a light at the viewer's eye of strength 0.5, ambient 0.2
    slope = np.sqrt(0.5)
    found = _shade((0, 0, 1), (0, 0, 40), (slope, 0, slope), (1, 0, 0), lamp=lamp)
    np.testing.assert_allclose(found, [0.7, 0.7, 0.2 + 0.5 * slope, 0.2], rtol=1e-6)


def test_a_normal_that_points_away_is_as_bright_as_its_opposite_and_light_from_behind_adds_none():
    lamp = (0.6, 0, 0.8, 0.5, 0.25, 0.1)
    normals = RNG.normal(size=(9, 3))
    np.testing.assert_allclose(_shade(*normals, lamp=lamp), _shade(*-normals, lamp=lamp), rtol=1e-6)
    assert _shade((-1, 0, 0), lamp=lamp) == pytest.approx(0.1)


def test_brightness_is_at_most_one_and_a_null_normal_is_ambient():
    np.testing.assert_allclose(_shade((0, 0, 1), (0, 0, 0), lamp=(0, 0, 1, 5.0, 5.0, 0.3)), [1.0, 0.3])
