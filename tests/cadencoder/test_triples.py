"""Angles at the middle one of three points, against the peer's sampling and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.cadencoder.triples import point_angle_histograms
from tests.cadencoder.squares import AREAS, draw, histogram, sampled_angles


@pytest.mark.parametrize(("i", "j"), [(0, 1), (0, 2), (3, 4), (2, 1)])
def test_angles_of_three_points_follow_the_peers_distribution_with_less_noise(i, j):
    bins, n_samples, n_repeats = 32, 512, 24
    reference = histogram(sampled_angles(400_000, 99, i, j), bins)
    ours = np.array([point_angle_histograms(draw(n_samples, s), AREAS, bins=bins)[i, j] for s in range(n_repeats)])
    plain = np.array([histogram(sampled_angles(n_samples, s, i, j), bins) for s in range(n_repeats)])
    spread = ours.std(axis=0) / np.sqrt(n_repeats) + 2e-4
    assert np.all(np.abs(ours.mean(axis=0) - reference) < 4.5 * spread)
    assert np.sqrt(np.mean((ours - reference) ** 2)) < 1.05 * np.sqrt(np.mean((plain - reference) ** 2))


def test_angles_on_one_face_follow_three_points_of_it():
    bins, n_repeats = 32, 24
    reference = histogram(sampled_angles(400_000, 98, 1, 1), bins)
    ours = np.mean([point_angle_histograms(draw(512, s), AREAS, bins=bins)[1, 1] for s in range(n_repeats)], axis=0)
    assert np.abs(ours - reference).max() < 0.005


def test_points_that_coincide_give_right_angles():
    points = np.zeros((3, 20, 3))
    angles = point_angle_histograms(points, np.ones(3), bins=4)
    assert np.allclose(angles, [0, 0, 1, 0])


def test_faces_without_area_share_evenly():
    angles = point_angle_histograms(draw(64, 3), np.zeros(5), bins=8)
    assert np.allclose(angles.sum(axis=-1), 1.0, atol=1e-6)


def test_weights_of_strata_are_the_probabilities_of_placing_three_points():
    """On two faces with area shares w and v: w³ and v³ on one face, w²v and wv² for each of three ways on both."""
    far = np.array([[[0.0, 0, 0]], [[1.0, 0, 0]]]).repeat(96, axis=1)
    areas = np.array([3.0, 1.0])
    found = point_angle_histograms(far, areas, bins=4)[0, 1]
    # All points of a face coincide: two of three on one face, at the start and end, make an angle of 0; the rest
    # have a leg without length, which counts as a right angle.
    w, v = 0.75, 0.25
    assert found[0] == pytest.approx(w * w * v + w * v * v, rel=1e-5)
    assert found[2] == pytest.approx(1.0 - w * w * v - w * v * v, rel=1e-5)
