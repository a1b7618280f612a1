"""The file itself: other readers open it, its bytes are determined, and writing it leaves all or nothing."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
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

from dflow.errors import BadKeyError, DamagedStoreError, DflowError, KeyNotFoundError, SchemaError, StoreLimitError
from dflow.schema import SchemaBuilder
from dflow.storage import (
    OptStorage,
    StoredArray,
    read_arrays,
    read_zip_store,
    store_crc,
    write_zip_store,
)
from dflow.storage import chunks as chunk_codec
from dflow.storage.atomic import write_whole
from dflow.storage.container import ZipReader, pack_members
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


def test_the_bytes_do_not_depend_on_the_process(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.data"
    program = (
        "import sys, numpy as np; from dflow.storage import OptStorage\n"
        "s = OptStorage(sys.argv[1]); s.save_data('g/b', np.arange(9999)); s.save_data('g/a', np.zeros(9999));"
        "s.save_metadata('z', 1); s.save_metadata('a', {'y': 1, 'x': float('nan')}); s.close()"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", program, str(other)], check=True, env=environment, timeout=60)
    with OptStorage(tmp_path / "here") as storage:
        storage.save_metadata("a", {"x": float("nan"), "y": 1})
        storage.save_metadata("z", 1)
        storage.save_data("g/a", np.zeros(9999))
        storage.save_data("g/b", np.arange(9999))
    assert other.read_bytes() == (tmp_path / "here.data").read_bytes()


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


def _no_space(_file: int, _rest: Any) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with OptStorage(tmp_path / "s") as storage:
        storage.save_data("g/a", [1])
    storage = OptStorage(tmp_path / "s")
    storage.save_data("g/a", [2])
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "writev", lambda file, parts: write(file, b"".join(parts)[:100]))
        patch.setattr(os, "write", _no_space)
        with pytest.raises(OSError, match="No space left"):
            storage.compress_store()
    assert os.listdir(tmp_path) == ["s.data"]
    assert OptStorage(tmp_path / "s").load_data("g/a").tolist() == [1]
    storage.close()  # the space is back
    assert OptStorage(tmp_path / "s").load_data("g/a").tolist() == [2]


@pytest.mark.parametrize("n_parts", [1, 3, 1023, 1024, 1025, 5000])
def test_many_parts_and_short_writes_make_whole_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_parts: int
) -> None:
    parts = [bytes([i % 251]) * (i % 5) for i in range(1, n_parts + 1)]
    write_whole(tmp_path / "at once", parts)
    write, writev = os.write, os.writev
    monkeypatch.setattr(os, "writev", lambda file, some: writev(file, some[: len(some) // 2]))
    monkeypatch.setattr(os, "write", lambda file, rest: write(file, rest[:997]))
    write_whole(tmp_path / "bit by bit", parts)
    assert (tmp_path / "at once").read_bytes() == (tmp_path / "bit by bit").read_bytes() == b"".join(parts)


def test_a_small_tmpfs_that_runs_full_is_an_os_error(tmp_path: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no tmpfs can be mounted here: " + mounted.stderr.decode().strip())
    try:
        with OptStorage(tmp_path / "s") as storage:
            storage.save_data("g/a", [1])
        storage = OptStorage(tmp_path / "s")
        storage.save_data("h/b", np.random.default_rng(0).random(100_000))
        with pytest.raises(OSError, match="No space left"):
            storage.compress_store()
        assert os.listdir(tmp_path) == ["s.data"]
        assert OptStorage(tmp_path / "s").array_keys() == ["g/a"]
        storage.discard()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


READ_ONLY = """
import os, sys
import numpy as np
from dflow.storage import OptStorage
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
storage = OptStorage(sys.argv[1])
storage.save_data("g/a", np.arange(3))
try:
    storage.close()
except PermissionError as error:
    print("refused", error.filename is not None)
