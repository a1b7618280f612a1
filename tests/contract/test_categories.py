"""Categories on the `file` dimension, in `.infoset` and `.attribset`, and every way to ask for them."""

from __future__ import annotations

import json
import logging
import shutil
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from dflow.dataset import DatasetExplorer, DatasetLoader
from dflow.errors import QueryError, UnknownKeyError
from dflow.schema import SchemaBuilder
from tests.contract.running import Run, save_each
from tests.dataset.synthetic import Parts, write_parts

CODES = [2, 9, None, 9, 2, 5]
MATERIALS = ["steel", None, "zinc", "alu", "steel", "brass"]


def schema():
    builder = SchemaBuilder(domain="parts")
    builder.create_group("faces", base_dimension="face").create_array("areas", dims=["face"], dtype="float32")
    builder.create_group("edges", primary_dimension="edge").create_array("lengths", dimensions=["edge"])
    builder.define_categorical_metadata("category", "int32", values=[2, 5, 9], labels=["two", "five", "nine"])
    builder.define_categorical_metadata("material", "str")
    builder.define_categorical_metadata("painted", "bool")
    return builder.build()


def save(n, storage):
    if n != 3:
        storage.save_data("faces/areas", 10 * np.arange(n, dtype=np.float32))
    storage.save_data("edges/lengths", np.arange(2 * n, dtype=np.float32))
    if CODES[n] is not None:
        storage.save_metadata("category", CODES[n])
    if MATERIALS[n] is not None:
        storage.save_metadata("material", MATERIALS[n])
    storage.save_metadata("painted", bool(n % 2))
    storage.save_metadata("face_count", n)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Six samples, whose ids are their numbers."""
    return save_each(tmp_path_factory.mktemp("categories"), save, range(6), schema())


@pytest.fixture(scope="module")
def with_labels(tmp_path_factory):
    """The same with a real group `labels`, whose rows say something else."""

    def save_labels(n, storage):
        save(n, storage)
        storage.save_data("labels/category", np.array([5 if n == 0 else 2], np.int32))

    return save_each(tmp_path_factory.mktemp("labels"), save_labels, range(6), schema())


def ask(run: Run, where, group=None) -> list[int]:
    found = run.explorer().get_file_list(group=group, where=where)
    assert found.dtype.kind == "i"
    return found.tolist()


def test_codes_with_gaps_stay_and_text_is_numbered_in_sorted_order(run):
    file = run.group("file")
    assert file["category"].values.tolist() == [2, 9, -1, 9, 2, 5]
    assert file["material"].values.tolist() == [2, -1, 3, 0, 2, 1]
    assert file["painted"].values.tolist() == [0, 1, 0, 1, 0, 1]
    assert {file[name].dtype for name in ("category", "material", "painted")} == {np.dtype("int32")}
    assert file["has_file_category"].values.tolist() == [True, True, False, True, True, True]


def test_the_two_tables_hold_codes_and_words(run):
    info = run.info()
    assert info["category_label"].tolist()[:2] == ["two", "nine"]
    assert info["category"].isna().tolist() == [False, False, True, False, False, False]
    assert info["material_label"].tolist()[3:] == ["alu", "steel", "brass"]
    assert run.table("category") == [(2, "two", "not set"), (5, "five", "not set"), (9, "nine", "not set")]
    assert [name for _, name, _ in run.table("material")] == ["alu", "brass", "steel", "zinc"]
    assert [name for _, name, _ in run.table("painted")] == ["False", "True"]


def test_labels_is_the_group_of_the_categorical_values(run):
    explorer = run.explorer()
    assert explorer.available_groups() == ["edges", "faces", "file"]
    assert explorer.available_arrays("labels") == ["category", "material", "painted"]
    assert ask(run, lambda ds: ds["category"] == 5, "labels") == [5]
    assert explorer.create_distribution("category", bins=None, group="labels")["hist"].tolist() == [
        2,
        0,
        0,
        1,
        0,
        0,
        0,
        2,
    ]
    assert explorer.get_array_data("labels", "category").values.tolist() == [2, 9, -1, 9, 2, 5]
    assert sorted(explorer.get_group_data("labels")) == ["category", "material", "painted"]
    assert int(explorer.file_dataset(5, "labels")["category"].item()) == 5
    assert explorer.build_membership_matrix("labels", "category")[2].tolist() == [2, 5, 9]
    assert explorer.get_array_statistics("labels", "category")["max"] == 9
    loader = DatasetLoader(merged_store_path=str(run.dataset), parquet_file_path=str(run.infoset))
    sizes = loader.split(key="category", group="labels", train=0.5, validation=0.25, test=0.25, random_state=1)
    loader.close_resources()
    assert sum(sizes) == 6


def test_a_real_array_of_a_real_group_labels_wins(with_labels):
    assert with_labels.explorer().available_groups() == ["edges", "faces", "labels", "file"]
    assert ask(with_labels, lambda ds: ds["category"] == 5, "labels") == [0]
    assert ask(with_labels, lambda ds: ds["category"] == 5) == [5]
    found = with_labels.explorer().create_distribution("category", bins=None, group="labels")
    assert found["group"] == "labels"


def test_a_key_of_another_group_is_found_with_a_word_in_the_log(run, caplog):
    caplog.set_level(logging.INFO, logger="dflow")
    assert run.explorer().create_distribution("areas", bins=3, group="edges")["group"] == "faces"
    assert "'areas' is not in group 'edges'" in caplog.text
    caplog.clear()
    assert run.explorer().create_distribution("category", bins=None, group="edges")["group"] == "file"
    assert "'category' is not in group 'edges'" in caplog.text
    with pytest.raises(UnknownKeyError, match="'nowhere'"):
        run.explorer().create_distribution("nowhere", group="edges")


@pytest.mark.parametrize(
    ("group", "where", "ids"),
    [
        ("faces", lambda ds: ds["face_count"] >= 0, [0, 1, 2, 3, 4, 5]),  # 0 has no row: it counts all the same
        ("faces", lambda ds: ds["face_count"] == 0, [0]),
        ("faces", lambda ds: ds["areas"] > 15, [4, 5]),
        ("faces", lambda ds: (ds["areas"] > 15) & (ds["category"] == 5), [5]),
        ("faces", lambda ds: (ds.areas > 15) | (ds.category == 9), [1, 4, 5]),
        ("labels", lambda ds: (ds["category"] == 5) & (ds["face_count"] > 4), [5]),
        ("labels", lambda ds: ds["category"].isin([5, 9]), [1, 3, 5]),
        (None, {"faces": lambda ds: ds.areas > 15, "edges": lambda ds: ds.lengths > 8}, [5]),
        (None, {"faces": lambda ds: ds.areas > 15, "labels": lambda ds: ds.category == 2}, [4]),
    ],
)
def test_where_is_about_files_or_about_any_of_their_rows(run, group, where, ids):
    assert ask(run, where, group) == ids


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (lambda ds: (ds["areas"] > 1) & (ds["lengths"] > 1), "two row dimensions, face and edge"),
        (lambda ds: (ds["areas"] > 1) and (ds["face_count"] > 1), "not `and`"),
        (lambda ds: ds["nowhere"] > 1, "may use: areas"),
        (lambda ds: ds["areas"], "compare them"),
        (lambda ds: True, "returned bool"),
    ],
)
def test_a_wrong_condition_is_told_what_is_wrong(run, where, words):
    with pytest.raises(QueryError, match=words):
        ask(run, where, "faces")


def test_plain_zarr_and_xarray_read_everything_without_a_warning(run):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = sorted((run.root / "encoded").glob("*.data"))[0]
        store = zarr.storage.ZipStore(path, mode="r")
        assert set(zarr.open_group(store, mode="r").group_keys()) >= {"edges"}
        assert xr.open_zarr(store, group="edges")["lengths"].dims == ("edge",)
        store.close()
        tree = xr.open_datatree(run.dataset, engine="zarr")
        assert sorted(tree.children) == ["edges", "faces", "file"]
        assert tree["faces"]["file_id_code_faces"].values.tolist() == [1, 2, 2, 4, 4, 4, 4, 5, 5, 5, 5, 5]
    file, faces = run.group("file"), run.group("faces")
    begin, n = int(file["row_start_faces"][4]), int(file["row_count_faces"][4])
    assert faces["areas"].values[begin : begin + n].tolist() == [0, 10, 20, 30]


def test_the_flow_file_is_relative_and_a_moved_folder_opens(run, tmp_path):
    content = json.loads(Path(run.flow_file).read_text())
    assert [content[key] for key in ("flow_data", "flow_info", "flow_attributes")] == [
        f"{run.root.name}.{suffix}" for suffix in ("dataset", "infoset", "attribset")
    ]
    assert {"flow_name", "Duration [seconds]", "file_count", "submitted", "skipped", "failed"} <= set(content)
    assert {"error_distribution", "Flow Specifications"} <= set(content)
    moved = shutil.copytree(run.root, tmp_path / "elsewhere é")
    explorer = DatasetExplorer(flow_output_file=str(moved / Path(run.flow_file).name))
    assert explorer.get_file_list(group="labels", where=lambda ds: ds["category"] == 5).tolist() == [5]


def test_conditions_on_100_000_files_build_no_file_by_row_array(tmp_path):
    n = 100_000
    counts = np.arange(n) % 4
    rows = int(counts.sum())
    areas = (np.arange(rows) % 100).astype(np.float32)
    category = (np.arange(n) % 7).astype(np.int32)
    parts = Parts(
        counts={"faces": counts},
        rows={"faces": {"face_areas": areas}},
        values={"face_count": counts.astype(np.int32), "category": category},
        categories={"category": [str(code) for code in range(7)]},
    )
    explorer = DatasetExplorer(flow_output_file=str(write_parts(parts, tmp_path).flow_file))
    tracemalloc.start()
    found = explorer.get_file_list(group="faces", where=lambda ds: (ds["face_areas"] > 97) & (ds["category"] == 5))
    by_files = explorer.get_file_list(group="faces", where=lambda ds: (ds["face_count"] == 0) & (ds["category"] == 5))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    owner = parts.file_of_row("faces")
    assert found.tolist() == sorted({int(i) for i in owner[(areas > 97) & (category[owner] == 5)]})
    assert by_files.tolist() == np.flatnonzero((counts == 0) & (category == 5)).tolist()
    assert peak < 100e6  # a file-by-row mask would be 15 GB
