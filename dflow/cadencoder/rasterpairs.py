"""Histograms over all pairs of raster points of two faces: HOOPS AI's way, a 5 × 5 grid a face."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

_BLOCK_CELLS = 1 << 17
"""Cells of a temporary array, so that memory does not grow with the square of the number of points."""


def all_pairs_distances(points: list[Float64], *, diagonal: float, bins: int = 64) -> Float32:
    """D2 over all pairs of points: distances over the bounding box's diagonal.

    Parameters
    ----------
    points
        One (n_points, 3) float64 array a face, at least one point each.
    diagonal
        In the points' unit.

    Returns
    -------
    (n_faces, n_faces, bins) float32, symmetric; each histogram sums to 1.
    """
    scale = bins / diagonal if diagonal > 0 else 0.0

    def distance_bins(some: Float64, others: Float64) -> Float64:
        return np.linalg.norm(some[:, None] - others[None], axis=-1) * scale

    return _all_pairs(points, distance_bins, bins)


def all_pairs_angles(normals: list[Float64], *, bins: int = 64) -> Float32:
    """Angles between outward normals over π, over all pairs of points; arguments and result as `all_pairs_distances`.

    A zero vector (no normal) counts as a right angle.
    """

    def angle_bins(some: Float64, others: Float64) -> Float64:
        return np.arccos(np.clip(some @ others.T, -1.0, 1.0)) * (bins / np.pi)

    return _all_pairs(normals, angle_bins, bins)


def _all_pairs(vectors: list[Float64], measure: Callable[[Float64, Float64], Float64], bins: int) -> Float32:
    n_faces = len(vectors)
    out = np.zeros((n_faces, n_faces, bins), np.float32)
    if not n_faces:
        return out
    counts = np.array([len(v) for v in vectors])
    bounds = np.concatenate([[0], np.cumsum(counts)])
    everything = np.concatenate(vectors)
    owners = np.repeat(np.arange(n_faces) * bins, counts)
    for face, own in enumerate(vectors):
        rest = slice(bounds[face], None)
        histogram = np.zeros((n_faces - face) * bins)
        rows = max(1, _BLOCK_CELLS // (len(everything) - bounds[face]))
        for low in range(0, len(own), rows):
            values = measure(own[low : low + rows], everything[rest])
            index = np.minimum(values.astype(np.intp), bins - 1) + (owners[rest] - face * bins)
            histogram += np.bincount(index.ravel(), minlength=len(histogram))
        out[face, face:] = histogram.reshape(-1, bins) / (counts[face] * counts[face:, None])
        out[face:, face] = out[face, face:]
    return out
