"""The record of a sample: what it says, that a file's equals its storage's, and how small it is in a message."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pytest

from dflow.errors import SchemaError
from dflow.records import ArrayLayout
from dflow.schema import SchemaBuilder
from dflow.storage import DataStorage, JsonStorageHandler, MemoryStorage, OptStorage, describe, describe_file
from tests.benchmarks.storage import sample_arrays


def fill(storage: DataStorage) -> None:
    builder = SchemaBuilder("parts")
    builder.create_group("labels", "face").create_array("label", dtype="int32", fill_value=-7)
    builder.define_categorical_metadata("category", "int32")
    storage.set_schema(builder)
    for key, array in sample_arrays(6, 9).items():
        storage.save_data(key, array)
    storage.save_data("labels/label", np.arange(6))
    storage.save_data("file/bounding_box", np.arange(6.0))
    storage.save_data("notes/text", np.array([["a", "b"]]))
    storage.save_metadata("category", 5)
    storage.nan_policy = "allow"
    storage.save_metadata("weight", math.inf)
    storage.save_metadata("nothing", None)
    storage.save_metadata("size_cadfile", 1234)
    storage.save_metadata("box", [1, 2])
    storage.save_metadata("Item", "parts/a.step")
    storage.save_metadata("Flow name", "f")
    storage.save_metadata("descriptions/face_types", {0: "Plane", 10: {"name": "Other", "description": "anything"}})
    storage.save_metadata("descriptions/listed", ["a", "b"])
    storage.save_metadata("descriptions/by_name", {"nut": 3, "bolt": 1})


@pytest.mark.parametrize("kind", ["memory", "zarr", "json"])
def test_the_record_says_what_the_sample_holds(kind: str, tmp_path: Path) -> None:
    storage = {
        "memory": MemoryStorage,
        "zarr": lambda: OptStorage(tmp_path / "s"),
        "json": lambda: JsonStorageHandler(tmp_path),
    }[kind]()
    fill(storage)
    record = describe(storage, "s", "parts/a.step", body=2)
    assert (record.name, record.source, record.body) == ("s", "parts/a.step", 2)
    assert record.layout.groups == ("edges", "faces", "graph", "labels", "notes")
    assert record.rows == (9, 6, 9, 6, 1)
    assert record.values == (("box", "[1, 2]"), ("category", 5), ("size_cadfile", 1234), ("weight", math.inf))
    assert record.layout.tables == (
        ("by_name", ((1, "bolt", "not set"), (3, "nut", "not set"))),
        ("face_types", ((0, "Plane", "not set"), (10, "Other", "anything"))),
        ("listed", ((0, "a", "not set"), (1, "b", "not set"))),
    )
    arrays = {layout.key: layout for layout in record.layout.arrays}
    assert list(arrays) == sorted(arrays)
    assert arrays["faces/face_uv_grids"] == ArrayLayout(
        "faces", "face_uv_grids", "float32", ("face", "uv_x", "uv_y", "component"), (10, 10, 7)
    )
    assert arrays["labels/label"] == ArrayLayout("labels", "label", "int32", ("face",), (), -7)
    assert arrays["file/bounding_box"] == ArrayLayout("file", "bounding_box", "float64", ("box",), (6,))
    assert arrays["notes/text"] == ArrayLayout("notes", "text", "str", ("notes_row", "text_dim_1"), (2,))


def test_a_files_record_equals_its_storages(tmp_path: Path) -> None:
    with OptStorage(tmp_path / "s") as storage:
        fill(storage)
        size = storage.compress_store()
        record = describe(storage, "s", "parts/a.step")
    assert describe_file(tmp_path / "s.data") == record
    assert record.n_bytes == size
    assert record.data_crc != 0
    with OptStorage(tmp_path / "s") as again:
        assert describe(again, "s", "parts/a.step") == record


def test_a_record_without_a_schema_says_so(tmp_path: Path) -> None:
    with OptStorage(tmp_path / "s") as storage:
        storage.save_data("g/a", [1])
        storage.compress_store()
        assert describe(storage, "s", "").layout.schema == ""
    assert describe_file(tmp_path / "s.data").layout.schema == ""


def test_records_share_one_layout_also_when_pickled(tmp_path: Path) -> None:
    records = []
    for index in range(100):
        storage = MemoryStorage()
        fill(storage)
        records.append(describe(storage, f"{index:032x}_0", f"parts/{index}.step"))
    again = pickle.loads(pickle.dumps(records))
    assert again == records
    assert len({id(record.layout) for record in again}) == 1
    one, all_of_them = len(pickle.dumps(records[:1])), len(pickle.dumps(records))
    assert (all_of_them - one) / 99 < 300


def test_nan_fill_values_do_not_split_layouts() -> None:
    layouts = set()
    for _ in range(2):
        builder = SchemaBuilder()
        builder.create_group("g", "row").create_array("a", fill_value=float("nan"))
        storage = MemoryStorage()
        storage.set_schema(builder.build())
        storage.save_data("g/a", [1.0])
        layouts.add(pickle.loads(pickle.dumps(describe(storage, "s", ""))).layout)
    assert len(layouts) == 1


def test_a_required_field_must_be_there() -> None:
    builder = SchemaBuilder()
    builder.define_file_metadata("mass", "float32", required=True)
    storage = MemoryStorage()
    storage.set_schema(builder)
    with pytest.raises(SchemaError, match="'mass' is missing"):
        describe(storage, "s", "a")
    storage.save_metadata("mass", 1)
    assert describe(storage, "s", "a").value_map() == {"mass": 1.0}


def test_rows_must_agree_in_every_storage() -> None:
    storage = MemoryStorage()
    storage.save_data("g/a", [1])
    storage.save_data("g/b", [1, 2])
    with pytest.raises(SchemaError, match="disagree on their rows"):
        describe(storage, "s", "a")


@pytest.mark.parametrize("table", ["word", {"a": "b"}, {"1.5": "x"}])
def test_a_table_without_codes_is_refused(table: object) -> None:
    storage = MemoryStorage()
    storage.save_metadata("descriptions/t", table)
    with pytest.raises(SchemaError, match="descriptions/t"):
        describe(storage, "s", "a")
