"""The messages between a worker and its child: length-prefixed pickles over a socket.

The worker sends `Prepare` (once per batch) and `Run` (once per item), one at a time. The child replies to `Prepare`
with `Prepared`, and to `Run` with any number of unit messages and one `ItemDone`. A *unit* becomes one sample: the
whole file (body -1) or one body.

The worker reads with an unpickler that admits only the few classes of replies: a child whose memory a broken file has
overwritten can send garbage, but cannot make the worker call anything else.

A sample's layout takes kilobytes and is nearly always that of the sample before, so the child sends each layout once
and afterwards its number.
"""

from __future__ import annotations

import io
import pickle
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from dflow.flowmanager.plan.batch import Batch, BodyValues, Item, PackedValue
from dflow.flowmanager.worker.faults import Fault
from dflow.records import ArrayLayout, SampleLayout, SampleRecord, Status

WHOLE_FILE = -1
"""The body index of a unit that is the whole file."""

_HEADER = struct.Struct("<4sQ")
_MAGIC = b"dfl\x01"
_MAX_FRAME_BYTES = 4 * 1024**3
_READ_BYTES = 32 * 1024


class WireError(Exception):
    """Bytes that are not a message, or a message out of place."""


@dataclass(frozen=True, slots=True)
class Prepare:
    """Load the function of `batch`, which is sent without items; `function` is b"" if the child has it already."""

    digest: str
    function: bytes
    batch: Batch
    sys_path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """The reply to `Prepare`; `error` if the function cannot be loaded."""

    error: Fault | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """Run one item without the bodies in `skip`. `memory_bytes` is what the child may allocate."""

    item: Item
    skip: tuple[int, ...] = ()
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class UnitStarted:
    """A body is about to be encoded. Not sent for whole files."""

    body: int


@dataclass(frozen=True, slots=True)
class UnitDone:
    """One unit is finished and its sample, if any, is complete on disk.

    `value` is packed. `sample` is set when the sample is sealed, `parked` is its name when a later step continues it,
    else "". `preview`: a preview follows, which ends with `PreviewDone`.
    """

    body: int
    status: Status
    value: Any = None
    sample: SampleRecord | None = None
    parked: str = ""
    error: Fault | None = None
    preview: bool = False


@dataclass(frozen=True, slots=True)
class PreviewDone:
    """The last unit's preview has ended after `seconds`; `note` is its error, "" if there was none."""

    seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class ItemDone:
    """The item is finished; `error` if it failed before its first unit (a file that cannot be opened body by body).

    `left` is what it changed for later items and cannot be restored; with `leaving` the child has to be replaced.
    """

    seconds: float
    cpu_seconds: float
    error: Fault | None = None
    peak_bytes: int = 0
    leaving: bool = False
    left: tuple[str, ...] = ()


Request = Prepare | Run
Reply = Prepared | UnitStarted | UnitDone | PreviewDone | ItemDone
LAST = (Prepared, ItemDone)
"""The replies that complete an answer."""


@dataclass(frozen=True, slots=True)
class NewLayout:
    """Gives `layout` its number for the replies that follow."""

    number: int
    layout: SampleLayout


_KINDS = (Prepare, Run, Prepared, UnitStarted, UnitDone, PreviewDone, ItemDone, NewLayout)
_REQUESTS = dict(enumerate(_KINDS[:2]))
_REPLIES = {code: kind for code, kind in enumerate(_KINDS) if code not in _REQUESTS}


def _getter(kind: type) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function that returns the fields of such a value in their order."""
    names = [each.name for each in fields(kind)]
    if len(names) < 2:
        return lambda value: tuple([getattr(value, name) for name in names])
    return attrgetter(*names)


_CODES = {kind: (code, _getter(kind)) for code, kind in enumerate(_KINDS)}
"""A message is pickled as a tuple of its class's code and its fields: pickle would look the class up by name in every
message, on both sides, each time outside of the processor's cache."""

_item_fields = _getter(Item)
_behind_layout = attrgetter(*[each.name for each in fields(SampleRecord)][4:])

_CLASSES = {
    (known.__module__, known.__name__): known
    for known in (SampleRecord, SampleLayout, ArrayLayout, Fault, PackedValue, BodyValues)
}
"""The classes of a reply's fields, besides builtin values."""


def _row(message: Any) -> tuple[Any, ...]:
    code, get = _CODES[type(message)]
    return code, *get(message)


def packed(message: Request) -> bytes:
    """Return a message to the child as bytes."""
    row = _row(message)
    if isinstance(message, Run):
        row = (row[0], _item_fields(message.item), *row[2:])
    return _framed(pickle.dumps((row,), pickle.HIGHEST_PROTOCOL))


def _framed(data: bytes) -> bytes:
    return _HEADER.pack(_MAGIC, len(data)) + data


