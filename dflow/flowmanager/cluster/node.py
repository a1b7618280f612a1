"""The functions behind the Dask nodes: a batch of a task, run where the scheduler puts it.

A node reads its items' sources for their content hash, leaves out those whose content is what an earlier run saw, and
hands the rest to `run_batch`. It never unpickles users' values.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from dflow.flowmanager.history.freshness import content_hash
from dflow.flowmanager.history.interning import share_layouts
from dflow.flowmanager.plan.batch import Batch, Item, PackedValue
from dflow.flowmanager.worker.worker import run_batch
from dflow.records import BatchResult, ItemRecord
from dflow.storage.paths import source_path

LARGE_VALUE_BYTES = 16 * 1024
"""Returned values beyond this are dropped on the worker when no later task needs them."""


@dataclass(frozen=True, slots=True)
class Follow:
    """How a chained task is fed: `value` and `extras` name earlier nodes of the chain (-1: the chain's items)."""

    value: int
    extras: tuple[tuple[str, int], ...] = ()


def run_first(batch: Batch, *, hashing: bool, needs_value: bool) -> BatchResult:
    """Run the first task of a chain on a batch.

    With `hashing`, an item's ``content_hash`` is what an earlier run saw: where the source still has it, the item's
    record says "reused" and nothing is done; the other records carry the hash of what was read, "" where that is not
    sure because the source cannot be read or was changed meanwhile.
    """
    if not hashing:
        return _trim(run_batch(batch), needs_value)
    same: list[ItemRecord] = []
    changed: list[Item] = []
    root = str(batch.paths.root)
    sources = {item.index: source_path(item.identity, root) for item in batch.items}
    before = {index: _state(path) for index, path in sources.items()}
    for item in batch.items:
        found = _hash(sources[item.index], item.identity)
        if found and found == item.content_hash:
            same.append(ItemRecord(item.index, item.identity, "succeeded", reused=True, content_hash=found))
        else:
            changed.append(replace(item, content_hash=found))
    result = run_batch(replace(batch, items=tuple(changed)))
    touched = [item for item in changed if _state(sources[item.index]) != before[item.index]]
    unsure = {item.index for item in touched if _hash(sources[item.index], item.identity) != item.content_hash}
    if unsure:
        items = tuple(replace(r, content_hash="") if r.item_index in unsure else r for r in result.items)
        result = replace(result, items=items)
    return _trim(_joined(result, same), needs_value)


def run_next(batch: Batch, follow: Follow, *earlier: BatchResult, needs_value: bool) -> BatchResult:
    """Run a further task of a chain on what the `earlier` tasks left of the batch.

    `batch` holds the chain's items as the first task had them. Items that were skipped, failed or reused go no further.
    """
    by_index = [{record.item_index: record for record in result.items} for result in earlier]
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
            )
        )
    return _trim(run_batch(replace(batch, items=tuple(items))), needs_value)


def _parked(by_index: list[dict[int, ItemRecord]], index: int) -> tuple[str, ...]:
    """What the latest task that left samples named them."""
    return next((records[index].parked for records in reversed(by_index) if records[index].parked), ())


def _state(path: str) -> tuple[int, int, int] | None:
    """What changes with a source's content; None for what is no file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _hash(path: str, identity: str) -> str:
    try:
        return content_hash(path, identity)
    except (OSError, ValueError):
        return ""  # the task itself will say what is wrong with the file


def _joined(result: BatchResult, same: list[ItemRecord]) -> BatchResult:
    if not same:
        return result
    return replace(result, items=tuple(sorted((*result.items, *same), key=lambda record: record.item_index)))


def _trim(result: BatchResult, needs_value: bool) -> BatchResult:
    """Carry each layout once and drop large values that nobody will read: they would pile up on the client."""
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
