"""The software renderer against closed-form pictures."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.render import spans
from dflow.render import view as look
from dflow.render.mesh import clean_arrays
from dflow.render.software import draw, draw_software
from dflow.render.spans import Planes, Spans, boundary, cover, visible_runs
from dflow.render.view import fit_view
from tests.render import shapes

SIZE = (128, 128)


def _draw(mesh, **more):
    arrays = clean_arrays(mesh)
    return draw_software(arrays, fit_view(arrays, SIZE[0] / SIZE[1]), SIZE, **more)


def _covered(picture) -> float:
    return float((picture.min(axis=2) < 255).mean())


def test_a_sphere_covers_its_disc():
    side = 1 - 2 * look.MARGIN
    assert _covered(_draw(shapes.sphere())) == pytest.approx(np.pi / 4 * side**2, rel=0.02)


def test_a_cube_is_a_hexagon_of_three_brightnesses():
    picture = _draw(shapes.box((10, 10, 10)))
    # The regular hexagon of an isometric cube: height 2, width √3, area 3√3/2 in units of its side.
    side = 1 - 2 * look.MARGIN
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
    side = SIZE[1] * (1 - 2 * look.MARGIN) / 2
    assert (_draw(shown) != _draw(plain)).any(axis=2).sum() == pytest.approx((1 + np.sqrt(0.75)) * side, rel=0.05)


def _spans_of(corners, size):
    """Of triangles (T, 3, 2), each a shape of its own, whichever way round it is given."""
    points, n = corners.reshape(-1, 2), len(corners)
    (ax, ay), (bx, by), (cx, cy) = (corners[:, i].T for i in range(3))
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    corner = np.arange(3 * n).reshape(n, 3).T
    sides = boundary(np.where(area < 0, corner, corner[::-1]), np.arange(n), len(points))
    return cover(points[:, 0], points[:, 1], sides, size)


def test_a_triangle_covers_exactly_the_pixel_centres_inside():
    corners = np.random.default_rng(11).uniform(-5, 25, (60, 3, 2))
    covered = np.zeros((60, 20 * 20), bool)
    found = _spans_of(corners, (20, 20))
    for shape, start, stop in zip(found.shape, found.start, found.stop, strict=True):
        assert start // 20 == (stop - 1) // 20 or start == stop  # within a row
        assert not covered[shape, start:stop].any()
        covered[shape, start:stop] = True
    row, column = np.divmod(np.arange(400), 20)
    for triangle in range(60):
        (ax, ay), (bx, by), (cx, cy) = corners[triangle]
        x, y = column + 0.5, row + 0.5
        signs = np.stack(
            [
                (bx - ax) * (y - ay) - (by - ay) * (x - ax),
                (cx - bx) * (y - by) - (cy - by) * (x - bx),
                (ax - cx) * (y - cy) - (ay - cy) * (x - cx),
            ]
        )
        inside = (signs > 1e-9).all(axis=0) | (signs < -1e-9).all(axis=0)
        np.testing.assert_array_equal(covered[triangle], inside)


def test_a_flat_face_with_a_hole_is_one_shape():
    """A square ring of eight triangles: inner sides cancel, each row has one run or two."""
    outer, inner = [[1, 1], [1, 15], [15, 15], [15, 1]], [[5, 5], [5, 11], [11, 11], [11, 5]]
    points = np.array(outer + inner, float)
    corner = np.array(
        [[i, (i + 1) % 4, 4 + i] for i in range(4)] + [[(i + 1) % 4, 4 + (i + 1) % 4, 4 + i] for i in range(4)]
    ).T
    sides = boundary(corner, np.zeros(8, np.int64), 8)
    assert len(sides.begin) == 8
    found = cover(points[:, 0], points[:, 1], sides, (16, 16))
    assert len(found.start) == 14 + 6
    picture = np.zeros(256, int)
    for start, stop in zip(found.start, found.stop, strict=True):
        picture[start:stop] += 1
    expected = np.zeros((16, 16), int)
    expected[1:15, 1:15] = 1
    expected[5:11, 5:11] = 0
    np.testing.assert_array_equal(picture.reshape(16, 16), expected)


@pytest.mark.parametrize("at_once", [spans.PIECES_AT_ONCE, 97])
def test_the_nearest_triangle_is_seen_in_every_pixel_also_where_triangles_pass_through_each_other(monkeypatch, at_once):
    monkeypatch.setattr(spans, "PIECES_AT_ONCE", at_once)
    rng = np.random.default_rng(5)
    n, width, height = 80, 60, 40
    corners = rng.uniform(-10, 70, (n, 3, 2))
    depth = Planes(rng.normal(0, 40.0, n), rng.normal(0, 40.0, n), rng.uniform(20_000, 30_000, n))
    found = _spans_of(corners, (width, height))
    seen = visible_runs(found, depth, (width, height), (20, 8)).layers()
    best, expected = np.zeros(width * height, np.int64), np.zeros(width * height, np.int64)
    for shape, start, stop in zip(found.shape, found.start, found.stop, strict=True):
        pixel = np.arange(start, stop)
        near = depth.x[shape] * (pixel % width) + depth.y[shape] * (pixel // width) + depth.at[shape]
        nearer = near.astype(np.int64) * 256 + shape > best[pixel]
        best[pixel[nearer]] = (near.astype(np.int64) * 256 + shape)[nearer]
        expected[pixel[nearer]] = shape + 1
    assert len(np.unique(expected)) > 20
    np.testing.assert_array_equal(seen, expected)


def test_pieces_decided_in_batches_do_not_change_the_picture(monkeypatch):
    whole = _draw(shapes.sphere())
    monkeypatch.setattr(spans, "PIECES_AT_ONCE", 501)
    np.testing.assert_array_equal(_draw(shapes.sphere()), whole)


def test_a_picture_of_nothing_is_one_run():
    none = np.zeros(0, np.int64)
    runs = visible_runs(Spans(none, none, none), Planes(*np.zeros((3, 0))), (7, 5), (20, 1))
    assert runs.begin.tolist() == [0, 35]
    assert runs.layer.tolist() == [0]


def test_depth_runs_evenly_over_a_tilted_triangle():
    """The picture's planes are exact where a part's triangles are: columns and rows count from the first centre."""
    x, y = np.array([[0.0], [100.0], [0.0]]), np.array([[0.0], [0.0], [100.0]])
    depth = 2.0**40 - 3000.0 * x + 500.0 * y
    tilted = spans.planes(spans.Corners(x, y, depth), np.array([1e4]), depth)
    np.testing.assert_allclose(tilted.x, -3000.0)
    np.testing.assert_allclose(tilted.y, 500.0)
    np.testing.assert_allclose(tilted.at, 2.0**40 - 1500.0 + 250.0)


def test_an_open_skin_is_seen_from_behind():
    """A closed box hides its far side and leaves it out; without its near sides the far ones are what is seen."""
    box = shapes.box((10, 10, 10))
    view = fit_view(clean_arrays(box), 1.0)
    whole = draw(clean_arrays(box), view, SIZE)
    assert len(whole.chosen) == 6
    hidden = np.setdiff1d(np.arange(12), whole.chosen)
    far = shapes.PolylineMesh(
        box.vertices, box.normals, box.triangles[hidden], box.triangle_faces[hidden], np.zeros((0, 3)), [0]
    )
    seen = draw(clean_arrays(far), view, SIZE)
    assert len(seen.chosen) == 6
    assert (seen.layers > 0).mean() == pytest.approx((whole.layers > 0).mean(), rel=1e-3)


def test_triangles_of_no_area_draw_nothing():
    flat = shapes.PolylineMesh(
        [[0, 0, 0], [1, 0, 0], [2, 0, 0]], np.tile([0, 0, 1.0], (3, 1)), [[0, 1, 2]], [0], np.zeros((0, 3)), [0]
    )
    assert _covered(_draw(flat)) == 0.0
