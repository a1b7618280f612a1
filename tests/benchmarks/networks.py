"""The inputs of UV-Net, BRepNet and AAGNet against what their authors' own code made of the same parts, and their cost.

Run ``python -m tests.benchmarks.networks``. The authors' arrays are data beside the project, see
``../shared/data/golden/README.md``; nothing of them is kept here. "size" is the largest absolute value of an array's
column; a value differs if it is off by more than 1e-4 of that.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dflow.cadaccess import Brep, CadLoader
from dflow.cadencoder import BrepEncoder, network_arrays

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
NETWORKS = {
    "uvnet": ("uvnet", {}),
    "brepnet": ("brepnet", {}),
    "brepnet_unscaled": ("brepnet", {"unit_box": False}),
    "aagnet": ("aagnet", {}),
}
FOLDERS = {"aag": "cad/aagnet"}
CHANNELS = {"face_point_grids": 1, "coedge_point_grids": 1, "graph_face_grid": 1, "graph_edge_grid": 1}
"""Axis of the columns of arrays where it is not the last."""

MASKS = {"x": -1, "face_point_grids": 6, "graph_face_grid": 6}
"""Column of the mask."""


@dataclass(frozen=True)
class Difference:
    """How many values and mask values of an array differ from theirs, and the largest difference in sizes."""

    n_values: int
    n_different: int
    n_mask: int = 0
    n_mask_different: int = 0
    worst: float = 0.0


def golden(data: Path = DATA) -> Iterator[tuple[str, dict[str, np.ndarray], Path]]:
    """Name, arrays and CAD file of every golden part."""
    for path in sorted((data / "golden").glob("*.npz")):
        folder, _, stem = path.stem.partition("__")
        with np.load(path) as arrays:
            found = {key: arrays[key] for key in arrays.files}
        (part,) = (p for p in (data / FOLDERS.get(folder, folder)).rglob(f"{stem}.*") if p.suffix in (".step", ".stp"))
        yield path.stem, found, part


def compare(name: str, ours: np.ndarray, theirs: np.ndarray) -> Difference:
    """Return what differs between two arrays of one name, which must have the same shape and dtype."""
    if (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
        raise ValueError(f"{name}: ours is {ours.shape} {ours.dtype}, theirs {theirs.shape} {theirs.dtype}")
    if theirs.dtype.kind == "i":
        return Difference(theirs.size, int((ours != theirs).sum()))
    axis = CHANNELS.get(name, -1)
    one, other = (np.moveaxis(np.atleast_1d(a), axis if a.ndim > 1 else 0, 0).astype(float) for a in (ours, theirs))
    one, other = (a.reshape(len(a), -1) if theirs.ndim > 1 else a[None] for a in (one, other))
    mask = MASKS.get(name)
    n_mask = n_mask_different = 0
    if mask is not None:
        n_mask, n_mask_different = one[mask].size, int((one[mask] != other[mask]).sum())
        one, other = np.delete(one, mask, axis=0), np.delete(other, mask, axis=0)
    size = np.abs(other).max(axis=1, initial=0.0, keepdims=True)
    size = np.maximum(size, 1e-6 * size.max(initial=0.0))  # a column of rounding errors has no size
    off = np.abs(one - other) / np.where(size > 0, size, 1.0)
    return Difference(one.size, int((off > 1e-4).sum()), n_mask, n_mask_different, float(off.max(initial=0.0)))


def differences(brep: Brep, theirs: dict[str, np.ndarray]) -> dict[str, Difference]:
    """By the golden file's keys, what of ours differs."""
    found = {}
    for prefix, (network, options) in NETWORKS.items():
        ours = network_arrays(brep, network, **options)
        for key in theirs:
            if key.startswith(f"{prefix}/"):
                name = key.partition("/")[2]
                found[key] = compare(name, np.asarray(ours[name]), theirs[key])
    return found


def main() -> None:
    total: dict[str, list[Difference]] = {}
    parts = list(golden())
    for _, theirs, path in parts:
        for key, difference in differences(CadLoader().create_from_file(path).get_brep(), theirs).items():
            total.setdefault(key, []).append(difference)
    print(f"{len(parts)} parts\n")
    print(f"{'array':40} {'values':>8} {'differ':>7} {'worst/size':>10} {'mask':>7} {'differ':>7}")
    for key, rows in total.items():
        values, different = sum(r.n_values for r in rows), sum(r.n_different for r in rows)
        mask, mask_different = sum(r.n_mask for r in rows), sum(r.n_mask_different for r in rows)
        tail = f"{mask:7d} {mask_different:7d}" if mask else ""
        print(f"{key:40} {values:8d} {different:7d} {max(r.worst for r in rows):10.1e} {tail}".rstrip())
    print("\nCPU, a part opened anew each time, in turns, median of 5; reading alone is 1")
    for name, ratio in cost([path for *_, path in parts]).items():
        print(f"{name:30} {ratio:5.2f}")


def cost(paths: list[Path]) -> dict[str, float]:
    """CPU time of opening and encoding all parts over that of opening them, by what is encoded."""
    ways = {
        "open": lambda brep: brep,
        "recipe uvnet": lambda brep: BrepEncoder(brep).encode("uvnet"),
        "network_arrays uvnet": lambda brep: network_arrays(brep, "uvnet"),
        "recipe brepnet": lambda brep: BrepEncoder(brep).encode("brepnet"),
        "network_arrays brepnet": lambda brep: network_arrays(brep, "brepnet"),
        "network_arrays aagnet": lambda brep: network_arrays(brep, "aagnet"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(6):
        for name, way in ways.items():
            begin = time.process_time()
            for path in paths:
                way(CadLoader().create_from_file(path).get_brep())
            seconds[name].append(time.process_time() - begin)
    medians = {name: float(np.median(times[1:])) for name, times in seconds.items()}
    return {name: median / medians["open"] for name, median in medians.items()}


if __name__ == "__main__":
    main()
