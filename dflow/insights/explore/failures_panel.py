"""The panel of failed files, by kind."""

from __future__ import annotations

from typing import Any

from bokeh.layouts import column, row
from bokeh.models import (
    ColumnDataSource,
    NumberFormatter,
    Select,
    StringFormatter,
    TableColumn,
)

from dflow.insights.explore.escaping import as_html, html_block, text_block
from dflow.insights.explore.failures import Failure, Failures
from dflow.insights.explore.tables import live_table

MAX_ROWS = 5000
EVERY_KIND = "every kind"


class FailuresPanel:
    """Kinds with their counts, a table of failures, and the details of the chosen one."""

    def __init__(self, failures: Failures) -> None:
        self._failures = failures
        self._shown: list[Failure] = []
        kinds = [(EVERY_KIND, f"{EVERY_KIND} ({len(failures.items):,})")]
        kinds += [(kind, f"{kind} ({count:,})") for kind, count in failures.by_kind()]
        self.kind = Select(title="kind", value=EVERY_KIND, options=kinds, width=260)
        self._source = ColumnDataSource({name: [] for name in ("file", "kind", "task", "message", "seconds")})
        self._note = html_block(text=as_html(failures.note), width=600)
        self.detail = text_block(width=1180, styles={"white-space": "pre-wrap", "overflow-wrap": "anywhere"})
        self.traceback = text_block(width=1180, styles={"max-height": "320px", "overflow": "auto"})
        widths = {"file": 330, "kind": 110, "task": 110, "message": 540}
        columns = [
            TableColumn(field=name, title=name, formatter=StringFormatter(), width=width)
            for name, width in widths.items()
        ]
        columns.append(
            TableColumn(field="seconds", title="seconds", formatter=NumberFormatter(format="0.00"), width=80)
        )
        self.table = live_table(self._source, columns, width=1190, height=330)
        self.view = column(row(self.kind, self._note), self.table, self.detail, self.traceback)
        self.kind.on_change("value", lambda _attr, _old, new: self.show_kind(new))
        self._source.selected.on_change("indices", lambda _attr, _old, new: self._choose(new))
        self.show_kind(EVERY_KIND)

    def show_kind(self, kind: str) -> None:
        """Show the failures of one kind, or of every kind."""
        found = [item for item in self._failures.items if kind in (EVERY_KIND, item.kind)]
        self._shown = found[:MAX_ROWS]
        self._source.selected.indices = []
        self._source.data = {
            "file": [item.file for item in self._shown],
            "kind": [item.kind for item in self._shown],
            "task": [item.task for item in self._shown],
            "message": [item.reason for item in self._shown],
            "seconds": [item.seconds for item in self._shown],
        }
        if len(found) > MAX_ROWS:
            self._note.text = f"The first {MAX_ROWS:,} of {len(found):,} are shown."

    def _choose(self, indices: Any) -> None:
        chosen = self._shown[indices[0]] if indices else None
        self.detail.text = "" if chosen is None else _detail(chosen)
        self.traceback.text = "" if chosen is None else chosen.traceback


def _detail(failure: Failure) -> str:
    """Return the whole name and message, which the table shortens, and the advice."""
    lines = [failure.file, f"{failure.kind}: {failure.message}"]
    return "\n".join([*lines, f"what to do: {failure.advice}"] if failure.advice else lines)
