"""A scatter plot: density of all files, a bounded number of points, filters by a box."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.errors import DamagedDatasetError
from dflow.insights.explore.scatter_panel import DENSITY_CELLS, MAX_POINTS, ScatterPanel
from dflow.insights.explore.selection import Selection

N = 6000
X, Y = np.arange(N, dtype=np.float64), np.arange(N, dtype=np.float64)[::-1].copy()
X[0] = np.nan
NUMBERS = {"x": X, "y": Y, "flat": np.full(N, 3.0)}


@pytest.fixture
def heard():
    return {"filters": [], "errors": []}


@pytest.fixture
def panel(heard):
    def numbers(key):
        if key == "gone":
            raise DamagedDatasetError("replaced")
        return NUMBERS[key]

    return ScatterPanel(
        {"values": [*NUMBERS, "gone"]},
        ("x", "y"),
        numbers=numbers,
        names=[f"part {i}" for i in range(N)],
        on_filter=heard["filters"].append,
        on_error=heard["errors"].append,
    )


def test_density_counts_every_file_with_both_numbers(panel):
    density = panel._density.data
    assert density["image"][0].shape == (DENSITY_CELLS, DENSITY_CELLS)
    assert np.expm1(density["image"][0]).sum() == pytest.approx(N - 1)


def test_points_are_the_selected_files_or_a_fixed_sample_of_them(panel):
    selection = Selection([f"part {i}" for i in range(N)])
    panel.update(selection)
    ids = panel._points.data["file_id"]
    assert (len(ids), len(set(ids.tolist())), 0 in ids) == (MAX_POINTS, MAX_POINTS, False)
    panel.update(selection)
    np.testing.assert_array_equal(panel._points.data["file_id"], ids)
    selection.set_text("part 599")
    panel.update(selection)
    assert panel._points.data["file_id"].tolist() == [599, *range(5990, 6000)]
    assert panel._points.data["name"][0] == "part 599"
    np.testing.assert_array_equal(panel._points.data["y"], Y[panel._points.data["file_id"]])


def test_a_box_filters_by_both_axes_from_any_corner(panel, heard):
    panel.brush(20.0, 10.0, 5990.0, 5980.0)
    (filters,) = heard["filters"]
    inside = filters["scatter x"].files() & filters["scatter y"].files()
    assert np.flatnonzero(inside).tolist() == list(range(10, 20))
    panel.clear()
    assert heard["filters"][-1] == {"scatter x": None, "scatter y": None}


def test_another_number_moves_the_axis_and_removes_the_filters(panel, heard):
    panel.selects[1].value = "flat"
    assert heard["filters"] == [{"scatter x": None, "scatter y": None}]
    assert (panel._figure.y_range.start, panel._figure.y_range.end) == (2.5, 3.5)
    assert panel._figure.yaxis[0].axis_label == "flat"


def test_a_number_that_cannot_be_read_is_reported(panel, heard):
    panel.selects[0].value = "gone"
    assert [str(error) for error in heard["errors"]] == ["replaced"]
    assert heard["filters"] == []
