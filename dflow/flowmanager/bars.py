"""Progress bars: rich in a terminal, HTML in a notebook. Both only listen to progress events."""

from __future__ import annotations

import html
import sys
from collections.abc import Callable
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from dflow.flowmanager.progress import ProgressEvent


class Bars(Protocol):
    """Something that shows events until it is closed."""

    def __call__(self, event: ProgressEvent) -> None:
        """Show an event."""

    def close(self) -> None:
        """Leave the last state standing."""


def default_bars() -> Bars:
    """HTML in a notebook, rich otherwise (which prints only the last state where the output is no terminal)."""
    display = _notebook_display()
    return HtmlBars(display) if display is not None else TerminalBars()


class TerminalBars:
    """One line a task: bar, done of total, rate, reused and failed."""

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


class HtmlBars:
    """The same as one HTML table, updated in place. Needs no widget extension."""

    def __init__(self, display: Callable[[str], Any]) -> None:
        self._display = display
        self._events: dict[str, ProgressEvent] = {}
        self._handle: Any = None

    def __call__(self, event: ProgressEvent) -> None:
        """Draw all tasks anew."""
        self._events[event.task] = event
        text = html_table(tuple(self._events.values()))
        if self._handle is None:
            self._handle = self._display(text)
        else:
            self._handle.update(_Html(text))

    def close(self) -> None:
        """Nothing to stop."""


def describe(event: ProgressEvent) -> str:
    """``412/5000 files, 83.1/s, 12 reused, 3 failed``."""
    total = f"/{event.total}" if event.total is not None else ""
    parts = [f"{event.done}{total} {event.unit}", f"{event.items_per_second:.1f}/s"]
    parts += [f"{count} {word}" for count, word in _exceptions(event) if count]
    return ", ".join(parts)


def html_table(events: tuple[ProgressEvent, ...]) -> str:
    """The tasks' bars as an HTML table; all text is escaped."""
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
    link = f"<a href='{html.escape(dashboard, quote=True)}'>Dask dashboard</a>" if dashboard else ""
    return f"<table>{''.join(rows)}</table>{link}"


def _exceptions(event: ProgressEvent) -> tuple[tuple[int, str], ...]:
    return (event.reused, "reused"), (event.skipped, "skipped"), (event.failed, "failed")


class _Html:
    """Text that a notebook shows as HTML."""

    def __init__(self, text: str) -> None:
        self._text = text

    def _repr_html_(self) -> str:
        return self._text


def _notebook_display() -> Callable[[str], Any] | None:
    """Jupyter's display with an updatable handle, None outside a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display

    return lambda text: display(_Html(text), display_id=True)
