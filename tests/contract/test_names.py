"""Names that users choose meet names that the dataset needs: nothing breaks, and the dataset's own stay true."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dflow.dataset import DatasetLoader
from dflow.dataset.format.tables import INFOSET_COLUMNS
from dflow.dataset.training.collate import collate
from dflow.dataset.training.graphs import graph_fields
from dflow.errors import BadKeyError, SchemaError, UnsupportedDataError
from dflow.schema import SchemaBuilder
from dflow.schema.names import DERIVED_PREFIXES, FILE_TABLE_NAMES, OPEN_NAMES
from tests.contract.running import save_each

TAKEN = [
    *(f"{kind}/{name}" for kind in ("metadata", "file", "rows") for name in ("batch", "ptr")),
    *(f"{kind}/{prefix}x" for kind in ("metadata", "file", "rows") for prefix in DERIVED_PREFIXES),
    *(f"{kind}/{name}" for kind in ("metadata", "file") for name in FILE_TABLE_NAMES if name not in OPEN_NAMES),
    *(
        f"{kind}/{name}"
        for kind in ("metadata", "file")
        for name in ("file", "has_faces_x", "has_file_x", "has_rows_x")
    ),
]
"""Keys whose names mean something else at a later stage."""

FREE = ["has_holes", "has_x", "has_", "has_faces", "batches", "names", "ids", "row_count", "kind_label", "flow_name"]


def put(storage, key, value):
    """Save a value per sample as metadata or data, or an array of two rows."""
    kind, _, name = key.partition("/")
    if kind == "metadata":
        storage.save_metadata(name, value)
    else:
        storage.save_data(key, value if kind == "file" else [value, value])


def test_the_list_has_every_column_of_the_table_of_files():
    assert [name for name, _ in INFOSET_COLUMNS] == list(FILE_TABLE_NAMES)


@pytest.mark.parametrize("key", TAKEN)
def test_a_reserved_name_is_refused_where_it_is_saved_and_the_name_to_take_arrives_everywhere(tmp_path, key):
    told = []

    def save(item, storage):
        storage.save_data("rows/x", [1.0, 2.0])
        with pytest.raises(BadKeyError, match=r"is reserved: .*; use the name '") as caught:
            put(storage, key, item)
        told.append(str(caught.value).rpartition("name '")[2].rstrip("'"))
        put(storage, f"{key.partition('/')[0]}/{told[-1]}", item)

    run = save_each(tmp_path, save, [5, 7])
    assert not run.output.errors
    check_arrival(run, key.partition("/")[0], told[0], [5, 7])


@pytest.mark.parametrize("kind", ["metadata", "file", "rows"])
@pytest.mark.parametrize("name", FREE)
def test_other_names_arrive_everywhere(tmp_path, kind, name):
    def save(item, storage):
        storage.save_data("rows/x", [1.0, 2.0])
        put(storage, f"{kind}/{name}", item)

    run = save_each(tmp_path, save, [5, 7])
    assert not run.output.errors
    check_arrival(run, kind, name, [5, 7])


def check_arrival(run, kind, name, values):
    """The values are in the dataset, the table of files, conditions, items, tensors and batches under the name."""
    group = "rows" if kind == "rows" else "file"
    expected = np.repeat(values, 2).tolist() if kind == "rows" else values
    assert run.group(group)[name].values.tolist() == expected
    explorer = run.explorer()
    assert name in explorer.available_arrays(group)
    assert explorer.get_file_list("rows", lambda ds: ds[name] > 5).tolist() == [1]
    if kind != "rows":
        assert name in explorer.file_values
    if kind == "metadata":
        assert [int(value) for value in explorer.files[name]] == values
    loader = DatasetLoader(merged_store_path=run.dataset, parquet_file_path=run.infoset)
    loader.split(key="random", train=1.0, validation=0.0, test=0.0)
    dataset = loader.get_dataset("train")
    items = sorted(dataset, key=lambda item: item["id"])
    assert [np.unique(item[f"{group}/{name}"]).tolist() for item in items] == [[value] for value in values]
    fields = [graph_fields(item) for item in items]
    assert [np.unique(field[name]).tolist() for field in fields] == [[value] for value in values]
    assert [int(field["id"]) for field in fields] == [0, 1]
    assert collate(items)[f"{group}/{name}"].tolist() == expected
    assert collate(items)["rows/ptr"].tolist() == [0, 2, 4]


@pytest.mark.parametrize("name", ["batch", "file_id_code_rows", "row_count_x"])
def test_a_reserved_array_is_refused_where_it_is_declared(name):
    with pytest.raises(SchemaError, match=rf"'{name}' is reserved: .*; use the name '"):
        SchemaBuilder().create_group("rows", "row").create_array(name)


@pytest.mark.parametrize("name", ["batch", "ptr", "id", "name", "has_faces_x", "row_start_x", "file"])
def test_a_reserved_field_is_refused_where_it_is_declared(name):
    for define in (SchemaBuilder().define_file_metadata, SchemaBuilder().define_categorical_metadata):
        with pytest.raises(SchemaError, match=rf"'{name}' is reserved: .*; use the name '"):
            define(name, "int32")


def test_an_array_cannot_have_the_name_of_its_rows_dimension(tmp_path):
    def save(item, storage):
        with pytest.raises(BadKeyError, match="is the dimension of the group's rows; use the name 'part_face'"):
            storage.save_data("faces/face", np.ones((3, 2)))
        storage.save_data("faces/face", np.arange(3))

    run = save_each(tmp_path, save, [1])
    assert run.group("faces")["face"].values.tolist() == [0, 1, 2]


def test_what_a_flow_of_an_older_version_saved_under_such_names_is_kept(tmp_path, caplog):
    """Their samples lie in `encoded` and are not made anew."""

    def save(item, storage):
        storage.save_data("rows/x", [1.0])
        for name in ("id", "name", "row_count_rows"):
            storage._metadata.put(name, item)

    run = save_each(tmp_path, save, [5])
    row = run.info().iloc[0]
    assert (row["id"], row["id_value"], row["name_value"], row["part_row_count_rows"]) == (0, 5, 5, 5)
    assert run.group("file")["row_count_rows"].values.tolist() == [1]
    assert "renamed to 'part_row_count_rows'" in caplog.text


def test_a_name_that_only_other_samples_groups_make_reserved_is_kept(tmp_path):
    def save(item, storage):
        if item:
            storage.save_data("holes/radius", [1.0])
        else:
            storage.save_metadata("has_holes_radius", 3)

    run = save_each(tmp_path, save, [0, 1])
    assert run.group("file")["has_holes_radius"].values.tolist() == [0, 1]
    assert run.group("file")["part_has_holes_radius"].values.tolist()[0] == 3


@pytest.mark.parametrize("kind", ["bolt", 3])
def test_a_value_may_have_the_name_of_another_values_words(tmp_path, kind):
    def save(item, storage):
        storage.save_metadata("kind", kind)
        storage.save_metadata("kind_label", item)

    run = save_each(tmp_path, save, [-1, 4])
    assert run.info()["kind_label"].tolist() == [-1, 4]
    assert run.group("file")["kind_label"].values.tolist() == [-1, 4]
    assert run.explorer().available_arrays("labels") == (["kind"] if kind == "bolt" else [])


def test_a_flow_name_of_the_samples_stands_in_for_the_flows(tmp_path):
    def save(item, storage):
        storage.save_metadata("number", item)
        if item:
            storage.save_metadata("flow_name", "mine")

    run = save_each(tmp_path, save, [0, 1])
    assert run.info()["flow_name"].tolist() == [run.root.name, "mine"]


VALUES = [[1, 2, 3], np.array([0.5, 2.5]), (), ["a", "größer"], {"a": {"b": [1]}, "c": "d"}, np.eye(2), [[1], [2, 3]]]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_lists_arrays_and_branches_are_kept_in_the_table_of_files(tmp_path, value):
    def save(item, storage):
        storage.save_metadata("more", value)
        storage.save_metadata("deep/er", item)
        storage.save_metadata("descriptions/kinds", ["a", "b"])
        if item:
            storage.save_metadata("some", value)

    run = save_each(tmp_path, save, [0, 1])
    info = run.info()
    plain = value.tolist() if isinstance(value, np.ndarray) else list(value) if isinstance(value, tuple) else value
    assert [json.loads(text) for text in info["more"]] == [plain, plain]
    assert [json.loads(text) for text in info["deep"]] == [{"er": 0}, {"er": 1}]
    assert info["some"].isna().tolist() == [True, False]
    assert not {"descriptions", "file_sizes_KB", "more_label"} & set(info.columns)
    assert [row[1] for row in run.table("kinds")] == ["a", "b"]


def test_lists_of_different_lengths_cost_no_file(tmp_path):
    run = save_each(tmp_path, lambda item, storage: storage.save_metadata("holes", list(range(item))), [0, 1, 7])
    assert [len(json.loads(text)) for text in run.info()["holes"]] == [0, 1, 7]


def test_what_is_too_long_for_the_table_is_refused_with_the_way_out(tmp_path):
    def save(item, storage):
        with pytest.raises(UnsupportedDataError, match="at most 65,536 fit; save numbers with save_data"):
            storage.save_metadata("many", list(range(20_000)))
        storage.save_data("file/many", list(range(20_000)))

    assert save_each(tmp_path, save, [1]).group("file")["many"].shape == (1, 20_000)


def test_a_value_is_metadata_or_data(tmp_path):
    def save(item, storage):
        storage.save_data("file/mass", 2.0)
        with pytest.raises(BadKeyError, match="data of that name exists"):
            storage.save_metadata("mass", 3.0)

    assert save_each(tmp_path, save, [1]).group("file")["mass"].values.tolist() == [2.0]


def test_an_array_of_another_rank_than_a_declared_file_value_is_a_schema_error(tmp_path):
    builder = SchemaBuilder(domain="parts")
    builder.create_group("file", "file").create_array("mass", ["file"], "float64")

    def save(item, storage):
        storage.save_data("file/mass", np.arange(3.0) if item == 1 else np.float64(item))

    run = save_each(tmp_path, save, [1, 2], builder.build())
    assert [error.kind for error in run.output.errors] == ["schema"]
    assert run.group("file")["mass"].values.tolist() == [2.0]
