"""The output of commands: lines, tables and JSON, with control characters escaped."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import click

from dflow.plaintext import plain

GAP = "  "


def echo(text: object = "", *, err: bool = False) -> None:
    """Print one line of text from any source, with control characters escaped."""
    click.echo(plain(text), err=err)


def echo_json(value: Any) -> None:
    """Print a value as JSON for scripts: ASCII only, NaN and infinities as null."""
    click.echo(json.dumps(_finite(value), indent=2, ensure_ascii=True, allow_nan=False, default=str))


def echo_table(head: Sequence[str], rows: Sequence[Sequence[object]], *, numbers: int = 0) -> None:
    """Print a table with columns as wide as their entries; the first `numbers` columns are right-aligned."""
    lines = [[plain(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for number, line in enumerate(lines):
        cells = [
            cell.rjust(width) if column < numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        text = GAP.join(cells).rstrip()
        click.echo(click.style(text, bold=True) if number == 0 else text)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return value
