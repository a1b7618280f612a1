"""Parts and flows that the contract's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def generated_parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six parts, one a family, in a folder a family."""
    from dflow.demo.parts import write_parts

    folder = tmp_path_factory.mktemp("parts")
    write_parts(folder, n_parts=6, seed=7)
    return folder
