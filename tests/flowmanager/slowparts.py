"""A flow of many samples and one slow file, which waits behind a gate: what is merged ahead can be seen meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import dflow
from dflow.flowmanager import flowtask

N_PARTS = 48
SLOW = 40
"""In sorted order: 40 samples of 512 rows lie in front of the slow one, two and a half shards of 8,192 rows."""


@flowtask.extract(name="gather", inputs=["sources"], outputs=["files"])
def gather(sources):
    return [str(path) for source in sources for path in sorted(Path(source).glob("*.txt"))]


@flowtask.transform(name="encode", inputs=["file", "storage"], outputs=["encoded"])
def encode(file, storage):
    number = int(Path(file).stem[1:])
    gate, _, fate = Path(file).read_text().strip().partition("|")
    while gate and not Path(gate).exists():
        time.sleep(0.02)
    if fate == "fails":
        raise ValueError("a slow failure")
    storage.save_data("faces/grid", np.full((512, 512), number, np.float32))
    storage.save_data("faces/area", np.arange(512, dtype=np.float32) + number)
    return file


def write_parts(folder: Path, gate: Path, fate: str = "succeeds") -> Path:
    """The sources; the slow one is the largest file, as slow ones mostly are."""
    folder.mkdir(parents=True)
    for number in range(N_PARTS):
        text = f"{gate}|{fate}" if number == SLOW else ""
        (folder / f"p{number:03d}.txt").write_text(text)
        os.utime(folder / f"p{number:03d}.txt", (1_600_000_000, 1_600_000_000))
    return folder


def make_flow(folder: Path, **arguments: Any) -> Any:
    """The flow; its outputs lie in `folder`."""
    return dflow.create_flow("parts", [gather, encode], folder, export_visualization=False, **arguments)


def process(flow: Any, sources: Path) -> Any:
    """One run."""
    return flow.process(inputs={"sources": [str(sources)]}, progress=False)


def shards_ahead(flow: Any) -> list[Path]:
    """The grids' shards that exist before the dataset does."""
    root = flow.settings.paths.root
    return sorted(root.glob(".tmp-parts.dataset-*/dataset/faces/grid/c.*"))


def wait_for(condition: Callable[[], Any], seconds: float = 150.0) -> Any:
    """What `condition` gives once it is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
    return found


def published(flow: Any) -> dict[str, bytes]:
    """All bytes of the dataset and its tables."""
    paths = flow.settings.paths
    files = {path.name: path.read_bytes() for path in (paths.infoset, paths.attribset)}
    tree = {str(p.relative_to(paths.root)): p.read_bytes() for p in sorted(paths.dataset.rglob("*")) if p.is_file()}
    return files | tree
