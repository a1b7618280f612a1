"""Sources whose time changed but whose content did not cost no cluster and no work."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import dflow
from dflow.flowmanager import flowtask


@flowtask.extract(name="gather", inputs=["sources"], outputs=["files"])
def gather(sources: list[str]) -> list[str]:
    return sorted(str(path) for path in Path(sources[0]).glob("*.txt"))


@flowtask.transform(name="measure", inputs=["file", "storage"], outputs=["done"])
def measure(file: str, storage: Any) -> str:
    storage.save_metadata("size", len(Path(file).read_text()))
    return str(storage.get_file_path(""))


def run(root: Path, *, debug: bool) -> dict[str, Any]:
    flow = dflow.create_flow(name="f", tasks=[gather, measure], flows_outputdir=root / "out", debug=debug)
    output, _, _ = flow.process(inputs={"sources": str(root / "in")}, progress=False)
    return {"reused": output.counts.reused, "succeeded": output.counts.succeeded}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "c"):
        path = tmp_path / "in" / f"{name}.txt"
        path.write_text(name * 10)
        os.utime(path, (1e9, 1e9))
    assert run(tmp_path, debug=True) == {"reused": 0, "succeeded": 3}
    return tmp_path


def test_touched_files_are_compared_here(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_cluster(*_: Any, **__: Any) -> Any:
        raise AssertionError("a cluster was started")

    monkeypatch.setattr("dflow.flowmanager.run.engines.resolve", no_cluster)
    for path in (root / "in").glob("*.txt"):
        os.utime(path, (2e9, 2e9))
    assert run(root, debug=False) == {"reused": 3, "succeeded": 3}
    monkeypatch.setattr("dflow.flowmanager.run.itemchain.content_hash", no_cluster)
    assert run(root, debug=False) == {"reused": 3, "succeeded": 3}  # the new times were written down


def test_a_change_of_equal_length_is_seen(root: Path) -> None:
    path = root / "in" / "b.txt"
    path.write_text("x" * 10)
    os.utime(path, (2e9, 2e9))
    assert run(root, debug=True) == {"reused": 2, "succeeded": 3}
