"""Merged datasets written straight in the layout of the merge, from arrays: small ones for tests, large ones for
benchmarks.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import zarr

from dflow.dataset.format.layout import MANIFEST, ArrayTarget, fill_scalar, json_fill, metadata_files
from dflow.dataset.merge.settings import MergeSettings, chunk_rows, shard_rows
from dflow.schema.names import id_array, row_count, row_start
from dflow.storage.paths import FlowPaths, sample_name

Array = np.ndarray[Any, np.dtype[Any]]
SMALL = MergeSettings(chunk_bytes=512, shard_bytes=(2048, 8192), shards=4)
"""Cuts a few hundred rows into several shards and chunks, so that tests cross their borders."""

DIMENSIONS = {
    "faces": "face",
    "faceface": "facepair",
    "edges": "edge",
    "graph": "arc",
    "labels": "label",
    "coedges": "coedge",
}
TRAILING = {
    "face_centroids": ("dim",),
    "face_uv_grids": ("uv_x", "uv_y", "component"),
    "edge_u_grids": ("u", "component"),
    "face_pair_edges_path": ("dim_path",),
    "tool_index": ("dim",),
    "bounding_box": ("box",),
    "centroid": ("dim",),
}


@dataclass
class Parts:
    """What to write: `counts` rows of each sample by group, `rows` arrays by group, `values` one entry a sample."""

    counts: dict[str, Array]
    rows: dict[str, dict[str, Array]]
    values: dict[str, Array] = field(default_factory=dict)
    categories: dict[str, Sequence[str]] = field(default_factory=dict)
    tables: dict[str, Sequence[str]] = field(default_factory=dict)
    content_hash: Sequence[str] | None = None
    schema_groups: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_files(self) -> int:
        return len(next(iter(self.counts.values())))

    def start(self, group: str) -> Array:
        return np.concatenate([[0], np.cumsum(self.counts[group])])[:-1].astype(np.int64)

    def of_file(self, group: str, name: str, file_id: int) -> Array:
        """The rows of one sample: what a reader must return."""
        start = int(self.start(group)[file_id])
        return self.rows[group][name][start : start + int(self.counts[group][file_id])]

    def file_of_row(self, group: str) -> Array:
        return np.repeat(np.arange(self.n_files), self.counts[group])


def random_parts(n_files: int, seed: int = 0, *, grid: int = 3) -> Parts:
    """Parts with faces, edges and a graph; some have no edges, one has nothing at all."""
    rng = np.random.default_rng(seed)
    faces = rng.integers(1, 12, n_files)
    edges = rng.integers(0, 20, n_files)
    faces[n_files // 2], edges[n_files // 2] = 0, 0
    n, m = int(faces.sum()), int(edges.sum())
    areas = rng.gamma(2.0, 50.0, n).astype(np.float32)
    angles = rng.uniform(-3, 3, m).astype(np.float32)
    angles[::7] = np.nan
    owner = np.repeat(faces, edges)
    source = (rng.random(m) * np.maximum(owner, 1)).astype(np.int32)
    category = rng.integers(0, 4, n_files).astype(np.int32)
    category[1] = -1
    return Parts(
        counts={"faces": faces, "edges": edges, "graph": edges},
        rows={
            "faces": {
                "face_areas": areas,
                "face_types": rng.choice([0, 1, 2, 5, 14], n).astype(np.int32),
                "face_labels": rng.choice(6, n, p=[0.5, 0.3, 0.1, 0.06, 0.03, 0.01]).astype(np.int32),
                "face_centroids": rng.normal(size=(n, 3)).astype(np.float32),
                "face_uv_grids": rng.normal(size=(n, grid, grid, 7)).astype(np.float32),
            },
            "edges": {
                "edge_lengths": rng.gamma(1.0, 10.0, m).astype(np.float32),
                "edge_dihedral_angles": angles,
                "edge_u_grids": rng.normal(size=(m, grid, 6)).astype(np.float32),
            },
            "graph": {
                "edges_source": source,
                "edges_destination": source[::-1].copy() % np.maximum(owner, 1).astype(np.int32),
                "arc_edge": (np.arange(m) - np.repeat(np.cumsum(edges) - edges, edges)).astype(np.int32),
            },
        },
        values={
            "face_count": faces.astype(np.int32),
            "edge_count": edges.astype(np.int32),
            "body_count": np.ones(n_files, np.int32),
            "volume": rng.gamma(2.0, 100.0, n_files),
            "bounding_box": np.sort(rng.normal(size=(n_files, 2, 3)), axis=1).reshape(n_files, 6) * 10,
            "category": category,
        },
        categories={"category": ("bolt", "nut", "plate", "shaft")},
        tables={"face_types": ("Plane", "Cylinder", "Cone")},
    )


def write_parts(parts: Parts, outdir: Path, name: str = "flow", settings: MergeSettings = SMALL) -> FlowPaths:
    """Write the dataset, its two tables and the `.flow` file; the result says where."""
    paths = FlowPaths.of(outdir, name)
    paths.root.mkdir(parents=True)
    write_store(parts, paths.dataset, settings)
    names = [sample_name(f"part_{i:06d}.step", 0) for i in range(parts.n_files)]
    info: dict[str, Any] = {
        "id": np.arange(parts.n_files),
        "name": names,
        "description": [f"part_{i:06d}.step" for i in range(parts.n_files)],
        "body": -1,
        "flow_name": name,
        "subset": "N/A",
        "table_name": "file_info",
        "stream_cache_png": [f"stream_cache/{n}.png" for n in names],
        "stream_cache_3d": None,
        "content_hash": parts.content_hash or [f"{i:032x}" for i in range(parts.n_files)],
        **{k: v for k, v in parts.values.items() if v.ndim == 1},
    }
    pq.write_table(pa.Table.from_pandas(pd.DataFrame(info)), paths.infoset)
    rows = [
        {"table_name": table, "id": i, "name": label, "description": "not set"}
        for table, labels in {**parts.categories, **parts.tables}.items()
        for i, label in enumerate(labels)
    ]
    attribset = pd.DataFrame(rows, columns=["table_name", "id", "name", "description"])
    pq.write_table(pa.Table.from_pandas(attribset), paths.attribset)
    flow = {
        "flow_name": name,
        "flow_data": paths.dataset.name,
        "flow_info": paths.infoset.name,
        "flow_attributes": paths.attribset.name,
    }
    paths.flow_file.write_text(json.dumps(flow))
    return paths


def write_store(parts: Parts, folder: Path, settings: MergeSettings) -> None:
    """The `.dataset` folder alone, with its manifest."""
    groups: dict[str, dict[str, Array]] = {
        group: {**arrays, id_array(group): parts.file_of_row(group).astype(np.int64)}
        for group, arrays in parts.rows.items()
    }
    groups["file"] = dict(parts.values)
    for group, counts in parts.counts.items():
        groups["file"][row_start(group)] = parts.start(group)
        groups["file"][row_count(group)] = counts.astype(np.int64)
    targets = {group: _targets(group, arrays, parts.n_files, settings) for group, arrays in groups.items()}
    stated = {g: {"dimension": DIMENSIONS[g], "n_rows": int(c.sum())} for g, c in parts.counts.items()}
    categorical = {f: {"dtype": "int32", "labels": list(v)} for f, v in parts.categories.items()}
    attributes = {
        "dflow": {"format": 1, "version": "test", "n_files": parts.n_files, "groups": stated},
        "schema": {
            "version": "1.0",
            "domain": "test",
            "groups": dict(parts.schema_groups),
            "metadata": {"categorical": categorical},
        },
    }
    for relative, content in metadata_files(targets, attributes, {}).items():
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with zarr.config.set({"array.write_empty_chunks": True}):  # a merge leaves out no shard of fill values either
        for group, arrays in groups.items():
            for name, values in arrays.items():
                array = zarr.open_array(str(folder), path=f"{group}/{name}", mode="r+")
                if len(values):
                    array[:] = values
    write_manifest(folder)


def write_manifest(folder: Path) -> None:
    """Bytes and CRC-32 of every file below."""
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST):
        content = path.read_bytes()
        files[path.relative_to(folder).as_posix()] = {"bytes": len(content), "crc32": f"{zlib.crc32(content):08x}"}
    (folder / MANIFEST).write_text(json.dumps({"format": 1, "files": files}))


def _targets(group: str, arrays: Mapping[str, Array], n_files: int, settings: MergeSettings) -> list[ArrayTarget]:
    n_rows = len(next(iter(arrays.values())))
    row_bytes = sum(a.nbytes // max(len(a), 1) for a in arrays.values())
    rows = shard_rows(row_bytes, n_rows, n_files, settings)
    found = []
    for name, values in arrays.items():
        chunk = min(chunk_rows(values.nbytes // max(len(values), 1), n_rows, settings), rows)
        dims = (DIMENSIONS.get(group, "file"), *TRAILING.get(name, ()))
        fill = json_fill(fill_scalar(str(values.dtype), None, what=name))
        found.append(
            ArrayTarget(
                group,
                name,
                str(values.dtype),
                dims,
                values.shape,
                chunk,
                max(rows, chunk),
                fill,
                settings.level_of(str(values.dtype)),
            )
        )
    return found


def shard_files(folder: Path, array: str) -> list[Path]:
    """The shard files of an array, by name."""
    return sorted(p for p in (folder / array).iterdir() if p.name.startswith("c"))
