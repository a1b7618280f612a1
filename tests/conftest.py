"""Fixtures that every test package shares."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

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
