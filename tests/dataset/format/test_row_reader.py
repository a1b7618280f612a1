"""The direct reader against zarr-python, over layouts and ranges; and what it does with damage."""

from __future__ import annotations

import json
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import zarr
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, ZstdCodec

from dflow.dataset.format.folder import DatasetFolder
from dflow.dataset.format.row_reader import RowReader, chunk_layout
from dflow.dataset.query.store import open_store
from dflow.errors import DamagedDatasetError, DatasetError
from tests.dataset.synthetic import random_parts, shard_files, write_parts

CODECS: dict[str, Any] = {
    "none": None,
    "zstd": ZstdCodec(level=1),
    "zstd+checksum": ZstdCodec(level=3, checksum=True),
    "blosc": BloscCodec(cname="lz4", shuffle="shuffle", typesize=4),
    "gzip": GzipCodec(),
    "zstd+crc32c": [ZstdCodec(level=1), Crc32cCodec()],
}


def write_array(
    folder: Path,
    values: np.ndarray[Any, Any],
    *,
    chunk: int,
    per_shard: int = 0,
    codec: str = "zstd",
    separator: str = ".",
    fill: Any = -1,
    index_location: str = "end",
) -> RowReader:
    """A dataset folder with the array ``g/a`` alone, written by zarr-python."""
    root = zarr.open_group(str(folder), mode="w", attributes={"dflow": {"format": 1, "n_files": 0}})
    shards: Any = None
    if per_shard:
        shards = {"shape": (chunk * per_shard, *values.shape[1:]), "index_location": index_location}
    array = root.create_array(
        "g/a",
        shape=values.shape,
        dtype=values.dtype,
        chunks=(chunk, *values.shape[1:]),
        shards=shards,
        compressors=CODECS[codec],
        chunk_key_encoding={"name": "default", "separator": separator},
        fill_value=fill,
    )
    if len(values):
        array[:] = values
    return RowReader(DatasetFolder(folder), "g/a", json.loads((folder / "g" / "a" / "zarr.json").read_bytes()))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("per_shard", [0, 1, 5])
def test_any_range_equals_zarr(tmp_path: Path, codec: str, per_shard: int) -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(0, 5, (103, 3)).astype(np.int32)
    reader = write_array(tmp_path / "d", values, chunk=8, per_shard=per_shard, codec=codec)
    assert reader.layout is not None
    for _ in range(60):
        start, stop = sorted(rng.integers(0, 104, 2).tolist())
        np.testing.assert_array_equal(reader.read(start, stop), values[start:stop])


@settings(max_examples=40)
@given(
    n_rows=st.integers(0, 70),
    trailing=st.sampled_from([(), (1,), (2, 3)]),
    chunk=st.integers(1, 16),
    per_shard=st.integers(0, 4),
    dtype=st.sampled_from(["float32", "int64", "bool", "int8", "float64"]),
    separator=st.sampled_from([".", "/"]),
    index_location=st.sampled_from(["start", "end"]),
    data=st.data(),
)
def test_any_layout_equals_zarr(
    tmp_path_factory: pytest.TempPathFactory,
    n_rows: int,
    trailing: tuple[int, ...],
    chunk: int,
    per_shard: int,
    dtype: str,
    separator: str,
    index_location: str,
    data: st.DataObject,
) -> None:
    values = np.arange(n_rows * int(np.prod(trailing, dtype=int))).reshape(n_rows, *trailing).astype(dtype)
    values[n_rows // 3 : n_rows // 2] = 0  # chunks of nothing but fill values are not stored
    reader = write_array(
        tmp_path_factory.mktemp("layout") / "d",
        values,
        chunk=chunk,
        per_shard=per_shard,
        separator=separator,
        fill=0,
        index_location=index_location,
    )
    start = data.draw(st.integers(0, n_rows))
    stop = data.draw(st.integers(start, n_rows))
    found = reader.read(start, stop)
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values[start:stop])


def test_layouts_of_others_go_through_zarr(tmp_path: Path) -> None:
    values = np.arange(60, dtype=np.float32).reshape(10, 6)
    root = zarr.open_group(str(tmp_path / "d"), mode="w", attributes={"dflow": {"format": 1, "n_files": 0}})
    root.create_array("g/a", data=values, chunks=(4, 2))  # cut across the rows too
    metadata = json.loads((tmp_path / "d" / "g" / "a" / "zarr.json").read_bytes())
    assert chunk_layout(metadata) is None
    reader = RowReader(DatasetFolder(tmp_path / "d"), "g/a", metadata)
    np.testing.assert_array_equal(reader.read(3, 9), values[3:9])


