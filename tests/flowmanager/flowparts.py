"""Small tasks for flows in tests: text files in, arrays out. No CAD kernel needed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from dflow.flowmanager import flowtask
from dflow.schema import SchemaBuilder

builder = SchemaBuilder(domain="numbers", version="1.0")
rows = builder.create_group("rows", "row", "Rows")
rows.create_array("values", ["row"], "float32", "Values")
SCHEMA = builder.build()


@flowtask.extract(name="gather", inputs=["sources"], outputs=["files"])
def gather(sources):
    return [str(path) for source in sources for path in sorted(Path(source).glob("*.txt"))]


@flowtask.transform(name="encode", inputs=["file", "cad_loader", "storage"], outputs=["encoded"])
def encode(file, cad_loader, storage):
    numbers = [float(word) for word in Path(file).read_text().split()]
    if not numbers:
        return None
    storage.set_schema(SCHEMA)
    storage.save_data("rows/values", np.asarray(numbers, dtype=np.float32))
    storage.save_metadata("n_numbers", len(numbers))
    return storage.get_file_path("")


@flowtask.transform(name="label", inputs=["encoded", "storage"], outputs=["labelled"])
def label(encoded, storage):
    storage.save_metadata("total", float(storage.load_data("rows/values").sum()))
    return encoded


def write_sources(folder: Path, contents: dict[str, str]) -> Path:
    """Text files with an old modification time."""
    folder.mkdir(exist_ok=True)
    for name, text in contents.items():
        (folder / f"{name}.txt").write_text(text)
        os.utime(folder / f"{name}.txt", (1_600_000_000, 1_600_000_000))
    return folder


def tree_bytes(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def hidden(root: Path) -> list[str]:
    """Temporary things that a clean end leaves none of."""
    found: list[Any] = [p for p in root.rglob("*") if p.name.startswith(".tmp-") or p.name in ("work", "lock.json")]
    return [str(p) for p in found]
