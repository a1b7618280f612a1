"""A merge whose machine loses power at any point leaves the old dataset or the new one, whole."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dflow.dataset import DatasetExplorer
from dflow.dataset.format.location import locate
from dflow.dataset.format.tables import read_table, rewrite_column
from dflow.dataset.merge import publish
from dflow.dataset.merge.publish import Outputs, recover
from dflow.dataset.merge.published import note_file, published, read_note
from dflow.dataset.validate import validate_dataset
from dflow.records import SampleRecord
from dflow.storage.paths import FlowPaths
from tests.dataset.powercuts import Tree, cut_everywhere, read_tree, write_tree
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


def _without_note(state: Tree) -> Tree:
    """A state without `.dflow`: the note of what was published is not flushed."""
    return {name: content for name, content in state.items() if name != ".dflow"}


def _check_next_run(paths: FlowPaths, state: Tree, records: list[SampleRecord]) -> None:
    """The next run finds a note that a cut emptied, compares all files, and writes the note anew."""
    write_tree(paths.root, state)
    outputs = Outputs.of(paths)
    assert note_file(outputs).read_bytes() == b""
    assert merge(paths, records).reused
    noted = read_note(outputs)
    assert noted is not None
    assert noted.manifest == published(outputs)[0]


def test_a_power_cut_while_a_split_rewrites_a_table_leaves_one_that_the_manifest_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = FlowPaths.of(tmp_path / "live", "parts")
    merge(paths, _write_samples(paths))
    subsets = ["train", "test", "train"]
    states = cut_everywhere(paths.root, monkeypatch, lambda: rewrite_column(paths.infoset, "subset", subsets))
    assert len(states) > 5
    found = set()
    for number, state in enumerate(states):
        after = FlowPaths(tmp_path / f"{number}" / "flows" / "parts", "parts")
        write_tree(after.root, state)
        assert _is_whole(after)
        found.add(tuple(read_table(after.infoset, ".infoset", columns=["subset"]).column("subset").to_pylist()))
    assert found == {("N/A",) * 3, tuple(subsets)}


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
    old = _without_note(read_tree(paths.root))
    states = cut_everywhere(
        paths.root, monkeypatch, lambda: merge(paths, records), exchange="dflow.dataset.merge.publish._exchange"
    )
    new = _without_note(read_tree(paths.root))
    assert _is_whole(paths)
    assert old in map(_without_note, states)
    assert new in map(_without_note, states)
    assert len(states) > 30
    without = 0
    for number, state in enumerate(states):
        parts = {name: content for name, content in _without_note(state).items() if not name.startswith(".tmp-")}
        if not any(isinstance(part, dict) and "ready.json" in part for part in state.values()):
            assert parts in (old, new)  # the next run removes unfinished builds
            continue
        after = FlowPaths(tmp_path / f"{number}" / "flows" / "parts", "parts")
        write_tree(after.root, state)
        if after.dataset.exists():
            assert _is_whole(after)
        else:
            without += 1
        recover(Outputs.of(after))
        assert _without_note(read_tree(after.root)) == new
    _check_next_run(FlowPaths(tmp_path / "last" / "flows" / "parts", "parts"), states[-1], records)
    assert without <= (0 if can_exchange else 3) or is_first  # on file systems that cannot exchange names
