"""A schema as HTML for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from dflow.schema.model import Schema


def schema_page(schema: Schema) -> str:
    """Return HTML with one table of arrays per group and one of metadata fields; users' text is escaped."""
    title = f"{schema.domain or 'schema'} {schema.version}"
    parts = [f"<div class='dflow-schema'><b>{escape(title)}</b> {escape(schema.description)}"]
    for group in schema.groups.values():
        rows = [(a.name, ", ".join(a.dims), a.dtype, a.description) for a in group.arrays.values()]
        heading = f"{group.name} (one row per {group.dimension}) {group.description}"
        parts.append(_table(heading, ("array", "dimensions", "dtype", "description"), rows))
    fields = [
        (f.name, kind, f.dtype, f.description)
        for kind, declared in (("file", schema.file_level), ("categorical", schema.categorical))
        for f in declared.values()
    ]
    if fields:
        parts.append(_table("metadata", ("field", "kind", "dtype", "description"), fields))
    return "".join(parts) + "</div>"


def _table(heading: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<details open><summary>{escape(heading)}</summary>{table}</details>"
