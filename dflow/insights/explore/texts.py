"""Text from outside (file names, labels, messages) made harmless for the place where it appears.

BokehJS sets the text of a `Div` and the title of a table's column as HTML, and reads ``$$…$$`` in labels as formulas.
"""

from __future__ import annotations

import html

_FORMULA_MARKS = {"$$": "$\u200b$", "\\(": "\\\u200b(", "\\[": "\\\u200b["}


def as_html(text: object) -> str:
    """For HTML, in elements and in quoted attributes."""
    return html.escape(str(text), quote=True)


def as_label(text: object, length: int = 40) -> str:
    """For axes, ticks and legends: one short line, never a formula."""
    line = " ".join(str(text).split())
    for mark, broken in _FORMULA_MARKS.items():
        line = line.replace(mark, broken)
    return line if len(line) <= length else f"{line[: length // 2]}…{line[-(length // 2 - 1) :]}"
