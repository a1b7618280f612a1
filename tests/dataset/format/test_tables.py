"""The two Parquet tables: what is read of them, which belong to a dataset, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dflow.dataset.format.manifest import Manifest, read_manifest
from dflow.dataset.format.tables import (
    descriptions,
    label_columns,
    label_name,
    names_of_codes,
    read_infoset,
    read_table,
    rewrite_column,
    table_build,
    table_rows,
    with_memory,
)
from dflow.errors import DamagedDatasetError, DatasetNotFoundError
from dflow.storage.paths import FlowPaths
from tests.dataset.samples import forget_checksums, make_samples, merge

TABLE = pd.DataFrame(
    [("kind", 0, "nut"), ("kind", 1, "Bolt"), ("kinds", 7, "nut*"), ("maker", 0, "ACME")],
    columns=["table_name", "id", "name"],
).assign(description="not set")


@pytest.fixture
def paths(tmp_path: Path) -> FlowPaths:
    paths = FlowPaths.of(tmp_path, "flow")
    merge(paths, make_samples(paths, [(3, 4), (2, 1), (4, 2)]))
    return paths


def test_a_merge_leaves_tables_of_its_build(paths: FlowPaths) -> None:
    manifest = read_manifest(paths.dataset)
    assert table_build(paths.infoset) == table_build(paths.attribset) == manifest.build
    assert table_rows(paths.infoset) == len(read_infoset(paths.infoset, 3, manifest.build)) == 3
    remembered = with_memory(manifest, paths.infoset)
    assert remembered.files == manifest.files
    assert remembered.inputs
    assert remembered.blocks


def test_the_memory_of_another_build_is_not_used(paths: FlowPaths) -> None:
    other = Manifest({"a": (1, 2)})
    assert with_memory(other, paths.infoset) is other


@pytest.mark.parametrize("metadata", [None, {b"dflow": b"{"}, {b"dflow": b"[1]"}, {b"other": b"x"}])
def test_a_table_without_readable_metadata_states_no_build(tmp_path: Path, metadata: Any) -> None:
    pq.write_table(pa.table({"id": [0]}).replace_schema_metadata(metadata), tmp_path / "t.infoset")
    assert table_build(tmp_path / "t.infoset") == ""


def test_the_infoset_is_sorted_by_id(paths: FlowPaths) -> None:
    forget_checksums(paths.dataset)
    table = pq.read_table(paths.infoset)
    pq.write_table(table.take([2, 0, 1]), paths.infoset)
    assert read_infoset(paths.infoset, 3)["id"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("n_files", "build", "message"),
    [
        (4, "", "has 3 rows, the dataset 4 samples: .*; run `dflow validate --repair "),
        (3, "0f", "another build .*; run `dflow validate --repair "),
    ],
)
def test_a_table_of_another_dataset_is_refused(paths: FlowPaths, n_files: int, build: str, message: str) -> None:
    with pytest.raises(DamagedDatasetError, match=message):
        read_infoset(paths.infoset, n_files, build)


def test_missing_and_damaged_tables_are_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"no \.attribset beside the dataset; pass its path"):
        read_table(None, ".attribset")
    with pytest.raises(DatasetNotFoundError, match=r"t\.infoset does not exist; bring it back"):
        read_table(tmp_path / "t.infoset", ".infoset")
    (tmp_path / "t.infoset").write_bytes(b"PAR1")
    with pytest.raises(DamagedDatasetError, match=r"not a Parquet table.*; run `dflow validate --repair "):
        read_table(tmp_path / "t.infoset", ".infoset")
    pq.write_table(pa.table({"id": [0], "name": ["a"]}), tmp_path / "t.infoset")
    with pytest.raises(DamagedDatasetError, match=r"lacks the column\(s\) description: it is no \.infoset"):
        read_table(tmp_path / "t.infoset", ".infoset")
    assert read_table(tmp_path / "t.infoset", ".infoset", columns=["id"]).column_names == ["id"]


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        (("kind", None, False), [0, 1]),
        (("kind", 1, False), [1]),
        (("kind", "Bolt", False), [1]),
        (("kind", "bolt", False), []),
        (("kind", "bolt", True), [1]),
        (("kind*", None, True), [0, 1, 7]),
        (("KIND?", "nut*", True), [7]),
        (("kinds", "nut", False), []),
        (("kinds", "nut*", False), [7]),
    ],
)
def test_rows_of_a_description_table(arguments: tuple[str, Any, bool], ids: list[int]) -> None:
    assert descriptions(TABLE, *arguments)["id"].tolist() == ids


def test_a_description_table_that_is_not_there_has_no_rows_and_the_known_ones_are_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, use_wildcard in (("kin", False), ("x*", True), (".*", True)):
        caplog.clear()
        assert len(descriptions(TABLE, name, None, use_wildcard)) == 0
        assert f"no description table {name!r}; the .attribset has kind, kinds, maker" in caplog.text


def test_words_of_a_category_have_a_column_that_no_value_uses(tmp_path: Path) -> None:
    assert label_name("kind", ["kind"]) == "kind_label"
    assert label_name("kind", ["kind", "kind_label"]) == "kind_label_word"
    columns = {"kind": [0], "kind_label": ["a"], "n": [1], "size": [2], "size_label": [3], "size_label_word": ["b"]}
    pq.write_table(pa.table(columns), tmp_path / "t.infoset")
    assert label_columns(tmp_path / "t.infoset") == {"kind", "size"}
    assert label_columns(None) == label_columns(tmp_path / "none") == frozenset()


def test_one_column_is_rewritten_or_added_and_the_rest_stays(paths: FlowPaths) -> None:
    before = pq.read_table(paths.infoset)
    assert rewrite_column(paths.infoset, "subset", ["train", "test", None])
    assert rewrite_column(paths.infoset, "note", ["a", "b", "c"])
    after = pq.read_table(paths.infoset)
    assert after["subset"].to_pylist() == ["train", "test", None]
    assert after["note"].to_pylist() == ["a", "b", "c"]
    assert after.schema.metadata == before.schema.metadata
    assert after.drop_columns(["subset", "note"]).equals(before.drop_columns(["subset"]))


def test_a_table_that_cannot_be_rewritten_stays(paths: FlowPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    before = paths.infoset.read_bytes()

    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.replace", refuse)
    assert not rewrite_column(paths.infoset, "subset", ["train", "test", None])
    assert paths.infoset.read_bytes() == before
    assert not list(paths.root.glob(".tmp-*.infoset-*"))


def test_names_of_an_arrays_codes_are_those_of_its_own_table_first() -> None:
    table = pd.DataFrame(
        [("kind", 0, "nut"), ("faces/kind", 0, "hole"), ("faces/kind", 2, "slot")], columns=["table_name", "id", "name"]
    )
    assert names_of_codes(table, "faces", "kind") == {0: "hole", 2: "slot"}
    assert names_of_codes(table, "file", "kind") == names_of_codes(table, "edges", "kind") == {0: "nut"}
    assert names_of_codes(table, "faces", "other") == {}