"""


def test_a_read_only_folder_is_a_permission_error(tmp_path: Path) -> None:
    if not hasattr(os, "setuid"):
        pytest.skip("needs POSIX users")
    for folder in [tmp_path, *tmp_path.parents]:
        if os.getuid() == 0 and folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY, str(locked / "s")], capture_output=True, text=True, timeout=60
    )
    if "Permission denied" in done.stderr and "dflow" not in done.stdout and "refused" not in done.stdout:
        pytest.skip("an unprivileged user cannot read this checkout: " + done.stderr[-200:])
    assert done.stdout.split() == ["refused", "True"], done.stderr
    assert os.listdir(locked) == []


def test_a_failing_block_writes_nothing(tmp_path: Path) -> None:
    def use() -> None:
        with OptStorage(tmp_path / "s") as storage:
            storage.save_data("g/a", [1])
            raise RuntimeError("the task failed")

    with pytest.raises(RuntimeError):
        use()
    assert os.listdir(tmp_path) == []


def test_an_untouched_storage_leaves_no_file_and_an_unchanged_one_is_not_written_again(tmp_path: Path) -> None:
    OptStorage(tmp_path / "s").close()
    assert os.listdir(tmp_path) == []
    with OptStorage(tmp_path / "s") as storage:
        storage.save_metadata("only", "metadata")
        size = storage.compress_store()
    before = os.stat(tmp_path / "s.data")
    with OptStorage(tmp_path / "s") as storage:
        assert not storage.is_changed
        assert storage.compress_store() == size
    after = os.stat(tmp_path / "s.data")
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_paths_with_and_without_the_suffix_are_one(tmp_path: Path) -> None:
    for name in ("s", "s.data"):
        assert OptStorage(tmp_path / name).get_file_path("") == str(tmp_path / "s.data")
    assert OptStorage(tmp_path / "a.b").get_file_path("") == str(tmp_path / "a.b.data")
    assert OptStorage(tmp_path / "s", ".zip").get_file_path("") == str(tmp_path / "s.zip")


def test_a_store_beyond_the_formats_limits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dflow.storage.container._MAX_MEMBERS", 2)
    with pytest.raises(StoreLimitError, match="split the sample"):
        pack_members([("a", b""), ("b", b""), ("c", b"")])


def test_a_large_file_is_read_beyond_its_tail(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).random(60_000)
    with OptStorage(tmp_path / "s") as storage:
        storage.save_data("a/first", noise)
        storage.save_data("b/second", noise[::-1])
    with ZipReader(tmp_path / "s.data") as reader:
        assert reader.n_bytes > 500_000
    found = read_arrays(tmp_path / "s.data", ["a/first", "b/second"])
    assert np.array_equal(found["a/first"], noise)
    assert np.array_equal(found["b/second"], noise[::-1])


# Rows and dimensions


def test_arrays_of_one_group_must_have_one_number_of_rows(tmp_path: Path) -> None:
    storage = OptStorage(tmp_path / "s")
    storage.save_data("faces/face_areas", np.zeros(3))
    storage.save_data("faces/face_types", np.zeros(4, np.int32))
    with pytest.raises(SchemaError, match=r"disagree on their rows.*face_areas: 3; faces/face_types: 4"):
        storage.compress_store()
    assert os.listdir(tmp_path) == []
    storage.save_data("faces/face_types", np.zeros(3, np.int32))
    assert storage.compress_store() > 0


def test_standard_arrays_that_differ_in_a_trailing_dimension_get_their_own_names(tmp_path: Path) -> None:
    with OptStorage(tmp_path / "s") as storage:
        storage.save_data("faceface/d2_distance", np.zeros((4, 64)))
        storage.save_data("faceface/a3_distance", np.zeros((4, 32)))
    with zarr.storage.ZipStore(tmp_path / "s.data", mode="r") as store:
        found = xarray.open_zarr(store, group="faceface")
        assert found["d2_distance"].dims == ("facepair", "d2_distance_bin")
        assert found["a3_distance"].dims == ("facepair", "a3_distance_bin")


def test_declared_arrays_that_differ_in_a_trailing_dimension_contradict_the_schema(tmp_path: Path) -> None:
    builder = SchemaBuilder()
    group = builder.create_group("rows", "row")
    group.create_array("x", ["row", "bin"])
    group.create_array("y", ["row", "bin"])
    storage = OptStorage(tmp_path / "s")
    storage.set_schema(builder)
    storage.save_data("rows/x", np.zeros((2, 3)))
    storage.save_data("rows/y", np.zeros((2, 4)))
    with pytest.raises(SchemaError, match="sizes along 'bin'"):
        storage.compress_store()


def test_every_error_of_storage_pickles() -> None:
    for error in (BadKeyError("k"), DamagedStoreError("d"), StoreLimitError("l"), KeyNotFoundError("n")):
        again = pickle.loads(pickle.dumps(error))
        assert isinstance(again, DflowError)
        assert (type(again), str(again), again.kind) == (type(error), str(error), error.kind)
