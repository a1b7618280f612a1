"""Blocks of pairs, scaled components, and temporary arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dflow.cadencoder import binning
from dflow.cadencoder.binning import components, pair_blocks
from tests.cadencoder.squares import draw


@given(st.integers(0, 40), st.integers(1, 30))
def test_blocks_cover_every_pair_above_the_diagonal_once(n_faces, pairs_per_block):
    seen = np.zeros((n_faces, n_faces), int)
    for i, j in pair_blocks(n_faces, pairs_per_block):
        assert (i.stop - i.start) * (j.stop - j.start) <= max(1, pairs_per_block)
        seen[i, j] += 1
    assert np.all(seen[np.triu_indices(n_faces)] == 1)


def test_components_keep_their_digits_far_from_the_origin():
    points = draw(10, 0)
    far = components(points + 1e6)
    assert far.dtype == np.float32
    assert np.allclose(far, components(points), atol=1e-6)
    assert np.ptp(components(points), axis=(1, 2)).max() == pytest.approx(1.0)


def test_scratch_arrays_are_used_again():
    scratch = binning.Scratch()
    first = scratch.array("a", (3, 4))
    assert np.shares_memory(first, scratch.array("a", (2, 2)))
    assert not np.shares_memory(first, scratch.array("b", (2, 2)))
    assert scratch.array("a", (5, 5)).shape == (5, 5)


def test_counts_are_those_of_numpys_histogram():
    values = np.random.default_rng(0).random((3, 2, 50)).astype(np.float32) * 7
    found = binning.count_rows(values, 7)
    for row in np.ndindex(3, 2):
        np.testing.assert_array_equal(found[row], np.histogram(values[row], 7, (0, 7))[0])


def test_the_bins_of_angles_are_their_share_of_a_straight_angle():
    cosines = np.cos(np.pi * np.array([0.0, 0.1, 0.5, 0.9, 1.0], np.float32))
    found = binning.angle_bins(cosines.copy(), 10)
    np.testing.assert_allclose(found, [0, 1, 5, 9, 10], atol=2e-3)
    assert found.max() < 10


def test_values_at_or_above_the_end_fall_in_the_last_bin():
    values = np.array([0.0, 3.999, 4.0, 9.0], np.float32)
    np.testing.assert_array_equal(binning.close_last_bin(values, 4).astype(int), [0, 3, 3, 3])


def test_a_matrix_is_mirrored_below_its_diagonal():
    matrix = np.arange(18, dtype=np.float32).reshape(3, 3, 2)
    binning.mirror(matrix)
    np.testing.assert_array_equal(matrix, matrix.swapaxes(0, 1))
    np.testing.assert_array_equal(matrix[0, 2], [4, 5])
