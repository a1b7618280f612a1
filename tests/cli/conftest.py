"""What the command line's tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.programs import write_pipeline


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Path]:
    """A pipeline file of its own, whose modules are forgotten afterwards."""
    path = write_pipeline(tmp_path)
    modules, search = set(sys.modules), list(sys.path)
    yield path
    sys.path[:] = search
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
