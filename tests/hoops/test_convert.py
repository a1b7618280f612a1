"""HOOPS AI's Zarr v2 stores are read: zips and folders built by hand to their description, and hostile ones refused."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest

from dflow.errors import DamagedStoreError, StoreLimitError
from dflow.schema import SchemaBuilder
from dflow.storage import MemoryStorage, OptStorage, convert_storage, describe, open_storage

ZSTD = numcodecs.Zstd(level=12)


def encode(
    array: np.ndarray, chunks: tuple[int, ...], compressor: Any = ZSTD, filters: list[Any] | None = None
) -> dict[str, bytes]:
    """An array's members as zarr-python 2 writes them: edge chunks padded, filters before the compressor."""
    is_object = array.dtype.kind == "O"
    document = {
        "zarr_format": 2,
        "shape": list(array.shape),
        "chunks": list(chunks),
        "dtype": "|O" if is_object else array.dtype.str,
        "compressor": compressor.get_config() if compressor else None,
        "fill_value": None if is_object else 0,
        "order": "C",
        "filters": [f.get_config() for f in filters] if filters else None,
    }
    members = {".zarray": json.dumps(document).encode(), ".zattrs": b'{"_ARRAY_DIMENSIONS": ["a_dim_0"]}'}
    counts = [-(-size // step) for size, step in zip(array.shape, chunks, strict=True)]
    for index in np.ndindex(*counts):
        block = np.full(chunks, "" if is_object else 0, dtype=array.dtype)
        part = array[tuple(slice(i * n, (i + 1) * n) for i, n in zip(index, chunks, strict=True))]
        block[tuple(slice(0, n) for n in part.shape)] = part
        data: Any = block
        for codec in filters or []:
            data = codec.encode(data)
        data = compressor.encode(data) if compressor else np.ascontiguousarray(data).tobytes()
        members[".".join(map(str, index)) or "0"] = bytes(data)
    return members


def hoops_store(arrays: dict[str, dict[str, bytes]], metadata: dict[str, Any]) -> dict[str, bytes]:
    members = {".zgroup": b'{"zarr_format": 2}', "metadata.json": json.dumps(metadata).encode()}
    for key, parts in arrays.items():
        members[f"{key.partition('/')[0]}/.zgroup"] = b'{"zarr_format": 2}'
        members |= {f"{key}/{name}": content for name, content in parts.items()}
    return members


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def write_folder(path: Path, members: dict[str, bytes]) -> Path:
    for name, content in members.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


INTEGERS = np.array([3, 1, 4, 1, 5, 9, 2], np.int32)
GRIDS = np.arange(7 * 4 * 7, dtype=np.float32).reshape(7, 4, 7)
PAIRS = np.arange(49, dtype=np.float32).reshape(7, 7)
WORDS = np.array(["plane", "größer", ""], dtype=object)
DELTA = [numcodecs.Delta(dtype="<i4")]


def example() -> dict[str, bytes]:
    builder = SchemaBuilder("parts")
    builder.create_group("faces", "face").create_array("face_types", dtype="int32")
    schema = builder.build()
    schema["metadata"] = {"metadata": schema["metadata"]}  # the doubled nesting of what HOOPS AI really writes
    return hoops_store(
        {
            "faces/face_types": encode(INTEGERS, (4,), filters=DELTA),
            "faces/face_discretization": encode(GRIDS, (3, 4, 7)),
            "faceface/extended_adjacency": encode(PAIRS, (7, 7)),
            "graph/edges_source": encode(INTEGERS, (7,), numcodecs.Blosc()),
            "graph/num_nodes": encode(np.array(7), ()),
            "words/texts": encode(WORDS, (2,), filters=[numcodecs.MsgPack()]),
            "words/more": encode(WORDS, (3,), filters=[numcodecs.VLenUTF8()]),
            "nan/x": encode(np.array([np.nan, 1.0]), (2,), numcodecs.GZip()),
            "none/x": encode(np.empty((0, 3)), (1, 3), None),
        },
        {"_storage_schema": schema, "Item": "C:\\parts\\a.step", "size_cadfile": 9, "descriptions": {"t": {"0": "a"}}},
    )


@pytest.mark.parametrize("form", ["zip", "folder"])
def test_a_hoops_store_is_read(form: str, tmp_path: Path) -> None:
    source = (write_zip if form == "zip" else write_folder)(tmp_path / "hoops.data", example())
    with OptStorage(tmp_path / "ours") as target:
        convert_storage(source, target)
    ours = OptStorage(tmp_path / "ours")
    assert np.array_equal(ours.load_data("faces/face_types"), INTEGERS)
    assert np.array_equal(ours.load_data("faces/face_discretization"), GRIDS)
    assert np.array_equal(ours.load_data("faceface/extended_adjacency"), PAIRS.ravel())
    assert np.array_equal(ours.load_data("graph/edges_source"), INTEGERS)
    assert ours.load_data("file/num_nodes") == 7
    assert ours.load_data("words/texts").tolist() == ours.load_data("words/more").tolist() == WORDS.tolist()
    assert np.array_equal(ours.load_data("nan/x"), [np.nan, 1], equal_nan=True)
    assert ours.load_data("none/x").shape == (0, 3)
    assert ours.load_metadata("Item") == "C:\\parts\\a.step"
    assert ours.get_schema()["groups"]["faces"]["arrays"]["face_types"]["dtype"] == "int32"
    record = describe(ours, "s", "a")
    assert record.value_map() == {"size_cadfile": 9}
    assert record.layout.tables == (("t", ((0, "a", "not set"),)),)


def test_missing_chunks_are_the_fill_value_as_zarr_2_says(tmp_path: Path) -> None:
    members = hoops_store({"g/a": encode(INTEGERS, (4,))}, {})
    del members["g/a/1"]
    storage = open_storage(write_zip(tmp_path / "a.data", members))
    assert storage.load_data("g/a").tolist() == [3, 1, 4, 1, 0, 0, 0]


@pytest.mark.parametrize("where", ["filters", "compressor"])
def test_a_pickle_codec_is_never_run(tmp_path: Path, where: str) -> None:
    members = hoops_store({"g/a": encode(WORDS, (3,), filters=[numcodecs.VLenUTF8()])}, {})
    document = json.loads(members["g/a/.zarray"])
    document[where] = [{"id": "pickle", "protocol": 5}] if where == "filters" else {"id": "pickle", "protocol": 5}
    members["g/a/.zarray"] = json.dumps(document).encode()
    members["g/a/0"] = pickle.dumps(Bomb())
    with pytest.raises(DamagedStoreError, match="codec 'pickle', which dflow does not run"):
        open_storage(write_zip(tmp_path / "a.data", members))
    assert not Bomb.exploded


class Bomb:
    exploded = False

    def __reduce__(self) -> tuple[Any, ...]:
        return (setattr, (Bomb, "exploded", True))


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [10**13]},
        {"shape": [-1]},
        {"shape": "x"},
        {"chunks": [0]},
        {"chunks": [10**12]},
        {"chunks": [4, 4]},
        {"dtype": "|O"},
        {"dtype": "<f99"},
        {"dtype": [["a", "<i4"]]},
        {"order": "Z"},
        {"compressor": {"id": "unheard-of"}},
        {"compressor": {}},
        {"filters": [{"id": "delta", "dtype": "nonsense"}]},
    ],
)
def test_a_description_that_makes_no_sense_is_damage(tmp_path: Path, changes: dict[str, Any]) -> None:
    members = hoops_store({"g/a": encode(INTEGERS, (4,))}, {})
    members["g/a/.zarray"] = json.dumps(json.loads(members["g/a/.zarray"]) | changes).encode()
    with pytest.raises((DamagedStoreError, StoreLimitError)):
        open_storage(write_zip(tmp_path / "a.data", members))


