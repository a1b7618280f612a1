"""Histograms of all pairs of faces in blocks: the pairs of each block, and counts from values."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
Intp = NDArray[np.intp]

BLOCK_CELLS = 1 << 16
"""Cells of a temporary array: enough to hide the cost of numpy's calls, few enough for the caches."""


_KEPT_CELLS = 1 << 20
"""Larger temporary arrays are not kept."""

_ABOVE_MINUS_ONE = np.nextafter(np.float32(-1.0), np.float32(0.0))
"""Keeps an angle of π, 3e-4 less, in the last bin."""


def pairs_per_block(n_samples: int, bins: int) -> int:
    """Return the number of pairs in a block of histograms."""
    return max(1, BLOCK_CELLS // max(n_samples, bins))


def pair_blocks(n_faces: int, pairs_per_block: int) -> Iterator[tuple[slice, slice]]:
    """Yield rectangles of rows i and columns j that together cover every pair i ≤ j, of about `pairs_per_block` pairs
    each.

    Long rows are cut; short ones are taken several at a time, which covers a few pairs i > j as well.
    """
    i = 0
    while i < n_faces:
        rest = n_faces - i
        n_rows = min(rest, max(1, pairs_per_block // rest))
        for j in range(i, n_faces, max(1, pairs_per_block // n_rows)):
            yield slice(i, i + n_rows), slice(j, min(j + max(1, pairs_per_block // n_rows), n_faces))
        i += n_rows


def mirror(matrix: Float32) -> None:
    """Copy the part of a (n_faces, n_faces, …) matrix above the diagonal below it."""
    for i in range(len(matrix)):
        matrix[i + 1 :, i] = matrix[i, i + 1 :]


class Scratch(threading.local):
    """Temporary arrays that are reused by every block and every sample; each thread has its own.

    Fresh arrays of this size would be allocated from the system and freed each time, and clearing their pages costs
    more than the computation in them.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, NDArray[Any]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: type[np.generic] = np.float32) -> NDArray[Any]:
        """Return an uninitialised array; it is valid until the next call with the same name."""
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size:
            buffer = np.empty(size, dtype)
            if size <= _KEPT_CELLS:
                self._buffers[name] = buffer
        return buffer[:size].reshape(shape)


SCRATCH = Scratch()
"""The arrays of this package's loops over blocks."""


def count_rows(values: Float32, bins: int) -> Intp:
    """The histogram of each row: values (…, n) in units of a bin, in [0, bins), to counts (…, bins)."""
    *rows, n = values.shape
    n_rows = math.prod(rows)
    cells = np.arange(0, n_rows * bins, bins, dtype=np.int32)[:, None]
    return count_cells(values.reshape(n_rows, n), cells, n_rows * bins).reshape(*rows, bins)


def count_cells(values: Float32, cells: Int32, n_cells: int) -> Intp:
    """(n_cells,) counts of values in units of a bin, each in the histogram that begins at its cell.

    `cells` must broadcast to the values' shape. Small integers are added and widened afterwards, which costs less than
    half of doing all in numpy's own index type.
    """
    index, wide = SCRATCH.array("index", values.shape, np.int32), SCRATCH.array("wide", values.shape, np.intp)
    np.copyto(index, values, casting="unsafe")
    index += cells
    np.copyto(wide, index)
    return np.bincount(wide.ravel(), minlength=n_cells)


def components(points: Float64, full_scale: float | None = None) -> Float32:
    """Points as (3, n_faces, n_samples) float32, centred and scaled before the cast, which then loses no precision.

    Parameters
    ----------
    points
        (n_faces, n_samples, 3) float64, not empty.
    full_scale
        The length that becomes 1; the longest side of the points' box when not given. When it is 0, all values are 0.
    """
    rows = np.moveaxis(points, -1, 0).reshape(3, -1)
    low, high = rows.min(axis=1), rows.max(axis=1)
    length = float((high - low).max()) if full_scale is None else full_scale
    rows = rows - 0.5 * (low + high)[:, None]
    rows *= 1.0 / length if length > 0 else 0.0
    return rows.astype(np.float32).reshape(3, *points.shape[:2])


def dots(a: Float32, b: Float32, out: Float32) -> Float32:
    """Dot products along the first axis, of length 3, into `out`."""
    return np.einsum("c...,c...->...", a, b, out=out)


def angle_bins(cosines: Float32, bins: int) -> Float32:
    """Angles over π in units of a bin, in [0, bins); overwrites `cosines`."""
    np.clip(cosines, _ABOVE_MINUS_ONE, 1.0, out=cosines)
    np.arccos(cosines, out=cosines)
    cosines *= np.float32(bins / np.pi)
    return cosines


def close_last_bin(values: Float32, bins: int) -> Float32:
    """Move values at or above the upper end into the last bin; overwrites `values`, which are in units of a bin."""
    return np.minimum(values, np.nextafter(np.float32(bins), np.float32(0.0)), out=values)
