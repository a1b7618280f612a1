"""What the one-file store costs against ``numpy.savez`` and ``numpy.load`` of the same arrays.

Run ``python -m tests.benchmarks.storage``; ``--levels`` compares zstd's levels as well. Both sides of a ratio run in
turns in one process, on memory-backed files where the machine has them, and the ratio is of their lower quartiles in
CPU time.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dflow.storage import MemoryStorage, OptStorage, describe, describe_file, read_arrays
from dflow.storage import chunks as chunk_codec
from dflow.storage.fitting import sample_dimensions
from dflow.storage.zarrzip import StoredArray, read_zip_store, write_zip_store

N_FACES, N_EDGES, GRID, CURVE = 60, 150, 10, 10
Arrays = Mapping[str, NDArray[Any]]


def sample_arrays(n_faces: int = N_FACES, n_edges: int = N_EDGES, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Thirteen arrays as an encoder makes them of a milled part: planes and cylinders, straight and round edges."""
    random = np.random.default_rng(seed)
    source = random.integers(0, n_faces, n_edges)
    return {
        "faces/face_indices": np.arange(n_faces, dtype=np.int32),
        "faces/face_types": random.choice(5, n_faces, p=[0.7, 0.2, 0.04, 0.03, 0.03]).astype(np.int32),
        "faces/face_areas": random.lognormal(3, 1, n_faces).astype(np.float32),
        "faces/face_centroids": random.uniform(-50, 50, (n_faces, 3)).astype(np.float32),
        "faces/face_loops": random.integers(1, 3, n_faces).astype(np.int32),
        "faces/face_uv_grids": _face_grids(random, n_faces),
        "edges/edge_indices": np.arange(n_edges, dtype=np.int32),
        "edges/edge_types": random.choice(2, n_edges, p=[0.8, 0.2]).astype(np.int32),
        "edges/edge_lengths": random.lognormal(2, 1, n_edges).astype(np.float32),
        "edges/edge_convexities": random.integers(1, 4, n_edges).astype(np.int32),
        "edges/edge_u_grids": _edge_grids(random, n_edges),
        "graph/edges_source": source.astype(np.int32),
        "graph/edges_destination": (source + 1 + random.integers(0, 4, n_edges)).astype(np.int32),
    }


def _face_grids(random: np.random.Generator, n_faces: int) -> NDArray[np.float32]:
    grids = np.empty((n_faces, GRID, GRID, 7), np.float32)
    u, v = np.meshgrid(np.linspace(0, 1, GRID), np.linspace(0, 1, GRID), indexing="ij")
    for face in range(n_faces):
        origin, size = random.uniform(-50, 50, 3), random.uniform(1, 30, 2)
        axes = random.permutation(3)
        points = np.tile(origin, (GRID, GRID, 1))
        normals = np.zeros((GRID, GRID, 3))
        if face % 4:
            points[..., axes[0]] += u * size[0]
            normals[..., axes[2]] = 1
        else:
            normals[..., axes[0]], normals[..., axes[2]] = np.cos(u * np.pi), np.sin(u * np.pi)
            points += normals * size[0]
        points[..., axes[1]] += v * size[1]
        grids[face] = np.dstack([points, normals, np.hypot(u - 0.5, v - 0.5) < random.uniform(0.3, 2)])
    return grids


def _edge_grids(random: np.random.Generator, n_edges: int) -> NDArray[np.float32]:
    grids = np.zeros((n_edges, CURVE, 6), np.float32)
    steps = np.linspace(0, 1, CURVE)
    for edge in range(n_edges):
        axis = int(random.integers(3))
        grids[edge, :, :3] = random.uniform(-50, 50, 3)
        grids[edge, :, axis] += steps * random.uniform(1, 30)
        grids[edge, :, 3 + axis] = 1
    return grids


def cpu_seconds(*functions: Callable[[], object], rounds: int = 300) -> list[float]:
    """The lower quartile of each function's CPU time, all taken in turns."""
    taken = np.empty((rounds, len(functions)))
    for row in taken:
        for column, function in enumerate(functions):
            begin = time.process_time()
            function()
            row[column] = time.process_time() - begin
    return [float(q) for q in np.quantile(taken, 0.25, axis=0)]


