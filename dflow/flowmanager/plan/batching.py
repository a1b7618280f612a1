"""Batches of items, chosen by pure functions from the items' sizes and the seconds measured so far.

Large items go first, so that no straggler is left for the end; batches shrink towards the end, so that all workers
finish together; none is so small that the scheduler's few milliseconds per node matter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

TARGET_SECONDS = 4.0
"""Work in a batch while much is left: hides the scheduler's cost, and progress is still reported often."""

LEAST_SECONDS = 0.05
"""Least work in a batch, even at the end: a batch itself costs some milliseconds."""

NODE_SECONDS = 0.002
"""Time that the scheduler spends on one node; while one batch runs it must be able to serve every worker."""

SHARES = 2
"""Batches that a worker's part of the remaining work is divided into, so that a later one makes up for one that took
longer than expected ("factoring": Hummel, Schonberg and Flynn, 1992). More of them would even out more, but each costs
client, scheduler and worker 8 ms together.
"""

MOST_ITEMS = 512
"""Most items in a batch: keeps a node's message small."""

ITEM_BYTES = 20_000
"""Cost of opening an item, in bytes of its file, until seconds are measured."""

FIRST_ITEMS = 8
"""Most items in a batch before anything is measured."""

FIRST_BATCHES = 2
"""Batches under way per worker before anything is measured: one that runs and one that waits."""


@dataclass(frozen=True, slots=True)
class Sized:
    """An item's position and the size of its file in bytes (0 where there is none)."""

    index: int
    n_bytes: int

    @property
    def weight(self) -> int:
        """Expected work, in bytes."""
        return self.n_bytes + ITEM_BYTES


class Batcher:
    """Hands out batches of item indices, adapting to the measured speed. One thread at a time.

    Every item is handed out exactly once, whatever is measured.
    """

    def __init__(self, items: Sequence[Sized], n_workers: int) -> None:
        self._queue = deque(sorted(items, key=lambda item: (-item.n_bytes, item.index)))
        self._n_workers = max(1, n_workers)
        self._weight_left = sum(item.weight for item in items)
        self._measured_weight = 0.0
        self._measured_seconds = 0.0
        self._weights = {item.index: item.weight for item in items}

    def __len__(self) -> int:
        return len(self._queue)

    def observe(self, indices: Sequence[int], seconds: float) -> None:
        """Record that these items together took `seconds` of one worker's time."""
        self._measured_weight += sum(self._weights.pop(index, 0) for index in indices)
        self._measured_seconds += seconds

    def take(self, n_running: int = 0) -> tuple[int, ...]:
        """Return the next batch's item indices; () when all are handed out, or when the times of the `n_running`
        batches under way should be measured first.

        The largest comes last, so that no other file of the batch waits for a slow one; equal sizes keep their order.
        """
        must_wait = self._measured_seconds <= 0.0 and n_running >= FIRST_BATCHES * self._n_workers
        if not self._queue or must_wait:
            return ()
        weight_limit, most = self._limits()
        taken = [self._pop()]
        weight = taken[0].weight
        while self._queue and len(taken) < most and weight + self._queue[0].weight <= weight_limit:
            taken.append(self._pop())
            weight += taken[-1].weight
        return tuple(item.index for item in sorted(taken, key=lambda item: (item.n_bytes, item.index)))

    def _pop(self) -> Sized:
        item = self._queue.popleft()
        self._weight_left -= item.weight
        return item

    def _limits(self) -> tuple[float, int]:
        share = self._weight_left / (SHARES * self._n_workers)
        if self._measured_seconds <= 0.0:
            few = max(1, min(FIRST_ITEMS, len(self._queue) // (4 * self._n_workers)))
            return max(share, 1.0), few
        weight_per_second = self._measured_weight / self._measured_seconds
        least = max(LEAST_SECONDS, NODE_SECONDS * self._n_workers)
        seconds = min(TARGET_SECONDS, max(least, share / weight_per_second))
        return seconds * weight_per_second, MOST_ITEMS


def split(indices: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Return the two halves of a batch whose worker died (one item cannot be split further)."""
    if len(indices) < 2:
        return (tuple(indices),)
    middle = len(indices) // 2
    return tuple(indices[:middle]), tuple(indices[middle:])
