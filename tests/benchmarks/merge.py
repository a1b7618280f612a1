"""The merge's speed against one process that writes one array straight with zarr, equally coded and sharded.

Run ``python -m tests.benchmarks.merge``. All in one process and in CPU seconds, in turns, so that a busy machine
changes both sides of a ratio. The merge reads samples of 60 faces and 150 edges and writes every array; zarr writes
the face grids of the same samples from memory. Bytes are uncompressed. With ``--encode`` real STEP files are encoded
too, for the merge's share of a flow.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from dask.delayed import Delayed
from zarr.codecs import Crc32cCodec, ZstdCodec

from dflow.dataset.format.layout import ArrayTarget
from dflow.dataset.format.shards import write_whole
from dflow.dataset.merge.merge import compute_inline, merge_dataset
from dflow.dataset.merge.plan import MergePlan, plan_merge, predict_peak_bytes
from dflow.dataset.merge.settings import MergeSettings
from dflow.records import SampleRecord, ShardRecord
from dflow.storage import OptStorage, describe
from dflow.storage.paths import FlowPaths
from tests.benchmarks.storage import N_EDGES, N_FACES, sample_arrays

MFCAD = Path(__file__).resolve().parents[3] / "shared" / "data" / "mfcad" / "step"
GRIDS = "face_uv_grids"


def make_samples(paths: FlowPaths, n_samples: int, distinct: int = 50) -> list[SampleRecord]:
    """Records of `n_samples` samples; the files of `distinct` ones, linked under as many names as needed."""
    os.makedirs(paths.encoded)
    originals = [_write_sample(paths, f"seed{i}", sample_arrays(seed=i)) for i in range(distinct)]
    return _linked(paths, originals, n_samples)


def _write_sample(paths: FlowPaths, name: str, arrays: Any) -> SampleRecord:
    storage = OptStorage(str(paths.encoded / name))
    for key, array in arrays.items():
        storage.save_data(key, array)
    storage.save_metadata("face_count", len(arrays["faces/face_indices"]))
    storage.save_metadata("family", name[-1])
    storage.compress_store()
    record = describe(storage, name, name)
    storage.close()
    return record


def _linked(paths: FlowPaths, originals: Sequence[SampleRecord], n_samples: int) -> list[SampleRecord]:
    records = []
    for i in range(n_samples):
        original, name = originals[i % len(originals)], f"{i:08d}_0"
        os.link(paths.data_file(original.name), paths.data_file(name))
        records.append(replace(original, name=name, source=f"parts/{i:08d}.step"))
    return records


def raw_bytes(plan: MergePlan) -> int:
    """Uncompressed bytes of all arrays that shard nodes write."""
    return sum(a.target.row_bytes * group.n_rows for group in plan.groups.values() for a in group.arrays)


def cpu_seconds(function: Callable[[], object]) -> float:
    begin = time.process_time()
    function()
    return time.process_time() - begin


def write_with_zarr(root: str, target: ArrayTarget, values: Any) -> None:
    """The same array as plain zarr writes it, whole shards at a time."""
    array = zarr.create_array(
        root,
        shape=target.shape,
        dtype=target.dtype,
        chunks=(target.chunk_rows, *target.trailing),
        shards=(target.shard_rows, *target.trailing),
        compressors=[ZstdCodec(level=target.level), Crc32cCodec()],
        fill_value=float("nan"),
        overwrite=True,
    )
    for start in range(0, target.shape[0], target.shard_rows):
        array[start : start + target.shard_rows] = values[start : start + target.shard_rows]


def peaks(found: list[int]) -> Callable[[Sequence[Delayed]], Iterator[ShardRecord]]:
    """Runs nodes and notes the most memory each held."""

    def compute(nodes: Sequence[Delayed]) -> Iterator[ShardRecord]:
        for node in nodes:
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            yield node.compute(scheduler="synchronous")
            found.append(tracemalloc.get_traced_memory()[1] - before)

    return compute


def measure(folder: Path, n_samples: int, rounds: int) -> None:
    """Print the ratios."""
    paths = FlowPaths.of(folder, "bench")
    records = make_samples(paths, n_samples)
    plan = plan_merge(records)
    target = next(a.target for a in plan.groups["faces"].arrays if a.target.name == GRIDS)
    values = np.concatenate([sample_arrays(seed=i % 50)[f"faces/{GRIDS}"] for i in range(n_samples)])
    own = str(folder / "own")
    merging, plain, writing = [], [], []
    for _ in range(rounds):
        shutil.rmtree(paths.dataset, ignore_errors=True)
        merging.append(cpu_seconds(lambda: merge(records, paths)))
        plain.append(cpu_seconds(lambda: write_with_zarr(str(folder / "plain"), target, values)))
        os.makedirs(os.path.join(own, target.path))
        writing.append(cpu_seconds(lambda: write_whole(own, target, values)))
        shutil.rmtree(own)
    merged, total = min(merging), raw_bytes(plan)
    speed, straight, ours = total / merged, values.nbytes / min(plain), values.nbytes / min(writing)
    print(f"{n_samples} samples of {N_FACES} faces and {N_EDGES} edges, {total / 1e6:.0f} MB in {plan.n_shards} shards")
    print(f"merge                {speed / 1e6:7.0f} MB/s   {merged / n_samples * 1e3:.2f} ms a sample")
    print(f"zarr, one array      {straight / 1e6:7.0f} MB/s   {values.nbytes / 1e6:.0f} MB")
    print(f"our shard writer     {ours / 1e6:7.0f} MB/s   {ours / straight:.2f} × zarr")
    print(f"merge / zarr         {speed / straight:7.2f} ×      must be at least 0.5")
    measured = peak_bytes(records, paths)
    print(f"peak of a node       {measured / 1e6:7.1f} MB    predicted {predict_peak_bytes(plan) / 1e6:.1f} MB")


def merge(records: Sequence[SampleRecord], paths: FlowPaths, compute: Any = compute_inline) -> None:
    """One merge with the defaults."""
    report = merge_dataset(records, paths, flow_name="bench", compute=compute, settings=MergeSettings())
    if report.n_samples != len(records) or report.reused:
        raise RuntimeError(f"the merge did not do its work: {report}")


def peak_bytes(records: Sequence[SampleRecord], paths: FlowPaths) -> int:
    """The most memory that one shard node held."""
    shutil.rmtree(paths.dataset, ignore_errors=True)
    found: list[int] = []
    tracemalloc.start()
    try:
        merge(records, paths, peaks(found))
    finally:
        tracemalloc.stop()
    return max(found)


def measure_share(folder: Path, n_files: int, n_samples: int) -> None:
    """Encode real files with recipe uvnet, merge them as often as needed, and print the merge's share."""
    from dflow.cadaccess import CadLoader
    from dflow.cadencoder import BrepEncoder

    paths = FlowPaths.of(folder, "share")
    os.makedirs(paths.encoded)
    loader = CadLoader()
    originals = []
    begin = time.process_time()
    for i, file in enumerate(sorted(MFCAD.glob("*.st*p"))[:n_files]):
        storage = OptStorage(str(paths.encoded / f"file{i}"))
        BrepEncoder(loader.create_from_file(str(file)).get_brep(), storage).encode("uvnet")
        storage.compress_store()
        originals.append(describe(storage, f"file{i}", file.name))
        storage.close()
    encoding = (time.process_time() - begin) / len(originals)
    records = _linked(paths, originals, n_samples)
    merging = cpu_seconds(lambda: merge(records, paths)) / n_samples
    again = cpu_seconds(lambda: merge_dataset(records, paths, flow_name="bench", compute=compute_inline)) / n_samples
    print(f"\n{len(originals)} real files encoded with uvnet, merged as {n_samples} samples")
    print(f"encode {encoding * 1e3:.1f} ms a file, merge {merging * 1e3:.2f} ms: {merging / encoding:.1%} of it")
    print(f"merging again, unchanged: {again / encoding:.2%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--encode", type=int, default=0, metavar="FILES", help="also encode this many real files")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        measure(Path(folder), arguments.samples, arguments.rounds)
        if arguments.encode and MFCAD.is_dir():
            measure_share(Path(folder), arguments.encode, 3 * arguments.samples)


if __name__ == "__main__":
    main()
