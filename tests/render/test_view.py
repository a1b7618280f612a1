"""The view: isometric, Z up, every part fitted by the same rule."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.render.mesh import clean_arrays
from dflow.render.view import AXES, MARGIN, fit_view
from tests.render import shapes


def test_axes_are_orthonormal_and_shorten_the_world_axes_equally():
    np.testing.assert_allclose(AXES @ AXES.T, np.eye(3), atol=1e-12)
    drawn = np.linalg.norm(AXES[:2], axis=0)
    np.testing.assert_allclose(drawn, drawn[0])
    assert AXES[1, 2] > 0  # Z is up


@pytest.mark.parametrize("aspect", [1.0, 2.0, 0.5])
def test_a_part_touches_the_margin_on_its_tighter_side_and_nowhere_passes_it(aspect):
    mesh = clean_arrays(shapes.box((40, 3, 7), (1000, -2000, 5)))
    view = fit_view(mesh, aspect)
    drawn = (mesh.vertices - view.center) @ AXES.T / view.half_height
    extent = np.abs(drawn[:, :2]).max(axis=0) / [aspect, 1.0]
    assert extent.max() == pytest.approx(1 - 2 * MARGIN, rel=1e-5)
    assert np.abs(drawn[:, 2]).max() == pytest.approx(view.half_depth / view.half_height, rel=1e-5)


def test_a_line_towards_the_viewer_still_has_a_view():
    line = shapes.PolylineMesh(
        np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3)), [], [[0, 0, 0], [1, -1, 1]], [0, 2]
    )
    assert fit_view(clean_arrays(line), 1.0).half_height > 0
