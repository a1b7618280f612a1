"""A table that follows its source."""

from __future__ import annotations

from bokeh.models import ColumnDataSource, CustomJS, TableColumn

from dflow.insights.explore.tables import live_table


def test_a_change_of_the_rows_redraws_and_the_browser_does_not_sort():
    source = ColumnDataSource({"a": [1, 2]})
    table = live_table(source, [TableColumn(field="a")], width=100, height=50)
    (callback,) = source.js_property_callbacks["change:data"]
    assert isinstance(callback, CustomJS)
    assert callback.args == {"table": table}
    assert "change.emit()" in callback.code
    assert (table.sortable, table.reorderable, table.index_position) == (False, False, None)
