"""Parquet tables and files per sample: their types, names and missing entries."""

from __future__ import annotations

import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dflow.dataset.export.export import export_dataset
from dflow.dataset.export.forms import absent_keys, presence, to_arrow, write_tables
from dflow.dataset.query.store import open_store
from dflow.dataset.training.samples import SampleReader
from dflow.errors import UnsupportedDataError


def test_parquet_rows_say_their_sample_and_labels_come_along(parts, place, tmp_path):
    export_dataset(place, tmp_path / "out", "parquet")
    faces = pq.read_table(tmp_path / "out" / "faces.parquet")
    np.testing.assert_array_equal(faces["file_id_code"].to_numpy(), parts.file_of_row("faces"))
    assert faces.schema.field("face_centroids").type == pa.list_(pa.float32(), 3)
    file = pd.read_parquet(tmp_path / "out" / "file.parquet")
    np.testing.assert_array_equal(np.stack(file["bounding_box"]), parts.values["bounding_box"])
    labels = pd.read_parquet(tmp_path / "out" / "labels.parquet")
    assert labels[labels["table_name"] == "category"]["name"].tolist() == ["bolt", "nut", "plate", "shaft"]


def test_a_graph_has_the_names_that_geometric_data_takes(parts, place, tmp_path):
    torch = pytest.importorskip("torch")
    export_dataset(place, tmp_path / "out", "pyg", ids=[4])
    loaded = torch.load(tmp_path / "out" / "4.pt", weights_only=True)
    ends = [parts.of_file("graph", f"edges_{end}", 4) for end in ("source", "destination")]
    np.testing.assert_array_equal(loaded["edge_index"].numpy(), np.stack(ends))
    assert loaded["edge_index"].dtype == torch.int64
    assert loaded["num_nodes"] == parts.counts["faces"][4]
    assert loaded["category"].shape == ()


def test_npz_members_are_arrays_without_objects(partial, tmp_path):
    export_dataset(partial, tmp_path / "out", "npz")
    with zipfile.ZipFile(tmp_path / "out" / "0.npz") as archive:
        assert {i.date_time for i in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert "faces/grid.npy" in archive.namelist()
        for name in archive.namelist():
            assert b"|O" not in archive.read(name)[:128]


def test_types_that_parquet_has_not_are_refused_by_name():
    with pytest.raises(UnsupportedDataError, match="faces/wave is complex64"):
        to_arrow(np.ones((2, 3), np.complex64), "faces/wave")
    with pytest.raises(UnsupportedDataError, match="trailing shape"):
        to_arrow(np.ones((2, 0), np.float32), "faces/none")


def test_rows_become_nested_lists_of_fixed_size():
    rows = np.arange(24, dtype=np.int16).reshape(2, 3, 4)[::-1]
    found = to_arrow(rows, "faces/a")
    assert found.type == pa.list_(pa.list_(pa.int16(), 4), 3)
    assert found.to_pylist() == rows.tolist()
    assert len(to_arrow(np.zeros((0, 3), np.float32), "faces/a")) == 0


def test_what_some_samples_lack_is_flagged_for_the_chosen_ids(partial):
    reader = SampleReader(open_store(partial.dataset))
    flags = presence(reader, np.array([1, 2]))
    assert flags["has_faces_only"].tolist() == [False, True]
    assert "has_faces_grid" not in flags
    assert absent_keys(reader, 1) == {"faces/only", "file/mass"}
    assert "faces/only" not in absent_keys(reader, 0)


def test_a_group_of_the_tables_name_keeps_its_rows(tmp_path):
    pq.write_table(pa.table({"row": [1]}), tmp_path / "labels.parquet")
    write_tables(tmp_path, None, pa.table({"name": ["a"]}))
    assert pq.read_table(tmp_path / "labels.parquet")["row"].to_pylist() == [1]
    assert pq.read_table(tmp_path / "labels_table.parquet")["name"].to_pylist() == ["a"]
    assert not (tmp_path / "file.parquet").exists()
