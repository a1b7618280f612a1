"""Taking the selection away: code that finds it again, and a file to download."""

from __future__ import annotations

from collections.abc import Callable

from bokeh.layouts import column
from bokeh.models import Button, ColumnDataSource, CustomJS

from dflow.insights.explore.texts import html_block, text_block

# The text comes as data and leaves as a file: it is never part of the page.
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
    """Code on screen, the list of files on request.

    Parameters
    ----------
    file_list : gives the list of the selected files as CSV
    file_name : what the download is called
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
