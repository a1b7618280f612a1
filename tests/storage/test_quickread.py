"""The merge's way to read by records gives what the careful reader gives, or None; never something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dflow.schema import dtype_name
from dflow.storage import StoredArray, read_zip_store, write_zip_store
from dflow.storage.quickread import read_expected

TEXT = np.dtypes.StringDType()
ATTRIBUTES = {"dflow": {"format": 1}, "schema": {}, "metadata": {"pad": "x" * 3000}}


def make(random: np.random.Generator, kind: str, rows: int) -> np.ndarray:
    if kind == "text":
        return np.array([chr(97 + int(i)) * int(i) for i in random.integers(0, 26, rows)], dtype=TEXT)
    if kind == "grid":
        return random.random((rows, 3, 2)).astype(np.float32)
    return random.integers(0, 100, rows).astype(kind)


@settings(max_examples=60, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(["text", "grid", "int8", "int64", "float64", "bool"]), min_size=1, max_size=6),
    rows=st.sampled_from([0, 1, 5, 255, 256, 511, 512, 2048, 9000]),
    seed=st.integers(0, 100),
)
def test_it_reads_what_the_careful_reader_reads(tmp_path_factory: Any, kinds: list[str], rows: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    arrays = {f"g/a{'x' * i}": make(random, kind, rows) for i, kind in enumerate(kinds)}
    path = tmp_path_factory.mktemp("quick") / "s.data"
    written = write_zip_store(path, {key: StoredArray(array) for key, array in arrays.items()}, ATTRIBUTES)
    expected = [(key, dtype_name(array.dtype), array.shape) for key, array in arrays.items()]
    quick = read_expected(str(path), expected, n_bytes=written.n_bytes, crc=written.crc)
    careful = read_zip_store(path).arrays
    assert quick is not None or written.n_bytes > 32 * 1024
    for (key, _, _), found in zip(expected, quick or [], strict=False):
        assert found.dtype == careful[key].data.dtype
        assert np.array_equal(found, careful[key].data)


def test_damage_and_other_files_give_none_or_the_right_values(tmp_path: Path) -> None:
    array = np.arange(40, dtype=np.int32)
    path = tmp_path / "s.data"
    written = write_zip_store(path, {"g/a": StoredArray(array)}, {"dflow": {"format": 1}})
    whole = path.read_bytes()
    expected = [("g/a", "int32", (40,))]

    def quick(**changes: int) -> Any:
        return read_expected(str(path), expected, **{"n_bytes": written.n_bytes, "crc": written.crc, **changes})

    assert np.array_equal(quick()[0], array)
    assert quick(n_bytes=written.n_bytes + 1) is None
    assert quick(crc=written.crc ^ 1) is None
    for position in range(len(whole)):
        broken = bytearray(whole)
        broken[position] ^= 0x10
        path.write_bytes(broken)
        found = quick()
        assert found is None or np.array_equal(found[0], array)
    for length in range(0, len(whole), 50):
        path.write_bytes(whole[:length])
        assert quick() is None
    path.unlink()
    with pytest.raises(FileNotFoundError):
        quick()


@pytest.mark.parametrize(
    "wrong", [("g/b", "int32", (40,)), ("g/a", "int32", (41,)), ("g/a", "int64", (40,)), ("g/a", "str", (40,))]
)
def test_a_record_that_says_something_else_gives_none(tmp_path: Path, wrong: Any) -> None:
    path = tmp_path / "s.data"
    written = write_zip_store(path, {"g/a": StoredArray(np.arange(40, dtype=np.int32))}, ATTRIBUTES)
    assert read_expected(str(path), [wrong], n_bytes=written.n_bytes, crc=written.crc) is None
