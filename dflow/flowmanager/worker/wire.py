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
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from dflow.flowmanager.plan.batch import Batch, BodyValues, Item, PackedValue
from dflow.records import ArrayLayout, ErrorRecord, SampleLayout, SampleRecord, Status, pickled_by_place

WHOLE_FILE = -1
"""The body index of a unit that is the whole file."""

_HEADER = struct.Struct("<4sQ")
_MAGIC = b"dfl\x01"
_MAX_FRAME_BYTES = 4 * 1024**3


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


@pickled_by_place
@dataclass(frozen=True, slots=True)
class NewLayout:
    """From now on `number` means `layout`."""

    number: int
    layout: SampleLayout


_KNOWN = (
    *(Prepared, UnitStarted, UnitDone, PreviewDone, ItemDone, NewLayout),
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
        for message in messages:
            buffer = io.BytesIO()
            _ReplyPickler(buffer, self._number, frames).dump(message)
            frames.append(_framed(buffer.getvalue()))
        return b"".join(frames)

    def _number(self, layout: SampleLayout, frames: list[bytes]) -> int:
        known = self._numbers.get(id(layout))
        if known is None:
            known = self._numbers[id(layout)] = len(self._numbers), layout
            frames.append(_framed(pickle.dumps(NewLayout(*known), pickle.HIGHEST_PROTOCOL)))
        return known[0]


class _ReplyPickler(pickle.Pickler):
    """Writes a number for a layout; `frames` gets what the worker has to read before."""

    def __init__(
        self, buffer: io.BytesIO, number: Callable[[SampleLayout, list[bytes]], int], frames: list[bytes]
    ) -> None:
        super().__init__(buffer, pickle.HIGHEST_PROTOCOL)
        self._number = number
        self._frames = frames

    def persistent_id(self, obj: Any, /) -> int | None:
        return self._number(obj, self._frames) if type(obj) is SampleLayout else None


def receive(connection: socket.socket) -> Any:
    """Read one message, blocking. For the child, which trusts its worker.

    Raises
    ------
    EOFError
        When the other side is gone.
    """
    length = _frame_length(_read_exactly(connection, _HEADER.size))
    return pickle.loads(_read_exactly(connection, length))


def _read_exactly(connection: socket.socket, n_bytes: int) -> bytes:
    data = connection.recv(n_bytes, socket.MSG_WAITALL)
    while len(data) < n_bytes:
        more = connection.recv(n_bytes - len(data), socket.MSG_WAITALL)
        if not more:
            raise EOFError("the worker is gone")
        data += more
    return data


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
                messages.append(message)

    def _unpack(self, data: bytes) -> Reply | NewLayout:
        try:
            message = _ReplyUnpickler(data, self._layouts).load()
        except WireError:
            raise
        except Exception as error:  # unpickling garbage raises nearly anything
            raise WireError(f"a message of {len(data)} bytes cannot be read: {error}") from error
        if not isinstance(message, (Reply, NewLayout)):
            raise WireError(f"a message is a {type(message).__name__}")
        return message


class _ReplyUnpickler(pickle.Unpickler):
    """Knows the frozen messages, the layouts that were sent, and nothing else."""

    def __init__(self, data: bytes, layouts: dict[int, SampleLayout]) -> None:
        super().__init__(io.BytesIO(data))
        self._layouts = layouts

    def find_class(self, module: str, name: str, /) -> Any:
        found = _CLASSES.get((module, name))
        if found is None:
            raise WireError(f"a message holds {module}.{name}")
        return found

    def persistent_load(self, number: Any, /) -> SampleLayout:
        return self._layouts[number]
