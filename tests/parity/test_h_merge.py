"""H: samples become one dataset."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from dflow.dataset import DatasetInfo, DatasetMerger
from dflow.schema import SchemaBuilder
from dflow.storage import OptStorage


def write_samples(folder, sizes, schema=None):
    folder.mkdir(exist_ok=True)
    for number, size in enumerate(sizes):
        with OptStorage(folder / f"part{number}") as storage:
            if schema is not None:
                storage.set_schema(schema)
            storage.save_data("faces/face_areas", np.full(size, number, np.float32))
            storage.save_metadata("Item", f"cad/part{number}.step")
    return folder


def merge(samples, target, **arguments):
    merger = DatasetMerger(samples, target, **arguments)
    return merger.merge_data()


def open_group(path, group):
    return xr.open_zarr(path, group=group, chunks=None)


@pytest.fixture(scope="module")
def faces(finished):
    return open_group(finished.summary["flow_data"], "faces").load()


def test_h01_rows_of_all_files_are_joined(faces, finished):
    counts = [value[0] for value in finished.output.task_instances[1].results]
    assert faces.sizes["face"] == sum(counts)
    assert faces["face_centroids"].dims[0] == "face"


def test_h02_every_row_knows_its_file(faces, finished):
    codes = faces["file_id_code_faces"].values
    assert codes.dtype == np.int64
    assert (np.diff(codes) >= 0).all()
    counts = open_group(finished.summary["flow_data"], "file")["row_count_faces"].values
    assert np.bincount(codes).tolist() == counts.tolist()


def test_h03_ids_do_not_depend_on_the_order_of_the_stores(tmp_path):
    samples = write_samples(tmp_path / "samples", [2, 1, 3])
    paths = sorted(samples.glob("*.data"))
    merge(paths, tmp_path / "one.dataset")
    merge(paths[::-1], tmp_path / "two.dataset")
    one, two = (open_group(tmp_path / f"{name}.dataset", "faces").load() for name in ("one", "two"))
    xr.testing.assert_identical(one, two)
    assert one["file_id_code_faces"].values.tolist() == [0, 0, 1, 2, 2, 2]


def test_h04_the_infoset_is_a_row_a_file(finished):
    table = pd.read_parquet(finished.summary["flow_info"])
    columns = {"id", "name", "description", "subset", "table_name", "stream_cache_png", "stream_cache_3d"}
    assert columns | {"size_cadfile", "family"} <= set(table.columns)
    assert table["id"].tolist() == list(range(12))
    assert set(table["table_name"]) == {"file_info"}


def test_h05_the_attribset_is_a_long_table(finished):
    table = pd.read_parquet(finished.summary["flow_attributes"])
    assert {"table_name", "id", "name", "description"} <= set(table.columns)
    assert {"face_types", "edge_types", "family", "face_classes"} <= set(table["table_name"])


def test_h06_groups_are_found_and_types_do_not_drift(tmp_path):
    samples = write_samples(tmp_path / "samples", [1] * 8)
    with OptStorage(samples / "part9") as storage:
        storage.save_data("faces/face_areas", np.zeros(2, np.float32))
        storage.save_data("faces/classes", np.array([3, 4], np.int32))
    merger = DatasetMerger(samples, tmp_path / "some.dataset")
    assert merger.discover_groups_from_files() == {"faces": ["face_areas"]}
    merger.merge_data()
    classes = open_group(tmp_path / "some.dataset", "faces")["classes"]
    assert classes.dtype == np.int32
    assert classes.values.tolist() == [-1] * 8 + [3, 4]


def test_h07_face_pairs_are_rows(finished):
    pairs = open_group(finished.summary["flow_data"], "faceface")
    counts = [value[0] for value in finished.output.task_instances[1].results]
    assert pairs.sizes["facepair"] == sum(count**2 for count in counts)


def test_h08_merges_stream_whatever_options_are_given(tmp_path):
    samples = write_samples(tmp_path / "samples", [4] * 5)
    report = DatasetMerger(samples, tmp_path / "a.dataset").merge_data(
        face_chunk=2, edge_chunk=2, faceface_flat_chunk=2, batch_size=2, use_streaming=True, force_compression=True
    )
    assert report.n_samples == 5
    assert open_group(tmp_path / "a.dataset", "faces").sizes["face"] == 20


def test_h10_sources_stay_unless_their_deletion_is_asked_for(tmp_path):
    samples = write_samples(tmp_path / "samples", [1, 2])
    merge(samples, tmp_path / "a.dataset")
    assert len(list(samples.glob("*.data"))) == 2
    merge(samples, tmp_path / "b.dataset", delete_source_files=True)
    assert list(samples.glob("*.data")) == []


def test_h11_merger_and_tables_are_of_use_alone(tmp_path):
    builder = SchemaBuilder(domain="parts")
    builder.create_group("faces", "face").create_array("face_areas", ["face"], "float32")
    samples = write_samples(tmp_path / "samples", [1, 2], builder.build())
    merger = DatasetMerger(zip_files=sorted(samples.glob("*.data")), merged_store_path=tmp_path / "a.dataset")
    merger.set_schema(builder.build())
    assert merger.merge_data().n_samples == 2
    info = DatasetInfo(samples, tmp_path / "a.infoset", tmp_path / "a.attribset")
    assert info.parse_info_files() == 2
    assert info.build_code_mappings(samples) == {"part0": 0, "part1": 1}
    info.set_attributes({0: "steel"}, "material")
    info.store_info_to_parquet()
    assert pd.read_parquet(tmp_path / "a.infoset")["description"].str.endswith(".step").all()
    assert pd.read_parquet(tmp_path / "a.attribset")["name"].tolist() == ["steel"]


def test_h12_stores_of_several_runs_are_merged(tmp_path):
    one = write_samples(tmp_path / "one", [1, 2])
    two = tmp_path / "two"
    two.mkdir()
    with OptStorage(two / "other") as storage:
        storage.save_data("faces/face_areas", np.zeros(3, np.float32))
        storage.save_metadata("Item", "cad/other.step")
    assert merge([one, two], tmp_path / "both.dataset").n_samples == 3
    assert open_group(tmp_path / "both.dataset", "faces").sizes["face"] == 6


def test_h13_what_cannot_be_merged_is_reported(tmp_path):
    samples = write_samples(tmp_path / "samples", [1, 2])
    data = (samples / "part0.data").read_bytes()
    (samples / "part0.data").write_bytes(data[: len(data) // 2])
    report = merge(samples, tmp_path / "a.dataset")
    assert report.n_samples == 1
    assert [name for name, _ in report.damaged] == ["part0"]
