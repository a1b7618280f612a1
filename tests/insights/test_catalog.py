"""Parts by file id, with the paths of their pictures and meshes."""

from __future__ import annotations

import pandas as pd
import pytest

from dflow.errors import UnknownKeyError
from dflow.insights.catalog import PartCatalog, part_names


def test_bodies_of_one_file_have_names_of_their_own():
    table = {"description": ["../parts/a.step", "../parts/a.step", "b.step"], "body": [0, 1, -1]}
    assert part_names(pd.DataFrame(table)) == ["a.step [0]", "a.step [1]", "b.step"]
    assert part_names(pd.DataFrame({"description": ["../x/a.step"]})) == ["a.step"]


def catalog(root, **options) -> PartCatalog:
    png = ["a.png", None, "", float("nan"), "../out.png"]
    return PartCatalog([10, 11, 12, 13, 14], png, [None] * 5, root=root, **options)


def test_relative_paths_begin_at_the_root_and_absent_ones_are_none(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    parts = catalog(tmp_path)
    assert parts.entry(10).png == tmp_path / "a.png"
    assert [entry.has_png for entry in parts.entries(parts.file_ids)] == [True, False, False, False, False]
    assert [parts.entry(i).png for i in (11, 12, 13)] == [None, None, None]
    assert not parts.entry(10).has_3d
    assert parts.select([14, 10, 11], lambda entry: entry.png is not None) == [14, 10]


def test_names_are_ids_where_there_are_none(tmp_path):
    assert catalog(tmp_path).entry(12).name == "12"
    assert catalog(tmp_path, names=list("abcde")).entry(12).name == "c"


def test_paths_of_a_table_stay_below_the_root(tmp_path, caplog):
    assert catalog(tmp_path).entry(14).png == tmp_path / "../out.png"
    assert catalog(tmp_path, only_below=True).entry(14).png is None
    assert "lies outside of" in caplog.text


def test_an_unknown_id_and_unequal_lengths_are_errors(tmp_path):
    with pytest.raises(UnknownKeyError, match="no part has the file id 3; the dataset has 10 to 14"):
        catalog(tmp_path).entry(3)
    with pytest.raises(UnknownKeyError, match="the dataset has none"):
        PartCatalog([], [], []).entry(0)
    with pytest.raises(ValueError, match="equally long; they have 2, 1, 2 and none entries"):
        PartCatalog([1, 2], ["a"], [None, None])
