"""Close a run with one summary line over several JUnit reports.

A report ``X-again.xml`` beside ``X.xml`` is of the tests that had failed there: its failures count in their place.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def count(report: Path) -> tuple[int, int, int, float]:
    """Tests, failures, skipped and seconds of a report."""
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    failures = sum(int(suite.get("failures", 0)) + int(suite.get("errors", 0)) for suite in suites)
    skipped = sum(int(suite.get("skipped", 0)) for suite in suites)
    seconds = sum(float(suite.get("time", 0.0)) for suite in suites)
    return sum(int(suite.get("tests", 0)) for suite in suites), failures, skipped, seconds


def main(reports: list[str]) -> int:
    totals = [0, 0, 0, 0.0]
    for report in map(Path, reports):
        tests, failures, skipped, seconds = count(report)
        again = report.with_name(f"{report.stem}-again.xml")
        if again.exists():
            _, failures, _, more = count(again)
            seconds += more
        totals = [a + b for a, b in zip(totals, (tests, failures, skipped, seconds), strict=True)]
    tests, failures, skipped, seconds = totals
    parts = [f"{failures} failed"] if failures else []
    parts += [f"{tests - failures - skipped} passed"] + ([f"{skipped} skipped"] if skipped else [])
    print(f"{'=' * 20} {', '.join(parts)} in {seconds:.2f}s {'=' * 20}")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
