"""Progress bars: rich in a terminal, a widget or HTML in a notebook. They only listen to progress events."""

from __future__ import annotations

import sys
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from dflow.flowmanager.reports.notebookbars import is_notebook, notebook_bars
from dflow.flowmanager.reports.progress import ProgressEvent, describe


class Bars(Protocol):
    """Something that shows events until it is closed."""

    def __call__(self, event: ProgressEvent) -> None:
        """Show an event."""

    def close(self) -> None:
        """Leave the last state standing."""


def default_bars() -> Bars:
    """A notebook's own, rich otherwise (which prints only the last state where the output is no terminal)."""
    return notebook_bars() if is_notebook() else TerminalBars()


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
