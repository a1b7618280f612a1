"""Runs: how many samples of a block are read at once. Pure.

Reading sample by sample leaves most of the time to calls: an array of 20 values is looked up, viewed and copied for
each, and each call of zstd makes a context. A run is read, then each of its arrays decoded in one call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

RUN_BYTES = 512 * 1024
"""Decoded bytes of a run of several samples: they stay in the processor's cache until they are coded again."""

RUN_SAMPLES = 64
"""Samples of a run; more save nothing, and tiny ones would be held by the ten thousand."""

TEXT_BYTES = 256
"""What one text takes while it becomes a code: in the file's chunk, in numpy and in Python."""


def cut_runs(counts: Sequence[int], row_bytes: int) -> Iterator[tuple[int, int]]:
    """Where the runs of a block begin and end among its samples, of which each has `counts` rows.

    The first and the last sample stay alone: the block may hold a part of them.
    """
    first, n_bytes, last = 0, 0, len(counts) - 1
    for k, count in enumerate(counts):
        n_bytes += count * row_bytes
        if first < k and (n_bytes > RUN_BYTES or k - first >= RUN_SAMPLES or k in (1, last)):
            yield first, k
            first, n_bytes = k, count * row_bytes
    if counts:
        yield first, len(counts)


def run_rows(counts: NDArray[np.int64], row_bytes: int) -> int:
    """The most rows that a run of such samples has; `counts` are not empty."""
    return max(int(counts.max()), min(int(counts.sum()), RUN_BYTES // max(row_bytes, 1)))
