"""The panel of the selected files: a table in pages, and their pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.layouts import column, row
from bokeh.models import (
    Button,
    Checkbox,
    ColumnDataSource,
    DataTable,
    HTMLTemplateFormatter,
    NumberFormatter,
    Select,
    StringFormatter,
    TableColumn,
)

from dflow.insights.explore.escaping import as_html, as_label, html_block
from dflow.insights.explore.flow_data import FlowData
from dflow.insights.explore.selection import PAGE_ROWS, Ids, Selection, page_of, sorted_ids
from dflow.insights.explore.tables import live_table

N_THUMBNAILS = 24
MAX_COLUMNS = 7
WIDTH = 640
FILE = "description"
"""The column of files; the table shows and sorts by the file's name without its folder."""
# Only the id enters the template, and it is an integer.
_LINK = '<a href="part?id=<%= value %>" target="_blank"><%= value %></a>'


class PartsPanel:
    """Sorts and pages on the server, so that the browser never holds more than one page.

    Parameters
    ----------
    data : the flow
    """

    def __init__(self, data: FlowData) -> None:
        self._data = data
        self._columns = data.table_columns()[:MAX_COLUMNS]
        self._page = 0
        self._selected: Ids = np.zeros(0, np.int64)
        self._ids: Ids = self._selected
        sortable = ["id", FILE, *self._columns]
        self.sort = Select(
            title="sort by",
            value="id",
            options=[(c, "file" if c == FILE else as_label(c)) for c in sortable],
            width=190,
        )
        self.descending = Checkbox(label="descending", active=False)
        self._where = html_block(text="", width=170)
        self.previous, self.next = Button(label="‹ previous", width=90), Button(label="next ›", width=90)
        self._source = ColumnDataSource({c: [] for c in ("id", "file", *self._columns)})
        self.table = self._make_table()
        self.thumbnails = html_block(text="", width=660)
        self.view = column(
            row(self.sort, column(self.descending), self.previous, self._where, self.next),
            row(self.table, self.thumbnails),
        )
        self._connect()

    def update(self, selection: Selection) -> None:
        """Show the first page of a new selection."""
        self._selected, self._page = selection.ids(), 0
        self._sort()

    def turn(self, pages: int) -> None:
        """Move some pages forwards or back."""
        self._page += pages
        self._show()

    def _connect(self) -> None:
        self.sort.on_change("value", lambda _attr, _old, _new: self._sort())
        self.descending.on_change("active", lambda _attr, _old, _new: self._sort())
        self.previous.on_click(lambda _event: self.turn(-1))
        self.next.on_click(lambda _event: self.turn(1))

    def _make_table(self) -> DataTable:
        columns = [
            TableColumn(field="id", title="id", formatter=HTMLTemplateFormatter(template=_LINK), width=62),
            TableColumn(field="file", title="file", formatter=StringFormatter(), width=230),
        ]
        for name in self._columns:
            numeric = self._data.column(name).dtype.kind == "f"
            formatter = NumberFormatter(format="0,0.[000]", nan_format="–") if numeric else StringFormatter()
            columns.append(TableColumn(field=name, title=as_html(as_label(name, 24)), formatter=formatter, width=86))
        return live_table(self._source, columns, width=WIDTH, height=520)

    def _sort(self) -> None:
        key = self.sort.value
        values = self._data.file_names if key == FILE else self._data.column(key)
        self._ids = sorted_ids(self._selected, values, descending=bool(self.descending.active))
        self._page = 0
        self._show()

    def _show(self) -> None:
        ids, self._page, n_pages = page_of(self._ids, self._page)
        rows: dict[str, Any] = {"id": ids.tolist(), "file": self._data.names(ids)}
        for name in self._columns:
            rows[name] = self._data.column(name)[ids]
        self._source.data = rows
        first = self._page * PAGE_ROWS
        self._where.text = f"{first + 1 if len(ids) else 0:,} to {first + len(ids):,} of {len(self._ids):,}"
        self.previous.disabled, self.next.disabled = self._page == 0, self._page == n_pages - 1
        self.thumbnails.text = thumbnails_html(self._data, ids[:N_THUMBNAILS])


def thumbnails_html(data: FlowData, ids: Ids) -> str:
    """Return pictures of parts as links to their pages; every name is escaped."""
    tiles = []
    for entry in data.parts.entries(ids.tolist()):
        name = as_html(entry.name)
        picture = (
            f'<img src="thumb?id={entry.file_id}" width="100" height="100" alt="" loading="lazy" style="display:block">'
            if entry.has_png
            else '<div style="width:100px;height:100px;background:#e4e7eb;color:#666;text-align:center;'
            'line-height:100px;font-size:11px">no preview</div>'
        )
        tiles.append(
            f'<a href="part?id={entry.file_id}" target="_blank" title="{name}" class="dflow-part" '
            'style="width:100px;font-size:11px;color:#222;text-decoration:none;overflow:hidden;'
            f'text-overflow:ellipsis;white-space:nowrap;display:block">{picture}{entry.file_id}: {name}</a>'
        )
    return f'<div style="display:flex;flex-wrap:wrap;gap:6px">{"".join(tiles)}</div>'
