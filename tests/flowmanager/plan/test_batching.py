"""Batches: every item once, equal work, smaller towards the end."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dflow.flowmanager.plan.batching import FIRST_ITEMS, MOST_ITEMS, Batcher, Sized, split


@given(
    sizes=st.lists(st.integers(min_value=0, max_value=10**8), max_size=300),
    n_workers=st.integers(min_value=1, max_value=40),
    seconds=st.lists(st.floats(min_value=0.0, max_value=1e4, allow_nan=False), min_size=1, max_size=20),
)
def test_every_item_is_handed_out_once_whatever_is_measured(sizes, n_workers, seconds):
    batcher = Batcher([Sized(index, size) for index, size in enumerate(sizes)], n_workers)
    taken: list[int] = []
    turn = 0
    while batch := batcher.take():
        assert len(batch) <= MOST_ITEMS
        taken.extend(batch)
        batcher.observe(batch, seconds[turn % len(seconds)])
        turn += 1
    assert sorted(taken) == list(range(len(sizes)))
    assert len(batcher) == 0


def test_the_largest_items_go_first():
    batcher = Batcher([Sized(0, 10), Sized(1, 10**6), Sized(2, 10**5)], 1)
    assert batcher.take()[0] == 1


def test_first_batches_are_small_and_later_ones_fit_the_time():
    batcher = Batcher([Sized(index, 0) for index in range(100_000)], 2)
    first = batcher.take()
    assert 1 <= len(first) <= FIRST_ITEMS
    batcher.observe(first, 0.01 * len(first))
    assert len(batcher.take()) == 400  # 4 s of 10 ms items
    fast = Batcher([Sized(index, 0) for index in range(100_000)], 2)
    fast.observe(fast.take(), 0.001)
    assert len(fast.take()) == MOST_ITEMS


def test_no_more_than_two_batches_a_worker_are_guessed():
    batcher = Batcher([Sized(index, 0) for index in range(1_000)], 3)
    first = [batcher.take(n_running) for n_running in range(6)]
    assert all(first)
    assert batcher.take(6) == ()
    assert len(batcher) == 1_000 - sum(map(len, first))
    assert batcher.take(5), "one was lost unmeasured"
    batcher.observe(first[0], 0.1)
    assert batcher.take(12)


def test_batches_shrink_towards_the_end():
    batcher = Batcher([Sized(index, 0) for index in range(2_000)], 4)
    batcher.observe(batcher.take(), 0.4)
    sizes = []
    while batch := batcher.take():
        sizes.append(len(batch))
        batcher.observe(batch, 0.05 * len(batch))
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(sizes))
    assert sizes[0] >= 4 * sizes[-1]
    assert sizes[-1] == 1  # 0.05 s


def test_the_last_batches_of_many_workers_leave_the_scheduler_time():
    batcher = Batcher([Sized(index, 0) for index in range(100_000)], 500)
    batcher.observe(batcher.take(), 0.8)
    sizes = []
    while batch := batcher.take():
        sizes.append(len(batch))
        batcher.observe(batch, 0.1 * len(batch))
    assert min(sizes[:-1]) in (9, 10)  # a second, in which 500 nodes can be handed out


@pytest.mark.parametrize("n_workers", [1, 2, 16])
def test_workers_end_together(n_workers):
    """Each worker takes the next batch when it is free; items take what their size says, some much longer."""
    seconds = {index: (0.5 if index % 97 == 0 else 1.0) * 0.003 * (1 + index % 7) for index in range(8_000)}
    batcher = Batcher([Sized(index, 20_000 * (index % 7)) for index in seconds], n_workers)
    free = [0.0] * n_workers
    while batch := batcher.take():
        worker = free.index(min(free))
        taken = sum(seconds[index] for index in batch)
        free[worker] += taken
        batcher.observe(batch, taken)
    assert max(free) - min(free) < 0.1


def test_few_items_are_batches_of_one():
    batcher = Batcher([Sized(index, 1000) for index in range(6)], 2)
    assert [len(batcher.take()) for _ in range(6)] == [1] * 6


def test_a_lost_batch_is_halved_down_to_single_items():
    assert split((1, 2, 3)) == ((1,), (2, 3))
    assert split((7,)) == ((7,),)


def test_the_largest_of_a_batch_is_its_last():
    batcher = Batcher([Sized(i, 10 * i) for i in range(200)], n_workers=2)
    first = batcher.take()
    assert len(first) > 1
    assert list(first) == sorted(first)
    assert first[-1] == 199


def test_items_of_one_size_keep_their_order():
    batcher = Batcher([Sized(index, 7) for index in range(200)], n_workers=2)
    assert list(batcher.take()) == list(range(8))
