"""The page's panels follow one selection, and nothing that a file brings reaches the page as anything but text."""

from __future__ import annotations

import html
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bokeh.core.json_encoder import serialize_json
from bokeh.document import Document
from bokeh.models.widgets.markups import Markup

from dflow.insights.explore.escaping import as_label
from dflow.insights.explore.flow_data import FlowData
from dflow.insights.explore.page import ExplorePage
from tests.dataset.synthetic import random_parts, write_parts
from tests.insights.explore.flows import FORMULA, HOSTILE, N_PARTS


@pytest.fixture
def page(data):
    return ExplorePage(data)


def _chosen(panel) -> int:
    return int(np.sum(panel._source.data["chosen"]))


def _rows(page) -> dict:
    return page.parts.table.source.data


def test_the_first_page_shows_all_parts(page):
    assert f"<b>{N_PARTS}</b> of {N_PARTS} parts" in page.status.text
    assert _rows(page)["id"] == list(range(100))
    assert [panel.select.value for panel in page.histograms] == [
        "face_count",
        "edge_count",
        "faces/face_types",
        "faces/face_areas",
    ]


def test_a_brush_moves_every_other_panel_and_the_table(page, data):
    faces = data.numbers("face_count")
    page.histograms[0].brush(7.6, 9.4)
    expected = np.flatnonzero((faces >= 8) & (faces <= 9))
    assert page.selection.ids().tolist() == expected.tolist()
    assert _chosen(page.histograms[0]) == len(expected)
    assert _chosen(page.histograms[1]) == len(expected)
    assert _chosen(page.histograms[2]) == faces[expected].sum()
    assert _rows(page)["id"] == expected.tolist()[:100]
    assert page.histograms[0]._brush.visible
    page.histograms[0].clear()
    assert page.selection.n_selected == N_PARTS
    assert not page.histograms[0]._brush.visible


def test_two_brushes_and_a_search_combine_and_select_all_ends_them(page, data):
    page.histograms[0].brush(3.5, 8.5)
    page.histograms[2].brush(-0.4, 0.4)  # the first face type
    some = page.selection.n_selected
    planes = data.explorer.get_file_list("faces", where=lambda ds: ds["face_types"] == 0)
    faces = data.numbers("face_count")
    assert page.selection.ids().tolist() == [i for i in planes.tolist() if 4 <= faces[i] <= 8]
    page.search.value = "00001"
    assert 0 < page.selection.n_selected < some
    page._clear()
    assert page.selection.n_selected == N_PARTS
    assert page.search.value == ""


def test_a_brush_over_categories_is_described_by_their_names(page):
    page.histograms[1].select.value = "category"
    page.histograms[1].brush(1.6, 3.4)
    hostile = html.escape(as_label(HOSTILE, 40))
    assert f"; category is {hostile} or plate" in page.status.text
    page.histograms[1].brush(2.6, 3.4)
    assert page.status.text.endswith("; category is plate")
    page.histograms[1].select.value = "face_count"
    page.histograms[1].brush(2.5, 9.5)
    assert page.status.text.endswith("; face_count from 3 to 9")


def test_another_variable_takes_the_panels_filter_away(page):
    page.histograms[0].brush(3.5, 4.5)
    page.histograms[0].select.value = "category"
    assert page.selection.n_selected == N_PARTS
    assert page.histograms[0].variable.labels[:2] == ["missing", "bolt"]
    page.histograms[0].select.value = "max of edges/edge_lengths"
    assert _chosen(page.histograms[0]) == np.isfinite(page.data.numbers("max of edges/edge_lengths")).sum()


def test_a_box_in_the_scatter_filters_both_numbers(page, data):
    page.scatter.selects[1].value = "mean of faces/face_areas"
    areas, faces = data.numbers("mean of faces/face_areas"), data.numbers("face_count")
    page.scatter.brush(9.5, 4.5, 120.0, 60.0)
    expected = (faces >= 4.5) & (faces <= 9.5) & (areas >= 60) & (areas <= 120)
    np.testing.assert_array_equal(page.selection.mask, expected)
    assert sorted(page.scatter._points.data["file_id"]) == np.flatnonzero(expected).tolist()
    page.scatter.clear()
    assert page.selection.n_selected == N_PARTS


def test_the_table_is_sorted_and_paged_on_the_server(page, data):
    page.parts.sort.value = "volume"
    page.parts.descending.active = True
    expected = np.argsort(-data.numbers("volume"), kind="stable")
    assert _rows(page)["id"] == expected[:100].tolist()
    page.parts.turn(1)
    assert _rows(page)["id"] == expected[100:200].tolist()
    page.parts.turn(5)
    assert _rows(page)["id"] == expected[200:].tolist()
    assert page.parts.next.disabled
    assert page.parts._where.text == f"201 to {N_PARTS} of {N_PARTS}"
    page.parts.sort.value = "description"
    assert len(_rows(page)["id"]) == 100


def test_files_are_sorted_by_the_names_that_are_shown(tmp_path):
    paths = write_parts(random_parts(6), tmp_path, "folders")
    table = pq.read_table(paths.infoset)
    sources = pa.array(["../z/B.step", "../y/c.step", "../x/a.step", "d.step", "../z/a.step", "../a/e.step"])
    table = table.set_column(table.column_names.index("description"), "description", sources)
    pq.write_table(table, paths.infoset)
    data = FlowData(paths.flow_file)
    page = ExplorePage(data)
    page.parts.sort.value = "description"
    assert _rows(page)["file"] == ["a.step", "a.step", "B.step", "c.step", "d.step", "e.step"]
    assert _rows(page)["id"] == [2, 4, 0, 1, 3, 5]
    data.close()


def test_an_empty_selection_is_shown_as_such(page):
    page.search.value = "no such file"
    assert page.parts._where.text == "0 to 0 of 0"
    assert _rows(page)["id"] == []
    assert "<b>0</b>" in page.status.text


def test_names_reach_html_escaped_and_labels_hold_no_formula(page):
    assert HOSTILE not in page.parts.thumbnails.text
    assert "&lt;img src=x onerror=" in page.parts.thumbnails.text
    assert "javascript" in page.parts.thumbnails.text  # as text, quoted
    assert not re.search(r"<(?!/?(div|a|img)\b)", page.parts.thumbnails.text)
    assert all(src.startswith("thumb?id=") for src in re.findall(r'src="([^"]*)"', page.parts.thumbnails.text))
    assert "$$" not in as_label(FORMULA)
    page.histograms[0].select.value = "category"
    overrides = page.histograms[0]._figure.xaxis[0].major_label_overrides
    assert not any("$$" in text for text in overrides.values())
    for column in page.parts.table.columns:
        assert "<" not in column.title


def test_no_text_of_the_page_is_read_as_a_formula(page):
    document = Document()
    page.attach(document)
    blocks = list(document.select({"type": Markup}))
    assert len(blocks) >= 7
    assert all(block.disable_math for block in blocks)


def test_the_page_stays_small_however_many_parts_there_are(page):
    document = Document()
    page.attach(document)
    assert len(serialize_json(document.to_json())) < 600_000