class Bench:
    """The same arrays as an ``.npz`` and as a `.data` file in one folder."""

    def __init__(self, folder: str, arrays: Arrays) -> None:
        self.npz = os.path.join(folder, "sample.npz")
        self.data = os.path.join(folder, "sample.data")
        self.flat = {key.replace("/", "."): array for key, array in arrays.items()}
        self.arrays = arrays
        dims = sample_dimensions(MemoryStorage().schema, {key: array.shape for key, array in arrays.items()})
        self.stored = {key: StoredArray(array, dims[key]) for key, array in arrays.items()}
        self.attributes = {"dflow": {"format": 1}, "schema": {}, "metadata": {"face_count": N_FACES}}
        self.savez()
        self.write()

    def savez(self) -> None:
        np.savez(self.npz, **self.flat)

    def load(self) -> dict[str, NDArray[Any]]:
        with np.load(self.npz) as file:
            return {name: file[name] for name in file.files}

    def write(self) -> None:
        write_zip_store(self.data, self.stored, self.attributes)

    def read(self) -> None:
        read_zip_store(self.data)

    def store(self) -> None:
        """What a task does: a fresh storage, every array saved, the file written, the record made."""
        Path(self.data).unlink()
        with OptStorage(self.data) as storage:
            for key, array in self.arrays.items():
                storage.save_data(key, array)
            storage.save_metadata("face_count", N_FACES)
            storage.compress_store()
            describe(storage, "sample", "part.step")


def measure(arrays: Arrays) -> dict[str, float]:
    """Seconds of CPU per operation, and the sizes of the two files in bytes."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        bench = Bench(folder, arrays)
        faces = [key for key in arrays if key.startswith("faces/")]
        names = ("savez", "write", "load", "read", "store", "describe_file", "read_arrays")
        seconds = cpu_seconds(
            bench.savez,
            bench.write,
            bench.load,
            bench.read,
            bench.store,
            lambda: describe_file(bench.data),
            lambda: read_arrays(bench.data, faces),
        )
        sizes = {"npz_bytes": os.path.getsize(bench.npz), "data_bytes": os.path.getsize(bench.data)}
        return dict(zip(names, seconds, strict=True)) | sizes


def report(title: str, found: Mapping[str, float]) -> str:
    """One line a ratio."""
    rows = [
        ("write / savez", found["write"] / found["savez"], found["write"]),
        ("read / load", found["read"] / found["load"], found["read"]),
        ("OptStorage, all of a task / savez", found["store"] / found["savez"], found["store"]),
        ("describe_file / load", found["describe_file"] / found["load"], found["describe_file"]),
        ("read_arrays of faces / load", found["read_arrays"] / found["load"], found["read_arrays"]),
    ]
    lines = [f"{name:36s} {ratio:5.2f} ×   {seconds * 1e6:7.0f} µs" for name, ratio, seconds in rows]
    share = found["data_bytes"] / found["npz_bytes"]
    size = f"{'size / npz':36s} {share:5.2f} ×   {found['data_bytes'] / 1024:7.1f} KiB"
    return "\n".join([title, *lines, size])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--levels", action="store_true", help="compare zstd's levels and the size below which none is used"
    )
    arguments = parser.parse_args()
    arrays = sample_arrays()
    print(report(f"{len(arrays)} arrays, {N_FACES} faces, {N_EDGES} edges", measure(arrays)))
    if arguments.levels:
        for level, raw_bytes in ((-3, 512), (-1, 512), (1, 0), (1, 512), (1, 2048), (3, 512), (6, 512)):
            chunk_codec.ZSTD_LEVEL, chunk_codec.RAW_BYTES = level, raw_bytes
            print(report(f"\nlevel {level}, raw below {raw_bytes} bytes", measure(arrays)))


if __name__ == "__main__":
    main()
