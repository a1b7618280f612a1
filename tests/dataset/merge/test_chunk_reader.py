"""The merge's way to read by records gives what the careful reader gives, or None; never something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dflow.dataset.merge.chunk_reader import ChunkForm, ChunkReader, join_chunks
from dflow.errors import DamagedStoreError
from dflow.schema import dtype_name
from dflow.storage import StoredArray, read_zip_store, write_zip_store
from dflow.storage.chunks import encode_chunk

TEXT = np.dtypes.StringDType()
ATTRIBUTES = {"dflow": {"format": 1}, "schema": {}, "metadata": {"pad": "x" * 3000}}


def make(random: np.random.Generator, kind: str, rows: int) -> np.ndarray:
    if kind == "text":
        return np.array([chr(97 + int(i)) * int(i) for i in random.integers(0, 26, rows)], dtype=TEXT)
    if kind == "grid":
        return random.random((rows, 3, 2)).astype(np.float32)
    return random.integers(0, 100, rows).astype(kind)


@settings(max_examples=60)
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
    forms = [ChunkForm(key, dtype_name(array.dtype), array.shape[1:]) for key, array in arrays.items()]
    quick = ChunkReader([form.member for form in forms]).read(str(path), n_bytes=written.n_bytes, crc=written.crc)
    careful = read_zip_store(path).arrays
    assert quick is not None or written.n_bytes > 32 * 1024 or rows == 0
    for form, chunk in zip(forms, quick or [], strict=False):
        assert form.fits(chunk, rows)
        found = join_chunks(form, [chunk], [rows])
        assert found.dtype == careful[form.key].data.dtype
        assert np.array_equal(found, careful[form.key].data)


@settings(max_examples=60)
@given(
    kind=st.sampled_from(["text", "grid", "int8", "int64", "bool"]),
    sizes=st.lists(st.sampled_from([1, 3, 255, 256, 257, 2047, 2048, 5000]), min_size=1, max_size=8),
    seed=st.integers(0, 100),
)
def test_chunks_of_many_samples_are_joined_coded_or_not(
    tmp_path_factory: Any, kind: str, sizes: list[int], seed: int
) -> None:
    random = np.random.default_rng(seed)
    arrays = [make(random, kind, rows) for rows in sizes]
    form = ChunkForm("g/a", dtype_name(arrays[0].dtype), arrays[0].shape[1:])
    folder, chunks = tmp_path_factory.mktemp("join"), []
    for i, array in enumerate(arrays):
        path = folder / f"{i}.data"
        written = write_zip_store(path, {"g/a": StoredArray(array)}, {})
        found = ChunkReader([form.member]).read(str(path), n_bytes=written.n_bytes, crc=written.crc)
        assert found is not None
        chunks += found
    joined = join_chunks(form, chunks, sizes)
    assert joined.dtype == arrays[0].dtype
    assert np.array_equal(joined, np.concatenate(arrays))


@pytest.mark.parametrize("dtype", ["float32", "str"])
def test_a_chunk_that_does_not_expand_is_damage(dtype: str) -> None:
    array = np.arange(4000).astype(np.float32 if dtype == "float32" else TEXT)
    chunk, is_coded = encode_chunk(array)
    assert is_coded
    torn = chunk[:40] + bytes(len(chunk) - 40)
    form = ChunkForm("g/a", dtype, ())
    assert form.fits(torn, 4000)
    assert np.array_equal(join_chunks(form, [chunk, chunk], [4000, 4000]), np.concatenate([array, array]))
    with pytest.raises(DamagedStoreError, match="g/a"):
        join_chunks(form, [chunk, torn], [4000, 4000])


def test_damage_and_other_files_give_none_or_the_right_values(tmp_path: Path) -> None:
    array = np.arange(40, dtype=np.int32)
    path = tmp_path / "s.data"
    written = write_zip_store(path, {"g/a": StoredArray(array)}, {"dflow": {"format": 1}})
    whole = path.read_bytes()
    form = ChunkForm("g/a", "int32", ())

    def quick(**changes: int) -> Any:
        return ChunkReader([form.member]).read(str(path), **{"n_bytes": written.n_bytes, "crc": written.crc, **changes})

    def decoded(chunks: list[bytes]) -> Any:
        return join_chunks(form, chunks, [40])

    assert np.array_equal(decoded(quick()), array)
    assert quick(n_bytes=written.n_bytes + 1) is None
    assert quick(crc=written.crc ^ 1) is None
    for position in range(len(whole)):
        broken = bytearray(whole)
        broken[position] ^= 0x10
        path.write_bytes(broken)
        found = quick()
        assert found is None or np.array_equal(decoded(found), array)
    for length in range(0, len(whole), 50):
        path.write_bytes(whole[:length])
        assert quick() is None
    path.unlink()
    with pytest.raises(FileNotFoundError):
        quick()


@pytest.mark.parametrize(
    ("form", "rows"),
    [
        (ChunkForm("g/b", "int32", ()), 40),
        (ChunkForm("g/a", "int32", (2,)), 40),
        (ChunkForm("g/a", "int32", ()), 41),
        (ChunkForm("g/a", "int64", ()), 40),
        (ChunkForm("g/a", "int32", (40,), whole=True), 2),
        (ChunkForm("g/a", "str", ()), 40),
    ],
)
def test_a_record_that_says_something_else_is_noticed(tmp_path: Path, form: ChunkForm, rows: int) -> None:
    path = tmp_path / "s.data"
    written = write_zip_store(path, {"g/a": StoredArray(np.arange(40, dtype=np.int32))}, ATTRIBUTES)
    found = ChunkReader([form.member]).read(str(path), n_bytes=written.n_bytes, crc=written.crc)
    if form.dtype == "str":  # what is in text only its decoding tells
        assert found is not None
        with pytest.raises(DamagedStoreError, match="g/a"):
            join_chunks(form, found, [rows])
    else:
        assert found is None or not form.fits(found[0], rows)


def test_one_reader_finds_its_members_wherever_the_next_store_has_them(tmp_path: Path) -> None:
    """Stores of several directories in turn, with names that begin like the wanted ones, and one without them."""
    others = [(), ("g/a0",), ("f/z",), ("g/a/c", "g/a/c/0"), ("a/a", "g/aa"), ()]
    form = ChunkForm("g/a", "int32", ())
    reader = ChunkReader([form.member])
    for turn in range(3):
        for number, names in enumerate(others):
            array = np.arange(5, dtype=np.int32) + 10 * number + turn
            arrays = {"g/a": array, **{name: np.arange(7) for name in names}}
            if number == 2 and turn == 1:
                del arrays["g/a"]
            path = tmp_path / f"{turn}-{number}.data"
            written = write_zip_store(path, {key: StoredArray(data) for key, data in arrays.items()}, {})
            found = reader.read(str(path), n_bytes=written.n_bytes, crc=written.crc)
            if "g/a" not in arrays:
                assert found is None
                continue
            assert found is not None
            assert np.array_equal(join_chunks(form, found, [5]), array)
