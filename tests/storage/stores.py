"""What the tests of storage share: the storages, a small schema, and the arrays and attributes of one file."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dflow.schema import SchemaBuilder
from dflow.storage import DataStorage, JsonStorageHandler, MemoryStorage, OptStorage, StoredArray

Maker = Callable[[Path], DataStorage]

MAKERS: dict[str, Maker] = {
    "memory": lambda folder: MemoryStorage(),
    "zarr": lambda folder: OptStorage(folder / "sample"),
    "json": lambda folder: JsonStorageHandler(folder / "sample"),
}
ON_DISK = ("zarr", "json")


def schema(**array: Any) -> dict[str, Any]:
    builder = SchemaBuilder("test")
    builder.create_group("rows", "row").create_array("x", **array)
    return builder.build()


TEXT = np.dtypes.StringDType()
ARRAYS = {
    "faces/areas": StoredArray(np.linspace(0, 1, 5, dtype=np.float32), ("face",)),
    "faces/grids": StoredArray(np.arange(1050, dtype=np.float32).reshape(5, 30, 7), ("face", "sample", "component")),
    "faces/names": StoredArray(np.array(["a", "", "größer", "面", "nul\0in"], dtype=TEXT), ("face",)),
    "arcs/source": StoredArray(np.empty(0, np.int32), ("arc",)),
    "file/closed": StoredArray(np.array(True), ()),
    "file/box": StoredArray(np.arange(6.0), ("box",)),
    "größe/日本": StoredArray(np.array([[1, 2]], np.int8), ("row", "größe_dim")),
}  # fmt: skip
ATTRIBUTES = {"dflow": {"format": 1}, "schema": {}, "metadata": {"text": "ünïcode \ud800", "number": 1.5}}


def rezip(path: Path, change: Callable[[dict[str, bytes]], None], **options: Any) -> None:
    """Write the store again with changed members through `zipfile`."""
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", **options) as file:
        for name, content in members.items():
            file.writestr(name, content)
