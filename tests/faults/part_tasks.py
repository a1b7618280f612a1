"""Tasks over a folder of anything: every name that looks like a part is tried."""

from __future__ import annotations

import os

from dflow.cadencoder import BrepEncoder
from dflow.flowmanager import flowtask

CAD_SUFFIXES = (".step", ".stp", ".iges", ".igs", ".brep", ".gz", ".bin")


@flowtask.extract(name="gather", inputs=["sources"], outputs=["files"])
def gather(sources):
    found = []
    for source in sources:
        for folder, folders, files in os.walk(source):
            found += [os.path.join(folder, n) for n in (*folders, *files) if n.lower().endswith(CAD_SUFFIXES)]
    return sorted(found)


@flowtask.transform(name="encode", inputs=["file", "cad_loader", "storage"], outputs=["encoded"])
def encode(file, cad_loader, storage):
    model = cad_loader.create_from_file(file)
    BrepEncoder(model.get_brep(), storage).encode("uvnet")
    storage.save_metadata("category", os.path.basename(os.path.dirname(file)))
    return storage.get_file_path("")
