"""Close a run with one summary line over several JUnit reports."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree


def main(reports: list[str]) -> int:
    tests = failures = skipped = 0
    seconds = 0.0
    for report in reports:
        for suite in ElementTree.parse(report).getroot().iter("testsuite"):
            tests += int(suite.get("tests", 0))
            failures += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            skipped += int(suite.get("skipped", 0))
            seconds += float(suite.get("time", 0.0))
    passed = tests - failures - skipped
    parts = [f"{failures} failed"] if failures else []
    parts += [f"{passed} passed"] + ([f"{skipped} skipped"] if skipped else [])
    print(f"{'=' * 20} {', '.join(parts)} in {seconds:.2f}s {'=' * 20}")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
