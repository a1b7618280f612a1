"""Samples for the tests of the merge: real `.data` files, and records without files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from dask.delayed import Delayed

from dflow.checksums import BLANK, MEMBER, seal
from dflow.dataset.merge.merge import MergeReport, compute_inline, merge_dataset
from dflow.dataset.merge.settings import MergeSettings
from dflow.records import ArrayLayout, SampleLayout, SampleRecord, ShardRecord
from dflow.storage import OptStorage, describe
from dflow.storage.paths import FlowPaths, sample_name

SMALL = MergeSettings(chunk_bytes=64, shard_bytes=(256, 512), shards=2, samples_per_shard=8)
"""Chunks of a few rows and shards of a few chunks, so that small samples cross every border."""


def write_sample(
    paths: FlowPaths,
    source: str,
    arrays: Mapping[str, Any],
    metadata: Mapping[str, Any] | None = None,
    *,
    schema: Mapping[str, Any] | None = None,
    body: int = -1,
) -> SampleRecord:
    """Write one sample as a flow would, and return its record."""
    os.makedirs(paths.encoded, exist_ok=True)
    name = sample_name(source, body)
    storage = OptStorage(str(paths.encoded / name))
    if schema is not None:
        storage.set_schema(dict(schema))
    for key, data in arrays.items():
        storage.save_data(key, data)
    for key, value in (metadata or {}).items():
        storage.save_metadata(key, value)
    storage.compress_store()
    record = describe(storage, name, source, body)
    storage.close()
    return record


def record_of(
    source: str,
    arrays: Mapping[str, tuple[str, tuple[int, ...]]],
    rows: Mapping[str, int],
    *,
    values: Mapping[str, Any] | None = None,
    schema: str = "",
    tables: Any = (),
) -> SampleRecord:
    """A record without a file: `arrays` maps ``group/name`` to (dtype, trailing shape)."""
    layouts = []
    for key in sorted(arrays):
        group, _, name = key.partition("/")
        dtype, trailing = arrays[key]
        dims = (*(() if group == "file" else (group.rstrip("s"),)), *(f"{name}_{i}" for i in range(len(trailing))))
        layouts.append(ArrayLayout(group, name, dtype, dims, trailing))
    layout = SampleLayout(tuple(layouts), schema, tables)
    counts = tuple(rows.get(group, 0) for group in layout.groups)
    return SampleRecord(sample_name(source), source, -1, layout, counts, tuple(sorted((values or {}).items())))


def merge(paths: FlowPaths, records: Sequence[SampleRecord], **options: Any) -> MergeReport:
    """Merge with small chunks, one node after the other."""
    defaults: dict[str, Any] = {"flow_name": paths.name, "compute": compute_inline, "settings": SMALL}
    return merge_dataset(records, paths, **{**defaults, **options})


def backwards(nodes: Sequence[Delayed]) -> Iterator[ShardRecord]:
    """Another order of work: the last node first."""
    yield from compute_inline([nodes[i] for i in reversed(range(len(nodes)))])


def tree_bytes(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, or the file itself, by relative path."""
    if folder.is_file():
        return {"": folder.read_bytes()}
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def outputs(paths: FlowPaths) -> dict[str, bytes]:
    """All bytes that a merge publishes."""
    found = {}
    for path in (paths.dataset, paths.infoset, paths.attribset):
        found |= {f"{path.name}/{name}": content for name, content in tree_bytes(path).items()}
    return found


def grid(n_rows: int, seed: int) -> np.ndarray:
    """(n_rows, 2, 3) float32 that no other seed has."""
    return (np.arange(n_rows * 6, dtype=np.float32) + 1000 * seed).reshape(n_rows, 2, 3)


def make_samples(paths: FlowPaths, sizes: Sequence[tuple[int, int]]) -> list[SampleRecord]:
    """Samples with the given numbers of faces and edges; every third lacks the grids and names its faces."""
    records = []
    for i, (n_faces, n_edges) in enumerate(sizes):
        arrays: dict[str, Any] = {
            "faces/face_areas": np.arange(n_faces, dtype=np.float32) + 100 * i,
            "faces/face_types": np.full(n_faces, i, np.int32),
            "edges/edge_lengths": np.arange(n_edges, dtype=np.float32) - 100 * i,
            "file/bounding_box": np.arange(6.0) + i,
        }
        if i % 3:
            arrays["faces/grid"] = grid(n_faces, i)
        else:
            arrays["faces/colour"] = np.array([("red", "blue", "grün")[j % 3] for j in range(n_faces)], dtype="U4")
        records.append(write_sample(paths, f"cad/{i:03d}.step", arrays, {"face_count": n_faces, "family": f"f{i % 2}"}))
    return records


def merge_three(folder: Path) -> FlowPaths:
    """Merge three samples of twenty faces below a folder; the paths of their dataset."""
    paths = FlowPaths.of(folder, "parts")
    records = [write_sample(paths, f"{i}", {"faces/areas": np.arange(20, dtype="f4")}, {"mass": i}) for i in range(3)]
    merge(paths, records)
    return paths


def forget_checksums(dataset: Path) -> None:
    """Make root metadata and tables as those of older versions, without checksums, so that a test may edit them."""
    for path in filter(Path.exists, (dataset / "zarr.json", dataset / "manifest.json")):
        document = json.loads(path.read_text())
        document.pop(MEMBER, None)
        document.pop("tables", None)
        document.get("attributes", {}).get("dflow", {}).pop(MEMBER, None)
        path.write_text(json.dumps(document))


def write_sealed(dataset: Path, root: dict[str, Any]) -> None:
    """Write root metadata as a stranger would who knows how its checksum is made."""
    root["attributes"]["dflow"][MEMBER] = BLANK
    (dataset / "zarr.json").write_bytes(seal(json.dumps(root).encode()))
