"""Two flows that most parity tests look at: one of generated parts in this process, one of faults on a cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import dflow
from dflow.cadaccess import CadLoader
from dflow.dataset import DatasetExplorer, DatasetLoader
from dflow.demo.parts import write_parts
from dflow.flowmanager import Flow, FlowOutput, ProgressEvent
from tests.parity import tasks


@dataclass(frozen=True)
class Finished:
    """A flow that ran: what `process` returned, and what it told its listener."""

    flow: Flow
    output: FlowOutput
    summary: dict[str, Any]
    flow_file: str
    events: list[ProgressEvent]

    @property
    def root(self) -> Path:
        return Path(self.flow_file).parent

    @property
    def errors(self) -> dict[str, dict[str, Any]]:
        """The entries of ``error_summary.json``, by the file's name."""
        return {Path(entry["file"]).name: entry for entry in json.loads((self.root / "error_summary.json").read_text())}


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve generated parts, two a family."""
    folder = tmp_path_factory.mktemp("parts")
    write_parts(folder, n_parts=12, seed=11)
    return folder


@pytest.fixture(scope="session")
def part(parts: Path) -> Path:
    """One of them."""
    return sorted(parts.rglob("*.step"))[0]


@pytest.fixture(scope="session")
def model(part: Path) -> Any:
    return CadLoader().create_from_file(part)


@pytest.fixture(scope="session")
def finished(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The parts' flow, in this process, with previews and a dataset."""
    out = tmp_path_factory.mktemp("out")
    flow = dflow.create_flow(
        name="parity", tasks=[tasks.gather, tasks.encode], flows_outputdir=out, debug=True, ml_task="face classes"
    )
    events: list[ProgressEvent] = []
    return Finished(flow, *flow.process(inputs={"cad_datasources": [str(parts)]}, progress=events.append), events)


@pytest.fixture(scope="session")
def explorer(finished: Finished) -> Iterator[DatasetExplorer]:
    with DatasetExplorer(flow_output_file=finished.flow_file) as explorer:
        yield explorer


@pytest.fixture
def loader(finished: Finished) -> Iterator[DatasetLoader]:
    with DatasetLoader(finished.summary["flow_data"], finished.summary["flow_info"]) as loader:
        yield loader


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Good items among ones that raise, crash, hang and take all memory, on a cluster of two workers."""
    items = [f"good-{i}" for i in range(12)] + ["raise", "crash", "hang", "hog", "none"]
    flow = dflow.create_flow(
        "faulty",
        [tasks.misbehave],
        tmp_path_factory.mktemp("out"),
        max_workers=2,
        memory_limit="700MB",
        parallel_task_kwargs={"time_limit_overall": 6, "skip_heavy_files": False, "file_size_bucketing": True},
        export_visualization=False,
    )
    events: list[ProgressEvent] = []
    return Finished(flow, *flow.process(inputs={"jobs": items}, progress=events.append), events)
