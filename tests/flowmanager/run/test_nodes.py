"""Nodes of a chain: what each is fed with, what is reused, and which values are kept."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dflow.flowmanager.cluster.engine import compute_here
from dflow.flowmanager.history.freshness import content_hash
from dflow.flowmanager.plan.batch import Item, Limits, PackedValue, unpack_value
from dflow.flowmanager.plan.items import FlowItem
from dflow.flowmanager.plan.tasks import spec_of
from dflow.flowmanager.plan.wiring import plan
from dflow.flowmanager.run import nodes
from dflow.flowmanager.run.nodes import (
    LARGE_VALUE_BYTES,
    ChainTemplate,
    Follow,
    follows_of,
    gather_limits,
    make_job,
    run_first,
    run_next,
)
from dflow.records import BatchResult, ItemRecord
from tests.flowmanager import flowparts
from tests.flowmanager.batches import make_batch


def length(path: str) -> int:
    return len(Path(path).read_text())


def double(value: int) -> int:
    return 2 * value


def batch_of(folder: Path, *texts: str) -> Any:
    """A batch that measures one file per text."""
    files = []
    for number, text in enumerate(texts):
        (folder / f"{number}.txt").write_text(text)
        files.append(str(folder / f"{number}.txt"))
    (folder / "out").mkdir(exist_ok=True)
    return make_batch(length, files, folder / "out", isolation="inline")


def with_hashes(batch: Any, *numbers: int) -> Any:
    """The batch whose items of these numbers were done before with the present content."""
    items = [
        nodes.replace(each, content_hash=content_hash(unpack_value(each.value), each.identity))
        if each.index in numbers
        else each
        for each in batch.items
    ]
    return nodes.replace(batch, items=tuple(items))


def test_unchanged_sources_are_reused_and_the_others_carry_the_hash_of_what_was_read(tmp_path):
    batch = with_hashes(batch_of(tmp_path, "a", "bb", "ccc"), 1)
    result = run_first(batch, hashing=True, needs_value=True)
    assert [(r.item_index, r.reused, r.value) for r in result.items] == [(0, False, 1), (1, True, None), (2, False, 3)]
    assert [r.content_hash for r in result.items] == [content_hash(str(tmp_path / f"{n}.txt"), "") for n in range(3)]


def test_without_hashing_every_item_is_done(tmp_path):
    result = run_first(with_hashes(batch_of(tmp_path, "a"), 0), hashing=False, needs_value=True)
    assert [(r.reused, r.value) for r in result.items] == [(False, 1)]


def test_a_source_that_changes_while_it_is_read_has_no_hash(tmp_path, monkeypatch):
    batch = batch_of(tmp_path, "a", "bb")
    real = nodes.run_batch

    def meddle(batch: Any) -> BatchResult:
        result = real(batch)
        (tmp_path / "1.txt").write_text("changed")
        os.utime(tmp_path / "0.txt", (1, 1))  # touched, with the same content
        return result

    monkeypatch.setattr(nodes, "run_batch", meddle)
    result = run_first(batch, hashing=True, needs_value=True)
    assert [bool(record.content_hash) for record in result.items] == [True, False]


def test_a_missing_source_fails_with_its_own_error(tmp_path):
    batch = batch_of(tmp_path, "a")
    (tmp_path / "0.txt").unlink()
    (record,) = run_first(batch, hashing=True, needs_value=True).items
    assert record.error is not None
    assert record.error.kind == "vanished"


def test_a_source_that_cannot_be_hashed_has_no_hash_and_is_done(tmp_path, monkeypatch):
    def refuse(*_: Any, **__: Any) -> str:
        raise OSError("Input/output error")

    monkeypatch.setattr(nodes, "content_hash", refuse)
    result = run_first(batch_of(tmp_path, "abc"), hashing=True, needs_value=True)
    assert [(record.value, record.content_hash) for record in result.items] == [(3, "")]


def test_reading_a_source_counts_as_part_of_its_time_and_is_not_tried_again_before_it_changes(tmp_path):
    """A sparse file: its bytes cannot be hashed in time, its call never begins, the others are done."""
    batch = batch_of(tmp_path, "abc")
    huge = tmp_path / "huge.txt"
    huge.touch()
    os.truncate(huge, 4_000_000_000)
    items = (*batch.items, Item(1, str(huge), str(huge)))
    batch = replace(batch, items=items, limits=replace(batch.limits, timeout_seconds=0.1))
    first, slow = run_first(batch, hashing=True, needs_value=True).items
    assert (first.status, first.value) == ("succeeded", 3)
    assert slow.error is not None
    assert (slow.error.kind, slow.error.attempts) == ("timeout", 1)
    assert slow.error.message == "not finished within 0.1 s: reading its 4,000,000,000 bytes takes longer"
    again = replace(batch, items=(replace(items[1], content_hash=slow.content_hash),))
    assert run_first(again, hashing=True, needs_value=True).items[0].reused
    os.truncate(huge, 5)
    assert not run_first(again, hashing=True, needs_value=True).items[0].reused


def test_the_time_of_reading_a_source_is_taken_off_the_items_time(tmp_path, monkeypatch):
    batch, given = batch_of(tmp_path, "abc"), []
    monkeypatch.setattr(nodes, "content_hash", lambda *_, **__: time.sleep(0.02) or "hash")
    monkeypatch.setattr(nodes, "run_batch", lambda batch: given.append(batch) or BatchResult("first", 0, ()))
    run_first(batch, hashing=True, needs_value=True)
    assert given[0].items[0].spent_seconds >= 0.02


def result_of(*records: ItemRecord) -> BatchResult:
    return BatchResult("first", 0, records)


def test_only_items_that_succeeded_anew_go_on_with_what_was_returned(tmp_path):
    batch = make_batch(double, ["a", "b", "c", "d"], tmp_path, isolation="inline")
    earlier = result_of(
        ItemRecord(0, "a", "succeeded", value=1, content_hash="h"),
        ItemRecord(1, "b", "skipped"),
        ItemRecord(2, "c", "failed"),
        ItemRecord(3, "d", "succeeded", reused=True),
    )
    result = run_next(batch, Follow(0), earlier, needs_value=True)
    assert [(r.item_index, r.value, r.content_hash) for r in result.items] == [(0, 2, "h")]


def test_a_task_may_be_fed_from_the_chain_s_items_again(tmp_path):
    batch = make_batch(double, [7], tmp_path, isolation="inline")
    result = run_next(batch, Follow(-1), result_of(ItemRecord(0, "7", "succeeded", value=1)), needs_value=True)
    assert [record.value for record in result.items] == [14]


def test_the_samples_of_the_latest_task_that_left_some_are_continued(tmp_path):
    records = [ItemRecord(0, "a", "succeeded", parked=parked) for parked in (("old",), ("new",), ())]
    assert nodes._parked([{0: record} for record in records], 0) == ("new",)
    assert nodes._parked([{0: records[2]}], 0) == ()


@pytest.mark.parametrize("needs_value", [True, False])
def test_large_values_travel_only_where_they_are_needed(needs_value):
    small, large = "x" * LARGE_VALUE_BYTES, PackedValue(b"x" * (LARGE_VALUE_BYTES + 1))
    result = result_of(ItemRecord(0, "a", "succeeded", value=small), ItemRecord(1, "b", "succeeded", value=large))
    kept = nodes._trim(result, needs_value).items
    assert kept[0].value == small
    assert kept[1].value == (large if needs_value else None)
    assert bool(kept[1].notes) is not needs_value


def test_steps_follow_each_other_or_the_chain_s_items():
    tasks = [spec_of(task) for task in (flowparts.gather, flowparts.encode, flowparts.label)]
    _, chain = plan(tasks, ["sources"]).chains
    assert follows_of(chain) == (Follow(-1), Follow(0))


def test_a_job_is_a_node_per_step_that_depends_on_those_before(tmp_path):
    first = make_batch(double, [], tmp_path, isolation="inline")
    template = ChainTemplate(
        batch=first,
        calls=(first.call, nodes.replace(first.call, task_name="again")),
        follows=(Follow(-1), Follow(0)),
        needs_values=(True, True),
        suffixes=("", "0123456789abcdef"),
    )
    job = make_job(template, 3, {5: FlowItem("a", 21), 8: FlowItem("b", 4)}, {})
    assert [node.key for node in job.nodes] == ["encode-000003", "again-0123456789abcdef-000003"]
    results = compute_here(job.nodes)
    assert [[(r.item_index, r.value) for r in each.items] for each in results] == [
        [(5, 42), (8, 8)],
        [(5, 84), (8, 16)],
    ]


def test_listing_files_has_a_day_and_no_second_try():
    limits = gather_limits(Limits(timeout_seconds=5.0, max_retries=3))
    assert (limits.timeout_seconds, limits.max_retries) == (86_400.0, 0)
    assert gather_limits(Limits(timeout_seconds=1e6)).timeout_seconds == 1e6
