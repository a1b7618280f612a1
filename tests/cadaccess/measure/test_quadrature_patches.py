"""Moments of whole spline surfaces against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.cadaccess.kernel.bintools import SplineSurface
from dflow.cadaccess.measure import quadrature

_HALF = np.sqrt(0.5)


def _drum(radius: float, height: float, shift: tuple[float, float, float]) -> SplineSurface:
    """A quarter of a cylinder about z, as a rational quadratic by a line."""
    arc = radius * np.array([(1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
    poles = np.zeros((3, 2, 3))
    poles[..., :2] = arc[:, None]
    poles[:, 1, 2] = height
    weights = np.array([1.0, _HALF, 1.0])[:, None] * np.ones(2)
    knots_u, knots_v = np.array([0.0, 0, 0, 2, 2, 2]), np.array([-1.0, -1, 4, 4])
    return SplineSurface((2, 1), poles + np.array(shift), weights, knots_u, knots_v)


@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (10.0, -3.0, 2.0)])
def test_a_quarter_drum_has_its_closed_form(shift: tuple[float, float, float]) -> None:
    radius, height = 2.5, 4.0
    found = quadrature.integrate_patch(_drum(radius, height, shift))
    assert found is not None
    area = np.pi / 2 * radius * height
    centre = np.array([2 * radius / np.pi, 2 * radius / np.pi, height / 2]) + shift
    outward = radius * height * np.array([1.0, 1.0, 0.0])
    assert found.area == pytest.approx(area, rel=1e-12)
    np.testing.assert_allclose(found.first, area * centre, rtol=1e-12)
    np.testing.assert_allclose(found.vector_area, outward, atol=1e-12)
    assert found.flux == pytest.approx(area * radius + outward @ np.array(shift), rel=1e-12)


def test_the_cone_moment_is_that_of_the_solid_to_the_origin() -> None:
    """The quarter cylinder's other faces go through the origin but for its lid, whose cone is known."""
    radius, height = 2.5, 4.0
    found = quadrature.integrate_patch(_drum(radius, height, (0.0, 0.0, 0.0)))
    assert found is not None
    solid = np.pi / 4 * radius**2 * height * np.array([4 * radius / (3 * np.pi), 4 * radius / (3 * np.pi), height / 2])
    lid = np.pi / 4 * radius**2 * np.array([4 * radius / (3 * np.pi), 4 * radius / (3 * np.pi), height]) * height / 4
    np.testing.assert_allclose(0.25 * found.cone + lid, solid, rtol=1e-12)


def test_a_surface_too_rough_for_the_rules_is_left_alone() -> None:
    poles = np.zeros((2, 3, 3))
    poles[1, :, 0] = 1.0
    poles[:, :, 1] = [0.0, 1e-6, 1.0]
    poles[:, 1, 2] = 1e4
    weights = np.array([1.0, 1e-5, 1.0]) * np.ones((2, 1))
    surface = SplineSurface((1, 2), poles, weights, np.array([0.0, 0, 1, 1]), np.array([0.0, 0, 0, 1, 1, 1]))
    assert quadrature.integrate_patch(surface) is None
