"""Batches for tests: a function of a test module and the values to call it with."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np

from dflow.flowmanager.plan.batch import Batch, Feed, FeedKind, Item, Limits, TaskCall
from dflow.records import BatchResult, ErrorRecord
from dflow.storage import DataStorage
from dflow.storage.paths import FlowPaths, item_identity

QUICK = Limits(timeout_seconds=20.0, max_retries=0)
"""Patience for a loaded machine, and no second try."""


def make_batch(
    function: Callable[..., Any],
    values: Iterable[Any],
    root: Path,
    *feeds: FeedKind,
    kind: str = "transform",
    keep_value: bool = True,
    stage: int = 0,
    is_last_stage: bool = True,
    limits: Limits = QUICK,
    **options: Any,
) -> Batch:
    """A batch of one task, the flow's folder being `root`; the function travels by value, as from a notebook."""
    module = sys.modules[function.__module__]
    cloudpickle.register_pickle_by_value(module)
    try:
        data = cloudpickle.dumps(function)
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    call = TaskCall(
        task_name="encode",
        kind=kind,  # type: ignore[arg-type]
        function=data,
        feeds=tuple(Feed(feed) for feed in feeds or ("item",)),
        keep_value=keep_value,
        stage=stage,
        is_last_stage=is_last_stage and "storage" in feeds,
    )
    items = tuple(Item(index, item_identity(value, root), value) for index, value in enumerate(values))
    return Batch(0, call, items, FlowPaths(root, "test"), limits, **options)


def errors_of(result: BatchResult) -> list[ErrorRecord]:
    """The errors of a batch's items, in order."""
    return [record.error for record in result.items if record.error is not None]


def statuses(result: BatchResult) -> list[str]:
    """Each item's status, in order."""
    return [record.status for record in result.items]


def data_files(batch: Batch) -> set[str]:
    """The names of the samples that a batch left."""
    return {path.name for path in batch.paths.encoded.iterdir()}


def double(value: float) -> float:
    """A task without a store."""
    return 2 * value


def areas(path: str, storage: DataStorage) -> str:
    """A task with one."""
    storage.save_data("faces/areas", np.arange(5, dtype=np.float32))
    return storage.get_file_path("")


def is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(fact: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Whether `fact` becomes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if fact():
            return True
        time.sleep(0.02)
    return fact()


def open_descriptors() -> int:
    """How many file descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))
