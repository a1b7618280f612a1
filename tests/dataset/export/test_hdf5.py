"""The HDF5 file: groups, offsets, names of dimensions, tables."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dflow.dataset.export.export import export_dataset
from dflow.dataset.export.hdf5 import _storable


def test_hdf5_holds_offsets_dimension_names_and_tables(parts, place, tmp_path, small_blocks):
    h5py = pytest.importorskip("h5py")
    ids = [1, 3, 4, 20]
    export_dataset(place, tmp_path / "out.h5", "hdf5", ids=ids)
    with h5py.File(tmp_path / "out.h5") as file:
        starts, counts = file["file/row_start_faces"][:], file["file/row_count_faces"][:]
        for position, file_id in enumerate(ids):
            rows = file["faces/face_areas"][starts[position] : starts[position] + counts[position]]
            np.testing.assert_array_equal(rows, parts.of_file("faces", "face_areas", file_id))
        assert [d.label for d in file["faces/face_centroids"].dims] == ["face", "dim"]
        assert file["file_info/description"].asstr()[:].tolist() == [f"part_{i:06d}.step" for i in ids]
        assert file["file_info/id"][:].tolist() == ids
        assert json.loads(file["schema"][()])["domain"] == "test"


@pytest.mark.parametrize(
    ("word", "stored"), [(None, ""), ("a\0b", "a\\x00b"), ("\ud800", "\\ud800"), ("grün", "grün"), (3, "3")]
)
def test_any_text_can_be_stored(word, stored, tmp_path):
    h5py = pytest.importorskip("h5py")
    assert _storable(word) == stored
    with h5py.File(tmp_path / "words.h5", "w") as file:
        file.create_dataset("words", data=[_storable(word)], dtype=h5py.string_dtype("utf-8"))
        assert file["words"].asstr()[0] == stored


def test_what_some_samples_lack_is_flagged(partial, tmp_path):
    h5py = pytest.importorskip("h5py")
    export_dataset(partial, tmp_path / "out.h5", "hdf5")
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["file/has_faces_only"][:].tolist() == [True, False, True]
        assert file["faces/file_id_code"][:].tolist() == [0, 0, 0, 1, 1]
        assert file.attrs["n_samples"] == 3
