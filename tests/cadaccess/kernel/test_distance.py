"""Faces at points of a box: on a face, an edge, a corner, and off by a known distance."""

from __future__ import annotations

import numpy as np

from dflow.cadaccess.kernel.distance import faces_near
from dflow.cadaccess.kernel.shape import KernelShape
from dflow.demo import parts


def test_faces_edges_corners_and_distances() -> None:
    kernel = KernelShape(parts.box(0, 0, 0, 10, 20, 30))
    points = np.array(
        [[5, 10, 30], [5, 0, 30], [0, 0, 0], [5, 10, 32], [5, 10, 30.4], [5, 10, 15], [13, 24, 15]], float
    )
    found = faces_near(kernel, points, 0.5)
    assert [len(near.rows) for near in found] == [1, 2, 3, 0, 1, 0, 0]
    np.testing.assert_allclose([near.distance for near in found], [0, 0, 0, 2, 0.4, 5, 5], atol=1e-9)
    assert found[3].nearest == found[0].rows[0] == found[4].rows[0]


def test_distances_are_to_the_trimmed_face() -> None:
    body = parts.cut(parts.box(0, 0, 0, 20, 20, 5), parts.cylinder(10, 10, -1, 4, 7))
    kernel = KernelShape(body)
    near = faces_near(kernel, np.array([[10, 10, 5], [10, 13, 5]], float), 1e-3)
    assert [n.rows for n in near] == [(), ()]
    np.testing.assert_allclose([n.distance for n in near], [4, 1], atol=1e-9)


def test_no_faces_and_no_points() -> None:
    kernel = KernelShape(parts.box(0, 0, 0, 1, 1, 1))
    assert faces_near(kernel, np.zeros((0, 3)), 1.0) == []
