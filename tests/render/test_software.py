"""The software renderer against closed-form pictures."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.render import view as camera
from dflow.render.mesh import clean_arrays
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
