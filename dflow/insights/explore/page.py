"""The main page: histograms, scatter, table and pictures that follow one selection."""

from __future__ import annotations

from typing import Any

from bokeh.document import Document
from bokeh.events import ConnectionLost, DocumentReady
from bokeh.layouts import column, row
from bokeh.models import Button, CustomJS, TabPanel, Tabs, TextInput

from dflow.errors import DflowError
from dflow.insights.explore.escaping import as_html, as_label, html_block
from dflow.insights.explore.export_panel import ExportPanel, file_list, selection_code
from dflow.insights.explore.failures_panel import FailuresPanel
from dflow.insights.explore.flow_data import FlowData
from dflow.insights.explore.histogram_panel import HistogramPanel
from dflow.insights.explore.parts_panel import PartsPanel
from dflow.insights.explore.scatter_panel import ScatterPanel
from dflow.insights.explore.selection import RangeFilter, Selection

N_HISTOGRAMS = 4
MAX_NAMED, MAX_NAME_LENGTH = 4, 40
"""The largest number of a filter's categories that are named, and of characters of a name."""
FIRST_ARRAYS = ("faces/face_types", "faces/face_areas", "edges/edge_lengths")


class ExplorePage:
    """The page of one browser tab: a selection, and panels that show it.

    After each change every panel shows the same selection. Belongs to one bokeh document.
    """

    def __init__(self, data: FlowData) -> None:
        self.data = data
        self.selection = Selection(data.sources)
        values, arrays = data.file_values(), data.row_arrays()
        options = {"one value per file": values, "all rows": arrays, "reduced to one value per file": data.reductions()}
        keys = _first_keys(values, arrays)
        self.histograms = [
            HistogramPanel(
                f"histogram {i}",
                options,
                key,
                choose=data.variable,
                on_filter=self._set_filter,
                on_error=self._show_error,
            )
            for i, key in enumerate(keys)
        ]
        self.scatter = self._make_scatter(values, options)
        self.parts = PartsPanel(data)
        self.failures = FailuresPanel(data.failures)
        self.export = ExportPanel(
            file_list=lambda: file_list(self.selection.ids(), data.sources), file_name=f"{data.name}-selection.csv"
        )
        self.search = TextInput(placeholder="part of a file's name", width=260)
        self.search.on_change("value", lambda _attr, _old, new: self._set_text(new))
        self.clear = Button(label="select all", width=90)
        self.clear.on_click(lambda _event: self._clear())
        self.status = html_block(text="", width=640)
        self.refresh()

    def attach(self, document: Document) -> None:
        """Add the page to a document."""
        document.title = f"{self.data.name} – dflow"
        reload_when_lost(document)
        document.add_root(self.layout())

    def layout(self) -> Any:
        """Return the whole page."""
        title = html_block(text=f"<b style='font-size:17px'>{as_html(self.data.name)}</b>", width=200)
        plots: list[Any] = [panel.view for panel in self.histograms]
        if self.scatter is not None:
            beside = column(*(row(*plots[i : i + 2]) for i in range(0, len(plots), 2)))
            top = row(beside, self.scatter.view)
        else:
            top = row(*plots)
        explore = column(top, self.parts.view)
        n_failed = len(self.data.failures.items)
        tabs = Tabs(
            tabs=[
                TabPanel(child=explore, title="Parts"),
                TabPanel(child=self.failures.view, title=f"Failures ({n_failed:,})"),
                TabPanel(child=self.export.view, title="Export"),
            ]
        )
        return column(row(title, self.search, self.clear, self.status), tabs)

    def refresh(self) -> None:
        """Show the selection in every panel."""
        for panel in (*self.histograms, self.scatter, self.parts):
            if panel is not None:
                panel.update(self.selection)
        self.export.code.text = selection_code(self.selection, str(self.data.flow_file))
        self.status.text = self._describe()

    def _make_scatter(self, values: list[str], options: dict[str, list[str]]) -> ScatterPanel | None:
        choices = {head: keys for head, keys in options.items() if head != "all rows"}
        keys = values + options["reduced to one value per file"]
        if not keys:
            return None
        return ScatterPanel(
            choices,
            (keys[0], keys[min(1, len(keys) - 1)]),
            numbers=self.data.numbers,
            names=self.data.sources,
            on_filter=self._set_filters,
            on_error=self._show_error,
        )

    def _set_filter(self, panel: str, chosen: RangeFilter | None) -> None:
        self._set_filters({panel: chosen})

    def _set_filters(self, filters: dict[str, RangeFilter | None]) -> None:
        for panel, chosen in filters.items():
            self.selection.set_range(panel, chosen)
        self.refresh()

    def _set_text(self, text: str) -> None:
        self.selection.set_text(text)
        self.refresh()

    def _clear(self) -> None:
        self.selection.clear()
        self.search.value = ""
        self.refresh()

    def _show_error(self, error: DflowError) -> None:
        self.status.text = f"{as_html(error)}; reload this page to see the present dataset"

    def _describe(self) -> str:
        head = f"<b>{self.selection.n_selected:,}</b> of {self.selection.n_files:,} parts selected"
        filters = [as_html(_described(chosen)) for chosen in self.selection.filters.values()]
        return "; ".join([head, *filters])


def _described(chosen: RangeFilter) -> str:
    """Return a filter in words: categories by their names, numbers by the ends of the range."""
    variable = chosen.variable
    if variable.labels is None:
        return f"{variable.key} from {chosen.low:.5g} to {chosen.high:.5g}"
    names = [name for _, name in variable.names_within(chosen.low, chosen.high)]
    shown = [as_label(name, MAX_NAME_LENGTH) for name in names[:MAX_NAMED]]
    return f"{variable.key} is {' or '.join(shown)}{f' or {len(names) - MAX_NAMED} more' if names[MAX_NAMED:] else ''}"


def _first_keys(values: list[str], arrays: list[str]) -> list[str]:
    """Return the keys that the histograms show at first: file values, then arrays of faces."""
    keys = [*values[:2], *(a for a in FIRST_ARRAYS if a in arrays), *values[2:], *arrays]
    return list(dict.fromkeys(keys))[:N_HISTOGRAMS]


_WAIT = """
if (!window.dflowWaits) {
  window.dflowWaits = true;
  const banner = document.createElement("div");
  banner.id = "dflow-lost";
  banner.textContent = "The server does not answer. This page reloads, with all parts selected, when it does.";
  banner.style.cssText = "position:fixed;top:0;left:0;right:0;z-index:9999;padding:8px;text-align:center;" +
    "font:14px system-ui,sans-serif;color:#fff;background:#b3361e";
  document.body.append(banner);
  const retry = () => setTimeout(attempt, 1000);
  const attempt = () => fetch("assets/part.css", {cache: "no-store"})
    .then(answer => answer.ok ? location.reload() : retry(), retry);
  attempt();
}
"""

# A page that the browser restores from its cache (the back button) has lost its connection without an event.
_CACHED = 'window.addEventListener("pageshow", event => { if (event.persisted) location.reload(); });'


def reload_when_lost(document: Document) -> None:
    """Make a document's page reload after a lost connection.

    Bokeh would connect the page to a new session without its models (the server was restarted, or has dropped the
    session of a machine that slept): the page would look intact and react to nothing.
    """
    document.js_on_event(ConnectionLost, CustomJS(code=_WAIT))
    document.js_on_event(DocumentReady, CustomJS(code=_CACHED))
    if hasattr(document, "config"):  # from bokeh 3.8 on; older versions reconnect once, without an event
        document.config.reconnect_session = False
        document.config.notify_connection_status = False
