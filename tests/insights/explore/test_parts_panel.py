"""The table of selected files: sorted and paged on the server, with links and pictures."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.insights.explore.parts_panel import MAX_COLUMNS, N_THUMBNAILS, PartsPanel, thumbnails_html
from dflow.insights.explore.selection import PAGE_ROWS, Selection
from tests.insights.explore.flows import HOSTILE, N_PARTS


@pytest.fixture
def panel(data):
    panel = PartsPanel(data)
    panel.update(Selection(data.sources))
    return panel


def ids_of(panel) -> list[int]:
    return panel._source.data["id"]


def test_pages_are_bounded_at_both_ends(panel):
    assert ids_of(panel) == list(range(PAGE_ROWS))
    assert (panel.previous.disabled, panel.next.disabled) == (True, False)
    for _ in range(5):
        panel.turn(1)
    assert ids_of(panel) == list(range(200, N_PARTS))
    assert panel._where.text == f"201 to {N_PARTS} of {N_PARTS}"
    assert (panel.previous.disabled, panel.next.disabled) == (False, True)
    panel.turn(-99)
    assert ids_of(panel)[0] == 0


def test_sorting_covers_all_pages_and_starts_at_the_first(panel, data):
    panel.turn(1)
    panel.sort.value = "volume"
    panel.descending.active = True
    volumes = data.column("volume")
    assert ids_of(panel) == np.argsort(-volumes, kind="stable")[:PAGE_ROWS].tolist()
    np.testing.assert_array_equal(panel._source.data["volume"], volumes[ids_of(panel)])


def test_columns_are_few_and_titles_are_text(panel):
    titles = [column.title for column in panel.table.columns]
    assert titles[:2] == ["id", "file"]
    assert len(titles) <= MAX_COLUMNS + 2
    assert not any("<" in title for title in titles)


def test_an_empty_selection_is_an_empty_page(panel, data):
    nothing = Selection(data.sources)
    nothing.set_text("no such file")
    panel.update(nothing)
    assert (ids_of(panel), panel._where.text) == ([], "0 to 0 of 0")
    assert panel.thumbnails.text == '<div style="display:flex;flex-wrap:wrap;gap:6px"></div>'


def test_pictures_are_links_with_escaped_names(panel, data):
    page = panel.thumbnails.text
    assert page.count('class="dflow-part"') == N_THUMBNAILS
    assert page.count('<img src="thumb?id=') == 5
    assert HOSTILE not in page
    assert "&lt;img src=x" in page
    assert 'href="part?id=7"' in thumbnails_html(data, np.array([7]))
