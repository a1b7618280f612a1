"""Names that users choose meet names that the dataset needs: nothing breaks, and the dataset's own stay true."""

from __future__ import annotations

import numpy as np
import pytest

from dflow.schema import SchemaBuilder
from tests.contract.running import save_each


@pytest.mark.parametrize(
    "key", ["rows/file_id_code_rows", "file/row_count_rows", "file/row_start_rows", "file/has_rows_x"]
)
def test_an_array_with_the_name_of_one_of_the_merge_is_left_out(tmp_path, caplog, key):
    def save(item, storage):
        storage.save_data("rows/x", np.arange(item))
        storage.save_data(key, np.full(item, 77))

    run = save_each(tmp_path, save, [2])
    assert run.group("rows")["file_id_code_rows"].values.tolist() == [0, 0]
    assert run.group("file")["row_count_rows"].values.tolist() == [2]
    assert f"the array {key!r} is left out" in caplog.text


def test_a_group_of_nothing_but_such_an_array_is_no_group(tmp_path):
    run = save_each(tmp_path, lambda item, storage: storage.save_data("rows/file_id_code_rows", [1, 2]), [1])
    assert run.output.counts.succeeded == 1
    assert run.explorer().available_groups() == ["file"]


def test_metadata_may_have_the_name_of_any_column_of_the_file_table(tmp_path):
    values = {"id": 7, "id_value": 8, "name": "n", "kind": "a", "kind_label": "b", "kind_label_value": 3}

    def save(item, storage):
        for key, value in values.items():
            storage.save_metadata(key, value)

    run = save_each(tmp_path, save, [1])
    row = run.info().iloc[0]
    assert row["id"] == 0
    assert (row["id_value"], row["id_value_value"], row["name_value_label"]) == (7, 8, "n")
    assert (row["kind_label"], row["kind_label_value_label"], row["kind_label_value_value"]) == ("a", "b", 3)


def test_an_array_of_another_rank_than_a_declared_file_value_is_a_schema_error(tmp_path):
    builder = SchemaBuilder(domain="parts")
    builder.create_group("file", "file").create_array("mass", ["file"], "float64")

    def save(item, storage):
        storage.save_data("file/mass", np.arange(3.0) if item == 1 else np.float64(item))

    run = save_each(tmp_path, save, [1, 2], builder.build())
    assert [error.kind for error in run.output.errors] == ["schema"]
    assert run.group("file")["mass"].values.tolist() == [2.0]
