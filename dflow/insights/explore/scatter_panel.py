"""The panel of a scatter plot of two numbers per file: all files as density, the selected ones as points."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.events import DoubleTap, SelectionGeometry
from bokeh.layouts import column, row
from bokeh.models import BoxSelectTool, ColumnDataSource, HoverTool, LinearColorMapper, Range1d, Select
from bokeh.plotting import figure

from dflow.errors import DflowError
from dflow.insights.explore.escaping import as_label
from dflow.insights.explore.histogram_panel import SELECTED_COLOR
from dflow.insights.explore.selection import RangeFilter, Selection
from dflow.insights.explore.variables import FileVariable, Floats

MAX_POINTS = 4000
"""The largest number of points on screen; of more selected files a random subset is drawn, to spare the browser."""
DENSITY_CELLS = 90
WIDTH, HEIGHT = 500, 400

SetFilters = Callable[[dict[str, RangeFilter | None]], None]


class ScatterPanel:
    """Plots two numbers per file against each other; dragging a box filters by both.

    Parameters
    ----------
    options : keys that can be chosen, by heading
    keys : those of the x and the y axis at first
    numbers : returns one number per file, (n_files,) float64
    names : the text of each file's point
    on_filter : called with the two new filters, None when they are removed
    on_error : called when a number can no longer be read
    """

    def __init__(
        self,
        options: Mapping[str, Sequence[str]],
        keys: tuple[str, str],
        *,
        numbers: Callable[[str], Floats],
        names: Sequence[str],
        on_filter: SetFilters,
        on_error: Callable[[DflowError], None],
    ) -> None:
        self._numbers, self._names, self._on_filter, self._on_error = numbers, names, on_filter, on_error
        grouped = {head: [(k, as_label(k, 60)) for k in items] for head, items in options.items() if items}
        self.selects = tuple(
            Select(title=title, value=key, options=grouped, width=WIDTH // 2 - 10)
            for title, key in zip("xy", keys, strict=True)
        )
        for select in self.selects:
            select.on_change("value", lambda _attr, _old, _new: self._changed())
        self._points = ColumnDataSource({"x": [], "y": [], "name": [], "file_id": []})
        self._density = ColumnDataSource({"image": [], "x": [], "y": [], "dw": [], "dh": []})
        self._figure = self._make_figure()
        self.view = column(row(*self.selects), self._figure)
        self._show_density()

    def update(self, selection: Selection) -> None:
        """Redraw the selected points: all, or the same random subset every time."""
        x, y = self._xy()
        ids = np.flatnonzero(selection.mask & np.isfinite(x) & np.isfinite(y))
        if len(ids) > MAX_POINTS:
            ids = np.sort(np.random.default_rng(0).choice(ids, MAX_POINTS, replace=False))
        names = [as_label(self._names[i], 60) for i in ids.tolist()]
        self._points.data = {"x": x[ids], "y": y[ids], "name": names, "file_id": ids}

    def brush(self, x0: float, x1: float, y0: float, y1: float) -> None:
        """Filter by a box, as dragging does."""
        filters: dict[str, RangeFilter | None] = {}
        for axis, low, high, select in zip("xy", (x0, y0), (x1, y1), self.selects, strict=True):
            variable = FileVariable(select.value, self._numbers(select.value))
            filters[f"scatter {axis}"] = RangeFilter(variable, min(low, high), max(low, high))
        self._on_filter(filters)

    def clear(self) -> None:
        """Remove the box's filters."""
        self._on_filter({"scatter x": None, "scatter y": None})

    def _changed(self) -> None:
        try:
            self._show_density()
        except DflowError as error:
            self._on_error(error)
        else:
            self.clear()

    def _xy(self) -> tuple[Floats, Floats]:
        return self._numbers(self.selects[0].value), self._numbers(self.selects[1].value)

    def _make_figure(self) -> Any:
        box = BoxSelectTool(continuous=False)
        # Ranges that follow the data would be reset whenever the points change.
        ranges = {"x_range": Range1d(0, 1), "y_range": Range1d(0, 1)}
        tools = [box, "wheel_zoom", "pan", "reset"]
        plot = figure(width=WIDTH, height=HEIGHT, tools=tools, active_drag=box, **ranges)
        greys = LinearColorMapper(["#ffffff00", *(f"#{v:02x}{v:02x}{v + 6:02x}" for v in range(225, 120, -5))], low=0)
        self._mapper = greys
        plot.image(image="image", x="x", y="y", dw="dw", dh="dh", source=self._density, color_mapper=greys)
        dots = plot.scatter(x="x", y="y", source=self._points, size=4, color=SELECTED_COLOR, alpha=0.55)
        dots.nonselection_glyph = None
        plot.add_tools(HoverTool(renderers=[dots], tooltips=[("", "@name"), ("id", "@file_id")]))
        plot.on_event(SelectionGeometry, self._on_geometry)
        plot.on_event(DoubleTap, lambda _event: self.clear())
        return plot

    def _on_geometry(self, event: Any) -> None:
        box = event.geometry
        if event.final and box.get("type") == "rect":
            self.brush(float(box["x0"]), float(box["x1"]), float(box["y0"]), float(box["y1"]))

    def _show_density(self) -> None:
        x, y = self._xy()
        known = np.isfinite(x) & np.isfinite(y)
        x_edges, y_edges = _axis_edges(x[known]), _axis_edges(y[known])
        cells, _, _ = np.histogram2d(y[known], x[known], bins=(y_edges, x_edges))
        shade = np.log1p(cells)
        self._mapper.high = max(float(shade.max(initial=0.0)), 1.0)
        left, bottom = float(x_edges[0]), float(y_edges[0])
        width, height = float(x_edges[-1]) - left, float(y_edges[-1]) - bottom
        self._density.data = {"image": [shade], "x": [left], "y": [bottom], "dw": [width], "dh": [height]}
        for along, start, end in (
            (self._figure.x_range, left, left + width),
            (self._figure.y_range, bottom, bottom + height),
        ):
            along.update(start=start, end=end, reset_start=start, reset_end=end)
        for axis, select in zip((self._figure.xaxis, self._figure.yaxis), self.selects, strict=True):
            axis.axis_label = as_label(select.value, 60)


def _axis_edges(values: Floats) -> Floats:
    """Return the edges of cells over the range of the values, with a margin of 2 %."""
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    room = 0.02 * (high - low) or 0.5
    return np.linspace(low - room, high + room, DENSITY_CELLS + 1)
