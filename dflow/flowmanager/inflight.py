"""Which file a worker is at: told to the monitor while a file takes longer than a moment."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dflow.flowmanager.batch import Batch
from dflow.monitor import events

OnWait = Callable[[float, int], None]
"""Called every second of a wait with the seconds so far and the bytes that the child holds."""


@contextmanager
def in_flight(batch: Batch, identity: str) -> Iterator[OnWait | None]:
    """What to call while waiting for the item `identity`; None outside a Dask worker, or where nobody counts.

    A file that is done within a second costs no message.
    """
    worker = _dask_worker() if batch.monitor_run else None
    if worker is None:
        yield None
        return
    told = False

    def tell(seconds: float, n_bytes: int) -> None:
        nonlocal told
        told = True
        worker.log_event(events.TOPIC, _event(batch, identity, seconds, n_bytes))

    try:
        yield tell
    finally:
        if told:
            worker.log_event(events.TOPIC, _event(batch, "", 0.0, 0))


def _event(batch: Batch, file: str, seconds: float, n_bytes: int) -> events.Event:
    return events.file_in_flight(
        batch.monitor_run,
        batch.call.task_name,
        file,
        seconds=round(seconds, 1),
        host=platform.node(),
        child_bytes=n_bytes,
    )


def _dask_worker() -> Any:
    from distributed import get_worker  # here, because the nursery and inline runs must not load it

    try:
        return get_worker()
    except ValueError:
        return None
