"""The last lines of a run: what passed only when run again, then one summary line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SUMMARY = Path(__file__).resolve().parent.parent / ".ci" / "summary.py"


def _report(path: Path, **outcomes: str) -> Path:
    """A JUnit report as pytest writes it: test name → passed, failure, error or skipped."""
    tag = {"passed": "", "failure": "<failure/>", "error": "<error/>", "skipped": "<skipped/>"}
    cases = "".join(f'<testcase classname="tests.m" name="{n}">{tag[o]}</testcase>' for n, o in outcomes.items())
    n = {kind: sum(o == kind for o in outcomes.values()) for kind in tag}
    head = (
        f'tests="{len(outcomes)}" failures="{n["failure"]}" errors="{n["error"]}" skipped="{n["skipped"]}" time="1.5"'
    )
    path.write_text(f"<testsuites><testsuite {head}>{cases}</testsuite></testsuites>")
    return path


def _summary(*reports: Path) -> tuple[int, list[str]]:
    done = subprocess.run([sys.executable, str(SUMMARY), *map(str, reports)], capture_output=True, text=True)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def test_a_sound_run_is_one_line(tmp_path):
    quick = _report(tmp_path / "quick.xml", a="passed", b="skipped")
    slow = _report(tmp_path / "slow.xml", c="passed")
    assert _summary(quick, slow) == (0, [f"{'=' * 20} 2 passed, 1 skipped in 3.00s {'=' * 20}"])


def test_what_passed_only_when_run_again_is_named(tmp_path):
    quick = _report(tmp_path / "quick.xml", a="failure", b="error", c="passed")
    _report(tmp_path / "quick-again.xml", a="passed", b="passed")
    slow = _report(tmp_path / "slow.xml", d="failure", e="failure")
    _report(tmp_path / "slow-again.xml", d="passed", e="failure")
    assert _summary(quick, slow) == (
        1,
        [
            "3 passed only when run again:",
            "  tests.m::a",
            "  tests.m::b",
            "  tests.m::d",
            f"{'=' * 20} 1 failed, 4 passed in 6.00s {'=' * 20}",
        ],
    )
