"""What the command line's tests share."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dflow.flowmanager.reports.flowfiles import write_flow_file
from dflow.storage.paths import FlowPaths
from tests.cli.programs import HOSTILE, SUMMARY, write_pipeline
from tests.dataset.samples import grid, merge, write_sample


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


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> FlowPaths:
    """A flow's folder with a dataset of two samples, not to be changed."""
    paths = FlowPaths.of(tmp_path_factory.mktemp("made"), "numbers")
    records = [
        write_sample(paths, HOSTILE, {"faces/grid": grid(3, 1)}, {"mass": 2.5, "word": "bolt\x1b[31m"}),
        write_sample(paths, "b.step", {"faces/grid": grid(2, 2)}, {"mass": 1.5, "word": "nut"}),
    ]
    merge(paths, records)
    write_flow_file(paths, SUMMARY)
    run = {
        "finished": "2026-01-02T03:04:05+00:00",
        "tasks": [{"task": "encode", "items": 3, "reused": 1, "seconds": 1}],
    }
    paths.run_file.write_text(json.dumps(run))
    return paths


@pytest.fixture
def paths(made, tmp_path) -> FlowPaths:
    """A copy of it, below ``tmp_path``."""
    shutil.copytree(made.root, tmp_path / "flows" / "numbers")
    return FlowPaths.of(tmp_path, "numbers")
