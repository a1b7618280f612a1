"""Published lists of names: what they may look like, which samples they mean, and what is said of the rest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dflow.dataset.training.split_lists import Listing, column_lists, find_listed, read_lists, subset_of
from dflow.errors import SplitError


def find(files: list[str], contents: list[str] | None = None, **entries: list[str]) -> dict[str, object]:
    """Which entry's subset each file has, and the rest."""
    listing = Listing({name: tuple(found) for name, found in entries.items()}, "the lists")
    names = [f"sample{i}" for i in range(len(files))]
    found = find_listed(listing, files, names, contents or [])
    return {"assigned": found.assigned.tolist(), "not_found": found.not_found, "ambiguous": dict(found.ambiguous)}


def all_of(assigned: list[int]) -> dict[str, object]:
    return {"assigned": assigned, "not_found": (), "ambiguous": {}}


@pytest.mark.parametrize(
    "entry",
    [
        "a",
        "a.step",
        "a.STEP",
        "A.stp",
        "a.step.gz",
        "x/a.step",
        "./steps/a",
        "data\\steps\\a.stp",
        "a.json",
        "steps/a.npz",
    ],
)
def test_suffixes_folders_and_cases(entry: str) -> None:
    assert find(["../steps/a.step", "../steps/ab.step"], test=[entry]) == all_of([2, -1])


def test_dots_in_names_are_no_suffixes() -> None:
    files = ["p/C_L17.0mm_D6.5mm.step", "p/C_L17.0mm_D6.stp", "p/v1.2"]
    assert find(files, train=["C_L17.0mm_D6"], test=["C_L17.0mm_D6.5mm", "v1.2"]) == all_of([2, 0, 2])


def test_folders_decide_between_equal_names() -> None:
    files = ["../in/a/x.step", "../in/b/x.step", "../in/b/y.step"]
    assert find(files, train=["a/x"], test=["b/x.stp", "elsewhere/y"]) == all_of([0, 2, 2])
    found = find(files, train=["x"], test=["y"])
    assert found == {"assigned": [-1, -1, 2], "not_found": (), "ambiguous": {"x": ("../in/a/x.step", "../in/b/x.step")}}


def test_an_entry_of_an_absent_file_takes_no_other() -> None:
    assert find(["in/b/x.step"], train=["a/x"], test=["b/x"]) == {
        "assigned": [2],
        "not_found": ("a/x",),
        "ambiguous": {},
    }
    assert find(["x.step"], train=["x.igs"], test=["x.step"]) == {
        "assigned": [2],
        "not_found": ("x.igs",),
        "ambiguous": {},
    }
    untold = find(["in/x.step"], train=["a/x"], test=["b/x"])
    assert untold == {"assigned": [-1], "not_found": ("a/x", "b/x"), "ambiguous": {}}


def test_suffixes_decide_between_equal_stems() -> None:
    files = ["x.step", "x.igs"]
    assert find(files, train=["x.stp"], test=["x.iges"]) == all_of([0, 2])
    assert find(files, train=["x"])["ambiguous"] == {"x": ("x.igs", "x.step")}


def test_equal_contents_are_one_and_bodies_go_together() -> None:
    assert find(["a/x.step", "b/x.step"], ["H_-1", "H_-1"], test=["x"]) == all_of([2, 2])
    assert find(["x.step", "x.step", "y.step"], ["H_0", "H_1", "I_0"], test=["x"], train=["I"]) == all_of([2, 2, 0])
    assert find(["x.step", "x.step"], ["H_0", "H_1"], test=["sample1"]) == all_of([-1, 2])


def test_a_file_in_two_subsets_is_an_error() -> None:
    with pytest.raises(SplitError, match=r"x.step in two subsets: as 'x' in train, as 'x' in test; remove it"):
        find(["x.step"], train=["x"], test=["x"])
    with pytest.raises(SplitError, match="in two subsets"):
        find(["x.step"], train=["x", "x.stp"], test=["x.stp"])
    assert find(["x.step"], train=["x", "x"]) == all_of([0])


def test_subset_names() -> None:
    words = ["train", "Training", "val", "valid", "validation_set", "test-set", "Test", "dev"]
    assert [subset_of(word) for word in words] == ["train"] * 2 + ["validation"] * 3 + ["test"] * 2 + ["validation"]
    assert subset_of("holdout") is None


def test_what_lists_come_as(tmp_path: Path) -> None:
    lists = {"training_set": ["a", "b"], "val": ["c"], "test": np.array(["d"]), "statistics": [{"mean": 1.0}]}
    expected = {"train": ("a", "b"), "validation": ("c",), "test": ("d",)}
    assert read_lists(lists).entries == expected
    (tmp_path / "split.json").write_text(json.dumps({**lists, "test": ["d"]}), encoding="utf-8-sig")
    assert read_lists(tmp_path / "split.json").entries == expected
    assert read_lists({"a": "train", "b": "train", "c": "val", "d": "test"}).entries == expected
    (tmp_path / "lists").mkdir()
    for name, entries in {"train.txt": "a\n\nb", "val.txt": "c\n", "test.txt": "d\n", "readme.txt": "x"}.items():
        (tmp_path / "lists" / name).write_text(entries)
    assert read_lists(str(tmp_path / "lists")).entries == expected
    (tmp_path / "d.json").write_text('["d"]')
    assert read_lists({"test": tmp_path / "d.json"}).entries == {"test": ("d",)}
    values = ["train", "train", "val", "test", None, float("nan"), "N/A", " "]
    assert column_lists(values, list("abcdefgh"), "it").entries == expected


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"tranche": ["a"], "test": ["b"]}, r"list 'tranche', expected train, validation \(val\) and test"),
        ({"mean": [1.0]}, "has no list train, validation .* found mean"),
        ({}, "has no list train"),
        ({"train": [1, 2]}, "has 1, expected names of files"),
        ({"train": 7}, "is a int, expected a list of names"),
        ({"train": "absent.txt"}, "absent.txt cannot be read as a list of names"),
        (7, "found a int, expected a dictionary"),
        ("one.txt", "one.txt is one list; pass it as train="),
        ("one.json", "one.json is one list"),
        ("bad.json", "bad.json cannot be read as JSON"),
        ("empty", r"has no train.txt, val.txt or test.txt"),
    ],
)
def test_what_is_no_list(lists: object, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in {"one.txt": "a\n", "one.json": '["a"]', "bad.json": "{"}.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SplitError, match=message):
        read_lists(lists)
