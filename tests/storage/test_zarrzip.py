"""The file itself: other readers open it, its bytes are determined, and writing it leaves all or nothing."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dflow.errors import BadKeyError, DamagedStoreError, DflowError, KeyNotFoundError, StoreLimitError
from dflow.storage import (
    StoredArray,
    read_arrays,
    read_zip_store,
    store_crc,
    write_zip_store,
)
from dflow.storage import chunks as chunk_codec
from tests.storage.stores import ARRAYS, ATTRIBUTES, TEXT


@pytest.mark.parametrize("consolidated", [None, False, True])
def test_plain_zarr_reads_every_array(data: Path, consolidated: bool | None) -> None:
    with zarr.storage.ZipStore(data, mode="r") as store:
        root = zarr.open_group(store, mode="r", use_consolidated=consolidated)
        assert root.attrs["metadata"]["number"] == 1.5
        assert sorted(root.group_keys()) == sorted({key.partition("/")[0] for key in ARRAYS})
        for key, stored in ARRAYS.items():
            array = root[key]
            assert isinstance(array, zarr.Array)
            assert array.metadata.dimension_names == stored.dims
            assert np.array_equal(array[...], stored.data)
            assert stored.data.dtype.kind == "T" or array.dtype == stored.data.dtype


@pytest.mark.parametrize("consolidated", [None, False, True])
def test_xarray_reads_every_group(data: Path, consolidated: bool | None) -> None:
    for group in ("faces", "arcs", "file", "größe"):
        with zarr.storage.ZipStore(data, mode="r") as store:
            dataset = xarray.open_zarr(store, group=group, consolidated=consolidated).load()
        for key, stored in ARRAYS.items():
            if key.startswith(f"{group}/"):
                found = dataset[key.partition("/")[2]]
                assert found.dims == stored.dims
                assert np.array_equal(found.values, stored.data)


def test_xarray_reads_the_whole_tree(data: Path) -> None:
    with zarr.storage.ZipStore(data, mode="r") as store, xarray.open_datatree(store, engine="zarr") as tree:
        assert tree["faces/grids"].shape == (5, 30, 7)


def test_documents_say_what_zarr_itself_would_write(data: Path, tmp_path: Path) -> None:
    """zarr, given the same array, agrees on every field of our document but the fill value."""
    mine = zarr.open_group(zarr.storage.ZipStore(data, mode="r"), mode="r")["faces/grids"].metadata.to_dict()
    theirs = zarr.create_array(
        zarr.storage.MemoryStore(),
        data=ARRAYS["faces/grids"].data,
        chunks=(5, 30, 7),
        compressors=zarr.codecs.ZstdCodec(level=chunk_codec.ZSTD_LEVEL),
        dimension_names=("face", "sample", "component"),
        fill_value=np.nan,
    ).metadata.to_dict()
    del mine["fill_value"], theirs["fill_value"]
    assert mine == theirs


def test_unzip_tools_find_no_fault_and_dates_are_fixed(data: Path) -> None:
    with zipfile.ZipFile(data) as file:
        assert file.testzip() is None
        assert {info.date_time for info in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {info.compress_type for info in file.infolist()} == {zipfile.ZIP_STORED}


def test_equal_content_gives_equal_bytes_whatever_the_order(data: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.data"
    reordered = {"metadata": dict(reversed(ATTRIBUTES["metadata"].items())), "schema": {}, "dflow": {"format": 1}}
    write_zip_store(again, dict(reversed(ARRAYS.items())), reordered)
    assert again.read_bytes() == data.read_bytes()


def test_only_what_is_asked_for_is_read_and_its_absence_is_a_key_error(data: Path) -> None:
    assert sorted(read_arrays(data, ["file/box", "faces/names"])) == ["faces/names", "file/box"]
    assert read_arrays(data, []) == {}
    with pytest.raises(KeyNotFoundError, match="faces/nothing"):
        read_arrays(data, ["faces/nothing"])


def test_what_is_read_can_be_written_to(data: Path) -> None:
    before = data.read_bytes()
    for array in read_arrays(data, ARRAYS).values():
        assert array.flags.writeable
        array[...] = np.zeros((), array.dtype)
    assert data.read_bytes() == before


def test_size_and_checksum_are_those_of_the_file(tmp_path: Path) -> None:
    written = write_zip_store(tmp_path / "a.data", ARRAYS, ATTRIBUTES)
    contents = read_zip_store(tmp_path / "a.data")
    assert written.n_bytes == contents.n_bytes == (tmp_path / "a.data").stat().st_size
    assert written.crc == contents.crc == store_crc(tmp_path / "a.data")
    other = write_zip_store(
        tmp_path / "b.data", {**ARRAYS, "file/closed": StoredArray(np.array(False), ())}, ATTRIBUTES
    )
    assert other.crc != written.crc


numeric = st.sampled_from(["bool", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"])


@settings(max_examples=40)
@given(data=st.data(), dtype=numeric)
def test_any_array_survives_and_zarr_agrees(tmp_path_factory: Any, data: st.DataObject, dtype: str) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6))
    array = data.draw(hnp.arrays(dtype, shape))
    path = tmp_path_factory.mktemp("any") / "a.data"
    write_zip_store(path, {"g/a": StoredArray(array)}, ATTRIBUTES)
    with zarr.storage.ZipStore(path, mode="r") as store:
        theirs = np.asarray(zarr.open_group(store, mode="r")["g/a"][...])
    for found in (read_arrays(path, ["g/a"])["g/a"], theirs):
        assert found.shape == shape
        assert found.dtype == array.dtype
        assert found.tobytes() == array.tobytes()


@settings(max_examples=40)
@example(texts=np.array("a\0", dtype=object))
@given(texts=hnp.arrays(object, hnp.array_shapes(min_dims=0, max_dims=2, min_side=0), elements=st.text(max_size=40)))
def test_any_text_survives_and_zarr_agrees(tmp_path_factory: Any, texts: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("any") / "a.data"
    array = np.array(texts.ravel().tolist(), dtype=TEXT).reshape(texts.shape)
    write_zip_store(path, {"g/a": StoredArray(array)}, ATTRIBUTES)
    with zarr.storage.ZipStore(path, mode="r") as store:
        theirs = np.asarray(zarr.open_group(store, mode="r")["g/a"][...], dtype=object)
    assert read_arrays(path, ["g/a"])["g/a"].tolist() == texts.tolist()
    if texts.ndim:
        assert theirs.tolist() == texts.tolist()
    else:  # zarr 3.1 gives a single text as numpy's scalar, which drops NULs from its end
        assert theirs.item() in (texts.item(), texts.item().rstrip("\0"))


def test_big_chunks_are_compressed_and_small_ones_are_not(tmp_path: Path) -> None:
    write_zip_store(
        tmp_path / "a.data",
        {"g/big": StoredArray(np.zeros(100_000)), "g/small": StoredArray(np.zeros(4))},
        ATTRIBUTES,
    )
    with zipfile.ZipFile(tmp_path / "a.data") as file:
        assert file.getinfo("g/big/c/0").file_size < 1000
        assert file.getinfo("g/small/c/0").file_size == 32


# Writing


# Rows and dimensions


def test_every_error_of_storage_pickles() -> None:
    for error in (BadKeyError("k"), DamagedStoreError("d"), StoreLimitError("l"), KeyNotFoundError("n")):
        again = pickle.loads(pickle.dumps(error))
        assert isinstance(again, DflowError)
        assert (type(again), str(again), again.kind) == (type(error), str(error), error.kind)
