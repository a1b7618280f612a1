"""What a worker and its child say to each other, and how: length-prefixed pickles over a socket of their own.

The worker asks with `Prepare` (once a batch) and `Run` (once an item). The child answers `Prepare` with `Prepared` and
`Run` with any number of unit messages and one `ItemDone`. A *unit* is what becomes one sample: the whole file (body
-1) or one body. The worker asks for some items ahead and sleeps meanwhile; `Ring` says where it is to be woken.

The worker reads with an unpickler that knows the classes of these messages only: a child whose memory a broken file has
scribbled over can send nonsense, but cannot make the worker call anything else.

A sample's layout is kilobytes and nearly always that of the sample before: the child sends each once and then its
number.
"""

from __future__ import annotations

import io
import pickle
import socket
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from dflow.flowmanager.plan.batch import Batch, BodyValues, Item, PackedValue
from dflow.records import ArrayLayout, ErrorRecord, SampleLayout, SampleRecord, Status, pickled_by_place

WHOLE_FILE = -1
"""The body index of a unit that is the whole file."""

_HEADER = struct.Struct("<4sQ")
_MAGIC = b"dfl\x01"
_MAX_FRAME_BYTES = 4 * 1024**3
_READ_BYTES = 32 * 1024


class WireError(Exception):
    """Bytes that are no message: the other side is out of its mind."""


@pickled_by_place
@dataclass(frozen=True, slots=True)
class Prepare:
    """Get ready for `batch`, which comes without items and function; `function` is b"" if the child has it already."""

    digest: str
    function: bytes
    batch: Batch
    sys_path: tuple[str, ...]


@pickled_by_place
@dataclass(frozen=True, slots=True)
class Prepared:
    """The answer to `Prepare`; `error` if the function could not be loaded."""

    error: ErrorRecord | None = None


@pickled_by_place
@dataclass(frozen=True, slots=True)
class Run:
    """Do one item; leave out the bodies in `skip`. `memory_bytes` is what the child may allocate."""

    item: Item
    skip: tuple[int, ...] = ()
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Ring:
    """Wake the worker when all requests before this one are answered. Has no answer of its own."""


@pickled_by_place
@dataclass(frozen=True, slots=True)
class UnitStarted:
    """A body's turn has come. Not sent for whole files."""

    body: int


@pickled_by_place
@dataclass(frozen=True, slots=True)
class UnitDone:
    """One unit is finished and its sample, if any, lies on disk whole.

    `value` is packed. `sample` is set when the sample is sealed, `parked` ("" otherwise) is its name when a later
    stage goes on with it. `preview` says that a preview follows, whose end `PreviewDone` tells.
    """

    body: int
    status: Status
    value: Any = None
    sample: SampleRecord | None = None
    parked: str = ""
    error: ErrorRecord | None = None
    preview: bool = False


@pickled_by_place
@dataclass(frozen=True, slots=True)
class PreviewDone:
    """The preview of the last unit is over, after so many seconds; `note` says what went wrong, "" if nothing."""

    seconds: float
    note: str = ""


@pickled_by_place
@dataclass(frozen=True, slots=True)
class ItemDone:
    """The item is finished; `error` if it failed before its first unit (a file that cannot be opened body by body)."""

    seconds: float
    cpu_seconds: float
    error: ErrorRecord | None = None
    peak_bytes: int = 0


Request = Prepare | Run
Reply = Prepared | UnitStarted | UnitDone | PreviewDone | ItemDone
LAST = (Prepared, ItemDone)
"""The replies that end a request."""

_REPLIES = frozenset({Prepared, UnitStarted, UnitDone, PreviewDone, ItemDone})


@pickled_by_place
@dataclass(frozen=True, slots=True)
class SampleDone:
    """A `UnitDone` with a sample, whose layout is named by its number.

    `sample` and `rest` are the fields of the sample and of the unit, without the layout and the sample. Plain tuples
    are pickled and read in half the time, and a pickler that finds layouts itself is asked about every text in them.
    """

    layout: int
    sample: tuple[Any, ...]
    rest: tuple[Any, ...]

    @staticmethod
    def of(unit: UnitDone, sample: SampleRecord, layout: int) -> SampleDone:
        """What is sent for `unit` and its `sample`."""
        return SampleDone(layout, _without_layout(sample), _without_sample(unit))

    def unit(self, layouts: Mapping[int, SampleLayout]) -> UnitDone:
        """What was sent."""
        name, source, body, *others = self.sample
        done, status, value, *rest = self.rest
        return UnitDone(done, status, value, SampleRecord(name, source, body, layouts[self.layout], *others), *rest)


@pickled_by_place
@dataclass(frozen=True, slots=True)
class NewLayout:
    """From now on `number` means `layout`."""

    number: int
    layout: SampleLayout


