"""The order of the samples of an epoch: a pure plan from seed, epoch, rank and number of ranks, and what is left of it.

Samples that are neighbours in the dataset are neighbours on disk. Reading them one by one in random order decodes
every chunk many times. Reading blocks of neighbours in random order, several blocks at a time, and shuffling the
samples of these blocks together costs one sequential read per block and mixes nearly as well (the fetch factor of
scDataset, arXiv 2506.01883; annbatch does the same).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice
from typing import Any

import numpy as np

from dflow.errors import DatasetError

Array = np.ndarray[Any, np.dtype[Any]]
Segment = tuple[int, int, int]
"""A stretch of an epoch that was read in one way: number of ranks, batch size, and batches that each rank took."""


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
        """Set the number of the next pass, here and where this counter leads."""
        self._next = self._choice = epoch
        self._n_choices += 1

    def go_to(self, epoch: int) -> None:
        """Set the number of the next pass here, whatever the leader chose before."""
        self._next = epoch
        if self._leader is not None:
            self._n_choices = self._leader._n_choices

    def next(self) -> int:
        """The number of the next pass."""
        leader = self._leader
        if leader is not None and leader._n_choices != self._n_choices:
            self._next, self._n_choices = leader._choice, leader._n_choices
        return self._next

    def begin(self) -> int:
        """Begin a pass and return its number."""
        number = self.next()
        self._next += 1
        return number


@dataclass(frozen=True, slots=True)
class Pass:
    """One rank's way through an epoch, or through what is left of it.

    `done` are the stretches before this one, which were read with other ranks or batches; `start` is the number of
    batches of this one that were taken before.
    """

    epoch: int = 0
    rank: int = 0
    n_ranks: int = 1
    done: tuple[Segment, ...] = ()
    start: int = 0


@dataclass(frozen=True, eq=False)
class Bounds:
    """The most rows in a batch, of one group or several.

    Parameters
    ----------
    max_rows : by group
    ids : (n,) int64, samples as the plan numbers them
    rows : (n_groups, n) int64, what each sample adds
    sized : whether batches have a number of samples too
    """

    max_rows: dict[str, int]
    ids: Array
    rows: Array
    sized: bool = True

    def parts(self, step: Sequence[Array], rank: int) -> list[Array]:
        """Cut the batch of a rank so that no part exceeds the rows; all ranks' batches of a step into as many parts.

        Parameters
        ----------
        step : every rank's ids
        rank : whose parts are returned
        """
        order = np.argsort(self.ids)
        limits = np.array(list(self.max_rows.values()))
        rows = [self.rows[:, order[np.searchsorted(self.ids, ids, sorter=order)]] for ids in step]
        n_parts = max(len(cut(added, limits)) for added in rows)
        return np.split(step[rank], cut(rows[rank], limits, n_parts)[:-1]) if len(step[rank]) else []


class Plan(ABC):
    """The order of an epoch, how ranks share it, and how it is cut into batches."""

    batch_size: int
    shuffle: bool
    drop_last: bool
    seed: int
    bounds: Bounds | None

    @abstractmethod
    def order(self, ids: Array, epoch: int) -> Array:
        """Return all ids in the order of an epoch."""

    @abstractmethod
    def _deal(self, order: Array, rank: int, n_ranks: int) -> Array:
        """Return a rank's part of ids without repeats: of n ids the first ``n % n_ranks`` ranks have one more."""

    @abstractmethod
    def _batches(self, mine: Array, repeats: int, epoch: int) -> Iterator[Array]:
        """Cut a rank's ids, of which the last `repeats` are another rank's too, into batches; these stay the last."""

    def settings(self) -> dict[str, Any]:
        """The plan's fields by name."""
        return {name.name: getattr(self, name.name) for name in fields(self)}  # type: ignore[arg-type]

    def left(self, ids: Array, epoch: int, done: tuple[Segment, ...] = ()) -> Array:
        """Return the ids of an epoch that no rank has taken in the stretches `done`, in their order."""
        order = self.order(ids, epoch)
        for n_ranks, batch_size, n_batches in done:
            plan = replace(self, batch_size=batch_size)  # type: ignore[type-var]
            parts = (plan._steps(order, epoch, rank, n_ranks) for rank in range(n_ranks))
            taken = [batch for part in parts for batch in islice(part, n_batches)]
            order = order[~np.isin(order, np.concatenate(taken))] if taken else order
        return order

    def rank_ids(
        self, ids: Array, epoch: int, rank: int = 0, n_ranks: int = 1, done: tuple[Segment, ...] = ()
    ) -> Array:
        """Return the ids of one rank of what is left; every rank has as many.

        If they do not divide evenly, `drop_last` leaves out those over, else each rank that has one less ends with
        one of the first ids again.
        """
        return self._share(self.left(ids, epoch, done), rank, n_ranks)[0]

    def _share(self, order: Array, rank: int, n_ranks: int) -> tuple[Array, int]:
        """Return a rank's ids, and how many of the last ones are another rank's too."""
        if not 0 <= rank < n_ranks:
            raise DatasetError(f"rank={rank}: expected a whole number from 0 to {n_ranks - 1} (world_size - 1)")
        over = len(order) % n_ranks
        if self.drop_last:
            return self._deal(order[: len(order) - over], rank, n_ranks), 0
        mine = self._deal(order, rank, n_ranks)
        if not over or rank < over:
            return mine, 0
        return np.append(mine, order[(rank - over) % len(order)]), 1

    def rank_batches(self, ids: Array, this: Pass) -> Iterator[Array]:
        """Yield the ids of every batch of a pass."""
        steps = self._steps(self.left(ids, this.epoch, this.done), this.epoch, this.rank, this.n_ranks)
        return islice(steps, this.start, None)

    def _steps(self, order: Array, epoch: int, rank: int, n_ranks: int) -> Iterator[Array]:
        """Yield a rank's batches of ids in their order."""
        bounds = self.bounds
        if bounds is None:
            return self._batches(*self._share(order, rank, n_ranks), epoch)
        steps = zip(*(self._batches(*self._share(order, r, n_ranks), epoch) for r in range(n_ranks)), strict=True)
        return (part for step in steps for part in bounds.parts(step, rank))

    def n_left(self, ids: Array, epoch: int, n_ranks: int, done: tuple[Segment, ...] = ()) -> int:
        """The number of batches that each rank has left of an epoch."""
        if self.bounds is None:
            return self.n_batches(len(self.left(ids, epoch, done)) if done else len(ids), n_ranks)
        return sum(1 for _ in self._steps(self.left(ids, epoch, done), epoch, 0, n_ranks))

    def n_batches(self, n_ids: int, n_ranks: int = 1) -> int:
        """The number of batches of one rank, of `n_ids` ids in all, without limits of rows."""
        size = n_ids // n_ranks if self.drop_last else -(-n_ids // n_ranks)
        return size // self.batch_size if self.drop_last else -(-size // self.batch_size)

    def _cut(self, mine: Array) -> Iterator[Array]:
        whole = self.drop_last and (self.bounds is None or self.bounds.sized)
        stop = len(mine) - len(mine) % self.batch_size if whole else len(mine)
        return (mine[start : start + self.batch_size] for start in range(0, stop, self.batch_size))


