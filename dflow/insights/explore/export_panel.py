"""Export the selection: code that selects the same files, and a list of them to download."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence

from bokeh.layouts import column
from bokeh.models import Button, ColumnDataSource, CustomJS

from dflow.insights.explore.escaping import html_block, text_block
from dflow.insights.explore.selection import Ids, RangeFilter, Selection
from dflow.insights.explore.variables import RowVariable

# The text is data of the source and becomes a file; it is never part of the page.
_DOWNLOAD = """
const text = source.data.text[0];
if (text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], {type: "text/csv"}));
  link.download = source.data.name[0];
  link.click();
  URL.revokeObjectURL(link.href);
}
"""


class ExportPanel:
    """Shows the code, and sends the list of files on request.

    Parameters
    ----------
    file_list : returns the list of the selected files as CSV
    file_name : the name of the download
    """

    def __init__(self, *, file_list: Callable[[], str], file_name: str) -> None:
        self.code = text_block(width=1100, styles={"border": "1px solid #d5d9de", "padding": "8px"})
        self.download = Button(label="Download the list of files (CSV)", width=260)
        self.handover = ColumnDataSource({"text": [""], "name": [file_name]})
        self.handover.js_on_change("data", CustomJS(args={"source": self.handover}, code=_DOWNLOAD))
        self.download.on_click(
            lambda _event: setattr(self.handover, "data", {"text": [file_list()], "name": [file_name]})
        )
        head = html_block(text="This program finds the selected files again:", width=600)
        self.view = column(self.download, head, self.code)


def file_list(ids: Ids, sources: Sequence[str]) -> str:
    """Return the selected files as CSV: id, file."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["id", "file"])
    writer.writerows((file_id, sources[file_id]) for file_id in ids.tolist())
    return out.getvalue()


def selection_code(selection: Selection, flow_file: str) -> str:
    """Return a program that finds the same files with `DatasetExplorer.get_file_list`.

    Text that comes from a file is inserted as a Python literal.
    """
    lines = ["import numpy as np", "from dflow.dataset import DatasetExplorer", ""]
    lines.append(f"explorer = DatasetExplorer({flow_file!r})")
    lines.append("file_list = explorer.get_file_list()")
    for chosen in selection.filters.values():
        lines += _filter_lines(chosen)
    if selection.text:
        lines.append('names = explorer.files["description"].str.lower()')
        lines.append(f"found = np.flatnonzero(names.str.contains({selection.text.lower()!r}, regex=False))")
        lines.append("file_list = np.intersect1d(file_list, found)")
    lines.append('print(f"{len(file_list)} files")')
    return "\n".join(lines) + "\n"


def _filter_lines(chosen: RangeFilter) -> list[str]:
    variable = chosen.variable
    if " of " in variable.key:
        how, _, array = variable.key.partition(" of ")
        group, _, name = array.partition("/")
        head = f"values = explorer.reduce({group!r}, {name!r}, {how!r}).values"
        return [
            head,
            f"found = np.flatnonzero((values >= {chosen.low!r}) & (values <= {chosen.high!r}))",
            "file_list = np.intersect1d(file_list, found)",
        ]
    group, _, name = variable.key.rpartition("/")
    return [
        f"found = explorer.get_file_list(group={(group or 'file')!r}, where=lambda ds: {_condition(chosen, name)})",
        "file_list = np.intersect1d(file_list, found)",
    ]


def _condition(chosen: RangeFilter, name: str) -> str:
    variable = chosen.variable
    categories = variable.names_within(chosen.low, chosen.high) if variable.labels is not None else []
    column = f"ds[{name!r}]"
    if variable.labels is not None:
        return f"{column}.isin({[code for code, _ in categories]!r})"
    if isinstance(variable, RowVariable):
        # Bins are open above, but for the last one.
        upper = "<=" if chosen.high >= float(variable.edges[-1]) else "<"
        return f"({column} >= {chosen.low!r}) & ({column} {upper} {chosen.high!r})"
    return f"({column} >= {chosen.low!r}) & ({column} <= {chosen.high!r})"
