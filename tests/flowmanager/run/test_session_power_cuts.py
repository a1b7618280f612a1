"""A flow whose machine loses power: the next run makes what a clean one makes, from samples that it has verified."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

import dflow
from dflow.dataset.validate import validate_dataset
from dflow.errors import EmptySourceError
from dflow.storage.paths import FlowPaths
from tests.dataset.powercuts import cut_everywhere, read_tree, write_tree
from tests.dataset.samples import outputs
from tests.flowmanager.flowparts import encode, gather, write_sources

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the recorder follows descriptors through /proc")

EXCHANGE = "dflow.dataset.merge.publish._exchange"


def _run(folder: Path, sources: str = "in") -> FlowPaths:
    flow = dflow.create_flow("parts", [gather, encode], folder / "out", debug=True)
    flow.process({"sources": [str(folder / sources)]}, progress=False)
    return FlowPaths.of(folder / "out", "parts")


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_run_after_a_power_cut_makes_the_same_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool
) -> None:
    """The states around publication, and some of encoding and merging; also where the next run finds no source."""
    write_sources(tmp_path / "in", {"a": "1 2 3", "b": "4"})
    (tmp_path / "none").mkdir()
    paths = _run(tmp_path)
    old = outputs(paths)
    write_sources(tmp_path / "in", {"c": "5 6"})
    if not can_exchange:
        monkeypatch.setattr(EXCHANGE, lambda first, second: False)
    states = cut_everywhere(paths.root, monkeypatch, lambda: _run(tmp_path), exchange=EXCHANGE)
    new = outputs(paths)
    assert validate_dataset(paths.dataset) == []
    publishing = [s for s in states if any(isinstance(p, dict) and "ready.json" in p for p in s.values())]
    assert len(publishing) > 3
    for state in (*publishing, *states[:: len(states) // 5]):
        shutil.rmtree(paths.root)
        write_tree(paths.root, state)
        with pytest.raises(EmptySourceError):
            _run(tmp_path, "none")
        assert outputs(paths) in (old, new)
        _run(tmp_path)
        assert outputs(paths) == new


@pytest.mark.parametrize("lost", ["whole", "torn", "zeros", "hole"])
def test_a_sample_that_a_power_cut_tore_is_encoded_again(tmp_path: Path, lost: str) -> None:
    """The journal was flushed, the sample was not: its size, its directory and its members' checksums show it."""
    write_sources(tmp_path / "in", {"a": "1 2 3", "b": "4 " * 2000})
    paths = _run(tmp_path)
    write_sources(tmp_path / "in", {"c": "5"})
    clean = read_tree(paths.root)
    _run(tmp_path)
    expected = outputs(paths)
    shutil.rmtree(paths.root)
    write_tree(paths.root, clean)
    for sample in paths.encoded.iterdir():
        content = sample.read_bytes()
        hole = content.index(b"PK\3\4", 1)  # the first member alone; the directory at the end is whole
        torn = {"whole": b"", "torn": content[:100], "zeros": bytes(len(content)), "hole": bytes(hole) + content[hole:]}
        sample.write_bytes(torn[lost])
    _run(tmp_path)
    assert outputs(paths) == expected
