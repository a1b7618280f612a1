"""Encoding against the best open peer and against the kernel's own reader: CPU time ratios in one process and one run.

Run ``python -m tests.benchmarks.encode``. The peer is brepgraph 0.3.0 (extra ``bench``) as its users call it:
``load_all``, which gives a graph for each solid; so does our side, body by body, with the same grid sizes, sample
counts and bins. Files that the peer refuses in part or as a whole are left out on both sides, and counted.

A ratio is the sum of the peer's CPU seconds over the sum of ours on the same files, both sides warm, each file read
afresh: once with the two sides taking turns file by file, when each finds the other's code and data in the processor's
caches, and once with each over the whole folder, as it is used.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import brepgraph
import numpy as np
import psutil
from OCP.STEPControl import STEPControl_Reader

from dflow.cadaccess import CadLoader
from dflow.cadaccess.measure import sampling, trimming
from dflow.cadencoder import FACE_TYPES, BrepEncoder
from dflow.errors import DflowError

SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
CORPORA = ("mfcad", "kicad")
PRESETS: dict[str, dict[str, Any]] = {
    "uvnet": {},
    "brepmfr": {"samples": 512, "bins": 64},
}
"""Our options for the peer's preset of the same name; its own defaults are 512 samples and 64 bins."""

OCCT_WORK = "uvnet"
"""The recipe whose reading and encoding together may cost no more than the kernel's reading alone."""


@dataclass
class Tally:
    """What one preset cost on one corpus: CPU seconds by side, in turns and alone, and the size of what came out."""

    ours: float = 0.0
    peers: float = 0.0
    ours_alone: float = 0.0
    peers_alone: float = 0.0
    n_files: int = 0
    n_bodies: int = 0
    n_faces: int = 0
    refused: list[str] = field(default_factory=list)
    shapes: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        return self.peers / self.ours if self.ours else float("nan")

    @property
    def ratio_alone(self) -> float:
        return self.peers_alone / self.ours_alone if self.ours_alone else float("nan")


@dataclass(frozen=True)
class Cost:
    """What our side spent on one file."""

    path: Path
    n_faces: int
    read: float
    encode: float
    healing: str

    @property
    def total(self) -> float:
        return self.read + self.encode


@dataclass(frozen=True)
class FaceCost:
    """What one face costs by itself, and why."""

    path: Path
    row: int
    seconds: float
    reason: str


def cpu_seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of this process, and what came out."""
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def encode_bodies(path: Path, recipe: str, options: dict[str, Any]) -> list[dict[str, np.ndarray]]:
    """Every body of a file by itself, as the peer's `load_all` does."""
    model = CadLoader().create_from_file(str(path))
    n_bodies = model.get_body_count()
    breps = [model.get_brep()] if n_bodies == 1 else [model.get_brep(i) for i in range(n_bodies)]
    return [BrepEncoder(brep).encode(recipe, **options) for brep in breps]


def encode_peer(path: Path, preset: str) -> list[Any]:
    """The peer's graphs of a file, one a solid; raises where it refuses one of them."""
    return list(brepgraph.load_all(str(path), preset))


def read_with_occt(path: Path) -> Any:
    """The kernel's own default reading, healing and all."""
    reader = STEPControl_Reader()
    reader.ReadFile(str(path))
    reader.TransferRoots()
    return reader.OneShape()


def compare_with_peer(files: Sequence[Path], preset: str) -> Tally:
    """Both sides on every file, taking turns; then the one on all files, and the other."""
    options = PRESETS[preset]
    tally = Tally()
    taken = []
    for path in files:
        try:
            peer_seconds, graphs = cpu_seconds(lambda path=path: encode_peer(path, preset))
        except Exception as error:
            tally.refused.append(f"{path.name}: {type(error).__name__}: {error}")
            continue
        our_seconds, bodies = cpu_seconds(lambda path=path: encode_bodies(path, preset, options))
        taken.append(path)
        tally.peers += peer_seconds
        tally.ours += our_seconds
        tally.n_files += 1
        tally.n_bodies += len(bodies)
        tally.n_faces += sum(len(arrays["faces/face_types"]) for arrays in bodies)
        if not tally.shapes:
            tally.shapes = shapes_of_both(bodies[0], graphs[0])
    tally.peers_alone = sum(cpu_seconds(lambda path=path: encode_peer(path, preset))[0] for path in taken)
    tally.ours_alone = sum(cpu_seconds(lambda path=path: encode_bodies(path, preset, options))[0] for path in taken)
    return tally


