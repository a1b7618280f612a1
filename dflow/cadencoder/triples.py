"""A3: angles at the middle one of three points of two faces (Osada et al., "Shape distributions", ACM TOG 21, 2002)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dflow.cadencoder.binning import (
    BLOCK_CELLS,
    SCRATCH,
    Float32,
    Float64,
    angle_bins,
    components,
    count_rows,
    mirror,
    pair_blocks,
)

_TINY = np.float32(1e-30)
"""Stands for a length of zero in a denominator, so that the angle at a doubled point is a right one."""


def point_angle_histograms(points: Float64, areas: Float64, *, bins: int = 64) -> Float32:
    """Angles at the middle one of three points drawn from the union of two faces, over π.

    Parameters
    ----------
    points
        (n_faces, n_samples, 3) float64, points on the faces; sample s of one face is independent of that of another.
    areas
        (n_faces,) float64: each of the three points lies on the one or the other face in proportion to their areas.
    bins
        Number of equal bins over [0, 1].

    Returns
    -------
    (n_faces, n_faces, bins) float32, symmetric; each histogram sums to 1. Triples of which the middle point coincides
    with another count as a right angle, as in brepgraph.

    Notes
    -----
    The distribution that brepgraph draws n_samples triples from, estimated in strata: which of the three points lie on
    which face is not drawn. Each of the six ways to place them on both faces gets an eighth of n_samples triples for
    each pair, and its histogram the way's probability as weight (w²v or wv² for area shares w and v). Triples on one
    face are the same for all its pairs, so n_samples of them are counted once a face and weighted by w³. For two
    faces the variance is below that of n_samples independent triples, at less than the cost.
    """
    n_faces, n_samples, _ = points.shape
    out = np.zeros((n_faces, n_faces, bins), np.float32)
    if out.size == 0 or n_samples == 0:
        return out
    layout = _Layout.of(n_samples)
    triples = _Triples.of(points, max(n_samples, layout.stop))
    own = count_rows(angle_bins(triples.own_cosines(n_samples), bins), bins) * np.float32(1.0 / n_samples)
    weights = _pattern_weights(areas, layout)
    pairs_per_block = max(1, BLOCK_CELLS // layout.stop)
    patterns = np.repeat(np.arange(4), layout.widths)
    cells = bins * (np.arange(0, 4 * pairs_per_block, 4)[:, None] + patterns)
    for i, j in pair_blocks(n_faces, pairs_per_block):
        angles = angle_bins(_mixed_cosines(triples, layout, i, j), bins)
        n_rows, n_columns = angles.shape[:2]
        parts = SCRATCH.array("parts", (n_rows, n_columns, 6, bins))
        counts = count_rows(angles, 4 * bins, cells)
        parts[:, :, :4] = counts.reshape(n_rows, n_columns, 4, bins)
        parts[:, :, 4] = own[i, None]
        parts[:, :, 5] = own[None, j]
        np.matmul(weights[i, j, None], parts, out=out[i, j, None])
    mirror(out)
    out[np.arange(n_faces), np.arange(n_faces)] = own
    return out


@dataclass(frozen=True, slots=True)
class _Layout:
    """Which columns of samples place the three points how on faces i and j.

    Two on i with the middle one among them, up to `first`; only the middle one on i, up to `second`; only the middle
    one on j, up to `third`; two on j with the middle one among them, up to `stop`.
    """

    first: int
    second: int
    third: int
    stop: int

    @classmethod
    def of(cls, n_samples: int) -> _Layout:
        """A quarter of the samples for what start and end can do in two ways, an eighth for the others."""
        quarter, eighth = max(1, n_samples // 4), max(1, n_samples // 8)
        return cls(quarter, quarter + eighth, quarter + 2 * eighth, 2 * quarter + 2 * eighth)

    @property
    def widths(self) -> list[int]:
        """Number of columns of each of the four."""
        return [self.first, self.second - self.first, self.third - self.second, self.stop - self.third]


@dataclass(frozen=True, slots=True)
class _Triples:
    """Three points a face and sample, (3, n_faces, n_samples) float32; `arm` is the unit vector middle to start."""

    start: Float32
    middle: Float32
    end: Float32
    arm: Float32

    @classmethod
    def of(cls, points: Float64, n_columns: int) -> _Triples:
        """Three views of one set of points, a third of the samples apart, repeated to so many columns."""
        n_samples = points.shape[1]
        third = n_samples // 3
        repeats = -(-(n_columns + 2 * third) // n_samples)
        cyclic = np.tile(components(points), (1, 1, repeats))
        start, middle, end = (cyclic[..., k * third : k * third + n_columns] for k in range(3))
        arm = start - middle
        arm /= np.maximum(np.sqrt(np.einsum("cis,cis->is", arm, arm)), _TINY)
        return cls(start, middle, end, arm)

    def own_cosines(self, n_samples: int) -> Float32:
        """Cosines of the angles whose three points lie on one face: (n_faces, n_samples)."""
        leg = self.end[..., :n_samples] - self.middle[..., :n_samples]
        lengths = np.sqrt(np.einsum("cis,cis->is", leg, leg))
        return np.einsum("cis,cis->is", self.arm[..., :n_samples], leg) / np.maximum(lengths, _TINY)


def _mixed_cosines(triples: _Triples, layout: _Layout, i: slice, j: slice) -> Float32:
    """Cosines for every pair of faces of a block, with points on both: (len(i), len(j), layout.stop)."""
    a, b, c, d = layout.first, layout.second, layout.third, layout.stop
    start, middle, end, arm = triples.start, triples.middle, triples.end, triples.arm
    shape = (i.stop - i.start, j.stop - j.start, d)
    leg = SCRATCH.array("leg", (3, *shape))
    np.subtract(end[:, None, j, :b], middle[:, i, None, :b], out=leg[..., :b])
    np.subtract(end[:, i, None, b:d], middle[:, None, j, b:d], out=leg[..., b:])
    other = SCRATCH.array("other", (3, *shape[:2], c - a))
    np.subtract(start[:, None, j, a:b], middle[:, i, None, a:b], out=other[..., : b - a])
    np.subtract(start[:, i, None, b:c], middle[:, None, j, b:c], out=other[..., b - a :])
    lengths, cosines = SCRATCH.array("lengths", shape), SCRATCH.array("cosines", shape)
    np.einsum("cijs,cijs->ijs", leg, leg, out=lengths)
    lengths[..., a:c] *= np.einsum("cijs,cijs->ijs", other, other, out=cosines[..., a:c])
    np.sqrt(lengths, out=lengths)
    np.maximum(lengths, _TINY, out=lengths)
    np.einsum("cis,cijs->ijs", arm[:, i, :a], leg[..., :a], out=cosines[..., :a])
    np.einsum("cijs,cijs->ijs", other, leg[..., a:c], out=cosines[..., a:c])
    np.einsum("cjs,cijs->ijs", arm[:, j, c:d], leg[..., c:], out=cosines[..., c:])
    cosines /= lengths
    return cosines


def _pattern_weights(areas: Float64, layout: _Layout) -> Float32:
    """(n_faces, n_faces, 6) float32: weights of a triple of each of the layout's patterns, and of either face alone."""
    one, other = areas[:, None], areas[None]
    total = one + other
    w = np.divide(one, total, out=np.full(total.shape, 0.5), where=total > 0)
    v = 1.0 - w
    n_first, n_second, n_third, n_fourth = layout.widths
    parts = [2 * w * w * v / n_first, w * v * v / n_second, w * w * v / n_third, 2 * w * v * v / n_fourth, w**3, v**3]
    return np.stack(parts, axis=-1).astype(np.float32)
