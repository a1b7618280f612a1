"""The JSON folder: files a person can read, and damage that is named."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dflow.errors import DamagedStoreError
from dflow.storage import JsonStorageHandler, open_storage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with JsonStorageHandler(tmp_path / "s", nan_policy="allow") as storage:
        storage.save_data("faces/face_areas", np.array([1.5, 2], np.float32))
        storage.save_metadata("a/b", 1)
        storage.save_metadata("c", math.nan)
    return tmp_path / "s"


def test_one_file_an_array_that_a_person_can_read(folder: Path) -> None:
    assert sorted(os.listdir(folder)) == ["faces_face_areas.json", "metadata.json"]
    assert json.loads((folder / "faces_face_areas.json").read_text()) == {
        "key": "faces/face_areas",
        "dtype": "float32",
        "shape": [2],
        "data": [1.5, 2.0],
    }
    assert json.loads((folder / "metadata.json").read_text())["metadata"] == {"a": {"b": 1}}


def test_every_call_is_on_disk_at_once(folder: Path) -> None:
    storage = JsonStorageHandler(folder)
    storage.save_data("faces/face_areas", [3.0])
    storage.save_metadata("d", 2)
    other = JsonStorageHandler(folder)
    assert other.load_data("faces/face_areas").tolist() == [3]
    assert other.load_metadata("d") == 2
    assert storage.get_file_path("faces/face_areas") == str(folder / "faces_face_areas.json")
    assert storage.get_file_path("none/such") == storage.get_file_path("") == str(folder)


def test_numbers_that_json_lacks_are_texts_and_pairs(tmp_path: Path) -> None:
    with JsonStorageHandler(tmp_path, nan_policy="allow") as storage:
        storage.save_data("g/f", [math.nan, -math.inf, 0.1])
        storage.save_data("g/c", np.array([1 + 2j, complex(math.inf, math.nan), 0]))
    assert json.loads((tmp_path / "g_f.json").read_text())["data"] == ["NaN", "-Infinity", 0.1]
    pair = {"real": 1.0, "imag": 2.0, "_numpy_complex": True}
    assert json.loads((tmp_path / "g_c.json").read_text())["data"][0] == pair
    again = JsonStorageHandler(tmp_path)
    assert np.array_equal(again.load_data("g/f"), [math.nan, -math.inf, 0.1], equal_nan=True)
    assert repr(again.load_data("g/c")[1]) == repr(np.complex128(complex(math.inf, math.nan)))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metadata.json", "{"),
        ("metadata.json", "[]"),
        ("metadata.json", "{}"),
        ("metadata.json", '{"dflow": {"format": 2}, "schema": {}, "metadata": {}}'),
        ("metadata.json", '{"dflow": {"format": 1}, "schema": {"groups": {"g": {}}}, "metadata": {}}'),
        ("metadata.json", '{"dflow": {"format": 1}, "schema": {}, "metadata": {}, "non_finite": [1]}'),
        ("metadata.json", '{"dflow": {"format": 1}, "schema": {}, "metadata": {}, "non_finite": [[["a"], "x"]]}'),
        ("faces_face_areas.json", "not json"),
        ("faces_face_areas.json", '{"dtype": "float32"}'),
        ("faces_face_areas.json", '{"key": "../x/y", "dtype": "float32", "shape": [1], "data": [1]}'),
        ("faces_face_areas.json", '{"key": 3, "dtype": "float32", "shape": [1], "data": [1]}'),
        ("faces_face_areas.json", '{"key": "g/a", "dtype": "object", "shape": [1], "data": [1]}'),
        ("faces_face_areas.json", '{"key": "g/a", "dtype": "float32", "shape": [3], "data": [1]}'),
        ("faces_face_areas.json", '{"key": "g/a", "dtype": "int8", "shape": [1], "data": [1000]}'),
        ("faces_face_areas.json", '{"key": "g/a", "dtype": "float32", "shape": "x", "data": {}}'),
        ("faces_face_areas.json", '{"key": "g/a", "dtype": "complex64", "shape": [1], "data": [{"real": 1}]}'),
    ],
)
def test_damage_is_named_with_its_file(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(DamagedStoreError, match=name):
        load_all(folder)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_damage_at_once(folder: Path, make: Callable[[Path], None]) -> None:
    (folder / "metadata.json").unlink()
    make(folder / "metadata.json")
    with pytest.raises(DamagedStoreError, match="is a folder, a pipe or a device"):
        load_all(folder)


def load_all(folder: Path) -> None:
    storage = JsonStorageHandler(folder)
    for key in storage.array_keys():
        storage.load_data(key)


def test_unfinished_files_are_not_read(folder: Path) -> None:
    (folder / ".tmp-x.json-1").write_text("{")
    (folder / ".tmp-x.json").write_text("{")
    assert JsonStorageHandler(folder).array_keys() == ["faces/face_areas"]
    assert isinstance(open_storage(folder), JsonStorageHandler)


def test_a_failing_write_leaves_the_old_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = JsonStorageHandler(folder)

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="No space"):
            storage.save_data("faces/face_areas", [9.0])
        with pytest.raises(OSError, match="No space"):
            storage.save_metadata("a/b", 9)
        assert storage.load_metadata("a/b") == 1
    assert JsonStorageHandler(folder).load_data("faces/face_areas").tolist() == [1.5, 2]
    assert len(os.listdir(folder)) == 2
