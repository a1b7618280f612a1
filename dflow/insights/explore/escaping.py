"""Escape untrusted text (file names, labels, messages) for the place where it appears.

BokehJS sets the text of a `Div` and the title of a table's column as HTML, and reads ``$$…$$`` in labels as formulas.
"""

from __future__ import annotations

import html
from typing import Any

from bokeh.models import Div, PreText

_FORMULA_MARKS = {"$$": "$\u200b$", "\\(": "\\\u200b(", "\\[": "\\\u200b["}


def as_html(text: object) -> str:
    """Escape text for HTML, in elements and in quoted attributes; characters that could begin a formula too."""
    return html.escape(str(text), quote=True).replace("$", "&#36;").replace("\\", "&#92;")


def html_block(text: str = "", **layout: Any) -> Div:
    """Return a `Div` of trusted HTML, without formulas: MathJax would turn ``\\href`` in a file's name into a link."""
    return Div(text=text, disable_math=True, **layout)


def text_block(**layout: Any) -> PreText:
    """Return an element of preformatted text, without formulas."""
    return PreText(text="", disable_math=True, **layout)


def as_label(text: object, length: int = 40) -> str:
    """Return text for axes, ticks and legends: one short line, never a formula."""
    line = " ".join(str(text).split())
    for mark, broken in _FORMULA_MARKS.items():
        line = line.replace(mark, broken)
    return line if len(line) <= length else f"{line[: length // 2]}…{line[-(length // 2 - 1) :]}"
