"""A3: angles at the middle one of three points of two faces (Osada et al., "Shape distributions", ACM TOG 21, 2002)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dflow.cadencoder.binning import (
    SCRATCH,
    Float32,
    Float64,
    Int32,
    angle_bins,
    components,
    count_cells,
    count_rows,
    dots,
    mirror,
    pair_blocks,
    pairs_per_block,
)

_TINY = np.float32(1e-30)
"""Added to lengths, so that the angle at a doubled point is a right one."""


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
    which face is not drawn. Each of the six ways to place them on both faces gets an eighth of n_samples triples per
    pair, and its histogram is weighted by the way's probability (w²v or wv² for area shares w and v). Triples on one
    face are the same for all its pairs, so n_samples of them are counted once per face and weighted by w³. For two
    faces the variance is below that of n_samples independent triples, at less than the cost.
    """
    n_faces, n_samples, _ = points.shape
    out = np.zeros((n_faces, n_faces, bins), np.float32)
    if out.size == 0 or n_samples == 0:
        return out
    triples = _Triples.of(points)
    own = count_rows(angle_bins(triples.own_cosines(), bins), bins) * np.float32(1.0 / n_samples)
    weights = _weights(areas, triples.width)
    n_pairs = min(pairs_per_block(3 * triples.width, 2 * bins), n_faces**2)
    cells = _cells(n_pairs, triples.width, bins)
    for i, j in pair_blocks(n_faces, n_pairs):
        counts = _count_block(angle_bins(_mixed_cosines(triples, i, j), bins), cells, bins)
        block, part = out[i, j], SCRATCH.array("part", counts.shape[1:])
        np.multiply(weights[0, i, j], own[i, None], out=block)
        for weight, histogram in zip(weights[1:, i, j], (own[None, j], *counts), strict=True):
            block += np.multiply(weight, histogram, out=part)
    mirror(out)
    out[np.arange(n_faces), np.arange(n_faces)] = own
    return out


