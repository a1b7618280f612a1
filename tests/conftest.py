"""Fixtures that every test package shares."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


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
