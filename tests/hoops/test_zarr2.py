"""The Zarr v2 decoder: what each codec gives, and that no chunk expands beyond what its array needs."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest

from dflow.errors import DamagedStoreError, StoreLimitError
from dflow.hoops.zarr2 import FolderReader, Zarr2Store
from tests.hoops.test_convert import WORDS, ZSTD, encode, hoops_store, write_folder


@pytest.mark.parametrize("compressor", [ZSTD, numcodecs.GZip(), numcodecs.Zlib(), numcodecs.Blosc(), numcodecs.LZ4()])
def test_bombs_hit_the_limit_in_every_codec(tmp_path: Path, compressor: Any) -> None:
    members = hoops_store({"g/a": encode(np.zeros(10, np.uint8), (10,), compressor)}, {})
    members["g/a/0"] = bytes(compressor.encode(bytes(20_000_000)))
    folder = write_folder(tmp_path / "a.data", members)
    with pytest.raises(StoreLimitError):
        Zarr2Store(FolderReader(folder), max_bytes=1_000_000).read("g/a")


@pytest.mark.parametrize("compressor", [ZSTD, numcodecs.GZip(), numcodecs.Zlib(), numcodecs.Blosc(), numcodecs.LZ4()])
def test_a_chunk_of_a_small_array_takes_no_more_memory_than_the_array_needs(tmp_path: Path, compressor: Any) -> None:
    members = hoops_store({"g/a": encode(np.zeros(10, np.uint8), (10,), compressor)}, {})
    members["g/a/0"] = bytes(compressor.encode(bytes(100_000_000)))
    store = Zarr2Store(FolderReader(write_folder(tmp_path / "a.data", members)))
    tracemalloc.start()
    try:
        with pytest.raises(StoreLimitError, match="beyond"):
            store.read("g/a")
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("codec", "chunk"),
    [
        (numcodecs.VLenUTF8(), (2**28).to_bytes(4, "little") + b"\1\0\0\0a"),
        (numcodecs.JSON(), json.dumps(["a", "|O", [10**8]]).encode()),
        (numcodecs.MsgPack(), b"\x93\xa1a\xa2|O\x91\xce\x05\xf5\xe1\x00"),  # ["a", "|O", [100000000]]
    ],
)
def test_a_chunk_of_text_that_states_more_texts_than_its_array_has_is_damage(
    tmp_path: Path, codec: Any, chunk: bytes
) -> None:
    members = hoops_store({"g/a": encode(WORDS, (3,), None, filters=[codec])}, {})
    members["g/a/0"] = chunk
    store = Zarr2Store(FolderReader(write_folder(tmp_path / "a.data", members)))
    tracemalloc.start()
    try:
        with pytest.raises(DamagedStoreError, match="its shape needs 3"):
            store.read("g/a")
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("codec", [numcodecs.VLenUTF8(), numcodecs.JSON(), numcodecs.MsgPack()])
@pytest.mark.parametrize("shape", [(3,), (1, 3), (3, 1)])
def test_text_of_any_codec_and_shape_is_read(tmp_path: Path, codec: Any, shape: tuple[int, ...]) -> None:
    words = WORDS.reshape(shape)
    folder = write_folder(tmp_path / "a.data", hoops_store({"g/a": encode(words, shape, None, filters=[codec])}, {}))
    assert Zarr2Store(FolderReader(folder)).read("g/a").tolist() == words.tolist()


@pytest.mark.parametrize(
    "codec",
    [numcodecs.Delta("<i4", "<i8"), numcodecs.FixedScaleOffset(0, 1, "<i4", "<f8"), numcodecs.AsType("<i8", "<i4")],
)
def test_a_filter_that_widens_its_values_is_read(tmp_path: Path, codec: Any) -> None:
    numbers = np.arange(5000, dtype=np.int32)
    members = hoops_store({"g/a": encode(numbers, (5000,), numcodecs.GZip(), filters=[codec])}, {})
    store = Zarr2Store(FolderReader(write_folder(tmp_path / "a.data", members)))
    assert np.array_equal(store.read("g/a"), numbers)
