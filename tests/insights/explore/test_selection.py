"""Filters, search, order and pages."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dflow.insights.explore.selection import RangeFilter, Selection, page_of, sorted_ids
from dflow.insights.explore.variables import FileVariable

NAMES = ["a/Bolt.step", "a/nut.step", "b/bolt (2).step", "b/[x].step"]
SIZE = FileVariable("size", np.array([1.0, 2.0, 3.0, np.nan]))


def test_filters_and_search_combine_with_and():
    selection = Selection(NAMES)
    assert selection.n_selected == 4
    selection.set_range("one", RangeFilter(SIZE, 2, 3))
    assert selection.ids().tolist() == [1, 2]
    selection.set_text(" BOLT ")
    assert selection.ids().tolist() == [2]
    selection.set_range("one", None)
    assert selection.ids().tolist() == [0, 2]
    selection.clear()
    assert (selection.n_selected, selection.text, selection.filters) == (4, "", {})


def test_a_panel_has_one_filter():
    selection = Selection(NAMES)
    selection.set_range("one", RangeFilter(SIZE, 1, 1))
    selection.set_range("one", RangeFilter(SIZE, 3, 3))
    assert selection.ids().tolist() == [2]


def test_the_search_takes_its_text_as_it_is():
    selection = Selection(NAMES)
    selection.set_text("[x]")
    assert selection.ids().tolist() == [3]
    selection.set_text("(2)")
    assert selection.ids().tolist() == [2]
    selection.set_text("no such")
    assert selection.n_selected == 0


@given(hnp.arrays(np.float64, 30, elements=st.sampled_from([np.nan, 1.0, 2.0, 3.0])), st.booleans())
def test_order_is_by_value_then_by_id_with_missing_values_last(values, descending):
    ids = np.flatnonzero(np.arange(30) % 4)
    sign = -1 if descending else 1
    expected = sorted(ids.tolist(), key=lambda i: (np.isnan(values[i]), sign * np.nan_to_num(values[i]), i))
    assert sorted_ids(ids, values, descending=descending).tolist() == expected


def test_text_is_ordered_whatever_its_case():
    assert sorted_ids(np.arange(4), np.array(NAMES, object), descending=False).tolist() == [0, 1, 3, 2]


@given(st.integers(0, 500), st.integers(-3, 99))
def test_pages_cover_everything_once(n, page):
    ids = np.arange(n)
    shown, number, n_pages = page_of(ids, page, 100)
    assert 0 <= number < n_pages
    assert shown.tolist() == ids[number * 100 : number * 100 + 100].tolist()
    assert sum(len(page_of(ids, i, 100)[0]) for i in range(n_pages)) == n
