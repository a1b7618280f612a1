"""Datasets that the tests of exports share."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.dataset.export import export
from dflow.dataset.format.location import locate
from dflow.storage.paths import FlowPaths
from tests.dataset.samples import grid, merge, write_sample
from tests.dataset.synthetic import Parts, random_parts, write_parts

HOSTILE = "../../evil\x1b[2J\n<b>.step"


@pytest.fixture(scope="module")
def parts() -> Parts:
    return random_parts(23, seed=5)


@pytest.fixture(scope="module")
def place(parts, tmp_path_factory):
    return locate(write_parts(parts, tmp_path_factory.mktemp("data")).flow_file)


@pytest.fixture(scope="module")
def partial(tmp_path_factory):
    """A merged dataset whose second sample lacks an array and a value, and whose names are hostile."""
    paths = FlowPaths.of(tmp_path_factory.mktemp("partial"), "partial")
    records = [
        write_sample(
            paths, HOSTILE, {"faces/grid": grid(3, 1), "faces/only": np.arange(3, dtype="int32")}, {"mass": 2.5}
        ),
        write_sample(paths, "b.step", {"faces/grid": grid(2, 2)}, {"word": "bolt"}),
        write_sample(paths, "c.step", {"faces/grid": grid(0, 3), "faces/only": np.arange(0, dtype="int32")}),
    ]
    merge(paths, records)
    return locate(dataset=paths.dataset)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(export, "BLOCK_BYTES", 2000)
