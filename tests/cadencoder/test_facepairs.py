"""Sizes of face-pair arrays, and points where a face has none."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from dflow.cadencoder import facepairs
from dflow.cadencoder.options import EncodeOptions
from dflow.config import MAX_STORE_BYTES, machine_share_bytes

KEYS = ["faceface/extended_adjacency", "faceface/d2_distance", "faces/face_areas"]


def test_bytes_grow_with_the_square_of_the_faces():
    options = EncodeOptions(bins=16, path_length=5)
    assert facepairs.pair_bytes("faceface/d2_distance", 10, options) == 4 * 16 * 100
    assert facepairs.pair_bytes("faceface/face_pair_edges_path", 10, options) == 4 * 5 * 100
    assert facepairs.pair_bytes("faces/face_areas", 10, options) == 0


def test_the_limit_holds_for_all_arrays_together():
    needed = 4 * (1 + 16) * 100
    assert not facepairs.find_excess(KEYS, 10, EncodeOptions(bins=16, max_pair_bytes=needed), None)
    excess = facepairs.find_excess(KEYS, 10, EncodeOptions(bins=16, max_pair_bytes=needed - 1), None)
    assert f"10 faces need {needed:,} bytes, more than max_pair_bytes = {needed - 1:,}" in excess
    assert "raise memory_limit or max_pair_bytes" in excess


def test_without_a_limit_of_its_own_it_follows_the_memory_that_the_file_may_take():
    needed = 4 * (1 + 16) * 100
    assert not facepairs.find_excess(KEYS, 10, EncodeOptions(bins=16), 4 * needed)
    excess = facepairs.find_excess(KEYS, 10, EncodeOptions(bins=16), 4 * needed - 1)
    assert f"a quarter of the {4 * needed - 1:,} bytes that the file may take = {needed - 1:,}" in excess
    n_faces = 2 * math.isqrt(machine_share_bytes() // (4 * 4 * 65))
    assert not facepairs.find_excess(KEYS, n_faces // 3, EncodeOptions(), None)
    assert facepairs.find_excess(KEYS, n_faces, EncodeOptions(), None)


def test_whatever_the_memory_arrays_that_no_store_can_hold_are_refused():
    n_faces = math.isqrt(MAX_STORE_BYTES // (4 * 65))
    assert "what a store holds" in facepairs.find_excess(KEYS, n_faces, EncodeOptions(), 1 << 60)


def _brep(**arrays: np.ndarray) -> SimpleNamespace:
    return SimpleNamespace(
        n_faces=2,
        face_centroids=lambda: np.array([[1.0, 2, 3], [4.0, 5, 6]]),
        **{name: (lambda *_, value=value: value.copy()) for name, value in arrays.items()},
    )


def test_a_point_that_is_missing_is_the_faces_first_or_its_centroid():
    points = np.arange(12.0).reshape(2, 2, 3)
    points[0, 1, 2] = points[1, 0, 0] = points[1, 1, 1] = np.nan
    found = facepairs.area_points(_brep(surface_points=points), 2, 0)
    np.testing.assert_array_equal(found, [[[0, 1, 2], [0, 1, 2]], [[4, 5, 6], [4, 5, 6]]])


def test_a_raster_keeps_the_points_inside_or_the_centroid():
    samples = np.zeros((2, 2, 2, 7))
    samples[..., :3] = np.arange(24.0).reshape(2, 2, 2, 3)
    samples[..., 5] = 1.0
    samples[0, 0, :, 6] = 1.0
    points, normals = facepairs.grid_points(_brep(face_samples=samples), 2)
    np.testing.assert_array_equal(points[0], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(points[1], [[4, 5, 6]])
    np.testing.assert_array_equal(normals[0], [[0, 0, 1], [0, 0, 1]])
    np.testing.assert_array_equal(normals[1], [[0, 0, 0]])
    drawn = facepairs.resampled(points, 50, 3)
    assert drawn.shape == (2, 50, 3)
    assert {tuple(point) for point in drawn[0]} == {(0, 1, 2), (3, 4, 5)}


@pytest.mark.parametrize(("box", "length"), [([0, 0, 0, 2, 3, 6], 7.0), ([np.nan] * 6, 0.0)])
def test_the_diagonal_of_the_box(box: list[float], length: float):
    assert facepairs.diagonal(_brep(bounding_box=np.array(box, float))) == length
