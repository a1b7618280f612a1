"""What labels come as: every format gives the same table, and what is none is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dflow.errors import LabelError
from dflow.labels.reading import read_labels, with_columns


def pairs(labels: Any, field: str | None = None) -> list[tuple[str, int]]:
    table = read_labels(labels, field=field)
    return [(str(table.key(entry)), int(table.values[entry])) for entry in range(len(table))]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.seg", "3\n0\n7\n"),
        ("a.seg", "\ufeff3\r\n0\r\n\r\n7"),
        ("a.txt", "3\n0\n7"),
        ("a.json", "[3, 0, 7]"),
        ("a.json", '{"0": 3, "1": 0, "2": 7}'),
        ("a.json", '{"labels": [3, 0, 7], "part": "x"}'),
        ("a.json", '{"seg": {"0": 3, "1": 0, "2": 7}, "inst": [[0, 1], [1, 0]]}'),
        ("a.json", '[["x", {"seg": {"0": 3, "1": 0, "2": 7}, "bottom": {"0": 1}}]]'),
        ("a.json", '[{"face": 0, "label": 3}, {"face": 1, "label": 0}, {"face": 2, "label": 7}]'),
        ("a.json", '{"0": {"label": 3}, "1": {"label": 0}, "2": {"label": 7}}'),
        ("a.csv", "name,label\n0,3\n1,0\n2,7\n"),
        ("a.csv", "Label;Face\n3;0\n0;1\n7;2\n"),
        ("a.csv", "0,3\n1,0\n2,7\n"),
        ("a.csv", "3\n0\n7\n"),
        ("a.tsv", "face_id\tclass\n0\t3\n1\t0\n2\t7\n"),
    ],
)
def test_formats(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert pairs(tmp_path / name) == [("0", 3), ("1", 0), ("2", 7)]


@pytest.mark.parametrize(
    "labels",
    [
        [3, 0, 7],
        (3, 0, 7),
        np.array([3, 0, 7], np.uint8),
        ["3", "0", "7"],
        {0: 3, 1: 0, 2: np.int64(7)},
        pd.DataFrame({"name": ["0", "1", "2"], "label": [3, 0, 7]}),
        {"name": ["0", "1", "2"], "label": np.array([3, 0, 7])},
    ],
)
def test_objects(labels: Any) -> None:
    assert pairs(labels) == [("0", 3), ("1", 0), ("2", 7)]


def test_all_columns() -> None:
    rows = [
        {"x": "1", "y": 2, "z": 3.5, "instance": 4, "label": 1, "type": "Plane", "area": "2.5"},
        {"x": 0, "y": 0, "z": 0, "instance": 5, "label": 2},
    ]
    table = read_labels(rows)
    assert table.points is not None
    assert table.areas is not None
    assert table.points.tolist() == [[1, 2, 3.5], [0, 0, 0]]
    assert list(table.types or ()) == ["Plane", None]
    np.testing.assert_array_equal(table.areas, [2.5, np.nan])
    assert list(read_labels(rows, field="instance").values) == [4, 5]
    given = with_columns(read_labels({"a": 1, "b": 2}), types={"b": "Cone"}, areas=[1, 2])
    assert (list(given.types or ()), given.areas.tolist()) == ([None, "Cone"], [1, 2])  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (7, "holds a int, expected a list of labels"),
        ("absent.seg", r"absent.seg cannot be read"),
        ([[1, 2], [3, 4]], r"has \[1, 2\] among its labels"),
        ({"a": [1], "b": [2]}, "no one list of labels; found a, b: name it with field="),
        ({}, "no one list of labels; found nothing"),
        ({"seg": [1], "label": [2]}, "no one list of labels; found seg, label"),
        ([["a", {"seg": [1]}], ["b", {"seg": [1]}]], "holds the labels of 2 parts"),
        ([{"x": 1}], "has no column 'label'; found x"),
        ([{"x": 1, "y": "?", "z": 2, "label": 3}], "points that are not three numbers"),
        ([{"x": 1, "y": float("nan"), "z": 2, "label": 3}], "points that are not finite"),
        ([{"name": 1, "label": 3, "area": "large"}], "areas that are no numbers"),
    ],
)
def test_what_is_no_source_of_labels(labels: Any, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        read_labels(labels)


def test_broken_json_and_counts_of_columns(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1,")
    with pytest.raises(LabelError, match=r"a.json is no JSON"):
        read_labels(tmp_path / "a.json")
    with pytest.raises(LabelError, match="found 3 areas, expected one for each of the 2 labels"):
        with_columns(read_labels([1, 2]), areas=[1, 2, 3])
    (tmp_path / "b.json").write_text(json.dumps({"cls": [1], "seg": [2]}))
    assert list(read_labels(tmp_path / "b.json", field="seg").values) == [2]
