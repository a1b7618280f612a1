"""Fixtures that every test package shares."""

from __future__ import annotations

import logging
import signal
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # Begun with `nohup … &`: every program that the tests start and interrupt would inherit that it is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED_DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"

# How long an example takes is the machine's affair: a neighbour's load for a moment is no fault of what is tested.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real CAD files beside the project; tests that need it skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("real CAD files are absent: ../shared/data")
    return SHARED_DATA


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """pytest's, at its own level again: clusters of earlier tests quiet the handlers that they find."""
    caplog.handler.setLevel(logging.NOTSET)
    return caplog


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests were skipped and why, a line a reason; one line for all that want the real CAD files."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = Counter(skip_reason(report.longrepr) for report in reports)
    for reason, n_tests in sorted(reasons.items()):
        terminalreporter.write_line(f"{n_tests} skipped: {reason}")


def skip_reason(longrepr: object) -> str:
    """Why a test was skipped, the same for all that want the real CAD files."""
    reason = str(longrepr[2] if isinstance(longrepr, tuple) else longrepr).removeprefix("Skipped: ")
    return "they want the real CAD files of ../shared/data" if "shared/data" in reason else reason
