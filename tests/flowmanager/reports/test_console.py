"""Bars in a terminal and in a notebook, also in a real kernel whose event loop is running, and the final tables."""

from __future__ import annotations

import io
import types
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from rich.console import Console

from dflow.flowmanager.cluster.deaths import WorkerDeath
from dflow.flowmanager.reports.console import NotebookBars, TerminalBars, html_table, is_notebook, print_report
from dflow.flowmanager.reports.progress import ProgressEvent
from tests.flowmanager.reports.facts import output_with_errors


def test_the_table_is_whole_html_and_escapes_what_it_shows() -> None:
    event = ProgressEvent("f", "<script>", "advanced", 8, succeeded=2, dashboard="http://x/'><b>/status")
    text = html_table((event,))
    assert "<script>" not in text
    assert "x/'" not in text
    ET.fromstring(f"<div>{text}</div>")
    assert "width:25.0%" in text


def test_the_links_are_the_flow_s_page_and_dask_s_own() -> None:
    event = ProgressEvent("f", "encode", "advanced", 8, dashboard="http://127.0.0.1:8787/status")
    links = ET.fromstring(f"<div>{html_table((event,))}</div>").iter("a")
    assert [link.get("href") for link in links] == ["http://127.0.0.1:8787/dflow", "http://127.0.0.1:8787/status"]


class Handle:
    def __init__(self) -> None:
        self.updates: list[str] = []

    def update(self, content: Any) -> None:
        self.updates.append(content._repr_html_())


def test_without_widgets_one_display_is_updated() -> None:
    handle, shown = Handle(), []
    bars = NotebookBars(lambda thing: shown.append(thing) or handle)
    bars(ProgressEvent("f", "encode", "started", 2))
    bars(ProgressEvent("f", "encode", "advanced", 2, succeeded=1))
    bars.close()
    assert len(shown) == 1
    assert "1/2 files" in handle.updates[-1]


def test_with_widgets_the_table_lives_and_plain_html_is_left() -> None:
    handle, shown, cancelled, handlers = Handle(), [], [], []
    button = types.SimpleNamespace(on_click=handlers.append)
    widgets = types.SimpleNamespace(
        HTML=lambda: types.SimpleNamespace(value=""), Button=lambda **_: button, VBox=lambda parts: parts
    )
    bars = NotebookBars(lambda thing: shown.append(thing) or handle, widgets, lambda: cancelled.append(True))
    bars(ProgressEvent("f", "encode", "advanced", 2, succeeded=1))
    (table, _), *_ = shown
    assert "1/2 files" in table.value
    assert handle.updates == []
    handlers[0](button)
    assert cancelled == [True]
    bars.note("<stopped>")
    bars.close()
    assert "1/2 files" in handle.updates[-1]
    assert "&lt;stopped&gt;" in handle.updates[-1]


def test_terminal_bars_show_counts() -> None:
    stream = io.StringIO()
    shown = TerminalBars(Console(file=stream, width=120))
    shown(ProgressEvent("f", "encode", "started", 4))
    shown(ProgressEvent("f", "encode", "finished", 4, succeeded=3, failed=1, seconds=2.0))
    shown.close()
    assert "4/4 files, 2.0/s, 1 failed" in stream.getvalue()


def test_the_final_tables_name_counts_frequent_errors_and_what_to_do() -> None:
    stream = io.StringIO()
    print_report(output_with_errors(), Console(file=stream, width=160))
    text = stream.getvalue()
    assert "4 files: 1 succeeded, 0 skipped, 3 failed (75.00%)" in text
    assert "[timeout] took <too> long" in text
    assert "raise timeout_seconds" in text
    assert "Workers that were lost" not in text


def test_lost_workers_are_listed_by_host_with_advice_from_two_on() -> None:
    stream = io.StringIO()
    deaths = [WorkerDeath(f"tcp://{n}", host, "killed") for n, host in enumerate(["a", "a", "b"])]
    print_report(replace(output_with_errors(), worker_deaths=tuple(deaths)), Console(file=stream, width=200))
    rows = [line for line in stream.getvalue().splitlines() if "killed" in line]
    assert ["killed (2x)" in rows[0], "killed (1x)" in rows[1]] == [True, True]
    assert ["more memory" in row for row in rows] == [True, False]


def test_a_finished_task_has_a_full_bar_whatever_its_total() -> None:
    assert "width:100.0%" in html_table((ProgressEvent("f", "merge", "finished", None, succeeded=3),))
    assert "width:0.0%" in html_table((ProgressEvent("f", "merge", "advanced", None, succeeded=3),))
    assert "<a " not in html_table((ProgressEvent("f", "merge", "finished", None),))


def test_this_process_is_no_notebook() -> None:
    assert not is_notebook()


CELLS = [
    """
import asyncio, re, sys, time, urllib.request
import dflow, ipywidgets
from dflow.errors import FlowCancelledError
from dflow.flowmanager import flowtask
from distributed import Client, LocalCluster

@flowtask.transform(name="work", inputs=["part", "storage"])
def work(part, storage):
    time.sleep(0.05)
    storage.save_metadata("part", part)
    return part

client = Client(LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0"))
assert asyncio.get_running_loop().is_running()  # the notebook's own

def made(kind):
    every = ipywidgets.widgets.widget._instances.values()
    return [each for each in every if type(each) is kind]
""",
    """
flow = dflow.create_flow("shown", [work], OUT)
output, _, _ = flow.process(inputs={"parts": list(range(20))})
assert "20/20 files" in made(ipywidgets.HTML)[-1].value
""",
    """
running = dflow.create_flow("background", [work], OUT).start(inputs={"parts": list(range(2000))})
""",
    """
table, button = made(ipywidgets.HTML)[-1], made(ipywidgets.Button)[-1]
deadline = time.monotonic() + 60
while not re.search(r"[1-9]\\d*/2000 files", table.value) and time.monotonic() < deadline:
    await asyncio.sleep(0.1)
assert re.search(r"[1-9]\\d*/2000 files", table.value), table.value
for link in re.findall("href='([^']+)'", table.value):
    with await asyncio.to_thread(urllib.request.urlopen, link) as answer:
        assert answer.status == 200
button.click()
try:
    await asyncio.to_thread(running.wait, 60)
except FlowCancelledError:
    print(running.status().state)
""",
    """
sys.modules["ipywidgets"] = None  # as where it is not installed
n_tables = len(made(ipywidgets.HTML))
_ = await asyncio.to_thread(dflow.create_flow("plain", [work], OUT).start(inputs={"parts": [1, 2, 3]}).wait, 60)
assert len(made(ipywidgets.HTML)) == n_tables
client.shutdown()
""",
]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the kernel's own
def test_a_real_notebook_shows_live_bars_while_its_event_loop_runs(tmp_path: Any) -> None:
    cells = [nbformat.v4.new_code_cell(cell) for cell in [f"OUT = {str(tmp_path)!r}", *CELLS]]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=180, resources={"metadata": {"path": str(tmp_path)}}).execute()

    def html_of(cell: Any) -> str:
        return " ".join(out["data"].get("text/html", "") for out in cell.outputs if "data" in out)

    _, _, shown, background, live, plain = notebook.cells
    assert "20/20 files" in html_of(shown)  # what a saved notebook keeps
    assert "flow page" in html_of(shown)
    assert "FlowCancelledError" in html_of(background)
    assert "cancelled" in [out["text"].strip() for out in live.outputs if out.get("name") == "stdout"]
    assert "3/3 files" in html_of(plain)
    assert "Finished." in html_of(plain)
