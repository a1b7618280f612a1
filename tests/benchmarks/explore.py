"""The explorer at the size of HOOPS AI's published example: 162,495 parts, 4.5 million faces, 11.7 million edges.

    python -m tests.benchmarks.explore [--files 162495] [--folder DIR] [--json FILE]

Writes a synthetic dataset in the merge's own layout (once, when `--folder` is given), then times each question with
dflow's caches empty and the page cache warm: every timing opens the dataset anew. Beside the seconds (the best of
several, wall and CPU) stands the ratio to numpy doing the same on columns that are in memory already. HOOPS AI's
seconds are its notebooks' (other machine: orders of magnitude only).
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dflow.dataset import DatasetExplorer
from dflow.dataset.merge.settings import MergeSettings
from dflow.storage.paths import FlowPaths
from tests.dataset.synthetic import Parts, write_parts

Array = np.ndarray[Any, np.dtype[Any]]
N_FILES = 162_495
FACES_PER_FILE, EDGES_PER_FILE = 27.7, 72.0


@dataclass(frozen=True)
class Row:
    """One line of the table; `numpy_seconds` is None where numpy has nothing to compare."""

    question: str
    goal_seconds: float | None
    wall_seconds: float
    cpu_seconds: float
    numpy_seconds: float | None
    hoops_ai: str = ""

    @property
    def ratio(self) -> float | None:
        return None if not self.numpy_seconds else self.cpu_seconds / self.numpy_seconds

    def __str__(self) -> str:
        goal = "" if self.goal_seconds is None else f"< {self.goal_seconds:g}"
        verdict = "" if self.goal_seconds is None else ("ok" if self.wall_seconds < self.goal_seconds else "MISSED")
        ratio = "" if self.ratio is None else f"{self.ratio:.1f}"
        return (
            f"{self.question:<52}{self.wall_seconds:>9.4f}{self.cpu_seconds:>9.4f}{goal:>8} {verdict:<7}"
            f"{ratio:>7} {self.hoops_ai:>10}"
        )


def make_parts(n_files: int, seed: int = 0) -> Parts:
    """Counts spread like real parts (geometric), values like real columns (areas skewed, types few)."""
    rng = np.random.default_rng(seed)
    faces = rng.geometric(1 / FACES_PER_FILE, n_files)
    edges = rng.poisson(faces * EDGES_PER_FILE / FACES_PER_FILE)
    n, m = int(faces.sum()), int(edges.sum())
    return Parts(
        counts={"faces": faces, "edges": edges},
        rows={
            "faces": {
                "face_areas": rng.gamma(1.0, 120.0, n).astype(np.float32),
                "face_types": rng.choice([0, 1, 2, 3, 4, 5], n, p=[0.6, 0.25, 0.05, 0.02, 0.03, 0.05]).astype(np.int32),
                "face_labels": rng.integers(0, 25, n).astype(np.int32),
                "face_loops": rng.integers(1, 4, n).astype(np.int32),
                "face_neighborscount": rng.integers(1, 12, n).astype(np.int32),
                "face_centroids": rng.normal(size=(n, 3)).astype(np.float32),
            },
            "edges": {
                "edge_lengths": rng.gamma(1.0, 10.0, m).astype(np.float32),
                "edge_types": rng.choice([0, 1, 6], m, p=[0.7, 0.25, 0.05]).astype(np.int32),
                "edge_convexities": rng.integers(1, 4, m).astype(np.int32),
            },
        },
        values={
            "face_count": faces.astype(np.int32),
            "edge_count": edges.astype(np.int32),
            "volume": rng.gamma(2.0, 1000.0, n_files),
            "category": rng.integers(0, 45, n_files).astype(np.int32),
        },
        categories={"category": [f"class {i}" for i in range(45)]},
    )


def best(function: Callable[[], Any], repeats: int = 5) -> tuple[float, float]:
    """Smallest wall and CPU seconds of several runs."""
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        function()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return min(walls), min(cpus)


def any_per_file(mask: Array, counts: Array) -> Array:
    """numpy's way to the files of a row mask."""
    return np.unique(np.repeat(np.arange(len(counts)), counts)[mask])


