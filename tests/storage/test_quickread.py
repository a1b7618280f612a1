"""The merge's reader agrees with the careful one, and never vouches for a file that is not the recorded one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dflow.storage.quickread import Expected, read_expected
from dflow.storage.zarrzip import StoredArray, WrittenStore, read_zip_store, write_zip_store

ARRAYS = {
    "faces/areas": np.arange(5, dtype=np.float32),
    "faces/areas_long": np.arange(5000, dtype=np.float32),
    "faces/grid": np.arange(60_000, dtype=np.float64).reshape(100, 20, 30),
    "faces/none": np.zeros((0, 3), np.int32),
    "faces/names": np.array(["a", "grün", ""] * 400, dtype=np.dtypes.StringDType()),
    "faces/few_names": np.array(["a"], dtype=np.dtypes.StringDType()),
    "file/box": np.arange(6.0),
    "file/flag": np.array(True),
}


@pytest.fixture
def store(tmp_path: Path) -> tuple[str, WrittenStore]:
    path = str(tmp_path / "x.data")
    return path, write_zip_store(path, {key: StoredArray(a) for key, a in ARRAYS.items()}, {"k": 1})


def expected(*keys: str) -> list[Expected]:
    arrays = {key: ARRAYS[key] for key in keys or ARRAYS}
    return [(key, "str" if a.dtype.kind == "T" else a.dtype.name, a.shape) for key, a in arrays.items()]


def test_it_reads_what_the_careful_reader_reads(store: tuple[str, WrittenStore]) -> None:
    path, written = store
    found = read_expected(path, expected(), n_bytes=written.n_bytes, crc=written.crc)
    assert found is not None
    careful = read_zip_store(path).arrays
    for (key, _, _), array in zip(expected(), found, strict=True):
        np.testing.assert_array_equal(array, careful[key].data)
        assert array.dtype == careful[key].data.dtype


def test_it_refuses_what_the_record_does_not_describe(store: tuple[str, WrittenStore]) -> None:
    path, written = store
    assert read_expected(path, expected(), n_bytes=written.n_bytes, crc=written.crc ^ 1) is None
    assert read_expected(path, expected(), n_bytes=written.n_bytes + 1, crc=written.crc) is None
    unknown: list[list[Expected]] = [[("faces/are", "float32", (5,))], [("faces/areas_long", "float32", (4999,))]]
    for wrong in unknown:
        assert read_expected(path, wrong, n_bytes=written.n_bytes, crc=written.crc) is None


@pytest.mark.parametrize("key", [key for key, array in ARRAYS.items() if array.size])
def test_it_notices_a_flipped_bit_in_every_array(store: tuple[str, WrittenStore], key: str) -> None:
    path, written = store
    content = bytearray(Path(path).read_bytes())
    name = f"{key}/c".encode() + b"/0" * ARRAYS[key].ndim
    content[content.index(name) + len(name)] ^= 4
    Path(path).write_bytes(bytes(content))
    assert read_expected(path, expected(key), n_bytes=written.n_bytes, crc=written.crc) is None
