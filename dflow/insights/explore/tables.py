"""Tables of the pages: sorted and paged on the server, shown in the browser."""

from __future__ import annotations

from collections.abc import Sequence

from bokeh.models import ColumnDataSource, CustomJS, DataTable, TableColumn

# Bokeh 3.9 draws a table anew when the set of row numbers changes; rows that are replaced by as many others stay as
# they were on screen.
_REDRAW = "table.view.change.emit()"


def live_table(source: ColumnDataSource, columns: Sequence[TableColumn], *, width: int, height: int) -> DataTable:
    """Return a table that shows what its source holds, also after rows were replaced by as many others."""
    table = DataTable(
        source=source,
        columns=list(columns),
        sortable=False,  # in the browser it would sort what is on screen only
        reorderable=False,
        index_position=None,
        autosize_mode="none",
        width=width,
        height=height,
    )
    source.js_on_change("data", CustomJS(args={"table": table}, code=_REDRAW))
    return table
