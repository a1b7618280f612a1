"""The exported program finds the selected files; the list of files is CSV."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from bokeh.events import ButtonClick

from dflow.dataset import DatasetExplorer
from dflow.insights.explore.export_panel import ExportPanel, file_list, selection_code
from dflow.insights.explore.page import ExplorePage
from tests.insights.explore.flows import HOSTILE, N_PARTS


@pytest.fixture
def page(data):
    return ExplorePage(data)


def test_the_exported_code_finds_the_same_files(page, data):
    page.histograms[0].brush(2.5, 9.5)
    page.histograms[3].brush(20.0, 90.0)
    page.histograms[1].select.value = "category"
    page.histograms[1].brush(0.6, 1.4)
    page.scatter.selects[0].value = "max of faces/face_areas"
    page.scatter.brush(100, 500, 0, 18)
    page.search.value = "Part_0"
    scope: dict = {}
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(selection_code(page.selection, str(data.flow_file)), scope)
    scope["explorer"].close()
    assert isinstance(scope["explorer"], DatasetExplorer)
    assert 0 < page.selection.n_selected < N_PARTS
    assert scope["file_list"].tolist() == page.selection.ids().tolist()
    assert out.getvalue() == f"{page.selection.n_selected} files\n"
    assert page.export.code.text == selection_code(page.selection, str(data.flow_file))


def test_hostile_text_stays_a_literal_in_the_exported_code(page, data):
    page.search.value = '"""\'); raise SystemExit #'
    scope: dict = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(selection_code(page.selection, str(data.flow_file)), scope)
    scope["explorer"].close()
    assert len(scope["file_list"]) == 0


def test_the_file_list_is_csv(data):
    lines = file_list(np.array([0, 7]), data.sources).splitlines()
    assert lines == ["id,file", f"0,../parts/{HOSTILE}.step", "7,../parts/part_000007.step"]


def test_a_request_sends_the_list_once_as_data():
    calls: list[int] = []

    def listed() -> str:
        calls.append(1)
        return "id,file\n"

    panel = ExportPanel(file_list=listed, file_name="x.csv")
    assert panel.handover.data["text"] == [""]
    panel.download._trigger_event(ButtonClick(panel.download))
    assert panel.handover.data == {"text": ["id,file\n"], "name": ["x.csv"]}
    assert calls == [1]
