"""Shape distributions of pairs of faces (Osada et al., "Shape distributions", ACM TOG 21, 2002) from two points each.

Points and normals come as (n_faces, n_samples, 3) arrays; sample s of one face is independent of sample s of another.
All is computed in single precision relative to the points' box, and only for one half of the symmetric matrix. The
results are float32 from the start: float64 matrices would double the largest arrays of a sample without benefit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dflow.cadaccess.geometry.runs import run_starts
from dflow.cadencoder.binning import (
    SCRATCH,
    Intp,
    angle_bins,
    close_last_bin,
    components,
    count_rows,
    dots,
    mirror,
    pair_blocks,
    pairs_per_block,
)


def distance_histograms(points: Float64, *, diagonal: float, bins: int = 64) -> Float32:
    """D2: distances between points of two faces over the diagonal of the body's bounding box.

    Parameters
    ----------
    points
        (n_faces, n_samples, 3) float64, points on the faces.
    diagonal
        Length of the bounding box's diagonal, in the points' unit; distances above it are counted in the last bin.
    bins
        Number of equal bins over [0, 1].

    Returns
    -------
    (n_faces, n_faces, bins) float32, symmetric; each histogram has n_samples distances and sums to 1.

    Notes
    -----
    One distance per sample, as in brepgraph: sample s of one face with sample s of the other. Within one face sample s
    is paired with sample s + n_samples / 2 (cyclic), so that the two are different points.
    """
    n_faces, n_samples, _ = points.shape
    out = np.zeros((n_faces, n_faces, bins), np.float32)
    if out.size == 0 or n_samples == 0:
        return out
    scaled = components(points, diagonal / bins)
    longest = float(np.linalg.norm(np.ptp(scaled.reshape(3, -1), axis=1)))
    spare = 1 if longest < bins + 1 else 0  # one more bin, for values that rounding moves above the upper end
    one, other = np.triu_indices(n_faces, 1)
    n_pairs = pairs_per_block(n_samples, bins)
    for low in range(0, len(one), n_pairs):
        i, j = one[low : low + n_pairs], other[low : low + n_pairs]
        squares = _squared_distances(scaled, i, j)
        distances = np.sqrt(squares, out=squares)
        counts = count_rows(distances if spare else close_last_bin(distances, bins), bins + spare)
        if spare:
            counts[..., -2] += counts[..., -1]
        out[i, j] = counts[..., :bins]
    mirror(out)
    inside = scaled - np.roll(scaled, n_samples // 2, axis=-1)
    distances = close_last_bin(np.sqrt(np.einsum("cis,cis->is", inside, inside)), bins)
    out[np.arange(n_faces), np.arange(n_faces)] = count_rows(distances, bins)
    out *= np.float32(1.0 / n_samples)
    return out


def _squared_distances(points: Float32, one: Intp, other: Intp) -> Float32:
    """(n_pairs, n_samples) float32 of points (3, n_faces, n_samples), for pairs of faces in ascending order."""
    differences = SCRATCH.array("differences", (3, len(one), points.shape[-1]))
    first = run_starts(one)
    for begin, end in zip(first.tolist(), [*first[1:].tolist(), len(one)], strict=True):
        others = points[:, other[begin] : other[end - 1] + 1]
        np.subtract(others, points[:, one[begin], None], out=differences[:, begin:end])
    return dots(differences, differences, SCRATCH.array("squares", differences.shape[1:]))


def normal_angle_histograms(normals: Float64, *, bins: int = 64) -> Float32:
    """Angles between the outward normals of two faces over π: called A3 by MultiTaskBrepNet and HOOPS AI.

    `normals` is (n_faces, n_samples, 3) float64, unit length; samples are paired as in `distance_histograms`, whose
    result this one's resembles. A zero vector (no normal) counts as a right angle.
    """
    n_faces, n_samples, _ = normals.shape
    out = np.zeros((n_faces, n_faces, bins), np.float32)
    if out.size == 0 or n_samples == 0:
        return out
    unit = np.ascontiguousarray(np.moveaxis(normals, -1, 0), dtype=np.float32)
    frequency = np.float32(1.0 / n_samples)
    for i, j in pair_blocks(n_faces, pairs_per_block(n_samples, bins)):
        cosines = np.einsum("cjs,cis->ijs", unit[:, j], unit[:, i])
        out[i, j] = count_rows(angle_bins(cosines, bins), bins) * frequency
    mirror(out)
    inside = np.einsum("cis,cis->is", unit, np.roll(unit, n_samples // 2, axis=-1))
    out[np.arange(n_faces), np.arange(n_faces)] = count_rows(angle_bins(inside, bins), bins) * frequency
    return out


Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

_BLOCK_CELLS = 1 << 17
"""Cells of a temporary array, so that memory does not grow with the square of the number of points."""


def all_pairs_distances(points: list[Float64], *, diagonal: float, bins: int = 64) -> Float32:
    """D2 over all pairs of points: distances over the bounding box's diagonal.

    Parameters
    ----------
    points
        One (n_points, 3) float64 array per face, at least one point each.
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
