"""The software renderer against closed-form pictures."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.render import view as camera
from dflow.render.mesh import clean_arrays
from dflow.render.raster import draw_lines, fill_triangles
from dflow.render.software import draw, draw_software
from dflow.render.view import fit_view
from tests.render import shapes

SIZE = (128, 128)


def _draw(mesh, **more):
    arrays = clean_arrays(mesh)
    return draw_software(arrays, fit_view(arrays, SIZE[0] / SIZE[1]), SIZE, **more)


def _covered(picture) -> float:
    return float((picture.min(axis=2) < 255).mean())


def test_a_sphere_covers_its_disc():
    side = 1 - 2 * camera.MARGIN
    assert _covered(_draw(shapes.sphere())) == pytest.approx(np.pi / 4 * side**2, rel=0.02)


def test_a_cube_is_a_hexagon_of_three_brightnesses():
    picture = _draw(shapes.box((10, 10, 10)))
    # The regular hexagon of an isometric cube: height 2, width √3, area 3√3/2 in units of its side.
    side = 1 - 2 * camera.MARGIN
    assert _covered(picture) == pytest.approx(3 * np.sqrt(3) / 8 * side**2, rel=0.03)
    top, left, right = picture[40, 64], picture[80, 40], picture[80, 88]
    assert top.mean() > left.mean() > right.mean()


def test_the_nearer_of_two_boxes_is_seen_whatever_their_order():
    near, far = shapes.box((1, 1, 1), (0, 0, 0)), shapes.box((1, 1, 1), (-3, 3, -3))
    red_first = np.array([[255, 0, 0]] * 6 + [[0, 255, 0]] * 6, np.uint8)
    for first, second, colors in ((near, far, red_first), (far, near, red_first[::-1])):
        both = shapes.PolylineMesh(
            np.concatenate([first.vertices, second.vertices]),
            np.concatenate([first.normals, second.normals]),
            np.concatenate([first.triangles, second.triangles + 24]),
            np.concatenate([first.triangle_faces, second.triangle_faces + 6]),
            np.zeros((0, 3)),
            [0],
        )
        picture = _draw(both, face_colors=colors)
        assert picture[64, 64, 0] > 100
        assert (picture[..., 1] <= picture[..., 0]).all()  # no green anywhere: exactly behind


def test_edges_on_the_far_side_are_hidden():
    box = shapes.box((10, 10, 10))
    back = box.edge_points.reshape(6, 5, 3)[0]  # the outline of -x, two sides of which lie behind
    hidden = shapes.PolylineMesh(
        box.vertices, box.normals, box.triangles, box.triangle_faces, [[0, 10, 0], [0, 10, 10]], [0, 2]
    )
    plain = shapes.PolylineMesh(box.vertices, box.normals, box.triangles, box.triangle_faces, np.zeros((0, 3)), [0])
    changed = (_draw(hidden) != _draw(plain)).any(axis=2).mean()
    assert changed < 0.003  # only where it touches the silhouette
    shown = shapes.PolylineMesh(box.vertices, box.normals, box.triangles, box.triangle_faces, back, [0, 5])
    # One upright side and one at 30°, each a pixel wide.
    side = SIZE[1] * (1 - 2 * camera.MARGIN) / 2
    assert (_draw(shown) != _draw(plain)).any(axis=2).sum() == pytest.approx((1 + np.sqrt(0.75)) * side, rel=0.05)


def _paint(corners, depth, size, light=100.0):
    """What triangles (T, 3, 2) with depths (T, 3) look like: codes and owners (height, width)."""
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


def test_an_open_skin_is_seen_from_behind():
    """Without its near sides the far ones of a box are what is seen, as bright as if they faced the viewer."""
    box = clean_arrays(shapes.box((10, 10, 10)))
    view = fit_view(box, 1.0)
    whole = draw(box, view, SIZE, with_triangles=True)
    near = np.unique(whole.triangles[whole.triangles >= 0])
    assert len(near) == 6
    far = np.setdiff1d(np.arange(12), near)
    mesh = shapes.box((10, 10, 10))
    back = shapes.PolylineMesh(
        mesh.vertices, mesh.normals, mesh.triangles[far], mesh.triangle_faces[far], np.zeros((0, 3)), [0]
    )
    seen = draw(clean_arrays(back), view, SIZE, with_triangles=True)
    assert len(np.unique(seen.triangles)) == 7
    assert (seen.triangles >= 0).mean() == pytest.approx((whole.triangles >= 0).mean(), rel=1e-3)
    assert seen.codes[seen.triangles >= 0].min() > 80


def test_triangles_are_told_only_where_they_are_asked_for():
    box = clean_arrays(shapes.box())
    plain, told = (draw(box, fit_view(box, 1.0), SIZE, with_triangles=wish) for wish in (False, True))
    np.testing.assert_array_equal(plain.codes, told.codes)
    assert plain.triangles.shape == (0, 0)
    assert told.triangles.shape == SIZE


def test_triangles_of_no_area_draw_nothing():
    flat = shapes.PolylineMesh(
        [[0, 0, 0], [1, 0, 0], [2, 0, 0]], np.tile([0, 0, 1.0], (3, 1)), [[0, 1, 2]], [0], np.zeros((0, 3)), [0]
    )
    assert _covered(_draw(flat)) == 0.0