@dataclass(frozen=True, slots=True)
class _Triples:
    """Three points per face and sample, float32, and their division between two faces i and j.

    Of `width` triples in each of three parts, (1) start and middle lie on i and the end on j, (2) the middle lies on i
    and the others on j in the first half, and the other way round in the second, (3) the end lies on i and start and
    middle on j. The parts take their samples one after the other.

    Attributes
    ----------
    n_samples : number of triples on one face; width : a quarter of them, even.
    start, middle, end, arm : (3, n_faces, n_columns); `arm` is the unit vector middle to start.
    near_end, far_end : (3, 3, n_faces, width), component and part: the terms of i and of j in ``far − near``, the leg
        from middle to end, backwards where the middle lies on j.
    near_start, far_start : (3, n_faces, width), likewise for the leg from middle to start in part (2).
    near_arm, far_arm : (3, n_faces, width), that leg as a unit vector on i in part (1) and on j in part (3).
    """

    n_samples: int
    width: int
    middle: Float32
    end: Float32
    arm: Float32
    near_end: Float32
    far_end: Float32
    near_start: Float32
    far_start: Float32
    near_arm: Float32
    far_arm: Float32

    @classmethod
    def of(cls, points: Float64) -> _Triples:
        """Three views of one set of points, a third of the samples apart, repeated to as many as are needed."""
        n_faces, n_samples, _ = points.shape
        half = max(1, n_samples // 8)
        width = 2 * half
        third = n_samples // 3
        n_columns = max(n_samples, 3 * width)
        repeats = -(-(n_columns + 2 * third) // n_samples)
        cyclic = np.tile(components(points), (1, 1, repeats))
        start, middle, end = (cyclic[..., k * third : k * third + n_columns] for k in range(3))
        arm = start - middle
        arm /= np.sqrt(np.einsum("cis,cis->is", arm, arm)) + _TINY
        turn, stop = slice(width + half, 2 * width), slice(width + half, 3 * width)
        ahead, early = slice(0, width + half), slice(width, width + half)
        parts = (3, n_faces, 3, width)

        def by_part(head: Float32, tail: Float32) -> Float32:
            joined = np.concatenate([head[..., ahead], tail[..., stop]], axis=-1)
            return np.ascontiguousarray(np.swapaxes(joined.reshape(parts), 1, 2))

        return cls(
            n_samples,
            width,
            middle,
            end,
            arm,
            near_end=by_part(middle, end),
            far_end=by_part(end, middle),
            near_start=np.concatenate([middle[..., early], start[..., turn]], axis=-1),
            far_start=np.concatenate([start[..., early], middle[..., turn]], axis=-1),
            near_arm=np.ascontiguousarray(arm[..., :width]),
            far_arm=-arm[..., 2 * width : 3 * width],
        )

    def own_cosines(self) -> Float32:
        """Cosines of the angles whose three points lie on one face: (n_faces, n_samples)."""
        leg = (self.end - self.middle)[..., : self.n_samples]
        lengths = np.sqrt(np.einsum("cis,cis->is", leg, leg))
        cosines: Float32 = np.einsum("cis,cis->is", self.arm[..., : self.n_samples], leg)
        return cosines / (lengths + _TINY)


def _mixed_cosines(triples: _Triples, i: slice, j: slice) -> Float32:
    """Cosines for every pair of faces of a block, with points on both: (3, len(i), len(j), width)."""
    shape = (3, i.stop - i.start, j.stop - j.start, triples.width)
    leg, other = SCRATCH.array("leg", (3, *shape)), SCRATCH.array("other", shape)
    cosines, lengths = SCRATCH.array("cosines", shape), SCRATCH.array("lengths", shape)
    np.subtract(triples.far_end[:, :, None, j], triples.near_end[:, :, i, None], out=leg)
    np.subtract(triples.far_start[:, None, j], triples.near_start[:, i, None], out=other)
    dots(leg, leg, lengths)
    lengths[1] *= dots(other, other, cosines[1])
    lengths += _TINY
    np.sqrt(lengths, out=lengths)
    np.einsum("cis,cijs->ijs", triples.near_arm[:, i], leg[:, 0], out=cosines[0])
    dots(other, leg[:, 1], cosines[1])
    np.einsum("cjs,cijs->ijs", triples.far_arm[:, j], leg[:, 2], out=cosines[2])
    cosines /= lengths
    return cosines


def _cells(n_pairs: int, width: int, bins: int) -> Int32:
    """(3, n_pairs, width): where each triple's histogram begins, first those of all pairs with two points on face i."""
    cells = np.empty((3, n_pairs, width), np.int32)
    cells[:] = np.arange(0, n_pairs * bins, bins, dtype=np.int32)[:, None]
    cells[1, :, : width // 2] += n_pairs * bins
    cells[2] += n_pairs * bins
    return cells


def _count_block(angles: Float32, cells: Int32, bins: int) -> Float32:
    """Histograms of a block's angles: (2, len(i), len(j), bins), first those with two points on i, then on j."""
    _, n_rows, n_columns, width = angles.shape
    used, room = n_rows * n_columns, cells.shape[1]
    counts = count_cells(angles.reshape(3, used, width), cells[:, :used], 2 * room * bins)
    return counts.reshape(2, room, bins)[:, :used].astype(np.float32).reshape(2, n_rows, n_columns, bins)


def _weights(areas: Float64, width: int) -> Float32:
    """(4, n_faces, n_faces, 1) float32: of either face's own histogram, and of a triple with two points on i, on j."""
    one, other = areas[:, None], areas[None]
    total = one + other
    w = np.divide(one, total, out=np.full(total.shape, 0.5), where=total > 0)
    v = 1.0 - w
    shares = [w**3, v**3, w * w * v * (2.0 / width), w * v * v * (2.0 / width)]
    return np.stack(shares).astype(np.float32)[..., None]
