"""The order of samples that are read in blocks: a pure plan from seed, epoch, rank and number of ranks.

Samples that are neighbours in the dataset are neighbours on disk. Reading them one by one in random order decodes
every chunk many times. Reading blocks of neighbours in random order, several blocks at a time, and shuffling the
samples of these blocks together costs one sequential read per block and mixes nearly as well (the fetch factor of
scDataset, arXiv 2506.01883; annbatch does the same).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from dflow.errors import DatasetError

Array = np.ndarray[Any, np.dtype[Any]]


class Epochs:
    """Numbers the passes over samples: each gets the next number, or the one that was chosen since the last pass.

    Parameters
    ----------
    leader : another counter, whose chosen numbers apply here too
    """

    def __init__(self, leader: Epochs | None = None) -> None:
        self._leader = leader
        self._next = 0
        self._choice = 0
        self._n_choices = 0

    def choose(self, epoch: int) -> None:
        """Set the number of the next pass."""
        self._next = self._choice = epoch
        self._n_choices += 1

    @property
    def upcoming(self) -> int:
        """The number of the next pass."""
        leader = self._leader
        if leader is not None and leader._n_choices != self._n_choices:
            self._next, self._n_choices = leader._choice, leader._n_choices
        return self._next

    def begin(self) -> int:
        """Begin a pass and return its number."""
        self._next = self.upcoming + 1
        return self._next - 1


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """The order in which an epoch is read.

    A fetch is `fetch_blocks` blocks of `block_size` neighbouring samples, rounded up to whole batches; its samples
    are shuffled together and cut into batches of `batch_size`. Fetches, and so batches, are the same for any number
    of loader workers; only the worker that reads them differs.
    """

    batch_size: int
    block_size: int = 128
    fetch_blocks: int = 8
    shuffle: bool = True
    drop_last: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.batch_size, self.block_size, self.fetch_blocks) < 1:
            raise DatasetError(
                f"batch_size={self.batch_size}, block_size={self.block_size}, fetch_blocks={self.fetch_blocks}: "
                "expected whole numbers of at least 1"
            )

    @property
    def fetch_size(self) -> int:
        """Samples of one fetch: a multiple of the batch size."""
        return -(-max(self.block_size * self.fetch_blocks, self.batch_size) // self.batch_size) * self.batch_size

    def order(self, ids: Array, epoch: int) -> Array:
        """Return all ids, block after block; with `shuffle` the blocks are in random order."""
        ids = np.sort(np.asarray(ids, np.int64))
        if not self.shuffle or not len(ids):
            return ids
        blocks = np.array_split(ids, -(-len(ids) // self.block_size))
        rng = np.random.default_rng([self.seed, epoch])
        return np.concatenate([blocks[i] for i in rng.permutation(len(blocks))])

    def rank_ids(self, ids: Array, epoch: int, rank: int = 0, n_ranks: int = 1) -> Array:
        """Return the ids of one rank; every rank has as many.

        As in `torch.utils.data.DistributedSampler` the list is padded from its beginning, or cut with `drop_last`,
        to a multiple of the ranks. Each rank takes a contiguous part, so that blocks stay whole.
        """
        if not 0 <= rank < n_ranks:
            raise DatasetError(f"rank={rank}: expected a whole number from 0 to {n_ranks - 1} (world_size - 1)")
        order = self.order(ids, epoch)
        size = len(order) // n_ranks if self.drop_last else -(-len(order) // n_ranks)
        return np.resize(order, size * n_ranks)[rank * size : (rank + 1) * size] if len(order) else order

    def fetches(self, ids: Array, epoch: int, rank: int = 0, n_ranks: int = 1) -> list[Array]:
        """Return the ids of every fetch of one rank."""
        mine = self.rank_ids(ids, epoch, rank, n_ranks)
        return [mine[i : i + self.fetch_size] for i in range(0, len(mine), self.fetch_size)]

    def batches(self, fetch: Array, epoch: int, fetch_index: int) -> Iterator[Array]:
        """Yield the positions within a fetch, one batch at a time."""
        positions = np.arange(len(fetch))
        if self.shuffle:
            positions = np.random.default_rng([self.seed, epoch, fetch_index]).permutation(positions)
        for start in range(0, len(positions), self.batch_size):
            batch = positions[start : start + self.batch_size]
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def n_batches(self, n_ids: int, n_ranks: int = 1) -> int:
        """The number of batches of one rank in one epoch."""
        size = n_ids // n_ranks if self.drop_last else -(-n_ids // n_ranks)
        return size // self.batch_size if self.drop_last else -(-size // self.batch_size)


def cut(rows: Array, limits: Array, n_parts: int = 1) -> list[int]:
    """Cut samples in their order into parts that stay below limits, and return the end of each part.

    A part ends before the sample that would exceed a limit; a sample that alone exceeds one is a part of its own.

    Parameters
    ----------
    rows : (n_limits, n) int64, what each sample adds
    limits : (n_limits,) int64
    n_parts : parts are halved, those of most samples first, until there are so many
    """
    totals = np.cumsum(rows, axis=1)
    ends: list[int] = []
    start = 0
    while start < rows.shape[1]:
        room = limits + (totals[:, start - 1] if start else 0)
        stops = [int(np.searchsorted(total, most, side="right")) for total, most in zip(totals, room, strict=True)]
        start = max(min(stops), start + 1)
        ends.append(start)
    while len(ends) < min(n_parts, rows.shape[1]):
        sizes = np.diff([0, *ends])
        longest = int(np.argmax(sizes))
        ends.insert(longest, ends[longest] - int(sizes[longest]) // 2)
    return ends