def numpy_distribution(values: Array, counts: Array, bins: int) -> Any:
    """numpy's way to a histogram and the files of each bin."""
    hist, edges = np.histogram(values, bins)
    index = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, bins - 1)
    pairs = np.unique(np.repeat(np.arange(len(counts)), counts) * bins + index)
    return hist, edges, [pairs[pairs % bins == i] // bins for i in range(bins)]


def measure(paths: FlowPaths, parts: Parts) -> list[Row]:
    """All questions."""
    flow = paths.flow_file
    rng = np.random.default_rng(1)
    ids = rng.integers(0, parts.n_files, 50).tolist()
    areas, labels = parts.rows["faces"]["face_areas"], parts.rows["faces"]["face_labels"]
    faces = parts.counts["faces"]

    def fresh(question: Callable[[DatasetExplorer], Any]) -> tuple[float, float]:
        def run() -> None:
            with DatasetExplorer(flow) as explorer:
                question(explorer)

        run()  # page cache
        return best(run)

    def slices(read: Callable[[DatasetExplorer, int], Any]) -> tuple[float, float]:
        with DatasetExplorer(flow) as explorer:
            read(explorer, 0)
            wall, cpu = best(lambda: [read(explorer, i) for i in ids], 3)
        return wall / len(ids), cpu / len(ids)

    def numpy_cpu(function: Callable[[], Any]) -> float:
        return best(function, 3)[1]

    mixed = np.repeat(parts.values["category"], faces)
    return [
        Row("open", 0.3, *fresh(lambda e: None), None),
        Row(
            "distribution of a face array, 10 bins",
            0.5,
            *fresh(lambda e: e.create_distribution("face_areas", 10)),
            numpy_cpu(lambda: numpy_distribution(areas, faces, 10)),
            "2-43",
        ),
        Row(
            "distribution of face labels, one bin a class",
            0.5,
            *fresh(lambda e: e.create_distribution("face_labels", None)),
            numpy_cpu(lambda: numpy_distribution(labels, faces, 25)),
            "2-43",
        ),
        Row(
            "filter by a face array",
            0.2,
            *fresh(lambda e: e.get_file_list("faces", lambda ds: ds["face_areas"] > 900)),
            numpy_cpu(lambda: any_per_file(areas > 900, faces)),
            "0.2-12",
        ),
        Row(
            "filter by two face arrays",
            None,
            *fresh(lambda e: e.get_file_list("faces", lambda ds: (ds["face_areas"] > 500) & (ds["face_labels"] == 3))),
            numpy_cpu(lambda: any_per_file((areas > 500) & (labels == 3), faces)),
        ),
        Row(
            "filter by a face array and a file value",
            None,
            *fresh(lambda e: e.get_file_list("faces", lambda ds: (ds["face_areas"] > 900) & (ds["category"] == 5))),
            numpy_cpu(lambda: any_per_file((areas > 900) & (mixed == 5), faces)),
        ),
        Row(
            "filter by file values",
            0.05,
            *fresh(lambda e: e.get_file_list("labels", lambda ds: (ds["face_count"] > 100) & (ds["category"] == 5))),
            numpy_cpu(lambda: np.flatnonzero((parts.values["face_count"] > 100) & (parts.values["category"] == 5))),
        ),
        Row(
            "filter by an edge array (11.7 M rows)",
            None,
            *fresh(lambda e: e.get_file_list("edges", lambda ds: ds["edge_lengths"] > 90)),
            numpy_cpu(lambda: any_per_file(parts.rows["edges"]["edge_lengths"] > 90, parts.counts["edges"])),
        ),
        Row(
            "one file's slice of one array",
            0.005,
            *slices(lambda e, i: e.file_dataset(i, "faces", arrays=["face_areas"])),
            None,
        ),
        Row("one file's slice of the faces group", 0.005, *slices(lambda e, i: e.file_dataset(i, "faces")), None),
        Row(
            "reduce: largest face area of every file",
            None,
            *fresh(lambda e: (forget(paths), e.reduce("faces", "face_areas", "max"))),
            numpy_cpu(lambda: np.maximum.reduceat(areas, parts.start("faces"))),
        ),
        Row("reduce again, from the cache", None, *fresh(lambda e: e.reduce("faces", "face_areas", "max")), None),
        Row("statistics of a face array", None, *fresh(lambda e: e.get_array_statistics("faces", "face_areas")), None),
    ]


def forget(paths: FlowPaths) -> None:
    """Remove dflow's kept results."""
    shutil.rmtree(paths.state, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=N_FILES)
    parser.add_argument("--folder", type=Path, help="keep the dataset here, and use it again")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dflow-explore-") as temporary:
        folder = options.folder or Path(temporary)
        parts = make_parts(options.files)
        paths = FlowPaths.of(folder, "explore")
        if not paths.flow_file.exists():
            write_parts(parts, folder, "explore", MergeSettings())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rows = measure(paths, parts)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"{parts.n_files:,} files, {parts.counts['faces'].sum():,} faces, {parts.counts['edges'].sum():,} edges")
    print(f"{'question':<52}{'wall s':>9}{'cpu s':>9}{'goal s':>8} {'':<7}{'x numpy':>7} {'HOOPS AI s':>10}")
    print("\n".join(map(str, rows)))
    print(f"peak memory of all questions, numpy's included, above the data themselves: {peak / 1024:.0f} MiB")
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    return int(any(row.goal_seconds is not None and row.wall_seconds >= row.goal_seconds for row in rows))


if __name__ == "__main__":
    sys.exit(main())
