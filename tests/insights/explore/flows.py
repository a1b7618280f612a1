"""A small finished flow with pictures, failures and hostile names."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dflow.render import render_sample
from dflow.storage.paths import FlowPaths
from tests.dataset.synthetic import random_parts, write_parts
from tests.render import shapes

N_PARTS = 260
HOSTILE = "<img src=x onerror=document.title='owned'>"
FORMULA = "$$\\href{javascript:document.title='owned'}{x}$$ \"'`&.step"


def make_flow(folder: Path, n_parts: int = N_PARTS) -> FlowPaths:
    """Parts 0 and 1 have hostile names; 0 to 4 have pictures and meshes."""
    parts = random_parts(n_parts, seed=5)
    parts.categories["category"] = ("bolt", HOSTILE, "plate", "$$x$$")
    parts.counts["faces"][:5] = 6  # those of the box that is drawn
    paths = write_parts(_consistent(parts), folder, "demo")
    _rename(paths)
    for i in range(5):
        name = pq.read_table(paths.infoset)["name"][i].as_py()
        render_sample(shapes.box((1 + i, 2, 3)), paths.preview(name), paths.mesh(name), size=(96, 96))
    errors = [
        {"file": f"{HOSTILE}.step", "message": HOSTILE, "task": "encode", "kind": "unreadable", "seconds": 0.25,
         "traceback": f"Traceback: {HOSTILE}"},
        {"file": "b.step", "message": "too late", "task": "encode", "kind": "timeout", "seconds": 120.0},
        {"file": "c.step", "message": "again", "task": "encode", "kind": "timeout", "seconds": 120.0},
        {"file": f"../parts/{HOSTILE}.step", "message": "its second body", "task": "encode", "kind": "schema"},
    ]  # fmt: skip
    paths.error_summary.write_text(json.dumps(errors))
    return paths


def _consistent(parts):
    """The same parts after a change of the number of faces: rows are drawn anew."""
    again = random_parts(parts.n_files, seed=5)
    n_rows = int(parts.counts["faces"].sum())
    for name, values in again.rows["faces"].items():
        parts.rows["faces"][name] = values.take(range(n_rows), axis=0, mode="wrap")
    for name in ("edges_source", "edges_destination"):
        parts.rows["graph"][name] %= 6
        parts.rows["graph"][name][:] = [
            min(int(v), max(int(f) - 1, 0))
            for v, f in zip(parts.rows["graph"][name], parts.counts["faces"].repeat(parts.counts["graph"]), strict=True)
        ]
    parts.values["face_count"] = parts.counts["faces"].astype("int32")
    return parts


def _rename(paths: FlowPaths) -> None:
    table = pq.read_table(paths.infoset)
    names = table["description"].to_pylist()
    names = [f"../parts/{name}" for name in names]
    names[0], names[1] = f"../parts/{HOSTILE}.step", f"../parts/{FORMULA}"
    meshes = [f"stream_cache/{name}.glb" for name in table["name"].to_pylist()]
    table = table.set_column(table.column_names.index("description"), "description", pa.array(names))
    table = table.set_column(table.column_names.index("stream_cache_3d"), "stream_cache_3d", pa.array(meshes))
    pq.write_table(table, paths.infoset)
