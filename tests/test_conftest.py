"""What the suite does about its surroundings."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.conftest import skip_reason

WANTED = "they want the real CAD files of ../shared/data"

PROGRAM = """
import signal, subprocess, sys
assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
import tests.conftest
child = "import signal; print(signal.getsignal(signal.SIGINT) == signal.default_int_handler)"
subprocess.run([sys.executable, "-c", child], check=True)
"""


def test_programs_that_tests_start_can_be_interrupted_under_nohup():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.stdout == "True\n", done.stderr


@pytest.mark.parametrize(
    ("longrepr", "reason"),
    [
        (("a.py", 3, "Skipped: real CAD files are absent: ../shared/data"), WANTED),
        (("a.py", 9, "Skipped: no mfcad in ../shared/data"), WANTED),
        (("a.py", 3, "Skipped: needs POSIX users"), "needs POSIX users"),
    ],
)  # fmt: skip
def test_skips_for_want_of_real_files_share_a_line(longrepr, reason):
    assert skip_reason(longrepr) == reason
