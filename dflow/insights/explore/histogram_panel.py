"""The panel of one histogram, which filters by a brushed range."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from bokeh.events import DoubleTap, SelectionGeometry
from bokeh.layouts import column
from bokeh.models import (
    BasicTicker,
    BoxAnnotation,
    BoxSelectTool,
    ColumnDataSource,
    FixedTicker,
    HoverTool,
    NumeralTickFormatter,
    Range1d,
    Select,
)
from bokeh.plotting import figure

from dflow.errors import DflowError
from dflow.insights.explore.escaping import as_label
from dflow.insights.explore.selection import RangeFilter, Selection
from dflow.insights.explore.variables import FileVariable, Floats, RowVariable, is_logarithmic

ALL_COLOR, SELECTED_COLOR, BRUSH_COLOR = "#d3d9e0", "#2f6fb0", "#f0a030"
WIDTH, HEIGHT = 330, 230

Choose = Callable[[str], FileVariable | RowVariable]


class HistogramPanel:
    """A histogram of one variable: all files in grey, the selected ones in blue; dragging sets a range filter.

    Parameters
    ----------
    name : the panel's name among the filters
    options : keys that can be chosen, by heading
    choose : returns the variable of a key
    on_filter : called with the panel's name and the new filter, None when it is removed
    on_error : called when a variable can no longer be read
    """

    def __init__(
        self,
        name: str,
        options: Mapping[str, Sequence[str]],
        key: str,
        *,
        choose: Choose,
        on_filter: Callable[[str, RangeFilter | None], None],
        on_error: Callable[[DflowError], None],
    ) -> None:
        self.name = name
        self._choose, self._on_filter, self._on_error = choose, on_filter, on_error
        grouped = {head: [(k, as_label(k, 60)) for k in keys] for head, keys in options.items() if keys}
        self.select = Select(value=key, options=grouped, width=WIDTH)
        self.select.on_change("value", lambda _attr, _old, new: self._chosen(new))
        self._source = ColumnDataSource(_bars(np.array([0.0, 1.0]), np.zeros(1), np.zeros(1), None))
        self._figure = self._make_figure()
        self.view = column(self.select, self._figure)
        self.variable: FileVariable | RowVariable
        self.choose(key, quiet=True)

    def choose(self, key: str, *, quiet: bool = False) -> None:
        """Show another variable and remove the panel's filter."""
        self.variable = self._choose(key)
        self._show_axis()
        self._brush.visible = False
        if not quiet:
            self._on_filter(self.name, None)

    def _chosen(self, key: str) -> None:
        try:
            self.choose(key)
        except DflowError as error:
            self._on_error(error)

    def update(self, selection: Selection) -> None:
        """Redraw the counts."""
        variable = self.variable
        total, chosen = variable.counts(), variable.counts(selection.mask)
        self._source.data = _bars(variable.edges, total, chosen, variable.labels)
        self._figure.yaxis.axis_label = variable.unit
        shown = selection.filters.get(self.name)
        self._brush.visible = shown is not None
        if shown is not None:
            ends = np.array([shown.low, shown.high])
            ends = np.log10(np.maximum(ends, 1e-300)) if is_logarithmic(variable.edges) else ends
            self._brush.left, self._brush.right = float(ends[0]), float(ends[1])

    def brush(self, low: float, high: float) -> None:
        """Filter by a range, as dragging does."""
        snapped = self.variable.snap(min(low, high), max(low, high))
        if snapped is not None:
            self._on_filter(self.name, RangeFilter(self.variable, *snapped))

    def clear(self) -> None:
        """Remove the filter, as a double click does."""
        self._on_filter(self.name, None)

    def _make_figure(self) -> Any:
        box = BoxSelectTool(dimensions="width", continuous=False)
        # A range that follows the data would be reset whenever the bars change.
        along = Range1d(0, 1)
        bars = figure(
            width=WIDTH,
            height=HEIGHT,
            x_range=along,
            tools=[box],
            toolbar_location=None,
            active_drag=box,
            name=self.name,
        )
        for values, color in (("total", ALL_COLOR), ("chosen", SELECTED_COLOR)):
            drawn = bars.quad(
                left="left", right="right", bottom=0, top=values, source=self._source, color=color, line_color="white"
            )
            drawn.nonselection_glyph = None  # the brush is a filter, not bokeh's own selection
        hover = HoverTool(tooltips=[("", "@text"), ("all", "@total{0,0}"), ("selected", "@chosen{0,0}")])
        bars.add_tools(hover)
        bars.y_range.start = 0
        bars.y_range.only_visible = True
        bars.xgrid.visible = False
        bars.yaxis.ticker = BasicTicker(min_interval=1, num_minor_ticks=0)  # counts are whole: no half ticks
        bars.yaxis.formatter = NumeralTickFormatter(format="0,0")
        self._brush = BoxAnnotation(
            fill_color=BRUSH_COLOR, fill_alpha=0.22, line_color=BRUSH_COLOR, visible=False, level="underlay"
        )
        bars.add_layout(self._brush)
        bars.on_event(SelectionGeometry, self._on_geometry)
        bars.on_event(DoubleTap, lambda _event: self.clear())
        return bars

    def _on_geometry(self, event: Any) -> None:
        if event.final and event.geometry.get("type") == "rect":
            ends = float(event.geometry["x0"]), float(event.geometry["x1"])
            if is_logarithmic(self.variable.edges):
                ends = 10.0 ** ends[0], 10.0 ** ends[1]
            self.brush(*ends)

    def _show_axis(self) -> None:
        axis, labels = self._figure.xaxis[0], self.variable.labels
        places = _places(self.variable.edges)
        self._figure.x_range.update(start=float(places[0]), end=float(places[-1]))
        ticks, texts = _ticks(self.variable.edges, labels)
        axis.ticker = BasicTicker() if ticks is None else FixedTicker(ticks=ticks)
        axis.major_label_overrides = texts
        axis.major_label_orientation = 0.8 if labels is not None and len(labels) > 4 else "horizontal"


def _places(edges: Floats) -> Floats:
    """Return the positions of bin edges on the axis: their logarithms if bins have equal ratio, for equal bars."""
    return np.log10(edges) if is_logarithmic(edges) else edges


def _ticks(edges: Floats, labels: Sequence[str] | None) -> tuple[list[float] | None, dict[float, str]]:
    """Return positions and texts of ticks; None for bokeh's own choice."""
    if labels is not None:
        return [float(i) for i in range(len(labels))], {i: as_label(label, 14) for i, label in enumerate(labels)}
    if not is_logarithmic(edges):
        return None, {}
    low, high = float(np.log10(edges[0])), float(np.log10(edges[-1]))
    step = max(1, int(np.ceil((high - low) / 6)))
    decades = [float(k) for k in range(int(np.ceil(low)), int(np.floor(high)) + 1, step)]
    return decades, {k: f"{10.0**k:g}" for k in decades}


def _bars(edges: Floats, total: Any, chosen: Any, labels: Sequence[str] | None) -> dict[str, Any]:
    texts = labels if labels is not None else [f"{a:.5g} to {b:.5g}" for a, b in pairwise(edges)]
    places = _places(edges)
    return {
        "left": places[:-1],
        "right": places[1:],
        "total": total,
        "chosen": chosen,
        "text": [as_label(text) for text in texts],
    }
