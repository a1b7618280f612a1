"""Rasterisation of triangles and lines, against the pixel centres that lie inside."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.render.raster import EDGE, draw_lines, fill_triangles, place


def test_points_are_placed_by_turning_and_then_shifting():
    rng = np.random.default_rng(2)
    points, turn, shift = rng.random((7, 3), np.float32), rng.random((3, 3)), np.array([10.0, -20.0, 5.0])
    out = np.empty((7, 3))
    place(points, turn, shift, out)
    np.testing.assert_allclose(out, points @ turn.T + shift, rtol=1e-6)


def _paint(corners, depth, size, light=100.0):
    """Codes and owners (height, width) of a picture of triangles (T, 3, 2) with depths (T, 3)."""
    width, height = size
    n = len(corners)
    placed = np.concatenate([corners.reshape(-1, 2), depth.reshape(-1, 1)], axis=1)
    near, codes = np.full(width * height, -np.inf, np.float32), np.zeros(width * height, np.uint8)
    owner = np.full(width * height, -1, np.int32)
    triangles = np.arange(3 * n, dtype=np.int32).reshape(n, 3)
    shade = np.broadcast_to(np.asarray(light, float), (n, 3)).reshape(-1).copy()
    fill_triangles(near, codes, owner, size, placed, shade, triangles)
    return codes.reshape(height, width), owner.reshape(height, width)


def _inside(corners, size):
    """(T, height, width) whether the centres of pixels lie in triangles, and not within 1e-9 of a side."""
    row, column = np.mgrid[: size[1], : size[0]] + 0.5
    (ax, ay), (bx, by), (cx, cy) = (corners[:, i].T[:, :, None, None] for i in range(3))
    signs = np.stack(
        [
            (bx - ax) * (row - ay) - (by - ay) * (column - ax),
            (cx - bx) * (row - by) - (cy - by) * (column - bx),
            (ax - cx) * (row - cy) - (ay - cy) * (column - cx),
        ]
    )
    return (signs > 1e-9).all(axis=0) | (signs < -1e-9).all(axis=0)


def test_a_triangle_covers_exactly_the_pixel_centres_inside():
    corners = np.random.default_rng(11).uniform(-5, 25, (60, 3, 2))
    expected = _inside(corners, (21, 19))
    for triangle in range(60):
        codes, owner = _paint(corners[triangle : triangle + 1], np.zeros((1, 3)), (21, 19))
        np.testing.assert_array_equal(codes > 0, expected[triangle])
        np.testing.assert_array_equal(owner == 0, expected[triangle])


def test_triangles_that_share_sides_leave_no_gap():
    """A fan around a point: every pixel centre of the square belongs to one of them, whatever the point."""
    rng = np.random.default_rng(3)
    rim = np.array([[0, 0], [13, 0], [40, 0], [40, 29], [40, 40], [7, 40], [0, 40]], float)
    for hub in rng.uniform(1, 39, (40, 2)):
        fan = np.stack([rim, np.roll(rim, -1, axis=0), np.broadcast_to(hub, rim.shape)], axis=1)
        codes, _ = _paint(fan, np.zeros((len(fan), 3)), (40, 40))
        assert codes.all()


def test_the_nearest_triangle_is_seen_in_every_pixel_also_where_triangles_pass_through_each_other():
    rng = np.random.default_rng(5)
    n, size = 80, (60, 40)
    corners, depth = rng.uniform(-10, 70, (n, 3, 2)), rng.uniform(-40, 40, (n, 3))
    _, owner = _paint(corners, depth, size)
    plane = np.linalg.solve(np.concatenate([corners, np.ones((n, 3, 1))], axis=2), depth[..., None])[..., 0]
    row, column = np.mgrid[: size[1], : size[0]] + 0.5
    near = plane[:, 0, None, None] * column + plane[:, 1, None, None] * row + plane[:, 2, None, None]
    near[~_inside(corners, size)] = -np.inf
    best = near.argmax(axis=0)
    expected = np.where(np.isfinite(near.max(axis=0)), best, -1)
    second = np.sort(near, axis=0)[-2]
    clear = ~np.isfinite(second) | (near.max(axis=0) - np.where(np.isfinite(second), second, 0.0) > 1e-3)
    assert clear.mean() > 0.99
    assert len(np.unique(expected)) > 20
    np.testing.assert_array_equal(owner[clear], expected[clear])


def test_light_runs_evenly_over_a_triangle():
    corners = np.array([[[0, 0], [0, 200], [200, 0]]], float)
    codes, _ = _paint(corners, np.zeros((1, 3)), (100, 100), light=[[10.0, 210.0, 110.0]])
    row, column = np.mgrid[:100, :100] + 0.5
    np.testing.assert_allclose(codes, 10.0 + row + 0.5 * column, atol=0.51)


def test_light_stays_within_the_codes_of_faces():
    corners = np.array([[[0, 0], [0, 200], [200, 0]]], float)
    codes, _ = _paint(corners, np.zeros((1, 3)), (100, 100), light=[[-300.0, 900.0, -300.0]])
    assert codes.min() == 1
    assert codes.max() == 254


def test_what_lies_outside_the_picture_is_left_out():
    """Corners far away, so that columns and rows are beyond any integer."""
    far = 1e30
    codes, owner = _paint(np.array([[[-far, -far], [far, -far], [0, far]]]), np.zeros((1, 3)), (30, 20))
    assert (owner == 0).all()
    assert (codes == 100).all()
    codes, _ = _paint(
        np.array([[[-9.0, -9], [-1, -9], [-5, -1]], [[50, 50], [60, 50], [55, 60.0]]]), np.zeros((2, 3)), (30, 20)
    )
    assert not codes.any()


@pytest.mark.parametrize("breadth", [1, 2])
def test_lines_are_drawn_from_end_to_end_where_nothing_lies_before_them(breadth):
    near, codes = np.full(40 * 30, -np.inf, np.float32), np.zeros(40 * 30, np.uint8)
    near.reshape(30, 40)[:, 20:] = 100.0
    ends = np.array(
        [[-50.5, 10.5, 0], [90.5, 10.5, 0], [5.5, -3.5, 0], [5.5, 50.5, 0], [25.5, 20.5, 99], [35.5, 25.5, 99]]
    )
    draw_lines(near, codes, (40, 30), ends, np.array([[0, 1], [2, 3], [4, 5]], np.int32), breadth)
    expected = np.zeros((30, 40), np.uint8)
    expected[10 : 10 + breadth, :20] = expected[:, 5 : 5 + breadth] = 255
    for step in range(11):  # within 1.5 pixels behind the face
        row = int(20.5 + 0.5 * step)
        expected[row : row + breadth, 25 + step : 25 + step + breadth] = 255
    np.testing.assert_array_equal(codes.reshape(30, 40), expected)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_of_two_triangles_that_are_equally_near_the_earlier_one_is_seen(order):
    corners = np.array([[[0, 0], [0, 40], [40, 0]], [[0, 0], [0, 40], [40, 40]]], float)[order]
    _, owner = _paint(corners, np.zeros((2, 3)), (30, 20))
    inside = _inside(corners, (30, 20))
    np.testing.assert_array_equal(owner[inside.all(axis=0)], 0)
    assert inside.all(axis=0).any()


def test_an_edge_is_hidden_by_a_face_that_is_more_than_its_thickness_nearer():
    near = np.array([9.0, 10.0, 11.0, 12.0], np.float32)  # a row of pixels; the line has depth 10 and reaches 1.5 ahead
    codes = np.zeros(4, np.uint8)
    ends = np.array([[0.5, 0.5, 10.0], [3.5, 0.5, 10.0]])
    draw_lines(near, codes, (4, 1), ends, np.array([[0, 1]], np.int32), 1)
    assert codes.tolist() == [EDGE, EDGE, EDGE, 0]


def test_a_segment_of_no_length_is_a_dot():
    near, codes = np.full(25, -np.inf, np.float32), np.zeros(25, np.uint8)
    draw_lines(near, codes, (5, 5), np.array([[2.5, 3.5, 0.0]]), np.array([[0, 0]], np.int32), 1)
    assert np.flatnonzero(codes).tolist() == [3 * 5 + 2]
