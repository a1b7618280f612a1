"""A merge whose machine loses power at any point leaves the old dataset or the new one, whole."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dflow.dataset import DatasetExplorer
from dflow.dataset.format.location import locate
from dflow.dataset.merge import publish
from dflow.dataset.merge.publish import Outputs, recover
from dflow.dataset.validate import validate_dataset
from dflow.records import SampleRecord
from dflow.storage.paths import FlowPaths
from tests.dataset.powercuts import cut_everywhere, read_tree, write_tree
from tests.dataset.samples import grid, merge, write_sample

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the recorder follows descriptors through /proc")


SOURCES = ("a.step", "b.step", "c.step")


def _write_samples(paths: FlowPaths) -> list[SampleRecord]:
    return [
        write_sample(paths, source, {"faces/grid": grid(100 + i, i)}, {"mass": float(i)})
        for i, source in enumerate(SOURCES)
    ]


def _is_whole(paths: FlowPaths) -> bool:
    """Whether a reader finds a whole dataset, with the tables that belong to it."""
    found = locate(dataset=paths.dataset)
    problems = validate_dataset(paths.dataset, infoset=found.infoset, attribset=found.attribset)
    with DatasetExplorer(merged_store_path=paths.dataset) as explorer:
        return not problems and len(explorer.get_file_info_all()) == len(explorer)


@pytest.mark.parametrize(("can_exchange", "is_first"), [(True, False), (False, False), (True, True)])
def test_a_power_cut_at_any_point_leaves_the_old_dataset_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool, is_first: bool
) -> None:
    """A reader finds either at once; the next run finishes or removes what the cut interrupted."""
    paths = FlowPaths.of(tmp_path / "live", "parts")
    records = _write_samples(paths)
    if not can_exchange:
        monkeypatch.setattr(publish, "_exchange", lambda first, second: False)
    if not is_first:
        merge(paths, records[:2])
    old = read_tree(paths.root)
    states = cut_everywhere(
        paths.root, monkeypatch, lambda: merge(paths, records), exchange="dflow.dataset.merge.publish._exchange"
    )
    new = read_tree(paths.root)
    assert _is_whole(paths)
    assert old in states
    assert new in states
    assert len(states) > 30
    without = 0
    for number, state in enumerate(states):
        published = {name: content for name, content in state.items() if not name.startswith(".tmp-")}
        if not any(isinstance(part, dict) and "ready.json" in part for part in state.values()):
            assert published in (old, new)  # the next run removes unfinished builds
            continue
        after = FlowPaths(tmp_path / f"{number}" / "flows" / "parts", "parts")
        write_tree(after.root, state)
        if after.dataset.exists():
            assert _is_whole(after)
        else:
            without += 1
        recover(Outputs.of(after))
        assert read_tree(after.root) == new
    assert without <= (0 if can_exchange else 3) or is_first  # on file systems that cannot exchange names
