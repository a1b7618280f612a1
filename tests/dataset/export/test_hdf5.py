"""The HDF5 file: groups, offsets, tables, and scales and attributes by which netCDF4 and xarray open it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from dflow.dataset.export.export import export_dataset
from dflow.dataset.export.hdf5 import _storable
from dflow.dataset.format.location import locate
from dflow.storage.paths import FlowPaths
from tests.dataset.samples import merge, write_sample

h5py = pytest.importorskip("h5py")


def test_hdf5_holds_offsets_dimension_names_and_tables(parts, place, tmp_path, small_blocks):
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
    assert _storable(word) == stored
    with h5py.File(tmp_path / "words.h5", "w") as file:
        file.create_dataset("words", data=[_storable(word)], dtype=h5py.string_dtype("utf-8"))
        assert file["words"].asstr()[0] == stored


def test_what_some_samples_lack_is_flagged(partial, tmp_path):
    export_dataset(partial, tmp_path / "out.h5", "hdf5")
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["file/has_faces_only"][:].tolist() == [True, False, True]
        assert file["faces/file_id_code"][:].tolist() == [0, 0, 0, 1, 1]
        assert file.attrs["n_samples"] == 3


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Types that netCDF-4 has not, an array with its dimension's name, a group without rows."""
    paths = FlowPaths.of(tmp_path_factory.mktemp("odd"), "odd")
    schema = {
        "groups": {
            "faces": {
                "primary_dimension": "face",
                "arrays": {
                    "half": {"dims": ["face", "component"], "dtype": "float16", "description": "half", "units": "mm"},
                    "flag": {"dims": ["face"], "dtype": "bool"},
                    "wave": {"dims": ["face", "time"], "dtype": "complex64"},
                    "face": {"dims": ["face"], "dtype": "int32", "labels": ["plane", "through hole"]},
                    "wide": {"dims": ["face", "word"], "dtype": "uint64"},
                },
            },
            "tools": {"primary_dimension": "tool", "arrays": {"size": {"dims": ["tool"], "dtype": "float32"}}},
        },
    }
    records = []
    for number in range(3):
        rows = {
            "faces/half": np.arange(number * 2, dtype="f2").reshape(-1, 2) / 3,
            "faces/flag": np.arange(number) % 2 == 0,
            "faces/wave": (np.arange(number * 3) * (1 + 2j)).astype("c8").reshape(-1, 3),
            "faces/face": np.arange(number, dtype="i4"),
            "faces/wide": np.full((number, 4), 2**64 - 1, "u8"),
            "tools/size": np.zeros(0, "f4"),
        }
        if number != 1:
            rows["faces/only"] = np.arange(number, dtype="i4")
        values = {"mass": 1.5, "closed": True} if number else {"closed": False}
        records.append(write_sample(paths, f"{number}.step", rows, values, schema=schema))
    merge(paths, records)
    return locate(dataset=paths.dataset)


def test_every_dimension_has_a_scale(odd, tmp_path):
    export_dataset(odd, tmp_path / "out.h5", "hdf5")
    with h5py.File(tmp_path / "out.h5") as file:
        lacking = []
        file.visititems(
            lambda key, node: lacking.extend(
                (key, n)
                for n, dim in enumerate(getattr(node, "dims", ()))
                if not h5py.h5ds.is_scale(node.id) and (not len(dim) or dim[0].shape[0] != node.shape[n])
            )
        )
        assert lacking == []
        assert [d.label for d in file["faces/half"].dims] == ["face", "component"]
        assert [d.label for d in file["faces/wave"].dims] == ["face", "time", "re_im"]


@pytest.mark.filterwarnings("ignore:numpy.ndarray size changed:RuntimeWarning")
def test_netcdf4_reads_names_units_and_fill_values(odd, tmp_path):
    netcdf = pytest.importorskip("netCDF4")
    export_dataset(odd, tmp_path / "out.h5", "hdf5")
    with netcdf.Dataset(tmp_path / "out.h5") as file:
        faces = file["faces"]
        sizes = {name: len(size) for name, size in faces.dimensions.items()}
        assert sizes == {"face@dimension": 3, "component": 2, "time": 3, "re_im": 2, "word": 4}
        half = faces["half"]
        assert (half.dimensions, half.dtype, half.units, half.long_name) == (
            ("face@dimension", "component"),
            np.float32,
            "mm",
            "half",
        )
        expected = np.concatenate([np.arange(n * 2, dtype="f2") / np.float16(3) for n in (1, 2)]).astype("f4")
        np.testing.assert_array_equal(half[:].reshape(-1), expected)
        assert faces["face"].flag_meanings == "plane through_hole"
        assert faces["face"].flag_values.dtype == np.int32
        assert faces["only"]._FillValue == -1
        assert faces["only"][:].mask.tolist() == [True, False, False]
        assert file["file_info"]["description"][:].tolist() == ["0.step", "1.step", "2.step"]
        assert file["tools"]["size"].shape == (0,)


@pytest.mark.filterwarnings("ignore:numpy.ndarray size changed:RuntimeWarning")
def test_xarray_opens_every_group_with_names(odd, parts, place, tmp_path, small_blocks):
    pytest.importorskip("netCDF4")
    export_dataset(odd, tmp_path / "odd.h5", "hdf5")
    with xr.open_datatree(tmp_path / "odd.h5", engine="netcdf4") as tree:
        faces = tree["faces"].to_dataset()
        assert faces["half"].dims == ("face@dimension", "component")
        assert faces["flag"].dtype == bool
        assert faces["flag"].values.tolist() == [True, True, False]
        assert faces["wave"].dims[-1] == "re_im"
        np.testing.assert_array_equal(faces["wave"].values[1:, :, 1].reshape(-1), np.arange(6, dtype="f4") * 2)
        assert faces["wide"].values.max() == 2**64 - 1
        np.testing.assert_array_equal(faces["only"], [np.nan, 0, 1])
        np.testing.assert_array_equal(tree["file"]["mass"], [np.nan, 1.5, 1.5])
    export_dataset(place, tmp_path / "out.h5", "hdf5")
    with xr.open_dataset(tmp_path / "out.h5", group="faces", engine="netcdf4") as faces:
        assert faces["face_uv_grids"].dims == ("face", "uv_x", "uv_y", "component")
        np.testing.assert_array_equal(faces["face_areas"], parts.rows["faces"]["face_areas"])
        np.testing.assert_array_equal(faces["file_id_code"], parts.file_of_row("faces"))


def test_an_export_of_nothing_opens_too(place, tmp_path):
    export_dataset(place, tmp_path / "out.h5", "hdf5", ids=[])
    pytest.importorskip("netCDF4")
    with xr.open_datatree(tmp_path / "out.h5", engine="netcdf4") as tree:
        assert "file_info" in tree
