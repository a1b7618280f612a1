"""The file of a split: samples found by content and name, and what makes no split file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dflow.checksums import MEMBER
from dflow.dataset.format.stored_split import StoredSplit, read_split, write_split
from dflow.errors import SplitError


def test_a_split_survives_its_file_and_a_larger_dataset(tmp_path: Path) -> None:
    names = [f"s{i}" for i in range(6)]
    assigned = np.array([0, 1, 2, 0, -1, 0], np.int8)
    write_split(tmp_path / "a.split", StoredSplit.of(names, assigned, {"key": "category"}))
    stored = read_split(tmp_path / "a.split")
    assert stored.request == {"key": "category"}
    np.testing.assert_array_equal(stored.match(names).assigned, assigned)
    found = stored.match(["s5", "new", "s1"])
    assert (found.assigned.tolist(), found.unknown, found.missing) == ([0, -1, 1], ("new",), ("s0", "s2", "s3"))
    assert [p.name for p in tmp_path.iterdir()] == ["a.split"]


def test_samples_are_found_by_content_whatever_their_names() -> None:
    """Renamed, exchanged names, a changed file under its old name, equal files that the split divides, and new ones."""
    names, contents = ["a", "b", "c", "d", "e"], ["A", "B", "C", "D", ""]
    stored = StoredSplit.of(names, np.array([0, 1, 2, 0, 1], np.int8), {}, contents)
    renamed = stored.match(["v", "w", "x", "y"], ["D", "C", "B", "A"])
    assert (renamed.assigned.tolist(), renamed.unknown, renamed.missing) == ([0, 2, 1, 0], (), ("e",))
    assert stored.match(["a", "b", "c"], ["C", "A", "B"]).assigned.tolist() == [2, 0, 1]
    changed = stored.match(["a", "e", "new", "newer"], ["A2", "E", "N", ""])
    assert (changed.assigned.tolist(), changed.unknown) == ([0, 1, -1, -1], ("new", "newer"))
    twins = StoredSplit.of(["a", "b", "c"], np.array([0, 1, 1], np.int8), {}, ["X", "X", "X"])
    assert twins.match(["c", "p", "q"], ["X"] * 3).assigned.tolist() == [1, 0, 1]
    assert sorted(twins.match(["p", "q", "r"], ["X"] * 3).assigned.tolist()) == [0, 1, 1]
    assert twins.match(["a", "b", "c", "p"], ["X"] * 4).assigned.tolist()[:3] == [0, 1, 1]


def test_contents_survive_the_file(tmp_path: Path) -> None:
    stored = StoredSplit.of(["b", "a"], np.array([0, 0], np.int8), {"key": "random"}, ["B", "A"])
    write_split(tmp_path / "a.split", stored)
    assert read_split(tmp_path / "a.split") == stored
    document = json.loads((tmp_path / "a.split").read_text())
    del document[MEMBER]
    document["contents"]["train"].pop()
    (tmp_path / "a.split").write_text(json.dumps(document))
    with pytest.raises(SplitError, match="not as many contents as samples"):
        read_split(tmp_path / "a.split")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a split file"),
        ('{"format": 1, "subsets": {"train": [], "validation": [], "test": []}, "contents": []}', "not a split file"),
        ("{}", "not a split file"),
        ('{"format": 9, "subsets": {"train": [], "validation": [], "test": []}}', "format 9"),
        ('{"format": 1, "subsets": {"train": ["a"], "validation": [], "test": ["a"]}}', "into two subsets"),
        ('{"format": 1, "subsets": {"train": ["a", "a"], "validation": [], "test": []}}', "into two subsets"),
    ],
)
def test_damaged_split_files(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "x.split").write_text(content)
    with pytest.raises(SplitError, match=message):
        read_split(tmp_path / "x.split")
    with pytest.raises(SplitError, match=r"call split\(\) first"):
        read_split(tmp_path / "absent.split")
