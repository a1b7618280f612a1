"""Tasks whose results depend on nothing, something and anything of a file's path."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from dflow.flowmanager import flowtask


@flowtask.extract(name="find", inputs=["sources"], outputs=["files"])
def find(source: str) -> list[str]:
    return sorted(str(path) for path in Path(source).rglob("*.txt"))


def _save(text: str, storage: Any) -> None:
    storage.save_data("faces/number", np.array(text.split(), dtype=np.float32))


@flowtask.transform(name="by_content", inputs=["file", "storage"], outputs=["encoded"])
def by_content(file: str, storage: Any) -> str:
    _save(Path(file).read_text(), storage)
    return storage.get_file_path("")


@flowtask.transform(name="by_folder", inputs=["file", "storage"], outputs=["encoded"])
def by_folder(file: str, storage: Any) -> str:
    _save(Path(file).read_text(), storage)
    storage.save_metadata("category", Path(file).parent.name)
    return storage.get_file_path("")


@flowtask.transform(name="by_neighbour", inputs=["file", "storage"], outputs=["encoded"])
def by_neighbour(file: str, storage: Any) -> str:
    _save(Path(file).read_text(), storage)
    storage.save_metadata("beside", len(os.listdir(os.path.dirname(file))))
    return storage.get_file_path("")
