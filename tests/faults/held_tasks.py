"""Tasks that stand at a gate before and after their work, for tests that strike in between. No CAD kernel needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dflow.flowmanager import flowtask
from dflow.schema import SchemaBuilder
from tests.faults.gates import stand


def build_schema():
    builder = SchemaBuilder(domain="numbers", version="1.0")
    rows = builder.create_group("rows", "row", "Rows")
    rows.create_array("values", ["row"], "float32", "Values")
    rows.create_array("squares", ["row", "power"], "float64", "Powers of the values")
    rows.create_array("words", ["row"], "str", "A word a row")
    builder.define_categorical_metadata("parity", "str", "Whether the count is even")
    return builder.build()


SCHEMA = build_schema()


@flowtask.extract(name="gather", inputs=["sources"], outputs=["files"])
def gather(sources):
    return [str(path) for source in sources for path in sorted(Path(source).glob("*.txt"))]


@flowtask.transform(name="encode", inputs=["file", "cad_loader", "storage", "gates"], outputs=["encoded"])
def encode(file, cad_loader, storage, gates):
    stand(gates, Path(file).stem)
    values = np.array(Path(file).read_text().split(), dtype=np.float32)
    storage.set_schema(SCHEMA)
    storage.save_data("rows/values", values)
    storage.save_data("rows/squares", values[:, None].astype(np.float64) ** np.arange(1, 60))
    storage.save_data("rows/words", np.array([f"w{int(v) % 5}" for v in values], dtype=np.str_))
    storage.save_metadata("parity", "odd" if len(values) % 2 else "even")
    storage.compress_store()
    stand(gates, f"{Path(file).stem}-saved")
    return storage.get_file_path("")


@flowtask.custom(name="survey", inputs=["encoded", "gates"], outputs=["counted"], parallel_execution=False)
def survey(encoded, gates):
    """Between encoding and merging, in the flow's own process."""
    stand(gates, "survey")
    return len(encoded)


def write_sources(folder: Path, n_files: int = 12) -> Path:
    """Text files of 0 to 40 numbers."""
    folder.mkdir(parents=True)
    for number in range(n_files):
        (folder / f"p{number:02d}.txt").write_text(" ".join(str((number * 7 + row) % 23) for row in range(number * 4)))
    return folder
