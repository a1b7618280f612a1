"""Close a run with the tests that passed only when run again, and one summary line over several JUnit reports.

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


def passed(report: Path) -> list[str]:
    """The tests of a report that passed, as ``tests.package.test_module::name``."""
    cases = ElementTree.parse(report).getroot().iter("testcase")
    sound = [case for case in cases if not any(child.tag in ("failure", "error", "skipped") for child in case)]
    return [f"{case.get('classname', '')}::{case.get('name', '')}" for case in sound]


def main(reports: list[str]) -> int:
    totals = [0, 0, 0, 0.0]
    repeated: list[str] = []
    for report in map(Path, reports):
        tests, failures, skipped, seconds = count(report)
        again = report.with_name(f"{report.stem}-again.xml")
        if again.exists():
            _, failures, _, more = count(again)
            seconds += more
            repeated += passed(again)
        totals = [a + b for a, b in zip(totals, (tests, failures, skipped, seconds), strict=True)]
    tests, failures, skipped, seconds = totals
    if repeated:
        print(f"{len(repeated)} passed only when run again:", *repeated, sep="\n  ")
    parts = [f"{failures} failed"] if failures else []
    parts += [f"{tests - failures - skipped} passed"] + ([f"{skipped} skipped"] if skipped else [])
    print(f"{'=' * 20} {', '.join(parts)} in {seconds:.2f}s {'=' * 20}")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