def test_a_link_out_of_a_folder_is_refused(tmp_path: Path) -> None:
    members = hoops_store({"g/a": encode(INTEGERS, (7,), None)}, {})
    secret = tmp_path / "secret"
    secret.write_bytes(members.pop("g/a/0"))
    folder = write_folder(tmp_path / "a.data", members)
    os.symlink(secret, folder / "g/a/0")
    with pytest.raises(DamagedStoreError, match="leads out of it"):
        open_storage(folder)


@pytest.mark.parametrize("content", ["empty folder", "text file"])
def test_what_is_no_store_is_damage(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x"
    path.mkdir() if content == "empty folder" else path.write_text("not a store")
    with pytest.raises(DamagedStoreError):
        convert_storage(path, MemoryStorage())
    with pytest.raises(FileNotFoundError):
        convert_storage(tmp_path / "missing", MemoryStorage())


def test_reserved_names_of_another_makers_store_are_read_as_they_are_and_copied_under_free_ones(tmp_path: Path) -> None:
    rows = encode(np.arange(2), (2,))
    members = hoops_store({"faces/batch": rows, "faces/file_id_code_faces": rows}, {"name": "bolt", "flow_name": "f"})
    path = write_zip(tmp_path / "old.data", members)
    assert open_storage(path).array_keys() == ["faces/batch", "faces/file_id_code_faces"]
    target = MemoryStorage()
    convert_storage(path, target)
    assert target.array_keys() == ["faces/lot", "faces/part_file_id_code_faces"]
    assert target.get_metadata() == {"part_name": "bolt", "flow_name": "f"}
