"""Progress bars and the final tables: rich in a terminal, a widget or HTML in a notebook."""

from __future__ import annotations

import html
import sys
from collections.abc import Callable
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from dflow.flowmanager.cluster.deaths import KIND, MANY, by_host
from dflow.flowmanager.reports.flowfiles import ADVICE
from dflow.flowmanager.reports.flowoutput import FlowOutput, frequent_errors, near_limit_line
from dflow.flowmanager.reports.progress import ProgressEvent, describe
from dflow.plaintext import plain


class Bars(Protocol):
    """Something that shows events until it is closed."""

    def __call__(self, event: ProgressEvent) -> None:
        """Show an event."""

    def close(self) -> None:
        """Stop; the last state stays visible."""


def default_bars() -> Bars:
    """Return a notebook's bars, or rich's (which print only the last state where the output is not a terminal)."""
    return notebook_bars() if is_notebook() else TerminalBars()


class TerminalBars:
    """One line per task: bar, done of total, rate, reused and failed."""

    def __init__(self, console: Console | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description:16}"),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
            console=console or Console(file=sys.stderr),
            refresh_per_second=4,
        )
        self._rows: dict[str, TaskID] = {}

    def __call__(self, event: ProgressEvent) -> None:
        """Move the task's bar; the first event starts the display."""
        if not self._rows:
            self._progress.start()
        text = describe(event)
        if event.task not in self._rows:
            self._rows[event.task] = self._progress.add_task(event.task, total=event.total, text=text)
        total = event.done if event.phase == "finished" else event.total
        self._progress.update(self._rows[event.task], completed=event.done, total=total, text=text)

    def close(self) -> None:
        """Stop the display; the bars stay."""
        self._progress.stop()


def is_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and hasattr(shell, "kernel")


def notebook_bars(on_cancel: Callable[[], None] | None = None) -> NotebookBars:
    """Return bars in the cell that is being executed; with `on_cancel` and ipywidgets, they have a button for it."""
    from IPython.display import display

    def show(content: Any) -> Any:
        return display(content, display_id=True)

    try:
        import ipywidgets
    except ImportError:
        return NotebookBars(show)
    return NotebookBars(show, ipywidgets, on_cancel)


class NotebookBars:
    """The tasks' bars as one table with a link to the dashboard, from the first event on until `close`.

    Any thread may call it, one at a time. With widgets the table changes in place; at the end it is plain HTML either
    way, which a saved notebook keeps.
    """

    def __init__(
        self,
        display: Callable[[Any], Any],
        widgets: Any = None,
        on_cancel: Callable[[], None] | None = None,
    ) -> None:
        self._events: dict[str, ProgressEvent] = {}
        self._note = ""
        self._table: Any = None
        shown: Any = _Html("")
        if widgets is not None:
            self._table = shown = widgets.HTML()
            if on_cancel is not None:
                button = widgets.Button(
                    description="Cancel", icon="stop", tooltip="Stop the flow; what is finished is kept"
                )
                button.on_click(lambda _: on_cancel())
                shown = widgets.VBox([self._table, button])
        self._handle = display(shown)

    def __call__(self, event: ProgressEvent) -> None:
        """Redraw all tasks."""
        self._events[event.task] = event
        if self._table is not None:
            self._table.value = self._html()
        else:
            self._handle.update(_Html(self._html()))

    def note(self, text: str) -> None:
        """Set a line below the bars."""
        self._note = text

    def close(self) -> None:
        """Replace the widgets by the last state."""
        self._handle.update(_Html(self._html()))

    def _html(self) -> str:
        note = f"<div>{html.escape(self._note)}</div>" if self._note else ""
        return html_table(tuple(self._events.values())) + note


def html_table(events: tuple[ProgressEvent, ...]) -> str:
    """Return the tasks' bars as an HTML table; all text is escaped."""
    rows = []
    for event in events:
        full = event.phase == "finished"
        share = 100.0 if full else 100.0 * event.done / event.total if event.total else 0.0
        colour = "#c0392b" if event.failed else "#2e86c1"
        rows.append(
            f"<tr><td style='text-align:left'><b>{html.escape(event.task)}</b></td>"
            "<td><div style='width:220px;background:#ddd'>"
            f"<div style='width:{share:.1f}%;height:1em;background:{colour}'></div></div></td>"
            f"<td style='text-align:left'>{html.escape(describe(event))}</td></tr>"
        )
    dashboard = next((event.dashboard for event in reversed(events) if event.dashboard), "")
    return f"<table>{''.join(rows)}</table>{_links(dashboard)}"