@pytest.fixture
def traced() -> Iterator[None]:
    """Trace memory until zarr's threads, which may still decode, have nothing left to do (python/cpython#128679)."""
    tracemalloc.start()
    yield
    time.sleep(0.2)
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("codec", ["gzip", "zstd", "blosc", "gzip of zstd"])
@pytest.mark.parametrize("per_shard", [0, 2])
def test_a_chunk_expands_to_its_own_size_and_no_further(tmp_path: Path, codec: str, per_shard: int) -> None:
    """A bomb: a chunk of 64 MiB of ones in place of one of 8 KiB, cut so that zarr reads it and so that dflow does."""
    compressors: Any = [ZstdCodec(), GzipCodec()] if codec == "gzip of zstd" else CODECS[codec]
    bomb_values = np.ones(8 * 1024**2)
    for number, columns in enumerate((8, 64)):  # chunks of some columns, or of whole rows
        folder = tmp_path / f"{number}"
        root = zarr.open_group(str(folder), mode="w", attributes={"dflow": {"format": 1, "n_files": 0}})
        root.create_array(
            "g/a",
            data=np.ones((64, 64)),
            chunks=(16, columns),
            shards=(16 * per_shard, 64) if per_shard else None,
            compressors=compressors,
        )
        metadata = json.loads((folder / "g" / "a" / "zarr.json").read_bytes())
        reader = RowReader(DatasetFolder(folder), "g/a", metadata)
        assert (reader.layout is None) == (columns < 64 or codec == "gzip of zstd")
        assert reader.read(0, 16).sum() == 1024
        bomb_codecs = metadata["codecs"][0]["configuration"]["codecs"] if per_shard else metadata["codecs"]
        bomb = zarr.create_array({}, data=bomb_values, chunks=bomb_values.shape, compressors=compressors)
        content = bomb.store._store_dict["c/0"].to_bytes()  # type: ignore[attr-defined]
        assert bomb_codecs
        assert len(content) < 1024**2
        chunk = folder / "g" / "a" / "c" / "0" / "0"
        if per_shard:
            n_chunks = per_shard * 64 // columns
            index = np.array([[0, len(content)]] * n_chunks, "<u8").tobytes()
            content += index + google_crc32c.value(index).to_bytes(4, "little")
        chunk.write_bytes(content)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        with pytest.raises(DamagedDatasetError, match=r"cannot be read|is damaged"):
            RowReader(DatasetFolder(folder), "g/a", metadata).read(0, 16)
        assert tracemalloc.get_traced_memory()[1] - before < 16 * 1024**2


def test_an_index_that_refers_past_the_end_is_damage(tmp_path: Path) -> None:
    reader = write_array(tmp_path / "d", np.arange(64, dtype="i4"), chunk=8, per_shard=8)
    shard = tmp_path / "d" / "g" / "a" / "c.0"
    for entry in ([2**64 - 16, 32], [0, 2**63], [2**63, 2**63], [2**40, 1]):
        index = np.array([entry] * 8, "<u8").tobytes()
        shard.write_bytes(bytes(100) + index + google_crc32c.value(index).to_bytes(4, "little"))
        with pytest.raises(DamagedDatasetError, match="its index refers to bytes after its end"):
            RowReader(reader.folder, "g/a", reader._metadata).read()


def test_a_zstd_frame_without_a_stated_size_is_read_and_bounded(tmp_path: Path) -> None:
    values = np.arange(64, dtype="i4")
    write_array(tmp_path / "d", values, chunk=64)
    chunk, metadata = tmp_path / "d" / "g" / "a" / "c.0", json.loads((tmp_path / "d/g/a/zarr.json").read_bytes())
    coder = zstandard.ZstdCompressor(write_content_size=False)
    for content, is_whole in ((values.tobytes(), True), (bytes(64 * 1024**2), False)):
        chunk.write_bytes(coder.compress(content))
        reader = RowReader(DatasetFolder(tmp_path / "d"), "g/a", metadata)
        if is_whole:
            np.testing.assert_array_equal(reader.read(), values)
            continue
        with pytest.raises(DamagedDatasetError, match="would expand beyond the 256 bytes"):
            reader.read()


def test_rows_beyond_the_machines_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = write_array(tmp_path / "d", np.arange(64, dtype="i4"), chunk=8)
    monkeypatch.setattr("dflow.dataset.format.row_reader.machine_bytes", lambda: 100)
    assert len(reader.read(0, 25)) == 25
    with pytest.raises(DatasetError, match="take 104 bytes, this machine has 100; read fewer rows at once"):
        reader.read(0, 26)


def test_rows_outside_are_refused(tmp_path: Path) -> None:
    reader = write_array(tmp_path / "d", np.arange(10, dtype=np.int32), chunk=4)
    with pytest.raises(DatasetError, match="use rows within 0:10"):
        reader.read(5, 11)


def test_not_finite_fill_values_are_understood(tmp_path: Path) -> None:
    values = np.full(20, np.nan, np.float32)
    values[3] = 1
    reader = write_array(tmp_path / "d", values, chunk=4, per_shard=2, fill=np.nan)
    np.testing.assert_array_equal(reader.read(), values)


def test_threads_share_a_reader(tmp_path: Path) -> None:
    values = np.arange(5000, dtype=np.int64)
    reader = write_array(tmp_path / "d", values, chunk=16, per_shard=4)
    wrong: list[int] = []

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(200):
            start = int(rng.integers(0, 4900))
            if not np.array_equal(reader.read(start, start + 100), values[start : start + 100]):
                wrong.append(start)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_truncated_shard_is_named(tmp_path: Path) -> None:
    paths = write_parts(random_parts(60), tmp_path)
    shard = shard_files(paths.dataset, "faces/face_areas")[0]
    shard.write_bytes(shard.read_bytes()[:-7])
    with pytest.raises(DamagedDatasetError, match=r"face_areas.c\.0.*run `dflow validate --repair "):
        open_store(paths.dataset).read("faces", "face_areas")


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    paths = write_parts(random_parts(60), tmp_path)
    shard = shard_files(paths.dataset, "faces/face_areas")[0]
    content = shard.read_bytes()
    reader = open_store(paths.dataset).read
    whole = reader("faces", "face_areas")
    assert len(whole) > 100
    for position in np.linspace(0, len(content) - 1, 25, dtype=int).tolist():
        broken = bytearray(content)
        broken[position] ^= 1 << position % 8
        shard.write_bytes(bytes(broken))
        with pytest.raises(DamagedDatasetError, match="damaged"):
            open_store(paths.dataset).read("faces", "face_areas")
        with pytest.raises((ValueError, RuntimeError)):
            zarr.open_array(str(paths.dataset / "faces" / "face_areas"), mode="r")[...]
    shard.write_bytes(content)
    assert np.array_equal(open_store(paths.dataset).read("faces", "face_areas"), whole)
