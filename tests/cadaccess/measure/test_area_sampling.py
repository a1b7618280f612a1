"""Points uniform by area against the distributions that they come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dflow.cadaccess import Brep
from dflow.cadaccess.kernel.bintools import CONE, PLANE
from dflow.cadaccess.measure import area_sampling
from dflow.cadaccess.measure.area_sampling import Trapezoids
from tests.cadaccess import solids

N = 20_000
CRITICAL = 1.95 / np.sqrt(N)
"""Kolmogorov's distance that one sample in a thousand exceeds."""


def _distance(values: np.ndarray) -> float:
    """Kolmogorov's distance of values from the uniform distribution on [0, 1]."""
    ranked = np.sort(values)
    steps = np.arange(len(ranked) + 1) / len(ranked)
    return float(max((steps[1:] - ranked).max(), (ranked - steps[:-1]).max()))


def _trapezoids(brep: Brep) -> Trapezoids:
    return area_sampling.cut_polygons(brep.tables, brep.chords)


def _samples(brep: Brep, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    return area_sampling.sample_faces(
        brep.tables, brep.kernel, brep.chords, _trapezoids(brep), brep.face_uv_bounds(), n, seed
    )


def test_a_rectangle_is_one_trapezoid(tmp_path: Path) -> None:
    brep = solids.open_brep(solids.box(2.0, 3.0, 5.0), tmp_path)
    found = _trapezoids(brep)
    assert found.face.tolist() == list(range(6))
    np.testing.assert_allclose(np.sort(found.area), [6, 6, 10, 10, 15, 15], rtol=1e-12)
    np.testing.assert_allclose(found.area, brep.face_areas(), rtol=1e-12)


def test_a_hole_becomes_a_polygon_of_64_sides(tmp_path: Path) -> None:
    brep = solids.open_brep(solids.drilled(), tmp_path)
    found = _trapezoids(brep)
    holed = np.flatnonzero((brep.face_loops() == 2) & (brep.tables.faces.kind == PLANE))
    assert len(holed) == 2
    polygon = 0.5 * 64 * 2.0**2 * np.sin(2 * np.pi / 64)
    for row in holed.tolist():
        assert found.area[found.face == row].sum() == pytest.approx(100.0 - polygon, rel=1e-9)


@pytest.mark.parametrize(("h0", "h1"), [(1.0, 1.0), (0.0, 2.0), (2.0, 0.0), (1.0, 3.0)])
def test_points_in_a_trapezoid_invert_its_distribution(h0: float, h1: float) -> None:
    """The share s of the way across is exceeded by ``1 - (h0 s + (h1 - h0) s² / 2) / mean`` of all points."""
    one = Trapezoids(
        np.zeros(1, int),
        np.array([10.0]),
        np.array([14.0]),
        np.array([[1.0, 1.0]]),
        np.array([[1 + h0, 1 + h1]]),
        np.array([2 * (h0 + h1)]),
    )
    across = np.linspace(0.0, 1.0, 11)
    u, v = area_sampling._points_in(one, np.zeros(11, int), across, np.full(11, 0.25))
    s = (u - 10.0) / 4.0
    np.testing.assert_allclose((h0 * s + (h1 - h0) * s**2 / 2) / (0.5 * (h0 + h1)), across, atol=1e-12)
    np.testing.assert_allclose(v, 1.0 + 0.25 * (h0 + (h1 - h0) * s), atol=1e-12)


def test_a_seed_gives_the_same_points_and_another_others(tmp_path: Path) -> None:
    brep = solids.open_brep(solids.cone(), tmp_path)
    first, again, other = (_samples(brep, 50, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_points_on_a_plane_with_a_hole_spare_the_hole_and_fill_the_rest(tmp_path: Path) -> None:
    brep = solids.open_brep(solids.drilled(), tmp_path)
    rows = np.flatnonzero((brep.face_loops() == 2) & (brep.tables.faces.kind == PLANE))
    points = brep.surface_points(N, 0)[rows, :, :2]
    away = np.linalg.norm(points - 5.0, axis=2)
    assert away.min() > 2.0 * np.cos(np.pi / 64) - 1e-9  # the polygon's sides
    in_corner = (points < 2.5).all(axis=2).mean(axis=1)
    share = 6.25 / (100 - 4 * np.pi)
    np.testing.assert_allclose(in_corner, share, atol=4 * np.sqrt(share / N))


def test_heights_on_a_sphere_are_uniform(tmp_path: Path) -> None:
    brep = solids.open_brep(solids.sphere(2.5), tmp_path)  # Archimedes: zones of one height have one area
    z = brep.surface_points(N, 1)[0, :, 2]
    assert _distance((z + 2.5) / 5.0) < CRITICAL


def test_heights_on_a_cone_follow_its_radius(tmp_path: Path) -> None:
    low, high, height = 3.0, 1.0, 4.0
    brep = solids.open_brep(solids.cone(low, high, height), tmp_path)
    (row,) = np.flatnonzero(brep.tables.faces.kind == CONE)
    s = brep.surface_points(N, 2)[row, :, 2] / height
    below = (low * s + (high - low) * s**2 / 2) / (0.5 * (low + high))
    assert _distance(below) < CRITICAL


def test_angles_on_a_torus_follow_their_distance_from_the_axis(tmp_path: Path) -> None:
    major, minor = 5.0, 1.5
    brep = solids.open_brep(solids.torus(major, minor), tmp_path)
    x, y, z = brep.surface_points(N, 3)[0].T
    v = np.arctan2(z, np.hypot(x, y) - major) % (2 * np.pi)
    assert _distance((major * v + minor * np.sin(v)) / (2 * np.pi * major)) < CRITICAL
    assert _distance((np.arctan2(y, x) % (2 * np.pi)) / (2 * np.pi)) < CRITICAL
