"""The table is whole: every row that has to be proved is, or says why not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.parity.rows import BY_ID, ROWS
from tests.parity.table import find_tests


def test_ids_are_unique_and_every_letter_counts_on_from_one():
    assert len(BY_ID) == len(ROWS)
    for letter in "ABCDEFGHIJKLMN":
        numbers = [int(row.id[1:]) for row in ROWS if row.id[0] == letter]
        assert numbers == list(range(1, len(numbers) + 1))


def test_every_done_row_has_a_test_and_every_other_a_reason():
    tests = find_tests()
    assert [row.id for row in ROWS if row.status == "done" and row.id not in tests] == []
    assert [row.id for row in ROWS if row.status != "done" and not row.note] == []
    out = [row.id for row in ROWS if row.status == "out of scope" and row.priority in ("P0", "P1")]
    assert out == ["H9"]  # measured, and not worth its code


def test_no_test_names_an_unknown_row_or_one_that_is_not_done():
    assert [row for row in find_tests() if row not in BY_ID] == []
    assert [row for row in find_tests() if BY_ID[row].status != "done"] == []


def test_the_table_prints_every_row_with_its_test():
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tests.parity"], cwd=root, capture_output=True, text=True, check=True, timeout=60
    )
    starts = [line.split()[0] for line in done.stdout.splitlines() if line and not line.startswith(" ")]
    assert starts[: len(ROWS)] == [row.id for row in ROWS]
    assert "test_a01_" in done.stdout
