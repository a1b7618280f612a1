"""What is seen where: runs of pixels, not pixels.

A shape (a triangle, or the triangles of a flat face together) covers runs of pixels in each picture row. The ends of
all runs cut the picture into pieces. Most are covered once; elsewhere what is nearest at both ends of a piece is
nearest all along it, because depth is linear along a row. Only pieces whose ends differ, where solids pass through each
other, are cut at every pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dflow.cadaccess.runs import run_starts

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PIECES_AT_ONCE = 1_000_000
"""Comparisons per step, about 60 MB: bounds the memory of meshes with many layers."""


@dataclass(frozen=True, slots=True)
class Corners:
    """Triangles in the picture, (3, T) float64 each, a row a corner: column and row in pixels, and depth."""

    x: Floats
    y: Floats
    depth: Floats

    def take(self, rows: Ints) -> Corners:
        """These triangles."""
        return Corners(self.x[:, rows], self.y[:, rows], self.depth[:, rows])

    def twice_area(self) -> Floats:
        """(T,) square pixels; negative for triangles that face the viewer (rows run down)."""
        x, y = self.x, self.y
        area: Floats = (x[1] - x[0]) * (y[2] - y[0]) - (y[1] - y[0]) * (x[2] - x[0])
        return area


@dataclass(frozen=True, slots=True)
class Planes:
    """Quantities that change evenly over the picture, one row a triangle: value = x * column + y * row + at.

    Columns and rows are counted from the first pixel's centre.
    """

    x: Floats
    y: Floats
    at: Floats

    def quantity(self, index: int) -> Planes:
        """One of several quantities that were asked for together."""
        return Planes(self.x[index], self.y[index], self.at[index])

    def with_nothing(self) -> Planes:
        """One more row, zero all over the picture."""
        more = np.zeros((3, len(self.x) + 1))
        more[:, :-1] = self.x, self.y, self.at
        return Planes(*more)


@dataclass(frozen=True, slots=True)
class Sides:
    """Directed sides of shapes, (n,) int64 each: from one point to another, with the shape on one and the same side.

    Seen by the viewer the shape lies to the left (rows run down): a side that runs down is where it begins in a row.
    Every shape's sides are closed, so that in each row it begins as often as it ends.
    """

    begin: Ints
    end: Ints
    shape: Ints


@dataclass(frozen=True, slots=True)
class Spans:
    """Runs of pixels that shapes cover, (n,) int64 each; flat indices, `stop` left out. Some are of no pixels."""

    shape: Ints
    start: Ints
    stop: Ints


@dataclass(frozen=True, slots=True)
class Runs:
    """A picture in runs of pixels with the same shape in sight.

    begin : (n + 1,) int64, the flat index where each begins, and the number of pixels
    layer : (n,) int64: 0 where there is nothing, else one more than the shape
    """

    begin: Ints
    layer: Ints

    @property
    def lengths(self) -> Ints:
        """(n,) int64."""
        return self.begin[1:] - self.begin[:-1]

    def layers(self) -> npt.NDArray[np.unsignedinteger]:
        """(n_pixels,) the layer of every pixel, in as few bytes as hold it."""
        small: npt.NDArray[np.unsignedinteger] = self.layer.astype(np.min_scalar_type(int(self.layer.max())))
        return small.repeat(self.lengths)


def planes(corners: Corners, twice_area: Floats, values: Floats) -> Planes:
    """`values` (…, 3, T) at the corners as planes over the picture, (…, T)."""
    left, top = corners.x[0], corners.y[0]
    x1, x2, y1, y2 = corners.x[1] - left, corners.x[2] - left, corners.y[1] - top, corners.y[2] - top
    base = values[..., 0, :]
    rise, rise2 = values[..., 1, :] - base, values[..., 2, :] - base
    x = (rise * y2 - rise2 * y1) / twice_area
    y = (rise2 * x1 - rise * x2) / twice_area
    return Planes(x, y, base + x * (0.5 - left) + y * (0.5 - top))


def count_up(first: Ints, count: Ints) -> tuple[Ints, Ints]:
    """For each i and each number below ``count[i]``: i, and ``first[i]`` plus the number."""
    which = np.arange(len(count)).repeat(count)
    shift = first - count.cumsum() + count
    return which, np.arange(len(which)) + shift[which]


def boundary(corner: Ints, shape: Ints, n_points: int) -> Sides:
    """The sides of shapes of triangles, without those along which two triangles of one shape meet.

    Parameters
    ----------
    corner : (3, n) int64, the triangles' points, taken round as the viewer sees them counter-clockwise; no point
        belongs to two shapes of several triangles
    shape : (n,) int64, each triangle's
    """
    single = np.bincount(shape, minlength=len(shape))[shape] == 1
    alone, joined = single.nonzero()[0], (~single).nonzero()[0]
    begin, end, owner = _turns(corner[:, alone], shape[alone])
    if len(joined):
        begin2, end2, owner2 = _turns(corner[:, joined], shape[joined])
        low, high = np.minimum(begin2, end2), np.maximum(begin2, end2)
        key = low * n_points + high
        order = key.argsort()
        first = run_starts(key[order])
        net = np.add.reduceat(np.where(begin2 == low, 1, -1)[order], first)
        times = np.abs(net)
        left, along = order[first].repeat(times), (net > 0).repeat(times)
        low, high = low[left], high[left]
        begin = np.concatenate([begin, np.where(along, low, high)])
        end = np.concatenate([end, np.where(along, high, low)])
        owner = np.concatenate([owner, owner2[left]])
    return Sides(begin, end, owner)


def _turns(corner: Ints, shape: Ints) -> tuple[Ints, Ints, Ints]:
    """Begin, end and shape of all sides of triangles."""
    return corner.ravel(), corner[[1, 2, 0]].ravel(), np.concatenate([shape, shape, shape])


def cover(x: Floats, y: Floats, sides: Sides, size: tuple[int, int]) -> Spans:
    """The runs of pixels whose centres shapes cover, by shape.

    Parameters
    ----------
    x, y : (V,) columns and rows of the points, in pixels
    """
    n_bits = (size[0] * size[1]).bit_length()
    first_row = _first_centre(y, size[1])
    rise = y[sides.end] - y[sides.begin]
    level = rise != 0
    begin, end, shape, down = sides.begin[level], sides.end[level], sides.shape[level], rise[level] > 0
    # The same sum from top to bottom for both shapes that share a side: neither a gap nor an overlap.
    upper, lower = np.where(down, begin, end), np.where(down, end, begin)
    left, top, first = x[upper], y[upper], first_row[upper]
    slope = (x[lower] - left) / (y[lower] - top)
    side, row = count_up(first, first_row[lower] - first)
    pixel = _first_centre(slope[side] * row + (left + slope * (0.5 - top))[side], size[0])
    pixel += row * size[0]
    # Sorted, begins come before ends; of a shape and row the n-th begin and the n-th end belong together.
    n_shapes = int(shape.max(initial=0)) + 1
    pixel += (np.where(down, shape, shape + n_shapes) << n_bits)[side]
    pixel.sort()
    half = len(pixel) // 2
    start, stop = pixel[:half] & ((1 << n_bits) - 1), pixel[half:] & ((1 << n_bits) - 1)
    return Spans(pixel[:half] >> n_bits, start, np.maximum(start, stop, out=stop))


def _first_centre(at: Floats, end: int) -> Ints:
    """The first pixel whose centre does not lie before `at`, from 0 to `end`."""
    pixel = np.ceil(at - 0.5)
    np.maximum(pixel, 0.0, out=pixel)
    np.minimum(pixel, end, out=pixel)
    return pixel.astype(np.int64)


def visible_runs(spans: Spans, depth: Planes, size: tuple[int, int], bits: tuple[int, int]) -> Runs:
    """What is nearest, all over the picture.

    Parameters
    ----------
    depth : a row a shape, larger is nearer, whole numbers matter
    bits : how many bits of a 64-bit number the depth takes, and how many the shape, counted from 1
    """
    n_pixels = size[0] * size[1]
    cut = np.zeros(n_pixels + 1, bool)
    cut[0] = cut[-1] = cut[spans.start] = cut[spans.stop] = True
    while True:
        begin = cut.nonzero()[0]
        layer, undecided = _nearest(spans, begin, depth, size[0], bits)
        if not len(undecided):
            return Runs(begin, layer)
        cut[count_up(begin[undecided], begin[undecided + 1] - begin[undecided])[1]] = True


def _nearest(spans: Spans, begin: Ints, depth: Planes, width: int, bits: tuple[int, int]) -> tuple[Ints, Ints]:
    """The layer in sight at the begin of each piece, and the pieces that show another one at their end.

    The nearest is the largest of the numbers ``depth, layer`` (high and low bits).
    """
    n_pieces = len(begin) - 1
    slot = np.empty(int(begin[-1]) + 1, np.int32)  # half the memory of int64: it stays in the cache
    slot[begin] = np.arange(n_pieces + 1, dtype=np.int32)
    first, last = slot[spans.start].astype(np.int64), slot[spans.stop].astype(np.int64)
    changes = np.bincount(first, minlength=n_pieces + 1) - np.bincount(last, minlength=n_pieces + 1)
    shared = changes.cumsum() > 1
    layer = np.zeros(n_pieces, np.int64)
    nearest = np.zeros((2, n_pieces), np.int64)
    for part in _parts(last - first):
        span, piece = count_up(first[part], (last - first)[part])
        shape = spans.shape[part][span]
        layer[piece] = shape + 1
        contested = shared[piece].nonzero()[0]
        if len(contested):
            _compare(nearest, shape[contested], piece[contested], (begin, depth, width, bits))
    fought = nearest[0].nonzero()[0]
    in_sight = nearest[:, fought] & ((1 << bits[1]) - 1)
    layer[fought] = in_sight[0]
    return layer, fought[in_sight[0] != in_sight[1]]


def _compare(nearest: Ints, shape: Ints, piece: Ints, where: tuple[Ints, Planes, int, tuple[int, int]]) -> None:
    """Let shapes compete for the first (row 0) and the last pixel of pieces."""
    begin, depth, width, (depth_bits, layer_bits) = where
    start, stop = begin[piece], begin[piece + 1]
    row = start // width
    columns = np.concatenate([start, stop - 1]).reshape(2, -1) - row * width
    near = depth.x[shape] * columns
    near += depth.y[shape] * row + depth.at[shape]
    np.maximum(near, 1.0, out=near)
    np.minimum(near, 2.0**depth_bits - 1, out=near)
    keys = (near.astype(np.int64) << layer_bits) + (shape + 1)
    for side in range(2):
        np.maximum.at(nearest[side], piece, keys[side])


def _parts(count: Ints) -> Iterator[slice]:
    """Stretches of spans with a bounded number of pieces."""
    ends = count.cumsum()
    total = int(ends[-1]) if len(ends) else 0
    if total <= PIECES_AT_ONCE:
        yield slice(0, len(count))
        return
    cuts = np.searchsorted(ends, np.arange(0, total, PIECES_AT_ONCE)[1:]).tolist()
    for begin, stop in zip([0, *cuts], [*cuts, len(count)], strict=True):
        yield slice(begin, stop)
