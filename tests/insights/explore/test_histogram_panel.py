"""One histogram: its bars, its axis, and the filter of a brush."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from bokeh.models import BasicTicker

from dflow.errors import DamagedDatasetError
from dflow.insights.explore.histogram_panel import HistogramPanel
from dflow.insights.explore.selection import Selection
from dflow.insights.explore.variables import FileVariable

COUNTS = FileVariable("n", np.array([1.0, 1.0, 2.0, 5.0, np.nan]))
SKEWED = FileVariable("size", np.geomspace(1.0, 1e6, 50) ** 1.0)
WORDS = FileVariable("kind", np.array([0.0, 7.0, 7.0]), ((0, "bolt"), (7, "nut")))


class Heard:
    def __init__(self):
        self.filters, self.errors = [], []


@pytest.fixture
def heard():
    return Heard()


def panel_of(variable, heard, **others) -> HistogramPanel:
    variables = {variable.key: variable, **others}

    def choose(key):
        if key == "gone":
            raise DamagedDatasetError("replaced")
        return variables[key]

    return HistogramPanel(
        "histogram 0",
        {"values": [*variables, "gone"], "none": []},
        variable.key,
        choose=choose,
        on_filter=lambda name, chosen: heard.filters.append((name, chosen)),
        on_error=heard.errors.append,
    )


def test_bars_count_all_and_selected_files(heard):
    panel = panel_of(COUNTS, heard)
    selection = Selection(list("abcde"))
    selection.set_text("a")
    panel.update(selection)
    bars = panel._source.data
    assert bars["left"].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert bars["total"].tolist() == [2, 1, 0, 0, 1]
    assert bars["chosen"].tolist() == [1, 0, 0, 0, 0]
    assert heard.filters == []  # the first choice removes no filter


def test_a_brush_becomes_a_filter_of_whole_numbers_and_a_double_click_ends_it(heard):
    panel = panel_of(COUNTS, heard)
    panel.brush(5.4, 1.6)
    ((name, chosen),) = heard.filters
    assert (name, chosen.low, chosen.high) == ("histogram 0", 2.0, 5.0)
    assert chosen.files().tolist() == [False, False, True, True, False]
    panel.clear()
    assert heard.filters[-1] == ("histogram 0", None)


def test_bars_of_equal_ratio_lie_evenly_on_a_logarithmic_axis(heard):
    panel = panel_of(SKEWED, heard)
    panel.update(Selection(["x"] * 50))
    left = panel._source.data["left"]
    np.testing.assert_allclose(np.diff(left), left[1] - left[0])
    ticker, texts = panel._figure.xaxis[0].ticker, panel._figure.xaxis[0].major_label_overrides
    assert ticker.ticks == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert texts[3.0] == "1000"
    geometry = {"type": "rect", "x0": 1.0, "x1": 2.0}
    panel._on_geometry(SimpleNamespace(final=True, geometry=geometry))
    assert (heard.filters[0][1].low, heard.filters[0][1].high) == pytest.approx((10.0, 100.0))
    panel._on_geometry(SimpleNamespace(final=False, geometry=geometry))
    assert len(heard.filters) == 1


def test_categories_stand_side_by_side_under_their_names(heard):
    panel = panel_of(WORDS, heard)
    panel.update(Selection(["x"] * 3))
    assert panel._source.data["total"].tolist() == [1, 2]
    assert panel._source.data["text"] == ["bolt", "nut"]
    assert panel._figure.xaxis[0].major_label_overrides == {0: "bolt", 1: "nut"}


def test_another_variable_removes_the_filter_and_shows_its_axis(heard):
    panel = panel_of(WORDS, heard, n=COUNTS)
    panel.select.value = "n"
    assert panel.variable is COUNTS
    assert heard.filters == [("histogram 0", None)]
    assert isinstance(panel._figure.xaxis[0].ticker, BasicTicker)
    assert panel._figure.xaxis[0].major_label_overrides == {}
    assert [head for head, _ in panel.select.options.items()] == ["values"]


def test_a_variable_that_cannot_be_read_is_reported(heard):
    panel = panel_of(COUNTS, heard)
    panel.select.value = "gone"
    assert [str(error) for error in heard.errors] == ["replaced"]
    assert panel.variable is COUNTS