@dataclass(frozen=True, slots=True)
class SamplePlan(Plan):
    """The order of an epoch that is read sample by sample.

    All ranks' batches of one step are the next samples of the order, dealt out one by one.
    """

    batch_size: int
    shuffle: bool = True
    drop_last: bool = False
    seed: int = 0
    bounds: Bounds | None = None

    def order(self, ids: Array, epoch: int) -> Array:
        """Return all ids; with `shuffle` in random order."""
        return np.random.default_rng([self.seed, epoch]).permutation(ids) if self.shuffle else np.asarray(ids)

    def _deal(self, order: Array, rank: int, n_ranks: int) -> Array:
        return order[rank::n_ranks]

    def _batches(self, mine: Array, repeats: int, epoch: int) -> Iterator[Array]:
        return self._cut(mine)


@dataclass(frozen=True, slots=True)
class BlockPlan(Plan):
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
    bounds: Bounds | None = None

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

    def _deal(self, order: Array, rank: int, n_ranks: int) -> Array:
        """Return a contiguous part, so that blocks stay whole."""
        size, over = divmod(len(order), n_ranks)
        start = rank * size + min(rank, over)
        return order[start : start + size + (rank < over)]

    def _batches(self, mine: Array, repeats: int, epoch: int) -> Iterator[Array]:
        return (batch for fetch in self._fetches(mine, repeats, epoch) for batch in self.batches(fetch))

    def fetches(self, ids: Array, this: Pass) -> Iterator[tuple[Array, list[Array]]]:
        """Yield the ids of every fetch of a pass, and its batches from the pass's start on."""
        order = self.left(ids, this.epoch, this.done)
        ranks = [this.rank] if self.bounds is None else range(this.n_ranks)
        fetches = [self._fetches(*self._share(order, rank, this.n_ranks), this.epoch) for rank in ranks]
        skipped = this.start
        for step in zip(*fetches, strict=True):
            fetch = step[0] if self.bounds is None else step[this.rank]
            batches = list(self.batches(fetch))
            if self.bounds is not None:
                together = zip(*map(self.batches, step), strict=True)
                batches = [part for batch in together for part in self.bounds.parts(batch, this.rank)]
            if skipped < len(batches):
                yield fetch, batches[skipped:]
            skipped = max(skipped - len(batches), 0)

    def _fetches(self, mine: Array, repeats: int, epoch: int) -> list[Array]:
        fetches = [mine[i : i + self.fetch_size] for i in range(0, len(mine), self.fetch_size)]
        if not self.shuffle:
            return fetches
        for number, fetch in enumerate(fetches):
            n_mixed = len(fetch) - (repeats if number == len(fetches) - 1 else 0)
            mixed = np.random.default_rng([self.seed, epoch, number]).permutation(fetch[:n_mixed])
            fetches[number] = np.append(mixed, fetch[n_mixed:])
        return fetches

    def batches(self, fetch: Array) -> Iterator[Array]:
        """Cut a fetch into batches."""
        return self._cut(fetch)


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
