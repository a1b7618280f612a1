"""A hundred thousand synthetic samples through records, plan and merge, and what ten million would need.

Run ``python -m tests.benchmarks.scale``. Everything is measured at two sizes; the slope between them, not the
average, is carried on, so that fixed costs do not flatter. Records cross a pickle as they do between worker and
client. Samples are parts of 12 faces and 30 edges behind a few real `.data` files under many names; the last table
scales rows to parts of 60 faces.
"""

from __future__ import annotations

import argparse
import math
import os
import pickle
import shutil
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dflow.dataset.merge import settings as sizes
from dflow.dataset.merge.block_reader import InFolder
from dflow.dataset.merge.merge import compute_inline, merge_dataset
from dflow.dataset.merge.nodes import shard_nodes
from dflow.dataset.merge.plan import MergePlan, plan_merge, predict_peak_bytes
from dflow.dataset.merge.settings import MergeSettings
from dflow.records import BatchResult, ItemRecord, SampleRecord
from dflow.storage import OptStorage, describe
from dflow.storage.paths import FlowPaths, sample_name
from tests.benchmarks.storage import sample_arrays

N_FACES, N_EDGES = 12, 30
DISTINCT = 20
BATCH = 64
TARGET = 10_000_000
TASK_BYTES = 16 * 1024
"""Scheduler memory a task, as distributed measured 16 KiB (distributed#3898)."""
WINDOW = 4 * 64
"""Tasks in flight: four a thread on a cluster of 64 threads."""


@dataclass(frozen=True)
class Measured:
    """One size, measured: seconds are CPU time, bytes are of the client unless they say otherwise."""

    n_samples: int
    record_bytes: int
    wire_bytes: int
    receive_seconds: float
    plan_seconds: float
    plan_bytes: int
    node_seconds: float
    largest_node_bytes: int
    n_nodes: int
    merge_seconds: float
    n_files: int
    dataset_bytes: int
    table_bytes: int


def originals(paths: FlowPaths) -> list[SampleRecord]:
    """A few sealed samples."""
    os.makedirs(paths.encoded)
    found = []
    for seed in range(DISTINCT):
        storage = OptStorage(str(paths.encoded / f"seed{seed}"))
        for key, array in sample_arrays(N_FACES, N_EDGES, seed).items():
            storage.save_data(key, array)
        storage.save_metadata("face_count", N_FACES)
        storage.save_metadata("family", f"family {seed % 7}")
        storage.save_metadata("volume", seed + 0.5)
        storage.compress_store()
        found.append(describe(storage, f"seed{seed}", ""))
        storage.close()
    return found