class Outbox:
    """Packs the child's replies, each layout once. One thread."""

    def __init__(self) -> None:
        self._numbers: dict[int, tuple[int, SampleLayout]] = {}  # by id, which stays unique while the reference is kept

    def pack(self, messages: Iterable[Reply]) -> bytes:
        """Return replies as bytes, which must be sent in the order of the calls."""
        rows: list[tuple[Any, ...]] = []
        for message in messages:
            row = _row(message)
            if isinstance(message, UnitDone) and message.sample is not None:
                row = (*row[:4], self._light(message.sample, rows), *row[5:])
            rows.append(row)
        return _framed(pickle.dumps(tuple(rows), pickle.HIGHEST_PROTOCOL))

    def _light(self, sample: SampleRecord, rows: list[tuple[Any, ...]]) -> tuple[Any, ...]:
        """Return a sample's fields with the layout replaced by its number; append a new layout to `rows`."""
        known = self._numbers.get(id(sample.layout))
        if known is None:
            known = self._numbers[id(sample.layout)] = len(self._numbers), sample.layout
            rows.append(_row(NewLayout(*known)))
        return (sample.name, sample.source, sample.body, known[0], *_behind_layout(sample))


class Requests:
    """Reads requests in the child, which trusts its worker. One thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""
        self._at = 0

    def take(self) -> Request:
        """Wait for the next message and return it.

        Raises
        ------
        EOFError
            When the worker has closed the connection.
        """
        length = _frame_length(self._read(_HEADER.size))
        ((code, *values),) = pickle.loads(self._read(length))
        if _REQUESTS[code] is Run:
            values[0] = Item(*values[0])
        request: Request = _REQUESTS[code](*values)
        return request

    def _read(self, n_bytes: int) -> bytes:
        while len(self._buffer) - self._at < n_bytes:
            missing = n_bytes - (len(self._buffer) - self._at)
            more = self._connection.recv(max(_READ_BYTES, missing))
            if not more:
                raise EOFError("the worker has closed the connection")
            self._buffer = self._buffer[self._at :] + more
            self._at = 0
        begin, self._at = self._at, self._at + n_bytes
        return self._buffer[begin : self._at]


def _frame_length(header: bytes) -> int:
    magic, length = _HEADER.unpack(header)
    if magic != _MAGIC or length > _MAX_FRAME_BYTES:
        raise WireError(f"not the head of a message: {header!r}")
    return int(length)


class Inbox:
    """Unpacks replies from a child's bytes as they arrive, without blocking. One thread."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._layouts: dict[int, SampleLayout] = {}
        self._problem: WireError | None = None

    def feed(self, data: bytes) -> list[Reply]:
        """Return the messages that `data` completes.

        Raises
        ------
        WireError
            If the bytes are not messages; after whole ones in the same call, at the next call, even with b"".
        """
        if self._problem is not None:
            raise self._problem
        self._buffer += data
        messages: list[Reply] = []
        try:
            self._cut(messages)
        except WireError as problem:
            self._problem = problem
            if not messages:
                raise
        return messages

    @property
    def is_empty(self) -> bool:
        """Whether the bytes so far are whole messages."""
        return not self._buffer and self._problem is None

    def _cut(self, messages: list[Reply]) -> None:
        """Move whole messages from the buffer to `messages`."""
        while len(self._buffer) >= _HEADER.size:
            end = _HEADER.size + _frame_length(bytes(self._buffer[: _HEADER.size]))
            if len(self._buffer) < end:
                break
            data = bytes(self._buffer[_HEADER.size : end])
            del self._buffer[:end]
            try:
                for row in _ReplyUnpickler(io.BytesIO(data)).load():
                    self._take(row, messages)
            except WireError:
                raise
            except Exception as error:  # unpickling garbage raises nearly anything, and so does using it
                raise WireError(f"a message of {len(data)} bytes cannot be read: {error}") from error

    def _take(self, row: tuple[Any, ...], messages: list[Reply]) -> None:
        code, *values = row
        kind = _REPLIES[code]
        if kind is NewLayout:
            number, layout = values
            if type(number) is not int or type(layout) is not SampleLayout:
                raise WireError("a message holds no valid layout")
            self._layouts[number] = layout
            return
        if kind is UnitDone and type(values[3]) is tuple:
            name, source, body, number, *rest = values[3]
            values[3] = SampleRecord(name, source, body, self._layouts[number], *rest)
        messages.append(kind(*values))


class _ReplyUnpickler(pickle.Unpickler):
    """Finds the classes of replies' fields, and no others."""

    def find_class(self, module: str, name: str, /) -> Any:
        found = _CLASSES.get((module, name))
        if found is None:
            raise WireError(f"a message holds {module}.{name}")
        return found
