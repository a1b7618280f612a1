"""The tasks of the flows that the parity tests share."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from dflow.cadencoder import BrepEncoder
from dflow.flowmanager import flowtask
from dflow.schema import SchemaBuilder

builder = SchemaBuilder(domain="parts", version="1.0", description="Generated parts")
labels = builder.create_group("machining", "face", "Machining classes")
labels.create_array("face_classes", ["face"], "int32", "0 turned, 1 milled")
builder.define_file_metadata("size_cadfile", "int64", "bytes of the CAD file")
builder.define_categorical_metadata("family", "str", "kind of part")
SCHEMA = builder.build()


@flowtask.extract(name="gather", inputs=["cad_datasources"], outputs=["cad_dataset"])
def gather(source):
    return sorted(str(path) for path in Path(source).rglob("*.step"))


@flowtask.transform(name="encode", inputs=["cad_dataset"], outputs=["cad_files_encoded"])
def encode(cad_file, cad_loader, storage):
    model = cad_loader.create_from_file(cad_file)
    storage.set_schema(SCHEMA)
    encoder = BrepEncoder(model.get_brep(), storage)
    encoder.push_face_attributes()
    encoder.push_edge_attributes()
    encoder.push_face_adjacency_graph()
    encoder.push_extended_adjacency()
    types = storage.load_data("faces/face_types")
    storage.save_data("machining/face_classes", (types == 0).astype(np.int32))
    storage.save_metadata("descriptions/face_classes", {0: "turned", 1: "milled"})
    storage.save_metadata("size_cadfile", os.path.getsize(cad_file))
    storage.save_metadata("family", Path(cad_file).parent.name)
    return model.get_face_count(), model.get_edge_count()


@flowtask.transform(name="check", inputs=["job"], outputs=["checked"])
def misbehave(job, cad_loader, storage):
    """Do what the word says; the process is kept as a value."""
    import ctypes
    import os
    import time

    word = job.partition("-")[0]
    print(f"starts {word}")
    if word == "raise":
        raise ValueError("a wrong turn")
    if word == "crash":
        ctypes.string_at(0)
    if word == "hang":
        time.sleep(600)
    if word == "hog":
        held = []
        while True:
            held.append(b"x" * (64 << 20))
    if word == "none":
        return None
    storage.save_metadata("process", os.getpid())
    return job
