"""Small flows for tests of mistakes, and the check of a message's three parts."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dflow
from dflow.flowmanager import FlowOutput, flowtask

Parts = tuple[str, str, str]
"""What a message says was found, what was expected, and what to do."""


def says(error: object, parts: Parts) -> None:
    """Check that a message has its three parts, in any order."""
    message = str(error)
    for part in parts:
        assert part in message, (part, message)


@flowtask.extract(name="gather", inputs=["sources"], outputs=["files"])
def gather(sources):
    return sorted(str(path) for source in sources for path in Path(source).rglob("*.step"))


@flowtask.transform(name="measure", inputs=["cad_file", "storage"], outputs=["measured"])
def measure(cad_file, storage):
    storage.save_metadata("n_bytes", os.path.getsize(cad_file))
    return cad_file


@flowtask.transform(name="count", inputs=["part"])
def count(part):
    return part


def make(folder: Path, *tasks: Callable[..., Any], **arguments: Any) -> Any:
    """A flow in this process."""
    arguments = {"debug": True, "export_visualization": False, **arguments}
    return dflow.create_flow("parts", list(tasks or (gather, measure)), folder / "out", **arguments)


def run(flow: Any, **inputs: Any) -> FlowOutput:
    """The output of a quiet run."""
    output: FlowOutput = flow.process(inputs=inputs, progress=False)[0]
    return output


def touch(folder: Path, *names: str) -> Path:
    """A folder with empty files of these names."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder
