"""From items to Dask: each step of a chain becomes one delayed node per batch, linked to the task before it."""

from __future__ import annotations

import pickle
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dask.delayed import Delayed, delayed

from dflow.flowmanager.cluster.engine import Job
from dflow.flowmanager.cluster.nodekeys import node_key
from dflow.flowmanager.history.freshness import content_hash, examine, unread_hash
from dflow.flowmanager.plan.batch import Batch, Item, Limits, PackedValue, TaskCall, pack_value
from dflow.flowmanager.plan.items import FlowItem
from dflow.flowmanager.plan.wiring import Chain, Step
from dflow.flowmanager.worker.faults import Fault
from dflow.flowmanager.worker.outcome import ItemOutcome
from dflow.flowmanager.worker.samples import Finished, finished_item, state_of
from dflow.flowmanager.worker.worker import run_batch
from dflow.records import BatchResult, ItemRecord, share_layouts
from dflow.storage.paths import source_path


@dataclass(frozen=True, slots=True)
class ChainTemplate:
    """What the nodes of one chain share.

    `batch` is one without items and with the first call; `calls`, `follows`, `needs_values` and key `suffixes`
    have one entry per step; `hashing` is true where sources are read for their content hash.
    """

    batch: Batch
    calls: tuple[TaskCall, ...]
    follows: tuple[Follow, ...]
    needs_values: tuple[bool, ...]
    suffixes: tuple[str, ...]
    hashing: bool = False


def task_call(step: Step, function: bytes) -> TaskCall:
    """Return the call of a step: its function and how to fill its parameters."""
    return TaskCall(
        task_name=step.task.name,
        kind=step.task.kind,
        function=function,
        feeds=step.feeds,
        stage=step.stage,
        is_last_stage=step.is_last_stage,
    )


def follows_of(chain: Chain) -> tuple[Follow, ...]:
    """Return how each step of a chain is fed from the earlier ones (-1: from the chain's own items)."""
    position = {step.index: number for number, step in enumerate(chain.steps)}
    return tuple(
        Follow(
            position.get(step.item.step, -1),
            tuple((key, position[source.step]) for key, source in step.extras if source.step in position),
        )
        for step in chain.steps
    )


def make_job(
    template: ChainTemplate,
    tag: int,
    flow_items: Mapping[int, FlowItem],
    hashes: Mapping[int, str],
    found: Collection[int] = (),
) -> Job:
    """Return the nodes for one batch of items, by their index; `hashes` are the content hashes of earlier runs.

    Those in `found` may be finished: a run that ended early left samples.
    """
    items = tuple(
        Item(
            index,
            each.identity,
            _packed(each.value),
            content_hash=hashes.get(index, ""),
            may_be_finished=index in found,
        )
        for index, each in flow_items.items()
    )
    nodes: list[Delayed] = []
    for number, call in enumerate(template.calls):
        batch = replace(template.batch, index=tag, call=call, items=items)
        key = node_key(call.task_name, tag, template.suffixes[number])
        if number == 0:
            nodes.append(
                _FIRST(_pack(batch), hashing=template.hashing, needs_value=template.needs_values[0], dask_key_name=key)
            )
        else:
            nodes.append(
                _NEXT(
                    _pack(batch, template.follows[number]),
                    *nodes,
                    needs_value=template.needs_values[number],
                    dask_key_name=key,
                )
            )
    return Job(tag, tuple(nodes))


def gather_limits(limits: Limits) -> Limits:
    """Return the limits of an extract task: it may return the list of all files, and has a day to find them."""
    return replace(
        limits, max_value_bytes=2 * 1024**3, timeout_seconds=max(limits.timeout_seconds, 24 * 3600.0), max_retries=0
    )


def _packed(value: Any) -> Any:
    return value if isinstance(value, PackedValue) else pack_value(value)


# As bytes: Dask would search every dataclass for nodes.
def _pack(*parts: Any) -> bytes:
    return pickle.dumps(parts, protocol=pickle.HIGHEST_PROTOCOL)


def _first(packed: bytes, *, hashing: bool, needs_value: bool) -> BatchResult:
    (batch,) = pickle.loads(packed)
    return run_first(batch, hashing=hashing, needs_value=needs_value)


def _next(packed: bytes, *earlier: BatchResult, needs_value: bool) -> BatchResult:
    batch, follow = pickle.loads(packed)
    return run_next(batch, follow, *earlier, needs_value=needs_value)


_FIRST = delayed(_first, pure=False)
_NEXT = delayed(_next, pure=False)


LARGE_VALUE_BYTES = 16 * 1024
"""Returned values beyond this are dropped on the worker when no later task needs them."""


@dataclass(frozen=True, slots=True)
class Follow:
    """How a chained task is fed: `value` and `extras` name earlier nodes of the chain (-1: the chain's items)."""

    value: int
    extras: tuple[tuple[str, int], ...] = ()


