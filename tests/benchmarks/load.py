"""Feeding a network: samples a second from the `.dataset`, against one `.npz` a sample and against memory.

    python -m tests.benchmarks.load [--samples 10000] [--workers 2] [--batch 64] [--folder DIR]

Synthetic `uvnet` samples (planes and cylinders, 10×10 grids a face, 10-point grids an edge). All sides use torch's
`DataLoader` with the same number of workers and the same ragged collate; a first epoch warms the page cache and the
workers, the next ones are timed. CPU seconds are those of this process and its workers together, because a shared
machine's wall clock says little.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch.utils.data import DataLoader, Dataset

from dflow.dataset import DatasetLoader
from dflow.dataset.merge.settings import MergeSettings
from dflow.dataset.query.store import open_store
from dflow.dataset.training.channel import Channel
from dflow.dataset.training.collate import collate, collate_samples
from dflow.dataset.training.samples import SampleReader
from dflow.dataset.training.shuffle import BlockPlan, Pass
from dflow.dataset.training.torch import Collate, send, to_tensors
from dflow.storage.paths import FlowPaths
from tests.dataset.synthetic import Parts, write_parts

Array = np.ndarray[Any, np.dtype[Any]]
FACES_PER_SAMPLE = 20


def make_parts(n_samples: int, seed: int = 0) -> Parts:
    """Samples whose grids look like real ones: planes and cylinders, placed anywhere, normals constant or turning."""
    rng = np.random.default_rng(seed)
    faces = np.maximum(4, rng.poisson(FACES_PER_SAMPLE, n_samples))
    edges = np.round(faces * 2.6).astype(np.int64)
    n, m = int(faces.sum()), int(edges.sum())
    owner = np.repeat(faces, edges)
    return Parts(
        counts={"faces": faces, "edges": edges, "graph": edges},
        rows={
            "faces": {
                "face_types": rng.choice([0, 1, 2, 5], n, p=[0.65, 0.25, 0.05, 0.05]).astype(np.int32),
                "face_areas": rng.gamma(1.0, 120.0, n).astype(np.float32),
                "face_centroids": rng.normal(size=(n, 3)).astype(np.float32),
                "face_loops": rng.integers(1, 4, n).astype(np.int32),
                "face_uv_grids": _face_grids(rng, n),
                "face_labels": rng.integers(0, 16, n).astype(np.int32),
            },
            "edges": {
                "edge_types": rng.choice([0, 1, 6], m, p=[0.7, 0.25, 0.05]).astype(np.int32),
                "edge_lengths": rng.gamma(1.0, 10.0, m).astype(np.float32),
                "edge_dihedral_angles": rng.choice([np.pi / 2, -np.pi / 2, 0.3], m).astype(np.float32),
                "edge_convexities": rng.integers(1, 4, m).astype(np.int32),
                "edge_u_grids": _edge_grids(rng, m),
            },
            "graph": {
                "edges_source": (rng.random(m) * owner).astype(np.int32),
                "edges_destination": (rng.random(m) * owner).astype(np.int32),
                "arc_edge": (np.arange(m) - np.repeat(np.cumsum(edges) - edges, edges)).astype(np.int32),
            },
        },
        values={
            "face_count": faces.astype(np.int32),
            "edge_count": edges.astype(np.int32),
            "bounding_box": np.tile([-50.0, -50, -50, 50, 50, 50], (n_samples, 1)),
            "category": rng.integers(0, 10, n_samples).astype(np.int32),
        },
        categories={"category": [f"class {i}" for i in range(10)]},
    )


def _face_grids(rng: np.random.Generator, n: int) -> Array:
    grids = np.empty((n, 10, 10, 7), np.float32)
    step = np.linspace(0, 1, 10, dtype=np.float32)
    u, v = step[:, None, None], step[None, :, None]
    for low in range(0, n, 8192):
        part = grids[low : low + 8192]
        k = len(part)
        origin, along, across = (rng.normal(size=(k, 1, 1, 3)).astype(np.float32) * 20 for _ in range(3))
        normal = np.cross(along, across)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        bend = np.where(rng.random((k, 1, 1, 1)) < 0.35, rng.uniform(1, 3, (k, 1, 1, 1)), 0).astype(np.float32)
        height = np.sin(bend * u) * 10
        part[..., :3] = origin + along * u + across * v + normal * height
        turned = normal - along / np.linalg.norm(along, axis=-1, keepdims=True) * np.cos(bend * u) * (bend > 0)
        part[..., 3:6] = turned / np.linalg.norm(turned, axis=-1, keepdims=True)
        part[..., 6] = 1
    return grids


def _edge_grids(rng: np.random.Generator, m: int) -> Array:
    origin, along = (rng.normal(size=(m, 1, 3)).astype(np.float32) * 20 for _ in range(2))
    step = np.linspace(0, 1, 10, dtype=np.float32)[:, None]
    points = origin + along * step
    tangents = np.broadcast_to(along / np.linalg.norm(along, axis=-1, keepdims=True), points.shape)
    return np.concatenate([points, tangents], axis=-1)


class Files(Dataset):
    """One `.npz` a sample, as tutorials do it."""

    def __init__(self, files: list[str]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, Array]:
        with np.load(self.files[index]) as file:
            return {key.replace("|", "/"): file[key] for key in file.files}


class InMemory(Dataset):
    """All samples as dictionaries of arrays in memory, handed out as they are."""

    def __init__(self, items: list[dict[str, Array]]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Array]:
        return self.items[index]


class InMemoryBatches(torch.utils.data.IterableDataset):
    """The block stream's own batches, gathered from concatenated columns in memory: no reading, no decoding."""

    def __init__(self, reader: SampleReader, plan: BlockPlan, n_samples: int) -> None:
        self.samples = reader.read_many(np.arange(n_samples))
        self.plan = plan
        self.ids = np.arange(n_samples)
        self.channel = Channel()

    def __iter__(self) -> Any:
        worker = torch.utils.data.get_worker_info()
        number, n_workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for fetch in self.plan.fetches(self.ids, Pass())[number::n_workers]:
            for ids in self.plan.batches(fetch):
                yield self.batch(ids, in_worker=worker is not None)

    def batch(self, ids: Array, *, in_worker: bool) -> Any:
        """On the same way as the stream's."""
        if not in_worker:
            return to_tensors(collate_samples(self.samples.select(ids)))
        arena = self.channel.arena(self.samples.bytes_of(ids) * 9 // 8 + 2**16)
        return send(collate_samples(self.samples.select(ids, arena.allocate)), self.channel, arena)


@dataclass(frozen=True)
class Row:
    """One way of loading: samples a second of wall time and of CPU time."""

    name: str
    per_second: float
    per_cpu_second: float


def measure(name: str, loader: Iterable[dict[str, Any]], n_samples: int, epochs: int) -> Row:
    """Time whole epochs after a warm one; counts the samples that came."""
    run_epoch(loader, n_samples)
    wall, cpu = time.perf_counter(), cpu_seconds()
    for _ in range(epochs):
        run_epoch(loader, n_samples)
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    del loader
    return Row(name, n_samples * epochs / wall, n_samples * epochs / cpu)


def run_epoch(loader: Iterable[dict[str, Any]], n_samples: int) -> None:
    seen = sum(len(batch["id"]) for batch in loader)
    if seen != n_samples:
        raise RuntimeError(f"{seen} samples came, {n_samples} were expected")


def cpu_seconds() -> float:
    """CPU seconds of this process and its living children."""
    process = psutil.Process()
    times = [process.cpu_times(), *(child.cpu_times() for child in process.children(recursive=True))]
    return sum(t.user + t.system for t in times)


def write_files(paths: FlowPaths, folder: Path, n_samples: int) -> list[str]:
    """The same samples as `.npz` files."""
    folder.mkdir(parents=True, exist_ok=True)
    reader = SampleReader(open_store(paths.dataset))
    files = [str(folder / f"{i}.npz") for i in range(n_samples)]
    for i, file in enumerate(files):
        if not Path(file).exists():
            np.savez(file, **{key.replace("/", "|"): np.asarray(value) for key, value in reader.read(i).items()})
    return files


def run(paths: FlowPaths, files: list[str], *, workers: int, batch: int, epochs: int) -> list[Row]:
    """All ways of loading."""
    n_samples = len(files)
    with DatasetLoader(paths.dataset) as loader:
        loader.split(train=1.0, validation=0.0, test=0.0, force_reset=True)
        train = loader.get_dataset("train")
        dataset = train.to_torch()
        keep: dict[str, Any] = {"num_workers": workers, "persistent_workers": workers > 0}
        fn = Collate(collate)
        plan = BlockPlan(batch)
        ways: dict[str, Callable[[], Any]] = {
            ".npz, random": lambda: DataLoader(Files(files), batch, shuffle=True, collate_fn=fn, **keep),
            "dflow, random": lambda: dataset.get_dataloader(batch, shuffle=True, **keep),
            "dflow, block-shuffled": lambda: dataset.get_block_loader(batch, **keep),
            "memory, random items": lambda: DataLoader(
                InMemory([train[i] for i in range(n_samples)]), batch, shuffle=True, collate_fn=fn, **keep
            ),
            "memory, the same block batches": lambda: DataLoader(
                InMemoryBatches(SampleReader(open_store(paths.dataset)), plan, n_samples), batch_size=None, **keep
            ),
        }
        return [measure(name, make(), n_samples, epochs) for name, make in ways.items()]


def check_equal(paths: FlowPaths, files: list[str], *, workers: int, batch: int) -> int:
    """Compare what the sides deliver, a batch at a time: files and items in order, blocks and columns in the plan's.

    Returns how many batches were compared; raises where they differ.
    """
    with DatasetLoader(paths.dataset) as loader:
        loader.load_split()
        dataset = loader.get_dataset("train").to_torch()
        memory = InMemoryBatches(SampleReader(open_store(paths.dataset)), BlockPlan(batch), len(files))
        pairs = [
            (
                DataLoader(Files(files), batch, collate_fn=Collate(collate), num_workers=workers),
                dataset.get_dataloader(batch, num_workers=workers),
            ),
            (
                DataLoader(memory, batch_size=None, num_workers=workers),
                dataset.get_block_loader(batch, num_workers=workers),
            ),
        ]
        compared = 0
        for first, second in pairs:
            for one, other in zip(first, second, strict=True):
                if one.keys() != other.keys() or not all(_same(one[key], other[key]) for key in one):
                    raise RuntimeError(f"batch {compared} differs between the two sides")
                compared += 1
        return compared


def _same(one: Any, other: Any) -> bool:
    return one.dtype == other.dtype and torch.allclose(one, other, rtol=0, atol=0, equal_nan=one.is_floating_point())


def memory_over_epochs(paths: FlowPaths, batch: int, epochs: int = 4) -> list[float]:
    """Resident MiB after every block-shuffled epoch in this process."""
    with DatasetLoader(paths.dataset) as loader:
        loader.load_split()
        stream = loader.get_dataset("train").to_torch().get_block_loader(batch)
        found = []
        for epoch in range(epochs):
            stream.dataset.set_epoch(epoch)
            for _ in stream:
                pass
            found.append(psutil.Process().memory_info().rss / 2**20)
        return found


def report(rows: list[Row]) -> int:
    """Print the table and the ratios against the goals; the number of goals missed."""
    by = {row.name: row for row in rows}
    print(f"{'way':<34}{'samples/s':>11}{'samples/cpu s':>15}")
    for row in rows:
        print(f"{row.name:<34}{row.per_second:>11.0f}{row.per_cpu_second:>15.0f}")
    ratios = [
        ("block-shuffled / .npz", "dflow, block-shuffled", ".npz, random", 10.0, None),
        ("block-shuffled / memory", "dflow, block-shuffled", "memory, random items", 0.25, 0.5),
        ("block-shuffled / memory, same batches", "dflow, block-shuffled", "memory, the same block batches", 0.25, 0.5),
        ("random / .npz", "dflow, random", ".npz, random", 1.0, 3.0),
    ]
    missed = 0
    for name, above, below, least, goal in ratios:
        wall = by[above].per_second / by[below].per_second
        cpu = by[above].per_cpu_second / by[below].per_cpu_second
        missed += wall < least
        wish = "" if goal is None else f", goal {goal:g}"
        print(f"{name:<40} wall {wall:6.2f}  cpu {cpu:6.2f}   (at least {least:g}{wish})")
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--chunk-kib", type=int, help="another size of the grids' chunks than the merge's own")
    parser.add_argument("--folder", type=Path, help="keep the samples here, and use them again")
    options = parser.parse_args()
    chunks = {} if options.chunk_kib is None else {"wide_chunk_bytes": options.chunk_kib * 1024}
    with tempfile.TemporaryDirectory(prefix="dflow-load-") as temporary:
        folder = options.folder or Path(temporary)
        paths = FlowPaths.of(folder, "load")
        if not paths.flow_file.exists():
            write_parts(make_parts(options.samples), folder, "load", MergeSettings(**chunks))
        files = write_files(paths, folder / "npz", options.samples)
        missed = report(run(paths, files, workers=options.workers, batch=options.batch, epochs=options.epochs))
        compared = check_equal(paths, files, workers=options.workers, batch=options.batch)
        print(f"{compared} batches compared: the sides deliver the same")
        print("MiB after each epoch:", " ".join(f"{m:.0f}" for m in memory_over_epochs(paths, options.batch)))
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
