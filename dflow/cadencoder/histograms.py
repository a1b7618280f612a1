"""Shape distributions of face pairs (Osada et al., "Shape distributions", ACM TOG 21, 2002), from equal numbers of points a face.

Points and normals come as (n_faces, n_samples, 3) arrays; sample s of one face is independent of sample s of another.
All is computed in single precision relative to the box of the points, in blocks that stay in the cache, and only for
one half of the symmetric matrix. Frequencies are exact multiples of 1 / n_samples, or nearly: they are float32 from
the start, because float64 matrices would double the largest arrays of a sample for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
Intp = NDArray[np.intp]

_BLOCK_CELLS = 1 << 15
"""Cells of a temporary array: large enough to hide numpy's call overhead, small enough for the second-level cache."""

_LEVEL = 0.7
"""Pairs whose share of mixed triples has fallen below this part of the first one's start a new block."""

_FEWEST_ROWS = 8
"""A block has at least so many pairs, because numpy's calls cost as much as a few hundred cells."""

_TINY = np.float32(1e-30)


def distance_histograms(points: Float64, *, diagonal: float, bins: int = 64) -> Float32:
    """D2: distances between points of two faces over the diagonal of the body's bounding box.

    Parameters
    ----------
    points
        (n_faces, n_samples, 3) float64, points on the faces.
    diagonal
        Length of the bounding box's diagonal, in the points' unit.
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
    first = _components(points, bins / diagonal if diagonal > 0 else 0.0)
    second = first.copy()
    rows_per_block = max(1, _BLOCK_CELLS // n_samples)
    for i in range(n_faces):
        second[:, i] = np.roll(first[:, i], n_samples // 2, axis=-1)
        for low in range(i, n_faces, rows_per_block):
            rows = slice(low, min(low + rows_per_block, n_faces))
            distances = np.sqrt(_dot_self(second[:, rows] - first[:, i, None]))
            out[i, rows] = _count_rows(distances, bins) / np.float32(n_samples)
        second[:, i] = first[:, i]
        out[i:, i] = out[i, i:]
    return out


def normal_angle_histograms(normals: Float64, *, bins: int = 64) -> Float32:
    """Angles between the outward normals of two faces over π: what some peers call A3 (MultiTaskBrepNet, HOOPS AI).

    `normals` is (n_faces, n_samples, 3) float64, unit length; samples are paired as in `distance_histograms`, whose
    result this one's resembles. A zero vector (no normal) counts as a right angle.
    """
    n_faces, n_samples, _ = normals.shape
    out = np.zeros((n_faces, n_faces, bins), np.float32)
    if out.size == 0 or n_samples == 0:
        return out
    first = np.ascontiguousarray(np.moveaxis(normals, -1, 0), dtype=np.float32)
    second = np.roll(first, n_samples // 2, axis=-1)
    rows_per_block = max(1, _BLOCK_CELLS // n_samples)
    for i in range(n_faces):
        for low in range(i, n_faces, rows_per_block):
            rows = slice(low, min(low + rows_per_block, n_faces))
            cosines = _dot(second[:, rows], np.broadcast_to(first[:, i, None], second[:, rows].shape))
            out[i, rows] = _count_rows(_angle_bins(cosines, bins), bins) / np.float32(n_samples)
        out[i:, i] = out[i, i:]
    return out


def point_angle_histograms(points: Float64, areas: Float64, *, bins: int = 64) -> Float32:
    """A3: angles at the middle one of three points drawn from the union of two faces, over π.

    Parameters
    ----------
    points
        (n_faces, n_samples, 3) float64, points on the faces.
    areas
        (n_faces,) float64: each of the three points lies on the one or the other face in proportion to their areas.
    bins
        Number of equal bins over [0, 1].

    Returns
    -------
    (n_faces, n_faces, bins) float32, symmetric; each histogram has n_samples triples and sums to 1. Triples of which
    the middle point coincides with another count as a right angle, as in brepgraph.

    Notes
    -----
    The distribution that brepgraph samples, by a stratified estimator: which of the three points lie on which face is
    not drawn; the n_samples triples of a pair are shared out over the patterns in proportion to their probabilities.
    Triples that lie on one face are the same for all its pairs, so they are counted once a face. Both lower the
    variance, and leave less than half of the work for the typical pair, whose faces differ in area.
    """
    n_faces, n_samples, _ = points.shape
    out = np.zeros((n_faces, n_faces, bins), np.float32)
    if out.size == 0 or n_samples == 0:
        return out
    order = np.argsort(-areas, kind="stable")
    triples = _Triples.of(points[order])
    own = _count_rows(_angle_bins(_cosines(triples.arm, triples.end - triples.middle), bins), bins)
    frequency = np.float32(1.0 / n_samples)
    for i in range(n_faces):
        shares = _pattern_shares(areas[order[i]], areas[order[i + 1 :]], n_samples)
        counts = shares[0, :, None] * (own[i] * frequency) + shares[5, :, None] * (own[i + 1 :] * frequency)
        for low, high in _level_blocks(shares[1:5].sum(axis=0), n_samples):
            counts[low:high] += _mixed_counts(triples, i, i + 1 + low, shares[1:5, low:high], bins)
        out[order[i], order[i]] = own[i] * frequency
        out[order[i], order[i + 1 :]] = counts * frequency
        out[order[i + 1 :], order[i]] = counts * frequency
    return out


@dataclass(frozen=True, slots=True)
class _Triples:
    """Three points a face and sample: (3, n_faces, n_samples) float32 each. `arm` is start − middle."""

    start: Float32
    middle: Float32
    end: Float32
    arm: Float32

    @classmethod
    def of(cls, points: Float64) -> _Triples:
        """Rotate one set of points into three, a third of the samples apart."""
        span = float(np.ptp(points, axis=(0, 1)).max(initial=0.0))
        start = _components(points, 1.0 / span if span > 0 else 0.0)
        third = points.shape[1] // 3
        middle, end = np.roll(start, third, axis=-1), np.roll(start, 2 * third, axis=-1)
        return cls(start, middle, end, start - middle)


def _pattern_shares(one: np.float64, others: Float64, n_samples: int) -> Int32:
    """How many of a pair's triples lie how on its two faces: (6, len(others)) int32, columns sum to n_samples.

    Patterns: all on `one`; start and middle on `one`; middle on `one`; middle on the other; start and middle on the
    other; all on the other. Start and end are alike, so that the second and the fifth stand for two patterns each.
    """
    total = one + others
    w = np.divide(one, total, out=np.full_like(others, 0.5), where=total > 0)
    v = 1.0 - w
    probabilities = np.stack([w**3, 2 * w**2 * v, w * v**2, w**2 * v, 2 * w * v**2, v**3])
    bounds = np.rint(n_samples * np.cumsum(probabilities, axis=0)).astype(np.int32)
    return np.diff(bounds, axis=0, prepend=np.int32(0))


def _level_blocks(shares: Int32, n_samples: int) -> Iterator[tuple[int, int]]:
    """Ranges of pairs of nearly equal, not vanishing shares (which descend), each small enough for the cache."""
    n_pairs = int(np.count_nonzero(shares))
    low = 0
    while low < n_pairs:
        level = int(np.searchsorted(-shares, -_LEVEL * shares[low], side="right"))
        high = min(max(level, low + _FEWEST_ROWS), low + max(1, _BLOCK_CELLS // int(shares[low])), n_pairs)
        yield low, high
        low = high


def _mixed_counts(triples: _Triples, i: int, first: int, shares: Int32, bins: int) -> Intp:
    """Angles of face `i` with the faces from `first` on, whose triples lie on both faces: (n_pairs, bins) counts.

    `shares` is (4, n_pairs), the patterns of `_pattern_shares` without the first and the last. Every pattern has
    columns of its own, as many as its largest share in the block; the surplus of a pair is counted in a bin that is
    thrown away.
    """
    n_pairs = shares.shape[1]
    widths = shares.max(axis=1)
    a, b, c, d = np.cumsum(widths).tolist()
    j = slice(first, first + n_pairs)
    start, middle, end, arm = triples.start, triples.middle, triples.end, triples.arm
    left, right = np.empty((2, 3, n_pairs, d), np.float32)
    left[..., :a] = arm[:, i, None, :a]
    np.subtract(start[:, j, a:b], middle[:, i, None, a:b], out=left[..., a:b])
    np.subtract(start[:, i, None, b:c], middle[:, j, b:c], out=left[..., b:c])
    left[..., c:] = arm[:, j, c:d]
    np.subtract(end[:, j, :b], middle[:, i, None, :b], out=right[..., :b])
    np.subtract(end[:, i, None, b:d], middle[:, j, b:d], out=right[..., b:])
    index = _row_index(_angle_bins(_cosines(left, right), bins), bins)
    for pattern, stop in zip(shares, (a, b, c, d), strict=True):
        surplus = int(pattern.max() - pattern.min())
        if surplus:
            columns = np.arange(pattern.max() - surplus, pattern.max())
            np.copyto(index[:, stop - surplus : stop], n_pairs * bins, where=columns >= pattern[:, None])
    return np.bincount(index.ravel(), minlength=n_pairs * bins + 1)[:-1].reshape(n_pairs, bins)


def _components(points: Float64, scale: float) -> Float32:
    """(n_faces, n_samples, 3) to (3, n_faces, n_samples) float32, centred and scaled before the cast so that no digits are lost."""
    centre = 0.5 * (points.min(axis=(0, 1)) + points.max(axis=(0, 1)))
    return np.ascontiguousarray(np.moveaxis((points - centre) * scale, -1, 0), dtype=np.float32)


def _dot(a: Float32, b: Float32) -> Float32:
    """Sum over the first axis of the products, three terms: quicker than einsum on arrays that fit the cache."""
    result: Float32 = a[0] * b[0]
    result += a[1] * b[1]
    result += a[2] * b[2]
    return result


def _dot_self(a: Float32) -> Float32:
    return _dot(a, a)


def _cosines(a: Float32, b: Float32) -> Float32:
    """Cosines of the angles between vectors; 0 where one of them is zero."""
    lengths = _dot_self(a)
    lengths *= _dot_self(b)
    np.sqrt(lengths, out=lengths)
    np.maximum(lengths, _TINY, out=lengths)
    return np.divide(_dot(a, b), lengths, out=lengths)


def _angle_bins(cosines: Float32, bins: int) -> Float32:
    """Angles over π in units of a bin; overwrites `cosines`."""
    np.clip(cosines, -1.0, 1.0, out=cosines)
    np.arccos(cosines, out=cosines)
    cosines *= np.float32(bins / np.pi)
    return cosines


def _row_index(values: Float32, bins: int) -> Intp:
    """Cell of each value (in units of a bin) in a table with a row of bins for each row of values; overwrites `values`."""
    np.minimum(values, np.float32(bins - 1), out=values)
    index = values.astype(np.intp)
    index += np.arange(len(values))[:, None] * bins
    return index


def _count_rows(values: Float32, bins: int) -> Intp:
    """Histogram of each row of values, which are in units of a bin: (n_rows, bins)."""
    return np.bincount(_row_index(values, bins).ravel(), minlength=len(values) * bins).reshape(len(values), bins)
