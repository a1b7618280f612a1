"""Tasks as a user writes them: two corpora in one flow, a category by folder, and a class a face by the face's name."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np

from dflow.cadencoder import BrepEncoder
from dflow.flowmanager import flowtask
from dflow.schema import SchemaBuilder


def build_schema() -> dict[str, Any]:
    builder = SchemaBuilder(domain="labelled_parts", version="1.0")
    faces = builder.create_group("faces", "face", "Face data")
    faces.create_array("face_label", ["face"], "int32", "Machining feature class, 15 is stock")
    builder.define_categorical_metadata("category", "str", "The folder that the file lies in")
    return builder.build()


SCHEMA = build_schema()


@functools.cache
def labels_of(file: Path) -> dict[str, list[int]]:
    """The label file that lies beside a corpus, read once a process."""
    labels: dict[str, list[int]] = json.loads(file.read_text(encoding="utf-8"))
    return labels


@flowtask.extract(name="gather", inputs=["sources"], outputs=["files"])
def gather(sources: list[str]) -> list[str]:
    return sorted(str(path) for source in sources for path in Path(source).rglob("*.step"))


@flowtask.transform(name="encode", inputs=["cad_file", "cad_loader", "storage"], outputs=["encoded"])
def encode(cad_file: str, cad_loader: Any, storage: Any) -> str:
    path = Path(cad_file)
    model = cad_loader.create_from_file(cad_file)
    brep = model.get_brep()
    storage.set_schema(SCHEMA)
    BrepEncoder(brep, storage).encode("uvnet")
    label_file = path.parent.parent / "face_labels.json"
    if label_file.is_file():
        classes = np.asarray(labels_of(label_file)[path.name], dtype="int32")
        storage.save_data("faces/face_label", classes[[int(name) for name in brep.face_names()]])
    storage.save_metadata("category", path.parent.name)
    return str(storage.get_file_path(""))
