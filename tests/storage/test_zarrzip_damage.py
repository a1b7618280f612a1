"""Files that are damaged or hostile: a clear error, before anything large is allocated or anything runs."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numcodecs import zstd

from dflow.errors import DamagedStoreError, SchemaError, StoreLimitError
from dflow.storage import (
    OptStorage,
    StoredArray,
    describe_file,
    read_arrays,
    read_zip_store,
    store_crc,
    write_zip_store,
)
from tests.storage.stores import ARRAYS, ATTRIBUTES, TEXT, rezip

# Damage


def test_no_single_flipped_bit_goes_unnoticed(data: Path) -> None:
    """Every read raises a clear error or gives exactly what was written."""
    whole = data.read_bytes()
    reference = {key: stored.data for key, stored in ARRAYS.items()}
    random = np.random.default_rng(0)
    seen = 0
    for position in sorted(random.choice(len(whole), 400, replace=False)):
        broken = bytearray(whole)
        broken[position] ^= 1 << int(random.integers(8))
        data.write_bytes(broken)
        try:
            contents = read_zip_store(data)
        except (DamagedStoreError, StoreLimitError):
            seen += 1
            continue
        assert contents.attributes == ATTRIBUTES
        assert all(np.array_equal(contents.arrays[key].data, array) for key, array in reference.items())
    assert seen > 200  # the rest lies in dates, flags and documents of single nodes, which only other readers read


def test_no_truncation_goes_unnoticed(data: Path) -> None:
    whole = data.read_bytes()
    for length in [*range(0, len(whole) - 1, 97), len(whole) - 1]:
        data.write_bytes(whole[:length])
        for read in (read_zip_store, describe_file, store_crc, OptStorage):
            with pytest.raises(DamagedStoreError, match=r"sample\.data"):
                read(data)


@pytest.mark.parametrize(
    "content",
    [b"", b"PK", bytes(5000), b"ISO-10303-21;\n" * 100, b"PK\5\6" + b"\xff" * 18, b"PK\5\6" + bytes(18), os.urandom(9)],
    ids=["empty", "two bytes", "zeros", "a STEP file", "absurd end", "empty zip", "noise"],
)  # fmt: skip
def test_a_foreign_file_is_damaged_not_a_traceback(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.data").write_bytes(content)
    with pytest.raises(DamagedStoreError, match=r"x\.data"):
        OptStorage(tmp_path / "x")


def test_a_missing_file_is_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_zip_store(tmp_path / "none.data")


def test_a_folder_in_its_place_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "x.data").mkdir()
    with pytest.raises(OSError, match=r"x\.data|directory"):
        OptStorage(tmp_path / "x")


def test_a_store_that_was_zipped_again_with_deflate_is_read(data: Path) -> None:
    rezip(data, lambda members: None, compression=zipfile.ZIP_DEFLATED)
    assert np.array_equal(read_arrays(data, ["faces/grids"])["faces/grids"], ARRAYS["faces/grids"].data)


def test_a_missing_chunk_is_damage_not_fill_values(data: Path) -> None:
    rezip(data, lambda members: members.pop("faces/areas/c/0"))
    with pytest.raises(DamagedStoreError, match=r"faces/areas/c/0.*missing"):
        read_zip_store(data)


def test_stores_that_zarr_wrote_or_of_a_later_format_are_refused_clearly(tmp_path: Path, data: Path) -> None:
    with zarr.storage.ZipStore(tmp_path / "other.data", mode="w") as store:
        zarr.create_group(store)
    with pytest.raises(DamagedStoreError, match="not written by dflow"):
        OptStorage(tmp_path / "other")
    rezip(data, lambda m: m.update({"zarr.json": m["zarr.json"].replace(b'"format":1', b'"format":2')}))
    with pytest.raises(DamagedStoreError, match="update dflow"):
        OptStorage(data)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"shape":[5]', b'"shape":[6]'),
        (b'"shape":[5]', b'"shape":[-5]'),
        (b'"shape":[5]', b'"shape":["5"]'),
        (b'"data_type":"float32"', b'"data_type":"float64"'),
        (b'"data_type":"float32"', b'"data_type":"object"'),
        (b'"name":"zstd"', b'"name":"pickle"'),
        (b'"consolidated_metadata"', b'"other"'),
        (b'"attributes":', b'"attr":'),
        (b"{", b"["),
        (b"}", b""),
        (b'"metadata":{', b'"metadata":' + b"[" * 100_000 + b"{"),
    ],
)
def test_a_document_that_lies_is_damage(data: Path, old: bytes, new: bytes) -> None:
    rezip(data, lambda members: members.update({"zarr.json": members["zarr.json"].replace(old, new)}))
    with pytest.raises(DamagedStoreError, match=r"sample\.data"):
        read_zip_store(data)


# Hostile archives


@pytest.mark.parametrize(
    "key", ["../../evil/x", "..", "a/../../b", "/etc/x", "one", "a/b/c", "a/b\\\\c", "a/zarr.json", "/x", ""]
)
def test_arrays_whose_names_would_leave_a_merges_folder_are_refused(data: Path, key: str) -> None:
    """An array without rows has no chunk, so nothing but its document would ever be looked at."""
    rezip(data, lambda m: m.update({"zarr.json": m["zarr.json"].replace(b'"arcs/source":', f'"{key}":'.encode())}))
    for read in (read_zip_store, describe_file, OptStorage):
        with pytest.raises(DamagedStoreError, match="not written by dflow"):
            read(data)


@pytest.mark.parametrize("dims", ['["../face"]', "[]", '["a","b"]', "[3]", '"f"'])
def test_dimension_names_that_cannot_be_are_damage(data: Path, dims: str) -> None:
    old = b'"dimension_names":["arc"]'
    rezip(data, lambda m: m.update({"zarr.json": m["zarr.json"].replace(old, f'"dimension_names":{dims}'.encode())}))
    with pytest.raises(DamagedStoreError):
        describe_file(data)


def test_metadata_that_is_nested_absurdly_deep_is_damage(data: Path) -> None:
    for depth in (300, 900, 100_000):
        nested = b'{"a":' * depth + b"1" + b"}" * depth
        write_zip_store(data, {}, ATTRIBUTES | {"metadata": {}})
        rezip(
            data,
            lambda m, nested=nested: m.update(
                {"zarr.json": m["zarr.json"].replace(b'"metadata":{}', b'"metadata":' + nested, 1)}
            ),
        )
        try:
            OptStorage(data)
            describe_file(data)
        except DamagedStoreError:
            assert depth > 100


@pytest.mark.parametrize("path", [["a", "b"], ["a"], ["t"], [["a"]], [], "a", None, [1], ["a", "b", "c"]])
def test_stored_metadata_that_collides_is_damage(data: Path, path: Any) -> None:
    arrays = {"metadata/x": StoredArray(np.array(np.nan), None, {"metadata_path": path})}
    write_zip_store(data, arrays, ATTRIBUTES | {"metadata": {"a": 1, "t": {"u": 1}}})
    for read in (describe_file, OptStorage):
        with pytest.raises(DamagedStoreError, match=r"sample\.data.*reserved group"):
            read(data)


def test_a_root_document_beyond_any_that_dflow_writes_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dflow.storage.zarrzip.MAX_DOCUMENT_BYTES", 100)
    with pytest.raises(StoreLimitError, match="root document"):
        read_zip_store(data)


def test_rows_that_disagree_in_a_file_are_a_schema_error_of_that_file(data: Path) -> None:
    write_zip_store(
        data, {"g/a": StoredArray(np.zeros(2), ("r",)), "g/b": StoredArray(np.zeros(3), ("r",))}, ATTRIBUTES
    )
    with pytest.raises(SchemaError, match="disagree on their rows"):
        describe_file(data)
    write_zip_store(data, {"g/a": StoredArray(np.array(2.0), ())}, ATTRIBUTES)
    with pytest.raises(SchemaError, match="rows"):
        describe_file(data)


@pytest.mark.parametrize("key", ["..", ".", "a" * 5000, "ü" * 500, "%", " ", "\n", "a\\b", "\ud800"])
def test_non_finite_metadata_under_any_key_is_stored_where_other_readers_can_look(tmp_path: Path, key: str) -> None:
    with OptStorage(tmp_path / "s", nan_policy="allow") as storage:
        storage.save_metadata(key, float("inf"))
        storage.save_metadata("tree", {key: {"..": float("-inf")}})
    with OptStorage(tmp_path / "s") as storage:
        assert storage.get_metadata() == {key: float("inf"), "tree": {key: {"..": float("-inf")}}}
    with zarr.storage.ZipStore(tmp_path / "s.data", mode="r") as store:
        values = [a[...] for _, a in zarr.open_group(store, mode="r").members(None) if isinstance(a, zarr.Array)]
    assert sorted(map(float, values)) == [float("-inf"), float("inf")]


@pytest.mark.parametrize(
    ("shape", "chunk"),
    [
        ("[1000000000000]", zstd.compress(bytes(1000))),
        ("[3000000000]", zstd.compress(bytes(1000))),
    ],
)
def test_an_array_that_claims_to_be_enormous_is_refused_before_it_is_allocated(
    data: Path, shape: str, chunk: bytes
) -> None:
    def enlarge(members: dict[str, bytes]) -> None:
        root = members["zarr.json"].replace(b"[5]", shape.encode())
        members.update({"zarr.json": root, "faces/areas/c/0": chunk})

    rezip(data, enlarge)
    with pytest.raises(StoreLimitError, match="more than the limit"):
        read_arrays(data, ["faces/areas"])


def test_a_zstd_bomb_is_measured_by_what_the_shape_needs(data: Path) -> None:
    bomb = zstd.compress(bytes(200_000_000))
    rezip(data, lambda members: members.update({"faces/grids/c/0/0/0": bomb}))
    with pytest.raises(DamagedStoreError, match="does not expand to"):
        read_zip_store(data)


def test_a_text_bomb_hits_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "text.data"
    write_zip_store(path, {"g/t": StoredArray(np.array(["a" * 5000] * 4000, dtype=TEXT))}, ATTRIBUTES)
    assert path.stat().st_size < 100_000
    with pytest.raises(StoreLimitError):
        read_zip_store(path, max_bytes=1_000_000)


def test_no_byte_of_a_file_is_ever_unpickled(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (pytest.fail, ("code ran",))

    monkeypatch.setattr(pickle, "loads", lambda *a, **k: pytest.fail("unpickled"))
    rezip(data, lambda members: members.update({"faces/areas/c/0": pickle.dumps(Evil())}))
    with pytest.raises(DamagedStoreError):
        read_zip_store(data)