def shapes_of_both(ours: dict[str, np.ndarray], graph: Any) -> dict[str, tuple[Any, Any]]:
    """For each of our arrays its shape and that of the peer's counterpart (None where it has none)."""
    counterparts = {
        "faces/face_types": ("node_feats", "surface_type"),
        "faces/face_areas": ("node_feats", "area"),
        "faces/face_centroids": ("node_feats", "centroid"),
        "faces/face_loops": ("node_feats", "num_loops"),
        "faces/face_neighborscount": ("node_feats", "num_adjacent_faces"),
        "faces/face_uv_grids": ("node_feats", "uv_grid"),
        "edges/edge_types": ("edge_feats", "curve_type"),
        "edges/edge_lengths": ("edge_feats", "length"),
        "edges/edge_dihedral_angles": ("edge_feats", "dihedral_angle"),
        "edges/edge_convexities": ("edge_feats", "convexity"),
        "edges/edge_u_grids": ("edge_feats", "u_grid"),
        "faceface/extended_adjacency": ("pair_feats", "shortest_path"),
        "faceface/d2_distance": ("pair_feats", "d2"),
        "faceface/a3_distance": ("pair_feats", "a3"),
    }
    shapes: dict[str, tuple[Any, Any]] = {}
    for key, array in ours.items():
        kind, name = counterparts.get(key, ("", ""))
        peer = getattr(graph, kind).get(name) if kind else None
        shapes[key] = array.shape, None if peer is None else peer.shape
    shapes["graph (arcs)"] = (len(ours["graph/arc_edge"]),), graph.edge_index.shape
    return shapes


def compare_with_occt(files: Sequence[Path]) -> tuple[float, list[Cost]]:
    """CPU seconds of the kernel's default reading, and what reading and encoding each whole file cost us."""
    kernel = 0.0
    costs = []
    for path in files:
        kernel += cpu_seconds(lambda path=path: read_with_occt(path))[0]
        try:
            read, brep_and_report = cpu_seconds(lambda path=path: _open(path))
            brep, healing = brep_and_report
            encode, _ = cpu_seconds(lambda brep=brep: BrepEncoder(brep).encode(OCCT_WORK))
        except DflowError as error:
            print(f"  our side fails on {path.name}: {error.kind}: {error}")
            continue
        costs.append(Cost(path, brep.n_faces, read, encode, healing))
    return kernel, costs


def slowest_faces(files: Sequence[Path], n: int) -> list[FaceCost]:
    """The faces whose grid of 10 × 10 points and trimming mask cost the most CPU time, each taken by itself."""
    found: list[FaceCost] = []
    for path in files:
        try:
            brep = CadLoader().create_from_file(str(path)).get_brep()
            seconds = [cpu_seconds(lambda row=row, brep=brep: _sample_one(brep, row))[0] for row in range(brep.n_faces)]
        except DflowError:
            continue
        for row in np.argsort(seconds)[-n:].tolist():
            found.append(FaceCost(path, row, seconds[row], _describe_face(brep, row)))
    return sorted(found, key=lambda cost: cost.seconds, reverse=True)[:n]


def _sample_one(brep: Any, row: int) -> None:
    """What `face_samples(10, 10)` does, for one face."""
    rows, bounds = np.array([row]), brep.face_uv_bounds()[row]
    u, v = np.linspace(*bounds[:2], 10)[None], np.linspace(*bounds[2:], 10)[None]
    sampling.face_points(brep.tables, brep.kernel, rows, np.repeat(u, 10, axis=1), np.tile(v, (1, 10)))
    if brep.chords.closed[row]:
        trimming.inside(brep.tables, brep.chords, rows, u, v[:, None])
    else:
        brep.kernel.inside(row, np.stack(np.meshgrid(u[0], v[0], indexing="ij"), axis=-1).reshape(-1, 2))


def _describe_face(brep: Any, row: int) -> str:
    n_chords = int(brep.chords.first[row + 1] - brep.chords.first[row])
    surface = "surface in numpy" if brep.tables.faces.evaluable[row] else "surface by the kernel, point by point"
    mask = f"mask from {n_chords} chords" if brep.chords.closed[row] else "mask by the kernel, point by point"
    return f"{FACE_TYPES[int(brep.face_types()[row])]}, {surface}, {mask}"


def _open(path: Path) -> tuple[Any, str]:
    model = CadLoader().create_from_file(str(path))
    return model.get_brep(), str(model.read_report.healing)