def run_first(batch: Batch, *, hashing: bool, needs_value: bool) -> BatchResult:
    """Run the first task of a chain on a batch.

    With `hashing`, an item's ``content_hash`` is that of an earlier run: where the source still has it, the item's
    record is marked "reused" and nothing is done. So it is, with samples, where they were found finished. The other
    records carry the hash of what was read, "" where that is unsure because the source cannot be read or was changed
    meanwhile. Hashing counts as part of the item's time; an item whose time it uses up fails as "timeout".
    """
    root = str(batch.paths.root)
    sources = {item.index: source_path(item.identity, root) for item in batch.items}
    before = {index: state_of(path) for index, path in sources.items()}
    if not hashing:
        stated = tuple(replace(item, source_state=before[item.index]) for item in batch.items)
        return _trim(run_batch(replace(batch, items=stated)), needs_value)
    done: list[ItemRecord] = []
    changed: list[Item] = []
    for item in batch.items:
        started = time.monotonic()
        try:
            found = _hash(sources[item.index], item, batch.limits)
        except TimeoutError:
            done.append(_too_slow(batch, item, sources[item.index]))
            continue
        if found and found == item.content_hash:
            done.append(ItemRecord(item.index, item.identity, "succeeded", reused=True, content_hash=found))
            continue
        spent = time.monotonic() - started
        item = replace(item, content_hash=found, source_state=before[item.index], spent_seconds=spent)
        left = _finished(batch, item) if item.may_be_finished and found else None
        if left is not None and not (left.value_lost and needs_value):
            record = ItemRecord(item.index, item.identity, "succeeded", left.samples, value=left.value, reused=True)
            done.append(replace(record, content_hash=found, notes=(VALUE_LOST,) if left.value_lost else ()))
        else:
            changed.append(item)
    result = run_batch(replace(batch, items=tuple(changed)))
    touched = [item for item in changed if state_of(sources[item.index]) != before[item.index]]
    unsure = {item.index for item in touched if not _is_unchanged(sources[item.index], item, batch.limits)}
    if unsure:
        items = tuple(replace(r, content_hash="") if r.item_index in unsure else r for r in result.items)
        result = replace(result, items=items)
    return _trim(_joined(result, done), needs_value)


def run_next(batch: Batch, follow: Follow, *earlier: BatchResult, needs_value: bool) -> BatchResult:
    """Run a further task of a chain on what the `earlier` tasks left of the batch.

    `batch` holds the chain's items as the first task took them. Skipped, failed and reused items are left out.
    """
    by_index = [{record.item_index: record for record in result.items} for result in earlier]
    root = str(batch.paths.root)
    items = []
    for item in batch.items:
        last = by_index[-1].get(item.index)
        if last is None or last.status != "succeeded" or last.reused:
            continue
        extras = tuple((key, by_index[node][item.index].value) for key, node in follow.extras)
        items.append(
            replace(
                item,
                value=item.value if follow.value < 0 else by_index[follow.value][item.index].value,
                inputs=item.inputs + extras,
                sample_names=_parked(by_index, item.index),
                content_hash=last.content_hash,
                source_state=state_of(source_path(item.identity, root)),
            )
        )
    return _trim(run_batch(replace(batch, items=tuple(items))), needs_value)


def _parked(by_index: list[dict[int, ItemRecord]], index: int) -> tuple[str, ...]:
    """Return the names of the samples that the latest task left."""
    return next((records[index].parked for records in reversed(by_index) if records[index].parked), ())


VALUE_LOST = "found finished; what the task returned is lost"
"""A note of a record without its value."""


def _finished(batch: Batch, item: Item) -> Finished | None:
    try:
        return finished_item(batch, item)
    except Exception:  # damaged, or of another version: it is made again
        return None


def _hash(path: str, item: Item, limits: Limits) -> str:
    """Return a source's content hash, "" where it cannot be read; that of the identity of an item without a file.

    A source that an earlier run could not read in time is not read again before it changes.

    Raises
    ------
    TimeoutError
        If it takes longer than the item has.
    """
    source = examine(path)
    try:
        if source.is_file and item.content_hash and item.content_hash == unread_hash(path):
            return item.content_hash
        return content_hash(path, item.identity, seconds=limits.seconds_for(source.n_bytes))
    except TimeoutError:
        raise
    except (OSError, ValueError):
        return ""  # the task's own error names the fault of the file


def _is_unchanged(path: str, item: Item, limits: Limits) -> bool:
    try:
        return _hash(path, item, limits) == item.content_hash
    except TimeoutError:
        return False


def _too_slow(batch: Batch, item: Item, path: str) -> ItemRecord:
    """Return the record of an item whose source cannot be read within the item's time."""
    size = examine(path).n_bytes
    limit = batch.limits.seconds_for(size)
    outcome = ItemOutcome(batch, replace(item, content_hash=unread_hash(path)))
    outcome.give_up(Fault("timeout", f"not finished within {limit:g} s: reading its {size:,} bytes takes longer"))
    record = outcome.record()
    assert record.error is not None
    return replace(record, seconds=limit, error=replace(record.error, seconds=limit))


def _joined(result: BatchResult, others: list[ItemRecord]) -> BatchResult:
    if not others:
        return result
    return replace(result, items=tuple(sorted((*result.items, *others), key=lambda record: record.item_index)))


def _trim(result: BatchResult, needs_value: bool) -> BatchResult:
    """Keep each layout once and drop large values that no later task takes: they would fill the client's memory."""
    result = replace(result, items=share_layouts(result.items, {}))
    if needs_value or not any(_is_large(record) for record in result.items):
        return result
    note = f"the returned value was dropped: more than {LARGE_VALUE_BYTES} bytes, and no later task takes it"
    items = tuple(
        replace(record, value=None, notes=(*record.notes, note)) if _is_large(record) else record
        for record in result.items
    )
    return replace(result, items=items)


def _is_large(record: ItemRecord) -> bool:
    value = record.value
    size = len(value.data) if isinstance(value, PackedValue) else len(value) if isinstance(value, str) else 0
    return size > LARGE_VALUE_BYTES