_without_layout = attrgetter(*(each.name for each in fields(SampleRecord) if each.name != "layout"))
_without_sample = attrgetter(*(each.name for each in fields(UnitDone) if each.name != "sample"))

_KNOWN = (
    *(Prepared, UnitStarted, UnitDone, SampleDone, PreviewDone, ItemDone, NewLayout),
    *(SampleRecord, SampleLayout, ArrayLayout, ErrorRecord, PackedValue, BodyValues),
)
_CLASSES = {(known.__module__, known.__name__): known for known in _KNOWN}
"""All that a reply may be made of, builtin values aside."""


def packed(message: Request | Ring) -> bytes:
    """A message to the child as bytes."""
    return _framed(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))


def _framed(data: bytes) -> bytes:
    return _HEADER.pack(_MAGIC, len(data)) + data


class Outbox:
    """The child's side of its replies. Remembers which layouts the worker knows. One thread."""

    def __init__(self) -> None:
        self._numbers: dict[int, tuple[int, SampleLayout]] = {}  # by id, which the kept reference keeps from recurring

    def pack(self, messages: Iterable[Reply]) -> bytes:
        """Replies as bytes, which must be sent in this order."""
        frames: list[bytes] = []
        light = tuple([self._lightened(message, frames) for message in messages])
        frames.append(_framed(pickle.dumps(light, pickle.HIGHEST_PROTOCOL)))
        return b"".join(frames)

    def _lightened(self, message: Reply, frames: list[bytes]) -> Reply | SampleDone:
        """What is sent for a message; `frames` gets what the worker has to read before."""
        if not isinstance(message, UnitDone) or message.sample is None:
            return message
        return SampleDone.of(message, message.sample, self._number(message.sample.layout, frames))

    def _number(self, layout: SampleLayout, frames: list[bytes]) -> int:
        known = self._numbers.get(id(layout))
        if known is None:
            known = self._numbers[id(layout)] = len(self._numbers), layout
            frames.append(_framed(pickle.dumps(NewLayout(*known), pickle.HIGHEST_PROTOCOL)))
        return known[0]


class Requests:
    """The child's side of its requests, which it trusts. Reads what has come so far in one go. One thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""
        self._at = 0

    def take(self) -> Any:
        """The next message; waits for it.

        Raises
        ------
        EOFError
            When the other side is gone.
        """
        length = _frame_length(self._read(_HEADER.size))
        return pickle.loads(self._read(length))

    def _read(self, n_bytes: int) -> bytes:
        while len(self._buffer) - self._at < n_bytes:
            missing = n_bytes - (len(self._buffer) - self._at)
            more = self._connection.recv(max(_READ_BYTES, missing))
            if not more:
                raise EOFError("the worker is gone")
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
    """Bytes in, messages out, for the worker, which must never block on a child. Not thread-safe."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._layouts: dict[int, SampleLayout] = {}
        self._problem: WireError | None = None

    def feed(self, data: bytes) -> list[Reply]:
        """The messages that `data` completes.

        Raises
        ------
        WireError
            If the bytes are no messages; where whole ones came before, not until the next call, even with b"".
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
    def has_begun(self) -> bool:
        """Whether there is a part of a message."""
        return bool(self._buffer)

    def _cut(self, messages: list[Reply]) -> None:
        """Move whole messages from the buffer to `messages`."""
        while len(self._buffer) >= _HEADER.size:
            end = _HEADER.size + _frame_length(bytes(self._buffer[: _HEADER.size]))
            if len(self._buffer) < end:
                break
            message = self._unpack(bytes(self._buffer[_HEADER.size : end]))
            del self._buffer[:end]
            if isinstance(message, NewLayout):
                if type(message.number) is not int or type(message.layout) is not SampleLayout:
                    raise WireError("a message tells of a layout that is none")
                self._layouts[message.number] = message.layout
            else:
                messages += message

    def _unpack(self, data: bytes) -> tuple[Reply, ...] | NewLayout:
        try:
            message = _ReplyUnpickler(io.BytesIO(data)).load()
            if isinstance(message, NewLayout):
                return message
            sent = message if type(message) is tuple else (message,)
            replies = tuple([m.unit(self._layouts) if type(m) is SampleDone else m for m in sent])
        except WireError:
            raise
        except Exception as error:  # unpickling garbage raises nearly anything, and so does using it
            raise WireError(f"a message of {len(data)} bytes cannot be read: {error}") from error
        if not _REPLIES.issuperset(map(type, replies)):
            raise WireError(f"a message is a {type(message).__name__}")
        return replies


class _ReplyUnpickler(pickle.Unpickler):
    """Knows the frozen messages and nothing else."""

    def find_class(self, module: str, name: str, /) -> Any:
        found = _CLASSES.get((module, name))
        if found is None:
            raise WireError(f"a message holds {module}.{name}")
        return found