def _links(dashboard: str) -> str:
    """Return links to the flow's page and Dask's own, which have the same parent address."""
    if not dashboard:
        return ""
    pages = ((f"{dashboard.rsplit('/', 1)[0]}/dflow", "flow page"), (dashboard, "Dask dashboard"))
    links = (f"<a href='{html.escape(url, quote=True)}' target='_blank'>{name}</a>" for url, name in pages)
    return f"<div>{' · '.join(links)}</div>"


class _Html:
    """HTML that a notebook displays."""

    def __init__(self, text: str) -> None:
        self._text = text

    def _repr_html_(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "the progress of a flow"


def print_report(output: FlowOutput, console: Console | None = None) -> None:
    """Print the tables of a finished run, to the error stream by default."""
    console = console or Console(file=sys.stderr)
    console.print(_tasks_table(output))
    counts = output.counts
    share = f" ({100 * counts.failed / counts.submitted:.2f}%)" if counts.submitted else ""
    console.print(
        f"{counts.submitted} files: {counts.succeeded} succeeded, {counts.skipped} skipped, {counts.failed} "
        f"failed{share}; {counts.reused} reused; {counts.samples} samples in {output.time_to_process:.1f} s",
        highlight=False,
    )
    if output.errors:
        console.print(_errors_table(output))
    if any(output.summary_data.get(key) for key in _DECLARATIONS):
        console.print(_declarations_table(output))
    if output.near_limit:
        console.print(near_limit_line(output.near_limit), highlight=False, markup=False, soft_wrap=True)
    if output.worker_deaths:
        console.print(_deaths_table(output))
    if counts.verdict:
        console.print(f"{counts.verdict} See error_summary.json in the flow's folder.", highlight=False, soft_wrap=True)


def _tasks_table(output: FlowOutput) -> Table:
    table = Table(title=f"Flow {escape(plain(output.flow_name))}", title_justify="left")
    for column in ("task", "seconds", "succeeded", "skipped", "failed", "reused"):
        table.add_column(column, justify="left" if column == "task" else "right")
    for task in output.task_instances:
        statuses = [record.status for record in task.records]
        reused = sum(record.reused for record in task.records)
        numbers = [statuses.count("succeeded"), statuses.count("skipped"), statuses.count("failed"), reused]
        cells = [str(number) if task.records else "" for number in numbers]
        table.add_row(escape(task.name), f"{task.seconds:.2f}", *cells)
    return table


def _errors_table(output: FlowOutput) -> Table:
    table = Table(title="Most frequent errors", title_justify="left")
    table.add_column("files", justify="right")
    table.add_column("reason", overflow="fold")
    table.add_column("what to do", overflow="fold")
    for reason, count in frequent_errors(output.errors):
        kind = reason[1 : reason.index("]")]
        table.add_row(str(count), escape(plain(reason)), ADVICE.get(kind, ""))
    return table


_DECLARATIONS = {
    "declared_not_saved": "declared, but no file saved it: all its rows are fill values",
    "saved_not_declared": "saved, but not declared",
}
_MOST_DECLARATIONS = 20


def _declarations_table(output: FlowOutput) -> Table:
    table = Table(title="Declared against saved", title_justify="left")
    for column in ("array or metadata", "fault", "nearest name"):
        table.add_column(column, overflow="fold")
    for key, fault in _DECLARATIONS.items():
        entries = output.summary_data.get(key, [])
        for entry in entries[:_MOST_DECLARATIONS]:
            table.add_row(escape(plain(entry["name"])), fault, escape(plain(entry["nearest"])))
        if len(entries) > _MOST_DECLARATIONS:
            table.add_row(f"{len(entries) - _MOST_DECLARATIONS} more in the .flow file", fault, "")
    return table


def _deaths_table(output: FlowOutput) -> Table:
    table = Table(title="Workers that were lost", title_justify="left")
    table.add_column("workers", justify="right")
    table.add_column("host")
    table.add_column("causes", overflow="fold")
    table.add_column("what to do", overflow="fold")
    for host, count, causes in by_host(output.worker_deaths):
        table.add_row(str(count), escape(plain(host)), escape(plain(causes)), ADVICE[KIND] if count >= MANY else "")
    return table
