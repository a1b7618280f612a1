"""Histograms of pairs of faces, against plain loops, the peer's sampling and distributions known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dflow.cadencoder.histograms import (
    all_pairs_angles,
    all_pairs_distances,
    distance_histograms,
    normal_angle_histograms,
)
from dflow.cadencoder.triples import point_angle_histograms
from tests.cadencoder.squares import AREAS, draw, histogram


def test_distances_are_those_of_equal_samples():
    points, diagonal = draw(100, 1), 9.0
    found = distance_histograms(points, diagonal=diagonal, bins=16)
    for i in range(5):
        for j in range(5):
            partner = points[j] if i != j else np.roll(points[i], 50, axis=0)
            expected = histogram(np.linalg.norm(points[i] - partner, axis=1) / diagonal, 16)
            # A distance within single precision of a bin's edge may go either way.
            assert np.abs(found[i, j] - expected).sum() <= 2 * 1.001 / 100


def test_distances_of_parallel_squares_follow_their_gap():
    # Two far-off specks: all distances are the gap.
    points = np.array([[0.0, 0, 0], [6.0, 0, 0]])[:, None] + 1e-9 * draw(64, 2)[:2]
    found = distance_histograms(points, diagonal=10.0, bins=10)
    assert found[0, 1].tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0] or found[0, 1, 6] == 1
    assert found[0, 0, 0] == 1


@pytest.mark.parametrize("bins", [1, 7, 64, 1000])
def test_the_largest_distance_and_angle_stay_in_the_last_bin(bins):
    points = np.array([[0.0, 0, 0], [3.0, 4, 0]])[:, None].repeat(32, axis=1)
    assert distance_histograms(points, diagonal=5.0, bins=bins)[0, 1, -1] == 1
    assert distance_histograms(points, diagonal=2.0, bins=bins)[0, 1, -1] == 1
    against = np.array([[0.0, 0, 1], [0.0, 0, -1]])[:, None].repeat(32, axis=1)
    assert normal_angle_histograms(against, bins=bins)[0, 1, -1] == 1
    straight = np.stack([np.full((40, 3), 1.0), np.full((40, 3), 2.0), np.full((40, 3), 4.0)])
    straight *= np.linspace(1, 1.1, 40)[None, :, None]
    angles = point_angle_histograms(straight, np.ones(3), bins=bins)
    assert np.allclose(angles.sum(axis=-1), 1.0, atol=1e-5)
    assert np.all(np.isfinite(angles))


def test_angles_between_normals_of_planes_are_single_bins():
    normals = np.array([[0.0, 0, 1], [0, 0, 1], [0, 1, 1] / np.sqrt(2), [1, 0, 0]])[:, None].repeat(16, axis=1)
    found = normal_angle_histograms(normals, bins=16)
    assert np.argmax(found[0], axis=-1).tolist()[:2] == [0, 0]
    assert found[0, 2].argmax() in (3, 4)
    assert found[0, 3].argmax() in (7, 8)
    assert np.allclose(found.max(axis=-1), 1.0)


@pytest.mark.parametrize("cells", [1, 100, 1 << 16])
def test_the_size_of_blocks_does_not_change_the_histograms(monkeypatch, cells):
    points, bins = draw(64, 4), 16
    expected = distance_histograms(points, diagonal=9.0, bins=bins), point_angle_histograms(points, AREAS, bins=bins)
    monkeypatch.setattr("dflow.cadencoder.binning.BLOCK_CELLS", cells)
    assert np.array_equal(distance_histograms(points, diagonal=9.0, bins=bins), expected[0])
    assert np.allclose(point_angle_histograms(points, AREAS, bins=bins), expected[1], atol=1e-6)


@given(st.integers(0, 12), st.integers(0, 40), st.integers(1, 20))
@settings(max_examples=40)
def test_histograms_of_any_size_are_symmetric_and_sum_to_one(n_faces, n_samples, bins):
    generator = np.random.default_rng(n_faces * 100 + n_samples)
    points = generator.normal(size=(n_faces, n_samples, 3))
    normals = points / np.maximum(np.linalg.norm(points, axis=-1, keepdims=True), 1e-9)
    for found in (
        distance_histograms(points, diagonal=4.0, bins=bins),
        point_angle_histograms(points, generator.random(n_faces), bins=bins),
        normal_angle_histograms(normals, bins=bins),
    ):
        assert found.shape == (n_faces, n_faces, bins)
        assert found.dtype == np.float32
        assert np.array_equal(found, found.swapaxes(0, 1))
        assert np.allclose(found.sum(axis=-1), 1.0 if n_samples else 0.0, atol=1e-5)


def test_raster_pairs_count_every_pair_of_points():
    generator = np.random.default_rng(8)
    points = [generator.random((n, 3)) for n in (1, 25, 7)]
    normals = [p / np.linalg.norm(p, axis=1, keepdims=True) for p in points]
    distances, angles = all_pairs_distances(points, diagonal=2.0, bins=16), all_pairs_angles(normals, bins=16)
    for i in range(3):
        for j in range(3):
            gaps = np.linalg.norm(points[i][:, None] - points[j][None], axis=-1) / 2.0
            assert np.allclose(distances[i, j], histogram(gaps, 16), atol=1e-6)
            turns = np.arccos(np.clip(normals[i] @ normals[j].T, -1, 1)) / np.pi
            assert np.allclose(angles[i, j], histogram(turns, 16), atol=1e-6)


def test_the_peers_own_functions_agree_within_the_noise_of_sampling():
    pair = pytest.importorskip("brepgraph.features.pair", reason="the peer is not installed")

    class Mass:
        def __init__(self, face: int) -> None:
            self.face = face

        def Mass(self) -> float:
            return float(AREAS[self.face])

    class Context:
        num_faces, diagonal = 5, 9.0
        face_props = staticmethod(Mass)

    def peer(feature, seed):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                pair,
                "_face_points",
                lambda ctx, n, seed_, sets: np.stack([draw(n, 1000 * seed + k) for k in range(sets)]),
            )
            return feature(Context(), 32, 512, seed, "float32")

    seeds = range(12)
    for feature, ours in (
        (pair.d2, lambda s: distance_histograms(draw(512, s), diagonal=9.0, bins=32)),
        (pair.a3, lambda s: point_angle_histograms(draw(512, s), AREAS, bins=32)),
    ):
        theirs = np.array([peer(feature, s) for s in seeds])
        mine = np.array([ours(s) for s in seeds])
        spread = np.sqrt((theirs.var(axis=0) + mine.var(axis=0)) / len(seeds)) + 1e-3
        assert np.all(np.abs(theirs.mean(axis=0) - mine.mean(axis=0)) < 6 * spread)
