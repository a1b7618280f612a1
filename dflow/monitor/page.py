"""The page ``/dflow`` on the Dask dashboard: progress, failures, files in flight and memory, updated every second.

The browser reads ``dflow/live`` over one WebSocket and fills the page (``page.js``): an open page costs the scheduler
one small request per second, a closed or hidden one nothing. The address is relative, so that the page works behind a
proxy, and as one of the ``/individual-…`` plots. Names are untrusted text: they are shown in table cells, which Bokeh
renders as text, or are escaped.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

from bokeh.events import DocumentReady
from bokeh.layouts import column, row
from bokeh.models import (
    ColumnDataSource,
    CustomJS,
    DataTable,
    Div,
    NumberFormatter,
    StringFormatter,
    TableColumn,
)
from bokeh.plotting import figure

PATHS = ("/dflow", "/individual-dflow")
"""The page beside the built-in ones, and the same among the plots of the JupyterLab extension."""

UPDATE_MILLISECONDS = 1000
COLORS = {"succeeded": "#2a9d8f", "skipped": "#e9c46a", "failed": "#d1495b", "waiting": "#d9dee4"}


def flow_document(scheduler: Any, extra: dict[str, Any], document: Any) -> None:
    """Build one session's document: Bokeh calls this for each browser tab."""
    headline = Div(text="", styles={"font-size": "15px", "margin": "6px 0"}, sizing_mode="stretch_width")
    failures = ColumnDataSource({"kind": [], "n": []})
    in_flight = ColumnDataSource({"seconds": [], "file": [], "task": [], "host": []})
    memory = ColumnDataSource({"worker": [], "own": [], "child": []})
    tasks = ColumnDataSource({"task": [], **{state: [] for state in COLORS}})
    progress_figure, memory_figure = _progress_figure(tasks), _memory_figure(memory)
    arguments = {
        "headline": headline,
        "tasks": tasks,
        "failures": failures,
        "in_flight": in_flight,
        "memory": memory,
        "progress_figure": progress_figure,
        "memory_figure": memory_figure,
        "states": list(COLORS),
        "update_milliseconds": UPDATE_MILLISECONDS,
    }
    code = resources.files("dflow.monitor").joinpath("page.js").read_text(encoding="utf-8")
    document.js_on_event(DocumentReady, CustomJS(args=arguments, code=code))
    progress = column(progress_figure, _legend(), sizing_mode="stretch_width")
    document.title = "dflow"
    document.add_root(
        column(
            headline,
            row(progress, _failure_table(failures), sizing_mode="stretch_width"),
            row(_in_flight_table(in_flight), memory_figure, sizing_mode="stretch_width"),
            sizing_mode="stretch_width",
        )
    )


def _progress_figure(tasks: Any) -> Any:
    plot = figure(
        title="Items of each task", y_range=[], height=260, sizing_mode="stretch_width", toolbar_location=None, tools=""
    )
    states = list(COLORS)
    plot.hbar_stack(states, y="task", height=0.6, color=list(COLORS.values()), source=tasks)
    plot.x_range.start = 0
    return plot


def _legend() -> Any:
    """Return a legend of the states' colours; a figure's own legend lacks them if its source was empty at first."""
    swatch = '<span style="color: {}">&#9632;</span>&nbsp;{}'
    return Div(text="&emsp;".join(swatch.format(color, state) for state, color in COLORS.items()))


def _memory_figure(memory: Any) -> Any:
    plot = figure(
        title="Memory, MB (worker, child)", y_range=[], height=300, width=420, toolbar_location=None, tools=""
    )
    plot.hbar_stack(["own", "child"], y="worker", height=0.6, color=["#457b9d", "#a8dadc"], source=memory)
    plot.x_range.start = 0
    return plot


def _failure_table(failures: Any) -> Any:
    columns = [
        TableColumn(field="kind", title="Failures by kind", formatter=StringFormatter()),
        TableColumn(field="n", title="files", formatter=NumberFormatter(format="0,0"), width=70),
    ]
    return DataTable(source=failures, columns=columns, height=260, width=420, index_position=None)


def _in_flight_table(in_flight: Any) -> Any:
    columns = [
        TableColumn(field="seconds", title="seconds", formatter=NumberFormatter(format="0.0"), width=70),
        TableColumn(field="file", title="Slowest files in flight", formatter=StringFormatter(), width=420),
        TableColumn(field="task", title="task", formatter=StringFormatter(), width=90),
        TableColumn(field="host", title="host", formatter=StringFormatter(), width=110),
    ]
    return DataTable(source=in_flight, columns=columns, height=300, sizing_mode="stretch_width", index_position=None)
