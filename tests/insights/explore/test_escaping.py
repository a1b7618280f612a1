"""Text from outside: escaped for HTML, broken as a formula, short as a label."""

from __future__ import annotations

import html

import pytest

from dflow.insights.explore.escaping import as_html, as_label, html_block, text_block


@pytest.mark.parametrize("text", ["<b>&amp;\"'", "$$x$$", "\\href{x}", "plain.step"])
def test_html_shows_the_text_itself_and_holds_no_active_character(text):
    escaped = as_html(text)
    assert html.unescape(escaped) == text
    assert not set("<>\"'$\\") & set(escaped)


@pytest.mark.parametrize("mark", ["$$", "\\(", "\\["])
def test_a_label_never_begins_a_formula(mark):
    label = as_label(f"a{mark}b")
    assert mark not in label
    assert label.replace("\u200b", "") == f"a{mark}b"


def test_a_label_is_one_line_of_limited_length_that_keeps_both_ends():
    assert as_label("a\nb\tc") == "a b c"
    label = as_label("x" * 50 + "y" * 50, 20)
    assert (len(label), label[0], label[-1]) == (20, "x", "y")


def test_blocks_read_no_formulas():
    assert html_block("<b>x</b>").disable_math is True
    assert text_block().disable_math is True
