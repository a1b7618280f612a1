"""Arrays with a row for every ordered pair of faces: their size, and the points of the histograms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from dflow.cadencoder.access import BrepAccess
from dflow.cadencoder.options import EncodeOptions
from dflow.config import MAX_STORE_BYTES, machine_share_bytes

Float64 = NDArray[np.float64]

_MAX_STORED = MAX_STORE_BYTES // 8 * 7
"""Bytes of face-pair arrays in one store; the rest is for the other arrays."""


def pair_bytes(key: str, n_faces: int, options: EncodeOptions) -> int:
    """Return the bytes of a face-pair array as stored (float32 and int32), 0 for any other array."""
    columns: Mapping[str, int] = {
        "faceface/extended_adjacency": 1,
        "faceface/face_pair_edges_path": options.path_length,
        "faceface/d2_distance": options.bins,
        "faceface/a3_distance": options.bins,
    }
    return 4 * columns.get(key, 0) * n_faces**2


def find_excess(keys: Iterable[str], n_faces: int, options: EncodeOptions, memory_bytes: int | None) -> str:
    """Return why face-pair arrays are too big, with the way out; "" where they are not. Nothing is allocated.

    Parameters
    ----------
    keys : of all arrays to make
    n_faces : of the brep
    options : whose `max_pair_bytes` is the limit; where it is None, the limit follows the memory
    memory_bytes : that the file may take; None is the machine's share

    Notes
    -----
    Encoding peaks at 2.3 times the arrays (once as they are made, once in the storage), merging at 2.4 times, and the
    worker and its child take 350 MiB without them: hence the quarter.
    """
    needed = sum(pair_bytes(key, n_faces, options) for key in keys)
    limit, name = options.max_pair_bytes, "max_pair_bytes"
    if limit is None:
        memory = memory_bytes or machine_share_bytes()
        limit = min(memory // 4, _MAX_STORED)
        name = (
            f"a quarter of the {memory:,} bytes that the file may take" if limit < _MAX_STORED else "what a store holds"
        )
    if needed <= limit:
        return ""
    return (
        f"face-pair arrays of {n_faces} faces need {needed:,} bytes, more than {name} = {limit:,}; leave them out "
        '(encode(…, too_big="leave_out")), encode body by body, use fewer bins, or raise memory_limit or max_pair_bytes'
    )


def area_points(brep: BrepAccess, n: int, seed: int) -> Float64:
    """Points drawn uniformly by area from each trimmed face.

    Returns (n_faces, n, 3) float64 without NaN: where a face has no point, its centre of mass is used (as in
    brepgraph).
    """
    return _filled(brep.surface_points(n, seed), brep.face_centroids())


def area_normals(brep: BrepAccess, n: int, seed: int) -> Float64:
    """Outward normals at `area_points`, (n_faces, n, 3) float64 without NaN: where there is none, the normal at another
    of the face's points, or zero.
    """
    _, normals = brep.surface_samples(n, seed)
    return _filled(normals, np.zeros((len(normals), 3)))


def grid_points(brep: BrepAccess, grid: int) -> tuple[list[Float64], list[Float64]]:
    """The points of a grid × grid raster in (u, v) that are inside each face, and the outward normals there.

    Returns two lists with one (n_points, 3) float64 array per face, n_points between 1 and grid²: where no raster point
    is inside, the face's centre of mass is used.
    """
    samples = brep.face_samples(grid, grid).reshape(brep.n_faces, grid * grid, 7)
    inside = (samples[..., 6] > 0.5) & np.isfinite(samples[..., :3]).all(axis=-1)
    points, normals = [], []
    for face, centroid in enumerate(brep.face_centroids()):
        kept = samples[face, inside[face]]
        points.append(kept[:, :3] if len(kept) else np.nan_to_num(centroid[None]))
        normals.append(np.nan_to_num(kept[:, 3:6]) if len(kept) else np.zeros((1, 3)))
    return points, normals


def resampled(points: list[Float64], n: int, seed: int) -> Float64:
    """`n` of each face's points, drawn with replacement: (n_faces, n, 3) float64."""
    generator = np.random.default_rng(seed)
    drawn = [face[generator.integers(len(face), size=n)] for face in points]
    return np.stack(drawn) if drawn else np.zeros((0, n, 3))


def diagonal(brep: BrepAccess) -> float:
    """Length of the bounding box's diagonal in mm; 0 for an empty shape."""
    box = brep.bounding_box()
    length = float(np.linalg.norm(box[3:] - box[:3]))
    return length if np.isfinite(length) else 0.0


def _filled(values: Float64, stand_ins: Float64) -> Float64:
    """Rows with NaN replaced by the face's first finite row, else by its substitute."""
    finite = np.isfinite(values)
    if finite.all():
        return values
    broken = np.any(~finite, axis=-1)
    values = values.copy()
    for face in np.flatnonzero(np.any(broken, axis=1)):
        whole = np.flatnonzero(~broken[face])
        values[face, broken[face]] = values[face, whole[0]] if len(whole) else np.nan_to_num(stand_ins[face])
    return values
