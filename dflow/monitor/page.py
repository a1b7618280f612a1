"""The page ``/dflow`` on the Dask dashboard: progress, failures, files in flight and memory, updated every second.

It shows numbers of the scheduler's `DflowMonitor` and nothing else; while nobody looks it costs nothing. File names are
untrusted text: they stand in table cells, which Bokeh renders as text, never as markup.
"""

from __future__ import annotations

import html
from typing import Any

from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource, DataTable, Div, NumberFormatter, StringFormatter, TableColumn
from bokeh.plotting import figure

from dflow.monitor.plugin import monitor_of

UPDATE_MILLISECONDS = 1000
COLORS = {"succeeded": "#2a9d8f", "skipped": "#e9c46a", "failed": "#d1495b", "waiting": "#d9dee4"}
MB = 1024.0 * 1024.0


class FlowPage:
    """The models of one session's document and how a snapshot fills them."""

    def __init__(self) -> None:
        self.headline = Div(text="", styles={"font-size": "15px", "margin": "6px 0"}, sizing_mode="stretch_width")
        self.tasks = ColumnDataSource({"task": [], **{state: [] for state in COLORS}})
        self.failures = ColumnDataSource({"kind": [], "n": []})
        self.in_flight = ColumnDataSource({"seconds": [], "file": [], "task": [], "host": [], "child": []})
        self.memory = ColumnDataSource({"worker": [], "own": [], "child": []})
        self.progress_figure = self._progress_figure()
        self.memory_figure = self._memory_figure()

    def root(self) -> Any:
        """The layout."""
        return column(
            self.headline,
            row(self.progress_figure, self._failure_table(), sizing_mode="stretch_width"),
            row(self._in_flight_table(), self.memory_figure, sizing_mode="stretch_width"),
            sizing_mode="stretch_width",
        )

    def _progress_figure(self) -> Any:
        plot = figure(
            title="Items of each task",
            y_range=[],
            height=260,
            sizing_mode="stretch_width",
            toolbar_location=None,
            tools="",
        )
        states = list(COLORS)
        plot.hbar_stack(
            states, y="task", height=0.6, color=list(COLORS.values()), source=self.tasks, legend_label=states
        )
        plot.x_range.start = 0
        plot.legend.orientation = "horizontal"
        plot.add_layout(plot.legend[0], "below")
        return plot

    def _memory_figure(self) -> Any:
        plot = figure(
            title="Memory, MB (worker, child)", y_range=[], height=300, width=420, toolbar_location=None, tools=""
        )
        plot.hbar_stack(["own", "child"], y="worker", height=0.6, color=["#457b9d", "#a8dadc"], source=self.memory)
        plot.x_range.start = 0
        return plot

    def _failure_table(self) -> Any:
        columns = [
            TableColumn(field="kind", title="Failures by kind", formatter=StringFormatter()),
            TableColumn(field="n", title="files", formatter=NumberFormatter(format="0,0"), width=70),
        ]
        return DataTable(source=self.failures, columns=columns, height=260, width=420, index_position=None)

    def _in_flight_table(self) -> Any:
        columns = [
            TableColumn(field="seconds", title="seconds", formatter=NumberFormatter(format="0.0"), width=70),
            TableColumn(field="file", title="Slowest files in flight", formatter=StringFormatter(), width=420),
            TableColumn(field="task", title="task", formatter=StringFormatter(), width=90),
            TableColumn(field="host", title="host", formatter=StringFormatter(), width=110),
            TableColumn(field="child", title="child, MB", formatter=NumberFormatter(format="0"), width=80),
        ]
        return DataTable(
            source=self.in_flight, columns=columns, height=300, sizing_mode="stretch_width", index_position=None
        )

    def show(self, snapshot: dict[str, Any]) -> None:
        """Put a snapshot's numbers on the page."""
        workers = snapshot["workers"]
        self._show_memory(workers)
        runs = snapshot["runs"]
        running = [run for run in runs if run["status"] == "running"] or runs
        if not running:
            self.headline.text = f"No flow has run on this scheduler yet. {len(workers)} workers."
            return
        run = running[-1]
        self.headline.text = headline(run, len(workers))
        tasks = run["tasks"]
        if list(self.progress_figure.y_range.factors) != list(tasks)[::-1]:
            self.progress_figure.y_range.factors = list(tasks)[::-1]
        self.tasks.data = {"task": list(tasks), **{s: [counts[s] for counts in tasks.values()] for s in COLORS}}
        self.failures.data = {"kind": list(run["failures"]), "n": list(run["failures"].values())}
        flying = run["in_flight"]
        self.in_flight.data = {
            "seconds": [f["seconds"] for f in flying],
            "file": [f["file"] for f in flying],
            "task": [f["task"] for f in flying],
            "host": [f["host"] for f in flying],
            "child": [f["child_bytes"] / MB for f in flying],
        }

    def _show_memory(self, workers: list[dict[str, Any]]) -> None:
        names = [f"{w['host']}:{w['worker'].rsplit(':', 1)[-1]}" for w in workers]
        if list(self.memory_figure.y_range.factors) != names[::-1]:
            self.memory_figure.y_range.factors = names[::-1]
        own = [w["bytes"] / MB for w in workers]
        self.memory.data = {"worker": names, "own": own, "child": [w["child_bytes"] / MB for w in workers]}


def headline(run: dict[str, Any], n_workers: int) -> str:
    """One line of HTML over the plots: which flow, how far, how fast, how long."""
    done = sum(task["done"] for task in run["tasks"].values())
    total = sum(max(task["total"], task["done"]) for task in run["tasks"].values())
    failed = sum(run["failures"].values())
    parts = [
        f"<b>{html.escape(run['flow'])}</b> {html.escape(run['status'])}",
        f"{done:,} of {total:,} items",
        f"{failed:,} failed",
        f"{run['files_per_second']:.1f} files/s",
    ]
    if run["seconds_left"] is not None:
        parts.append(f"about {clock(run['seconds_left'])} left")
    parts.append(f"{run['bytes_merged'] / MB:,.1f} MB merged")
    parts.append(f"{n_workers} workers")
    return " &nbsp;·&nbsp; ".join(parts)


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"


def flow_document(scheduler: Any, extra: dict[str, Any], document: Any) -> None:
    """Build one session's document: Bokeh calls this for each browser tab."""
    page = FlowPage()

    def update() -> None:
        monitor = monitor_of(scheduler)
        page.show(monitor.snapshot() if monitor else {"runs": [], "workers": []})

    update()
    document.title = "dflow"
    document.add_root(page.root())
    document.add_periodic_callback(update, UPDATE_MILLISECONDS)