def batches(seeds: Sequence[SampleRecord], paths: FlowPaths, n_samples: int) -> list[bytes]:
    """What the workers would send: pickled batch results."""
    sent = []
    for start in range(0, n_samples, BATCH):
        items = []
        for i in range(start, min(start + BATCH, n_samples)):
            source = f"../../cad/lot{i // 1000:05d}/part{i:08d}.step"
            record = replace(seeds[i % DISTINCT], name=sample_name(source), source=source)
            os.link(paths.data_file(seeds[i % DISTINCT].name), paths.data_file(record.name))
            items.append(ItemRecord(i, source, "succeeded", (record,), seconds=0.02, content_hash=record.name[:32]))
        sent.append(pickle.dumps(BatchResult("encode", start // BATCH, tuple(items)), 5))
    return sent


def traced(function: Callable[[], Any]) -> tuple[Any, float, int]:
    """Result, CPU seconds (of an untraced run) and bytes that stay allocated (of a traced one)."""
    begin = time.process_time()
    result = function()
    seconds = time.process_time() - begin
    del result
    tracemalloc.start()
    try:
        result = function()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return result, seconds, kept


def receive(sent: Sequence[bytes]) -> list[SampleRecord]:
    """The records of all batches, as the client keeps them."""
    return [sample for content in sent for item in pickle.loads(content).items for sample in item.samples]


def measure(folder: Path, n_samples: int) -> tuple[Measured, MergePlan]:
    """All steps at one size."""
    paths = FlowPaths.of(folder / str(n_samples), "scale")
    sent = batches(originals(paths), paths, n_samples)
    records, receive_seconds, record_bytes = traced(lambda: receive(sent))
    plan, plan_seconds, plan_bytes = traced(lambda: plan_merge(records))
    nodes = shard_nodes(plan, "/build", InFolder(str(paths.encoded)))
    begin = time.process_time()
    sizes = [len(pickle.dumps(node.dask.to_dict()[node.key], 5)) for node in nodes]
    node_seconds = time.process_time() - begin
    begin = time.process_time()
    merge_dataset(records, paths, flow_name="scale", compute=compute_inline)
    merge_seconds = time.process_time() - begin
    files = [path for path in paths.dataset.rglob("*") if path.is_file()]
    measured = Measured(
        n_samples,
        record_bytes,
        sum(map(len, sent)),
        receive_seconds,
        plan_seconds,
        plan_bytes,
        node_seconds,
        max(sizes),
        len(nodes),
        merge_seconds,
        len(files),
        sum(path.stat().st_size for path in files),
        paths.infoset.stat().st_size + paths.attribset.stat().st_size,
    )
    shutil.rmtree(paths.root)
    return measured, plan


def table(small: Measured, large: Measured) -> str:
    """Both sizes, the cost of one more sample, and ten million."""
    rows = [
        ("records over the wire", "wire_bytes", "B"),
        ("records on the client", "record_bytes", "B"),
        ("receiving them", "receive_seconds", "s"),
        ("plan", "plan_seconds", "s"),
        ("plan on the client", "plan_bytes", "B"),
        ("making and pickling nodes", "node_seconds", "s"),
        ("merge, one process", "merge_seconds", "s"),
        ("dataset", "dataset_bytes", "B"),
        ("tables", "table_bytes", "B"),
    ]
    head = f"{'':28s}{small.n_samples:>14,d}{large.n_samples:>14,d}{'a sample':>14s}{TARGET:>16,d}"
    lines = [head]
    for label, name, unit in rows:
        a, b = getattr(small, name), getattr(large, name)
        slope = (b - a) / (large.n_samples - small.n_samples)
        cells = (
            amount(a, unit),
            amount(b, unit),
            amount(slope, unit),
            amount(b + slope * (TARGET - large.n_samples), unit),
        )
        lines.append(f"{label:28s}{cells[0]:>14s}{cells[1]:>14s}{cells[2]:>14s}{cells[3]:>16s}")
    return "\n".join(lines)


def amount(value: float, unit: str) -> str:
    """A number with a unit that suits its size."""
    if unit == "s":
        return f"{value:,.1f} s" if value >= 0.1 else f"{value * 1e6:,.1f} µs"
    power = max(min(int(math.log(max(value, 1), 1024)), 4), 0)
    return f"{value / 1024**power:,.1f} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"


def outlook(plan: MergePlan, large: Measured, n_faces: int, n_edges: int) -> str:
    """What ten million parts of a given size need, by the formulas that the plan uses and the measured compression."""
    settings = MergeSettings()
    rows = {"faces": n_faces * TARGET, "edges": n_edges * TARGET, "graph": n_edges * TARGET}
    raw = shards = files = 0
    for name, group in plan.groups.items():
        n_rows = rows.get(name, TARGET)
        width = sum(array.target.row_bytes for array in group.arrays)
        if group.arrays:
            here = -(-n_rows // sizes.shard_rows(width, n_rows, TARGET, settings))
            shards, files, raw = shards + here, files + here * len(group.arrays), raw + width * n_rows
    for target in plan.column_targets:
        width = np.dtype(target.dtype).itemsize
        files += -(-TARGET // sizes.shard_rows(width, TARGET, TARGET, settings))
    measured_raw = sum(a.target.row_bytes * g.n_rows for g in plan.groups.values() for a in g.arrays)
    speed = measured_raw / large.merge_seconds
    lines = [
        f"{TARGET:,} parts of {n_faces} faces and {n_edges} edges",
        f"  encode tasks     {-(-TARGET // BATCH):>12,d}   batches of {BATCH}; {WINDOW} in flight",
        f"  merge tasks      {shards:>12,d}   one a shard and group",
        f"  scheduler memory {amount(WINDOW * TASK_BYTES, 'B'):>12s}   in flight; "
        f"{amount((TARGET // BATCH + shards) * TASK_BYTES, 'B')} if all were submitted at once",
        f"  dataset files    {files:>12,d}",
        f"  uncompressed     {amount(raw, 'B'):>12s}",
        f"  merge            {raw / speed / 3600:>10.1f} h    of one core; {raw / speed / 3600 / 64:.2f} h on 64",
        f"  a merge node     {amount(predict_peak_bytes(plan), 'B'):>12s}   of memory, whatever the number of samples",
        f"  largest node     {amount(large.largest_node_bytes, 'B'):>12s}   on the wire",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        small, _ = measure(Path(folder), arguments.samples // 4)
        large, plan = measure(Path(folder), arguments.samples)
    print(table(small, large))
    print(f"nodes {small.n_nodes:,} and {large.n_nodes:,}, dataset files {small.n_files:,} and {large.n_files:,}\n")
    print(outlook(plan, large, N_FACES, N_EDGES))
    print(outlook(plan, large, 60, 150))


if __name__ == "__main__":
    main()
