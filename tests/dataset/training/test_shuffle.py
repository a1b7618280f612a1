"""The plan of a block-shuffled epoch: every sample once, the same batches for any number of workers, equal ranks."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dflow.dataset.query.store import open_store
from dflow.dataset.training.collate import collate
from dflow.dataset.training.samples import SampleReader
from dflow.dataset.training.shuffle import BlockPlan, Bounds, Pass, Plan, SamplePlan, Segment, cut
from dflow.dataset.training.subset import CADDataset
from dflow.dataset.training.transforms import Compose, RandomRotation, Standardise, UnitBox
from dflow.errors import DatasetError
from tests.dataset.synthetic import random_parts, write_parts

PLANS = st.builds(
    BlockPlan,
    batch_size=st.integers(1, 9),
    block_size=st.integers(1, 9),
    fetch_blocks=st.integers(1, 4),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    seed=st.integers(0, 9),
)


SAMPLE_PLANS = st.builds(
    SamplePlan, batch_size=st.integers(1, 9), shuffle=st.booleans(), drop_last=st.booleans(), seed=st.integers(0, 9)
)
STRETCHES = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(0, 5)), max_size=3)


def epoch_of(plan: Plan, ids: np.ndarray, epoch: int, rank: int = 0, n_ranks: int = 1) -> list[list[int]]:
    return [batch.tolist() for batch in plan.rank_batches(ids, Pass(epoch, rank, n_ranks))]


@settings(max_examples=300)
@given(plan=PLANS | SAMPLE_PLANS, n=st.integers(0, 120), stretches=STRETCHES, n_ranks=st.integers(1, 5))
def test_an_epoch_that_is_continued_has_every_sample_and_few_twice(
    plan: BlockPlan | SamplePlan, n: int, stretches: list[Segment], n_ranks: int
) -> None:
    """With other ranks and batches each time; ranks take as many steps, and only the last one repeats samples."""
    ids = np.random.default_rng(n).permutation(500)[:n]
    seen: list[int] = []
    done: list[Segment] = []
    for ranks, batch_size, n_steps in stretches:
        steps = steps_of(replace(plan, batch_size=batch_size), ids, ranks, tuple(done))[:n_steps]
        done.append((ranks, batch_size, n_steps))
        if len(steps) < n_steps:  # the epoch is at its end
            return
        seen += [i for step in steps for i in step]
        if len(set(seen)) < len(seen):  # its last step
            assert set(seen) == set(ids.tolist())
            assert len(seen) - n < ranks
            return
    steps = steps_of(plan, ids, n_ranks, tuple(done))
    before_last = seen + [i for step in steps[:-1] for i in step]
    everything = seen + [i for step in steps for i in step]
    assert len(set(before_last)) == len(before_last)
    if plan.drop_last:
        assert len(set(everything)) == len(everything) > n - n_ranks * plan.batch_size
    else:
        assert set(everything) == set(ids.tolist())
        assert len(everything) - n < n_ranks
    n_left = len(plan.left(ids, 2, tuple(done)))
    assert n_left == n - len(seen)
    assert len(steps) == plan.n_batches(n_left, n_ranks)


def steps_of(plan: Plan, ids: np.ndarray, n_ranks: int, done: tuple[Segment, ...]) -> list[list[int]]:
    """The samples of all ranks, step by step."""
    ranks = [list(plan.rank_batches(ids, Pass(2, rank, n_ranks, done))) for rank in range(n_ranks)]
    return [np.concatenate(step).tolist() for step in zip(*ranks, strict=True)]


@settings(max_examples=50)
@given(plan=PLANS | SAMPLE_PLANS, n=st.integers(0, 120), start=st.integers(0, 8), n_ranks=st.integers(1, 3))
def test_a_pass_goes_on_as_it_would_have(plan: BlockPlan | SamplePlan, n: int, start: int, n_ranks: int) -> None:
    for rank in range(n_ranks):
        whole = epoch_of(plan, np.arange(n), 1, rank, n_ranks)
        assert [b.tolist() for b in plan.rank_batches(np.arange(n), Pass(1, rank, n_ranks, start=start))] == whole[
            start:
        ]


@settings(max_examples=150)
@given(plan=PLANS, n=st.integers(0, 120), n_ranks=st.integers(1, 4))
def test_ranks_share_every_sample_equally(plan: BlockPlan, n: int, n_ranks: int) -> None:
    ids = np.random.default_rng(n).permutation(500)[:n]
    parts = [plan.rank_ids(ids, 2, rank, n_ranks) for rank in range(n_ranks)]
    assert len({len(part) for part in parts}) == 1
    together = np.concatenate(parts)
    if plan.drop_last:
        assert len(together) == n - n % n_ranks == len(set(together.tolist()))
    else:
        assert set(together.tolist()) == set(ids.tolist())
        assert len(together) - n < n_ranks


@settings(max_examples=150)
@given(plan=PLANS, n=st.integers(0, 120))
def test_batches_have_the_stated_number_and_size(plan: BlockPlan, n: int) -> None:
    batches = epoch_of(plan, np.arange(n), 0)
    assert len(batches) == plan.n_batches(n)
    assert all(len(b) == plan.batch_size for b in batches[:-1])
    if not plan.drop_last:
        assert sorted(i for b in batches for i in b) == list(range(n))


def test_epochs_differ_and_repeat_by_seed() -> None:
    plan = BlockPlan(8, block_size=4, fetch_blocks=2, seed=1)
    ids = np.arange(100)
    assert epoch_of(plan, ids, 0) == epoch_of(plan, ids[::-1], 0)
    assert epoch_of(plan, ids, 0) != epoch_of(plan, ids, 1)
    assert epoch_of(plan, ids, 0) != epoch_of(BlockPlan(8, block_size=4, fetch_blocks=2, seed=2), ids, 0)
    assert epoch_of(BlockPlan(8, shuffle=False), ids, 5)[0] == list(range(8))


def test_batches_are_mixed_from_far_apart() -> None:
    batches = epoch_of(BlockPlan(32, block_size=16, fetch_blocks=8), np.arange(10_000), 0)
    spread = np.array([np.ptp(b) for b in batches])
    assert np.median(spread) > 5000


@pytest.mark.parametrize("bad", [{"batch_size": 0}, {"batch_size": 1, "block_size": 0}])
def test_plans_that_make_no_sense(bad: dict[str, int]) -> None:
    with pytest.raises(DatasetError, match="at least 1"):
        BlockPlan(**bad)
    with pytest.raises(DatasetError, match="rank=2: expected a whole number from 0 to 1"):
        BlockPlan(1).rank_ids(np.arange(3), 0, 2, 2)


@pytest.mark.parametrize("n_workers", [1, 3])
@pytest.mark.parametrize("kind", ["none", "elementwise", "per item"])
def test_batches_hold_the_samples_they_name_for_any_number_of_workers(
    tmp_path: Path, n_workers: int, kind: str
) -> None:
    store = open_store(write_parts(random_parts(70), tmp_path).dataset)
    standardise = Standardise({"faces/face_areas": (np.array(3.0), np.array(2.0))})
    transform = {
        "none": None,
        "elementwise": standardise,
        "per item": Compose((UnitBox(), RandomRotation(), standardise)),
    }[kind]
    dataset = CADDataset(SampleReader(store), np.arange(0, 70, 2), transform=transform)
    dataset.set_epoch(4)
    plan = BlockPlan(4, block_size=3, fetch_blocks=2)
    seen = []
    for worker in range(n_workers):
        for batch in dataset.iter_batches(plan, epoch=4, worker=worker, n_workers=n_workers):
            ids = batch["id"].tolist()
            seen.append(ids)
            expected = collate([dataset[ids_position(dataset, i)] for i in ids])
            assert list(batch) == list(expected)
            for key, value in expected.items():
                np.testing.assert_allclose(batch[key], value, rtol=1e-5, atol=1e-5, err_msg=key)
                assert batch[key].dtype == value.dtype
    assert sorted(seen) == sorted(epoch_of(plan, dataset.file_codes, 4))


def ids_position(dataset: CADDataset, file_id: int) -> int:
    return int(np.flatnonzero(dataset.file_codes == file_id)[0])


@given(
    rows=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=25),
    limits=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    n_parts=st.integers(1, 30),
)
def test_parts_hold_what_fits_and_as_many_as_wanted(
    rows: list[tuple[int, int]], limits: tuple[int, int], n_parts: int
) -> None:
    added, most = np.array(rows, np.int64).reshape(-1, 2).T, np.array(limits)
    ends = cut(added, most)
    assert ends == sorted(set(ends))
    assert (ends[-1] if ends else 0) == len(rows)
    for start, end in itertools.pairwise([0, *ends]):
        assert end - start == 1 or (added[:, start:end].sum(axis=1) <= most).all()
        assert end == len(rows) or (added[:, start : end + 1].sum(axis=1) > most).any()
    more = cut(added, most, n_parts)
    assert set(ends) <= set(more)
    assert len(more) == max(len(ends), min(n_parts, len(rows)))


@pytest.mark.parametrize("kind", [SamplePlan, BlockPlan])
def test_plans_with_limited_rows_share_and_continue_like_others(kind: Any) -> None:
    """Equally many batches on every rank, none with too many rows; all the rest after a stop, on other ranks."""
    ids = np.arange(100, 160)
    rows = np.random.default_rng(0).integers(1, 9, (1, 60))
    plan = kind(7, seed=1, bounds=Bounds({"faces": 20}, ids, rows))
    ranks = [list(plan.rank_batches(ids, Pass(2, rank, 3))) for rank in range(3)]
    assert len({len(batches) for batches in ranks}) == 1
    assert plan.n_left(ids, 2, 3) == len(ranks[0])
    assert max(rows[0, batch - 100].sum() for batches in ranks for batch in batches) <= 20
    assert sorted(np.concatenate([batch for batches in ranks for batch in batches])) == ids.tolist()
    done = ((3, 7, 2),)
    taken = np.concatenate([batch for batches in ranks for batch in batches[:2]])
    left = [batch for rank in range(2) for batch in plan.rank_batches(ids, Pass(2, rank, 2, done))]
    assert set(np.concatenate(left)) == set(ids) - set(taken)
    again = list(plan.rank_batches(ids, Pass(2, 1, 3, start=2)))
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in ranks[1][2:]]


def test_fetches_of_blocks_hold_the_batches_of_the_pass() -> None:
    ids, rows = np.arange(60), np.full((1, 60), 3)
    for bounds in (None, Bounds({"faces": 10}, ids, rows)):
        plan = BlockPlan(5, block_size=5, fetch_blocks=2, bounds=bounds)
        for start in (0, 1, 3, 8):
            this = Pass(0, 1, 2, start=start)
            fetched = [batch.tolist() for _, batches in plan.fetches(ids, this) for batch in batches]
            assert fetched == [batch.tolist() for batch in plan.rank_batches(ids, this)]
            assert all(set(np.concatenate(batches)) <= set(fetch) for fetch, batches in plan.fetches(ids, this))
