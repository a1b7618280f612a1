"""Which test proves which row: a function named ``test_a01_…`` is the test of row A1."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.parity.rows import ROWS, Row

_NAME = re.compile(r"test_([a-n])(\d\d)_")


def find_tests(folder: Path | None = None) -> dict[str, list[str]]:
    """Row id → ``file::function`` of its tests, read from the source."""
    found: dict[str, list[str]] = {}
    for path in sorted((folder or Path(__file__).parent).glob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            match = _NAME.match(node.name) if isinstance(node, ast.FunctionDef) else None
            if match:
                found.setdefault(f"{match[1].upper()}{int(match[2])}", []).append(f"{path.name}::{node.name}")
    return found


def lines() -> list[str]:
    """The table as text: id, priority, feature, status, and the test or the reason."""
    tests = find_tests()
    return [_line(row, tests.get(row.id, [])) for row in ROWS]


def _line(row: Row, tests: list[str]) -> str:
    proof = ", ".join(tests)
    said = "; ".join(each for each in (proof, row.note) if each)
    return f"{row.id:4} {row.priority:3} {row.status:13} {row.feature}\n{'':9}{said}"
