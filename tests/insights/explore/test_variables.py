"""Histograms and brushes against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dflow.insights.explore.variables import (
    FileVariable,
    RowVariable,
    category_edges,
    is_logarithmic,
    number_edges,
    row_edges,
    snap_to_bins,
)

numbers = hnp.arrays(
    np.float64, st.integers(0, 60), elements=st.floats(-1e12, 1e12) | st.just(float("nan")) | st.integers(-50, 50)
)


@given(numbers)
def test_every_number_falls_into_exactly_one_bin(values):
    variable = FileVariable("v", values)
    assert (np.diff(variable.edges) > 0).all()
    assert variable.counts().sum() == np.isfinite(values).sum()
    assert len(variable.counts()) == len(variable.edges) - 1


@given(numbers, st.floats(-1e12, 1e12), st.floats(-1e12, 1e12))
def test_a_brush_over_numbers_is_exact(values, a, b):
    low, high = min(a, b), max(a, b)
    variable = FileVariable("v", values)
    applied = variable.snap(low, high)
    inside = (values >= low) & (values <= high)
    if inside.any():
        np.testing.assert_array_equal(variable.files_within(*applied), inside)
    np.testing.assert_array_equal(variable.files_within(*applied), (values >= applied[0]) & (values <= applied[1]))


def test_a_brush_over_whole_numbers_ends_on_them():
    variable = FileVariable("v", np.array([1.0, 2.0, 3.0, np.nan]))
    assert variable.snap(0.6, 2.4) == (1.0, 2.0)
    assert variable.snap(1.8, 1.9) == (2.0, 2.0)
    assert FileVariable("v", np.array([1.0, 2.5])).snap(0.6, 2.4) == (0.6, 2.4)


def test_a_brush_picks_the_numbers_inside():
    variable = FileVariable("v", np.array([0.25, 2.0, 3.0, np.nan]))
    assert variable.files_within(*variable.snap(0.2, 2.0)).tolist() == [True, True, False, False]


@given(numbers)
def test_counts_of_some_files_add_up_with_those_of_the_others(values):
    variable = FileVariable("v", values)
    some = np.arange(len(values)) % 3 == 0
    np.testing.assert_array_equal(variable.counts(some) + variable.counts(~some), variable.counts())


def test_whole_numbers_stand_in_the_middle_of_their_bins():
    edges = number_edges(np.array([3.0, 5.0, 9.0]))
    assert edges.tolist() == [2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5]
    wide = number_edges(np.array([0.0, 1000.0]))
    assert set(np.diff(wide)) == {26.0}
    assert wide[0] == -0.5
    assert wide[-1] > 1000


def test_skewed_positive_numbers_get_bins_of_equal_ratio():
    edges = number_edges(np.array([0.015, 0.5, 0.75, 1200.5]))
    assert is_logarithmic(edges)
    assert (edges[0], edges[-1]) == pytest.approx((0.015, 1200.5))
    assert not is_logarithmic(number_edges(np.array([-0.5, 0.5, 1e6 + 0.5])))
    np.testing.assert_array_equal(row_edges(0.015, 0.5, 1200.5), np.geomspace(0.015, 1200.5, 41))


def test_numbers_that_differ_in_their_last_digit_are_counted():
    values = np.array([0.1, np.nextafter(0.1, 1.0)])
    assert FileVariable("v", values).counts().sum() == 2
    assert FileVariable("v", np.array([0.0, 5e-324])).counts().sum() == 2
    assert FileVariable("v", np.array([2.0**60, 2.0**60])).counts().tolist() == [2]
    assert FileVariable("v", np.array([2.0**60, 2.0**61])).counts().sum() == 2


def test_numbers_that_are_all_equal_or_absent_have_one_bin():
    assert FileVariable("v", np.full(4, 2.5)).counts().tolist() == [4]
    assert FileVariable("v", np.full(3, np.nan)).counts().sum() == 0
    assert row_edges(np.nan, np.nan, np.nan).tolist() == [0.0, 1.0]
    assert row_edges(2.0, 2.0, 2.0).tolist() == [1.5, 2.5]


def test_categories_stand_side_by_side_whatever_their_codes():
    values = np.array([7.0, -1.0, 90.0, 7.0, np.nan, 8.0])
    variable = FileVariable("v", values, ((-1, "missing"), (7, "bolt"), (90, "nut")))
    assert variable.counts().tolist() == [1, 2, 1]
    assert variable.labels == ["missing", "bolt", "nut"]
    low, high = variable.snap(0.6, 2.4)
    assert (low, high) == (0.5, 2.5)
    assert variable.files_within(low, high).tolist() == [True, False, True, True, False, False]
    assert variable.names_within(low, high) == [(7, "bolt"), (90, "nut")]


def test_rows_pick_the_files_that_have_any_in_the_range():
    matrix = np.array([[2, 0, 1], [0, 0, 0], [0, 3, 0]], np.int32)
    variable = RowVariable("faces/face_areas", matrix, np.array([0.0, 1.0, 2.0, 4.0]))
    assert variable.counts().tolist() == [2, 3, 1]
    assert variable.counts(np.array([True, True, False])).tolist() == [2, 0, 1]
    assert variable.files_within(0.0, 1.0).tolist() == [True, False, False]
    assert variable.files_within(1.0, 4.0).tolist() == [True, False, True]


def test_a_narrow_brush_takes_the_bin_it_lies_in_and_one_beside_everything_takes_none():
    edges = category_edges([4, 5, 6])
    assert snap_to_bins(edges, 1.1, 1.2) == (0.5, 1.5)
    assert snap_to_bins(edges, 7.0, 8.0) is None
    assert snap_to_bins(edges, -9, 9) == (-0.5, 2.5)