def memory_growth(files: Sequence[Path], n_reads: int) -> tuple[int, int]:
    """Resident bytes after a tenth of the reads (read and encode) and after all of them."""
    process = psutil.Process()
    early = 0
    for read in range(n_reads):
        encode_bodies(files[read % len(files)], OCCT_WORK, {})
        if read + 1 == max(1, n_reads // 10):
            gc.collect()
            early = process.memory_info().rss
    gc.collect()
    return early, process.memory_info().rss


def corpus_files(corpus: str, n_files: int) -> list[Path]:
    """Files of a corpus, spread evenly over its sorted list."""
    found = sorted(p for p in (SHARED_DATA / corpus).rglob("*") if p.suffix.lower() in (".step", ".stp"))
    if not found:
        sys.exit(f"there are no STEP files under {SHARED_DATA / corpus}")
    step = max(1, len(found) // n_files) if n_files else 1
    return found[::step][: n_files or None]


def print_tally(corpus: str, preset: str, tally: Tally) -> None:
    faces = max(1, tally.n_faces)
    print(
        f"{corpus} {preset}: brepgraph / dflow = {tally.ratio:.1f} in turns, {tally.ratio_alone:.1f} alone  "
        f"({tally.peers:.2f} s / {tally.ours:.2f} s CPU; "
        f"{1e3 * tally.peers / faces:.2f} / {1e3 * tally.ours / faces:.3f} ms a face; "
        f"{tally.n_files} files, {tally.n_bodies} bodies, {tally.n_faces} faces; "
        f"the peer refuses {len(tally.refused)} files)"
    )
    for key, (ours, peers) in tally.shapes.items():
        print(f"    {key:32s} dflow {ours!s:20s} brepgraph {peers if peers is not None else '(has none)'}")


def print_slowest(costs: Sequence[Cost], n: int) -> None:
    print(f"  slowest {n} files by CPU time a face:")
    for cost in sorted(costs, key=lambda c: c.total / max(1, c.n_faces), reverse=True)[:n]:
        per_face = 1e3 * cost.total / max(1, cost.n_faces)
        print(
            f"    {per_face:8.2f} ms a face  {cost.n_faces:5d} faces  read {1e3 * cost.read:7.1f} ms  "
            f"encode {1e3 * cost.encode:7.1f} ms  healing {cost.healing:8s} {cost.path.name}"
        )


def run(corpora: Sequence[str], presets: Sequence[str], n_files: int, *, n_slowest: int) -> None:
    for corpus in corpora:
        files = corpus_files(corpus, n_files)
        for preset in presets:
            encode_bodies(files[0], preset, PRESETS[preset])
            encode_peer(files[0], preset)
            print_tally(corpus, preset, compare_with_peer(files, preset))
        kernel, costs = compare_with_occt(files)
        ours = sum(cost.total for cost in costs)
        print(
            f"{corpus} {OCCT_WORK}: dflow reading and encoding / OCCT ReadFile + TransferRoots = {ours / kernel:.2f}  "
            f"({ours:.2f} s, of which reading {sum(c.read for c in costs):.2f} s / {kernel:.2f} s)"
        )
        print_slowest(costs, n_slowest)
        print(f"  slowest {n_slowest} faces by CPU time of a 10 × 10 grid and its mask, each face by itself:")
        for face in slowest_faces(files, n_slowest):
            print(f"    {1e3 * face.seconds:8.2f} ms  face {face.row:4d} of {face.path.name}: {face.reason}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=40, help="files of each corpus, evenly spread; 0 for all")
    parser.add_argument("--corpus", choices=CORPORA, action="append", help="default: both")
    parser.add_argument("--preset", choices=tuple(PRESETS), action="append", help="default: both")
    parser.add_argument("--slowest", type=int, default=10, help="how many of the slowest files to list")
    parser.add_argument("--reads", type=int, default=0, help="measure memory growth over so many reads instead")
    chosen = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    corpora = chosen.corpus or CORPORA
    if chosen.reads:
        files = [path for corpus in corpora for path in corpus_files(corpus, chosen.files)]
        early, late = memory_growth(files, chosen.reads)
        print(
            f"memory: {late / 1e6:.1f} MB after {chosen.reads} reads, {early / 1e6:.1f} MB after a tenth of them: "
            f"{100 * (late / early - 1):+.1f} %"
        )
        return
    run(corpora, chosen.preset or tuple(PRESETS), chosen.files, n_slowest=chosen.slowest)


if __name__ == "__main__":
    main()
