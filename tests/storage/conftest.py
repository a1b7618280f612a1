"""The storages and the file that the tests of storage begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dflow.storage import DataStorage, write_zip_store
from tests.storage.stores import ARRAYS, ATTRIBUTES, MAKERS, ON_DISK, Maker


@pytest.fixture(params=sorted(MAKERS))
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DataStorage]:
    made = MAKERS[request.param](tmp_path)
    yield made
    made.discard()


@pytest.fixture(params=ON_DISK)
def maker(request: pytest.FixtureRequest) -> Maker:
    return MAKERS[request.param]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "sample.data"
    write_zip_store(path, ARRAYS, ATTRIBUTES)
    return path
