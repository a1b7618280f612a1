"""Tables of the page: sorted and paged on the server, shown in the browser."""

from __future__ import annotations

from collections.abc import Sequence

from bokeh.models import ColumnDataSource, CustomJS, DataTable, TableColumn

# Bokeh 3.9 redraws a table only when the set of row numbers changes, not when rows are replaced by as many others.
_REDRAW = "table.view.change.emit()"


def live_table(source: ColumnDataSource, columns: Sequence[TableColumn], *, width: int, height: int) -> DataTable:
    """Return a table that follows its source, also when rows are replaced by as many others."""
    table = DataTable(
        source=source,
        columns=list(columns),
        sortable=False,  # the browser would sort the rows on screen only
        reorderable=False,
        index_position=None,
        autosize_mode="none",
        width=width,
        height=height,
    )
    source.js_on_change("data", CustomJS(args={"table": table}, code=_REDRAW))
    return table
