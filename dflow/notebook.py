"""HTML of objects in notebooks: a title, a picture and a table; every text is escaped."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence

from dflow.plaintext import html_text


def object_html(
    title: str,
    rows: Iterable[Sequence[object]],
    *,
    head: Sequence[str] = (),
    png: bytes | None = None,
    note: str = "",
) -> str:
    """Return an object's HTML for a notebook.

    Parameters
    ----------
    title : the object in one line
    rows : the cells of each row of the table
    head : the titles of its columns
    png : a picture beside the table
    note : a line below the table
    """
    lines = [_row(cells, "td") for cells in rows]
    table = f"<table>{_row(head, 'th') if head else ''}{''.join(lines)}</table>" if lines else ""
    picture = ""
    if png is not None:
        source = base64.b64encode(png).decode("ascii")
        picture = f'<img alt="" style="float:left;margin-right:12px" src="data:image/png;base64,{source}">'
    below = f"<div>{html_text(note)}</div>" if note else ""
    return f'<div style="overflow:auto">{picture}<strong>{html_text(title)}</strong>{table}{below}</div>'


def _row(cells: Sequence[object], kind: str) -> str:
    return "<tr>" + "".join(f"<{kind}>{html_text(cell)}</{kind}>" for cell in cells) + "</tr>"
