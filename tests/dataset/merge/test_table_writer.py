"""The two Parquet files: columns, labels, previews, equal bytes."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dflow.dataset.format.manifest import read_manifest
from dflow.dataset.format.tables import table_build
from dflow.schema import SchemaBuilder
from dflow.storage.paths import FlowPaths
from tests.dataset.samples import merge, write_sample


@pytest.fixture
def paths(tmp_path: Path) -> FlowPaths:
    return FlowPaths.of(tmp_path, "parts")


def test_infoset_has_one_row_a_sample_in_id_order(paths: FlowPaths) -> None:
    records = [
        write_sample(paths, f"../cad/{c}.step", {}, {"face_count": i, "family": c, "volume": i / 2})
        for i, c in enumerate("cab")
    ]
    paths.stream_cache.mkdir()
    paths.preview(records[1].name).write_bytes(b"")
    paths.mesh(records[1].name).write_bytes(b"")
    merge(paths, records, content_hashes={records[0].name: "abc"})
    rows = pq.read_table(paths.infoset).to_pylist()
    assert [row["id"] for row in rows] == [0, 1, 2]
    assert [row["description"] for row in rows] == ["../cad/a.step", "../cad/b.step", "../cad/c.step"]
    first, last = rows[0], rows[2]
    assert first["name"] == records[1].name
    assert first["stream_cache_png"] == f"stream_cache/{records[1].name}.png"
    assert first["stream_cache_3d"] == f"stream_cache/{records[1].name}.glb"
    assert (first["content_hash"], last["content_hash"]) == (None, "abc")
    assert (last["stream_cache_png"], last["stream_cache_3d"]) == (None, None)
    assert (first["flow_name"], first["subset"], first["table_name"], first["body"]) == (
        "parts",
        "N/A",
        "file_info",
        -1,
    )
    assert (first["family"], first["family_label"], last["family"], last["family_label"]) == (0, "a", 2, "c")
    assert [row["face_count"] for row in rows] == [1, 2, 0]
    assert [row["volume"] for row in rows] == [0.5, 1.0, 0.0]
    assert not [name for name in first if name.startswith(("row_start", "row_count", "has_"))]


def test_missing_values_are_null_not_fill_values(paths: FlowPaths) -> None:
    records = [write_sample(paths, "a", {}, {"mass": 3, "family": "x"}), write_sample(paths, "b", {}, {})]
    merge(paths, records)
    row = pq.read_table(paths.infoset).to_pylist()[1]
    assert (row["mass"], row["family"], row["family_label"]) == (None, None, None)


def test_attribset_holds_every_declared_class_and_every_table(paths: FlowPaths) -> None:
    builder = SchemaBuilder(domain="CAD")
    builder.define_categorical_metadata("category", "int32", values=[0, 5], labels=["nut", "bolt"])
    metadata = {
        "category": 5,
        "descriptions/face_types": {0: {"name": "plane", "description": "flat"}, 1: "cylinder"},
        "descriptions/category": {5: {"name": "ignored", "description": "with a thread"}},
    }
    merge(paths, [write_sample(paths, "a", {}, metadata, schema=builder.build())])
    rows = pq.read_table(paths.attribset).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("category", 0, "nut", "not set"),
        ("category", 5, "bolt", "with a thread"),
        ("face_types", 0, "plane", "flat"),
        ("face_types", 1, "cylinder", "not set"),
    ]


def test_undeclared_codes_take_the_names_the_samples_give_them(paths: FlowPaths) -> None:
    builder = SchemaBuilder(domain="CAD")
    builder.define_categorical_metadata("category", "int32")
    metadata = {"category": 5, "descriptions/category": {5: "bolt"}}
    merge(paths, [write_sample(paths, "a", {}, metadata, schema=builder.build())])
    assert pq.read_table(paths.attribset)["name"].to_pylist() == ["bolt"]


def test_tables_say_which_build_they_belong_to(paths: FlowPaths) -> None:
    merge(paths, [write_sample(paths, "a", {}, {"mass": 1.0})])
    build = read_manifest(paths.dataset).build
    assert table_build(paths.infoset) == table_build(paths.attribset) == build


def test_text_routed_to_files_stays_out_of_zarr(paths: FlowPaths) -> None:
    builder = SchemaBuilder(domain="CAD")
    builder.define_file_metadata("note", "str")
    merge(paths, [write_sample(paths, "a", {}, {"note": "prüfen"}, schema=builder.build())])
    assert pq.read_table(paths.infoset)["note"].to_pylist() == ["prüfen"]
    assert not (paths.dataset / "file" / "note").exists()
    assert "note" not in pq.read_table(paths.attribset)["table_name"].to_pylist()


def test_many_rows_are_written_in_groups(paths: FlowPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dflow.dataset.merge.table_writer.ROWS_PER_GROUP", 4)
    records = [write_sample(paths, f"{i:02d}", {}, {"n": i, "kind": f"k{i % 3}"}) for i in range(10)]
    merge(paths, records)
    file = pq.ParquetFile(paths.infoset)
    assert file.num_row_groups == 3
    table = file.read()
    assert table["n"].to_pylist() == list(range(10))
    assert table["kind_label"].to_pylist() == [f"k{i % 3}" for i in range(10)]
