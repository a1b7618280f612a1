"""The messages that make up a batch: what a Dask node receives, frozen, picklable and small.

`run_batch` of `dflow.flowmanager.worker.worker` takes a `Batch` and returns a `dflow.records.BatchResult`, one record
per item in item order, and never raises for an item's fault.

Values that users' functions return travel packed (`pack_value`, `unpack_value`), so that neither the worker nor the
scheduler ever unpickles them: the user's classes are loaded only in the child and in the client.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from dataclasses import dataclass, field
from typing import Any, Literal

import cloudpickle

from dflow.config import TIMEOUT_SECONDS
from dflow.records import pickled_by_place
from dflow.storage.paths import FlowPaths

TaskKind = Literal["extract", "transform", "custom"]
SampleKind = Literal["file", "body"]
StorageKind = Literal["optimized", "json", "memory"]
Isolation = Literal["process", "inline"]
FeedKind = Literal["item", "cad_loader", "storage", "key"]

PLAIN_TYPES = (type(None), bool, int, float, str)
"""Values of exactly these types travel as they are."""


@pickled_by_place
@dataclass(frozen=True, slots=True)
class Feed:
    """How one parameter of a task's function is filled.

    `kind` "item" is the item's value, "cad_loader" and "storage" are injected, "key" is the value called `key` in
    ``Item.inputs`` or else in ``Batch.shared``. `keyword` is the parameter's name where it can only be passed by name
    ("" passes by position, in the order of ``TaskCall.feeds``).
    """

    kind: FeedKind
    key: str = ""
    keyword: str = ""


@pickled_by_place
@dataclass(frozen=True, slots=True)
class TaskCall:
    """One task's function and how to call it; the same for all batches of the task.

    `function` is cloudpickle's bytes of the user's function. `keep_value`: a later task, or the user, needs
    what it returns (otherwise the value is checked and dropped). `stage` counts the tasks that take `storage` before
    this one: 0 starts a fresh store, n reopens what stage n-1 left. `is_last_stage`: the samples are finished
    after this call, so the framework seals and describes them; never set for a call that does not take `storage`.
    """

    task_name: str
    kind: TaskKind
    function: bytes
    feeds: tuple[Feed, ...]
    keep_value: bool = True
    stage: int = 0
    is_last_stage: bool = False

    @property
    def takes_storage(self) -> bool:
        """Whether a store is injected."""
        return any(feed.kind == "storage" for feed in self.feeds)

    @property
    def digest(self) -> str:
        """Return the hash by which a child finds a function that it has loaded before: 32 hexadecimal digits."""
        return hashlib.blake2b(self.function, digest_size=16).hexdigest()


@pickled_by_place
@dataclass(frozen=True, slots=True)
class Item:
    """One thing to call the function with.

    `index` is its position among all items of the task; `identity` that of the item it descends from
    (`dflow.storage.paths.item_identity` of the flow's original source), which names its samples; `value` is the
    argument of the parameter fed by "item", packed or plain; `inputs` are further (key, value) pairs of this item,
    packed or plain; `sample_names` are those that an earlier stage left (empty at stage 0). `content_hash` is copied
    to the record; `source_state` is inode, size and modification time of the source when it was hashed, which took
    `spent_seconds` of the item's time. `may_be_finished`: a run that ended early may have left the item's samples
    (`worker.samples.finished_item`).
    """

    index: int
    identity: str
    value: Any
    inputs: tuple[tuple[str, Any], ...] = ()
    sample_names: tuple[str, ...] = ()
    content_hash: str = ""
    spent_seconds: float = 0.0
    source_state: tuple[int, int, int] | None = None
    may_be_finished: bool = False


@pickled_by_place
@dataclass(frozen=True, slots=True)
class Limits:
    """What one item may use, and how the child is kept healthy.

    timeout_seconds, seconds_per_byte : wall time of one item, hashing its source and the call, and more of it for each
        byte of its file, by the monotonic clock, previews not counted.
    memory_bytes : resident memory of worker and child together; None: this machine's memory divided by its cores.
    max_retries : further tries, each alone in a fresh child with `retry_factor` times the allowance, after a crash or
        too much memory, and with `retry_timeouts` after a timeout. 0 for none.
    max_value_bytes : pickled size of one returned value; beyond it the item fails as "bad_return".
    max_log_bytes : how much of what an item prints is kept.
    max_files_per_child, max_growth_bytes : after so many items, or so much growth of its resident memory, the child is
        replaced, which takes 26 ms: the new one is forked, touches its pages and imports the user's modules.
    preview_seconds : wall time of one preview; a slower one leaves a note, not a failure.
    startup_seconds : wall time a child may take to start or to load the task's function.
    """

    timeout_seconds: float = TIMEOUT_SECONDS
    memory_bytes: int | None = None
    max_retries: int = 1
    retry_timeouts: bool = False
    retry_factor: float = 2.0
    max_value_bytes: int = 64 * 1024**2
    max_log_bytes: int = 4096
    max_files_per_child: int = 4000
    max_growth_bytes: int = 1024**3
    preview_seconds: float = 30.0
    startup_seconds: float = 120.0
    seconds_per_byte: float = 0.0

    def seconds_for(self, n_bytes: int) -> float:
        """Return the wall time of an item whose file has `n_bytes` (negative: there is none)."""
        return self.timeout_seconds + self.seconds_per_byte * max(0, n_bytes)

    @property
    def asked_retries(self) -> int | None:
        """`max_retries` where the user gave it."""
        return self.max_retries if self.retry_timeouts else None


@pickled_by_place
@dataclass(frozen=True, slots=True)
class Batch:
    """What one Dask node does: `call` for each of `items`.

    `sample` "body" calls a transform once for every body of the item's file. `shared` are (key, value) pairs, packed or
    plain, that every call may be fed with. `isolation` "inline" runs in this process (`debug=True`). `monitor_run`
    is the run's id on the scheduler's monitor, "" without one. `imports` is a hash of the user's modules that tasks
    import as they run ("" for none): a child that has loaded others is not used. With `strict_geometry`, opening a
    shape with a defect fails. `pipeline` is the fingerprint's digest, which samples are marked with ("" for none).
    """

    index: int
    call: TaskCall
    items: tuple[Item, ...]
    paths: FlowPaths
    limits: Limits = field(default_factory=Limits)
    isolation: Isolation = "process"
    sample: SampleKind = "file"
    storage_type: StorageKind = "optimized"
    export_visualization: bool = False
    shared: tuple[tuple[str, Any], ...] = ()
    monitor_run: str = ""
    imports: str = ""
    strict_geometry: bool = False
    pipeline: str = ""


@pickled_by_place
@dataclass(frozen=True, slots=True)
class PackedValue:
    """A returned value as cloudpickle's bytes."""

    data: bytes


@pickled_by_place
@dataclass(frozen=True, slots=True)
class BodyValues:
    """What a transform returned for each body of a file: (body index, value packed or plain), by body index.

    It stands in ``ItemRecord.value`` after a call with ``sample="body"``; the next transform gets each body its own
    value, any other task the single values.
    """

    values: tuple[tuple[int, Any], ...]


class _BoundedBuffer(io.BytesIO):
    """Bytes in memory that refuse to grow beyond a limit, before they are copied."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def write(self, data: Any, /) -> int:
        if self.tell() + memoryview(data).nbytes > self._limit:
            raise ValueError(f"more than {self._limit} bytes when pickled")
        return super().write(data)


def pack_value(value: Any, limit: int = 64 * 1024**2) -> Any:
    """Return `value` as it travels: itself if it is None, bool, int, float or str, a `PackedValue` otherwise.

    Raises
    ------
    ValueError
        If it takes more than `limit` bytes.
    Exception
        Whatever pickling it raises.
    """
    if type(value) in PLAIN_TYPES:
        if isinstance(value, str) and len(value) > limit:
            raise ValueError(f"a text of {len(value)} characters, more than {limit} bytes")
        return value
    buffer = _BoundedBuffer(limit)
    cloudpickle.Pickler(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    return PackedValue(buffer.getvalue())


def unpack_value(value: Any) -> Any:
    """Invert `pack_value`. Call it only where the user's code may run: the child, or the client."""
    return pickle.loads(value.data) if isinstance(value, PackedValue) else value
