"""Tasks, classes, constants and schemas of notebook cells work, in a kernel of their own."""

from __future__ import annotations

import nbformat
import pytest
from nbclient import NotebookClient

CELLS = [
    """
import os
from dataclasses import dataclass
from pathlib import Path
import dflow
from dflow.flowmanager import flowtask
from dflow.storage.datasetstorage.schema_builder import SchemaBuilder

builder = SchemaBuilder(domain="cells")
builder.define_categorical_metadata("category", "str")
schema = builder.build()
OFFSET = 3

@dataclass
class Encoded:
    path: str
    pid: int

def shifted(model):
    return model.get_face_count() + OFFSET
""",
    """
@flowtask.extract(name="gather", inputs=["sources"], outputs=["files"])
def gather(sources):
    return sorted(str(path) for source in sources for path in Path(source).rglob("*.step"))

@flowtask.transform(name="encode", inputs=["cad_file", "cad_loader", "storage"], outputs=["encoded"])
def encode(cad_file, cad_loader, storage):
    model = cad_loader.create_from_file(cad_file)
    storage.set_schema(schema)
    storage.save_metadata("category", Path(cad_file).parent.name)
    storage.save_metadata("shifted", shifted(model))
    if "shaft" in cad_file:
        os.abort()
    return Encoded(storage.get_file_path(""), os.getpid())

@flowtask.custom(name="gate", inputs=["encoded"], outputs=["gated"], parallel_execution=False)
def gate(encoded):
    assert all(isinstance(each, Encoded) and each.pid != os.getpid() for each in encoded)
    return encoded
""",
    """
flow = dflow.create_flow("cells", [gather, encode, gate], OUT, max_workers=1)
output, summary, flow_file = flow.process(inputs={"sources": [PARTS]})
counts = output.counts
assert (counts.succeeded, counts.failed) == (5, 1), counts
assert "SIGABRT" in output.errors[0].message
flow.visualize()
""",
    """
import psutil
left = [p for p in psutil.Process().children(recursive=True) if any("dflow" in w or "dask" in w for w in p.cmdline())]
assert left == [], left
OFFSET = 4  # a constant that a task's helper reads: all is done again
output, _, _ = flow.process(inputs={"sources": [PARTS]}, progress=False)
assert output.counts.reused == 0, output.counts
""",
    """
from dflow.dataset import DatasetExplorer
from dflow.insights import DatasetViewer
explorer = DatasetExplorer(flow_output_file=flow_file)
found = explorer.get_file_list(group="labels", where=lambda ds: ds["shifted"] > ds["face_count"] + 3)
assert len(found) == 5, found
DatasetViewer.from_explorer(explorer).show_preview_as_image(found, grid_cols=3)
""",
]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the kernel's own
def test_everything_may_be_defined_in_cells(generated_parts, tmp_path):
    setting = f"PARTS, OUT = {str(generated_parts)!r}, {str(tmp_path)!r}"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in [setting, *CELLS]])
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [set(out.get("data", {})) for cell in notebook.cells for out in cell.outputs]
    assert any("text/html" in data for data in shown)  # the bars and the table
    assert any("image/svg+xml" in data for data in shown)
    assert any("image/png" in data for data in shown)
