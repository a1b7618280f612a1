"""Sizes of chunks and shards, and levels of compression, of a dataset that is merged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dflow.dataset.format.layout import ceil_power_of_two, floor_power_of_two

WIDE_ROW_BYTES = 128
"""Rows of at least this many bytes are wide: grids and histograms are, single numbers and points are not."""


@dataclass(frozen=True, slots=True)
class MergeSettings:
    """Sizes of chunks and shards, and levels of compression. They do not depend on the machine or the workers.

    An inner chunk of one array (the unit of reading) is the smallest power-of-two number of rows that fills
    `chunk_bytes`, so it holds less than twice as much. Smaller chunks make reading a sample faster, larger ones a scan
    through zarr-python. At 4.5 million faces, in CPU time: one sample's rows of seven arrays take 5.2 ms with chunks of
    512 KiB, 3.1 ms with 256 KiB; a scan of a float32 column 0.02 s with both (through zarr-python 0.11 and 0.14 s; with
    1,024 rows 2.1 s). Wide rows (grids) have chunks of `wide_chunk_bytes`: a sample is a few dozen rows, and reading
    one at random decodes a chunk of every array. 64 KiB take half the time of 256 KiB there; a scan through zarr-python
    takes 1.3 times as long, the files 3 % more bytes.

    `shard_bytes` bounds the bytes that one shard node writes, all arrays of its group together, before compression;
    within these bounds a group has at least `shards` shards, so that small datasets have work for several workers and a
    million samples make thousands of files. `samples_per_shard` bounds the files that one node opens.

    `level` is zstd's for integers and booleans, `float_level` for other numbers: on real grids −1 takes 20 % more bytes
    than 3; columns with few repetitions (areas, lengths) are written 4 times and read 2 to 10 times as fast.
    """

    chunk_bytes: int = 256 * 1024
    wide_chunk_bytes: int = 64 * 1024
    shard_bytes: tuple[int, int] = (32 * 1024**2, 512 * 1024**2)
    shards: int = 256
    samples_per_shard: int = 65536
    level: int = 3
    float_level: int = -1

    def level_of(self, dtype: str) -> int:
        """The level of zstd for an array of `dtype`."""
        return self.float_level if np.dtype(dtype).kind in "fc" else self.level


def chunk_rows(row_bytes: int, n_rows: int, settings: MergeSettings) -> int:
    """Rows of one inner chunk of an array with `row_bytes` per row: a power of two, no larger than the array needs."""
    wide = row_bytes >= WIDE_ROW_BYTES
    wanted = min(settings.chunk_bytes, settings.wide_chunk_bytes) if wide else settings.chunk_bytes
    return min(ceil_power_of_two(-(-wanted // max(row_bytes, 1))), ceil_power_of_two(n_rows))


def shard_rows(row_bytes: int, n_rows: int, n_samples: int, settings: MergeSettings) -> int:
    """Rows of one shard of a group whose arrays have `row_bytes` per row together: a power of two."""
    low, high = settings.shard_bytes
    wanted = min(max(row_bytes * n_rows // settings.shards, low), high)
    rows = floor_power_of_two(wanted // max(row_bytes, 1))
    by_samples = floor_power_of_two(settings.samples_per_shard * max(n_rows // max(n_samples, 1), 1))
    return min(rows, by_samples, ceil_power_of_two(n_rows))
