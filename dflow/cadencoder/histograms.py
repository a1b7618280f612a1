"""Shape distributions of pairs of faces (Osada et al., "Shape distributions", ACM TOG 21, 2002) from two points each.

Points and normals come as (n_faces, n_samples, 3) arrays; sample s of one face is independent of sample s of another.
All is computed in single precision relative to the points' box, and only for one half of the symmetric matrix. The
results are float32 from the start: float64 matrices would double the largest arrays of a sample for nothing.
"""

from __future__ import annotations

import numpy as np

from dflow.cadaccess.runs import run_starts
from dflow.cadencoder.binning import (
    SCRATCH,
    Float32,
    Float64,
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
        Length of the bounding box's diagonal, in the points' unit; distances above it go to the last bin.
    bins
        Number of equal bins over [0, 1].

    Returns
    -------
    (n_faces, n_faces, bins) float32, symmetric; each histogram has n_samples distances and sums to 1.

    Notes
    -----
    One distance a sample, as brepgraph draws: sample s of one face with sample s of the other. Within one face sample s
    goes with sample s + n_samples / 2 (cyclic), so that the two are different points.
    """
    n_faces, n_samples, _ = points.shape
    out = np.zeros((n_faces, n_faces, bins), np.float32)
    if out.size == 0 or n_samples == 0:
        return out
    scaled = components(points, diagonal / bins)
    longest = float(np.linalg.norm(np.ptp(scaled.reshape(3, -1), axis=1)))
    spare = 1 if longest < bins + 1 else 0  # a bin for what rounding leaves above the upper end
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
    """Angles between the outward normals of two faces over π: what some peers call A3 (MultiTaskBrepNet, HOOPS AI).

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
