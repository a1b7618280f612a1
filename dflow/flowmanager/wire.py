"""What a worker and its child say to each other, and how: length-prefixed pickles over a socket of their own.

The worker asks with `Prepare` (once a batch) and `Run` (once an item). The child answers `Prepare` with `Prepared` and
`Run` with any number of unit messages and one `ItemDone`. A *unit* is what becomes one sample: the whole file (body
-1) or one body.

The worker reads with an unpickler that knows these messages and builtins only: a child whose memory a broken file has
scribbled over can send nonsense, but cannot make the worker call anything.
"""

from __future__ import annotations

import io
import pickle
import socket
import struct
from dataclasses import dataclass
from typing import Any

from dflow.flowmanager.batch import Batch, Item
from dflow.records import ErrorRecord, SampleRecord, Status

WHOLE_FILE = -1
"""The body index of a unit that is the whole file."""

_HEADER = struct.Struct("<4sQ")
_MAGIC = b"dfl\x01"
_MAX_FRAME_BYTES = 4 * 1024**3
_SAFE_MODULES = frozenset({"dflow.records", "dflow.flowmanager.batch", __name__})


class WireError(Exception):
    """Bytes that are no message: the other side is out of its mind."""


@dataclass(frozen=True, slots=True)
class Prepare:
    """Get ready for `batch`, which comes without items and function; `function` is b"" if the child has it already."""

    digest: str
    function: bytes
    batch: Batch
    sys_path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """The answer to `Prepare`; `error` if the function could not be loaded."""

    error: ErrorRecord | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """Do one item; leave out the bodies in `skip`. `memory_bytes` is what the child may allocate."""

    item: Item
    skip: tuple[int, ...] = ()
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class UnitStarted:
    """A body's turn has come. Not sent for whole files."""

    body: int


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


@dataclass(frozen=True, slots=True)
class PreviewDone:
    """The preview of the last unit is over, after so many seconds; `note` says what went wrong, "" if nothing."""

    seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class ItemDone:
    """The item is finished; `error` if it failed before its first unit (a file that cannot be opened body by body)."""

    seconds: float
    cpu_seconds: float
    error: ErrorRecord | None = None
    peak_bytes: int = 0


Reply = Prepared | UnitStarted | UnitDone | PreviewDone | ItemDone


class _MessageUnpickler(pickle.Unpickler):
    """Knows dflow's frozen messages and nothing else."""

    def find_class(self, module: str, name: str, /) -> Any:
        if module not in _SAFE_MODULES:
            raise WireError(f"a message holds {module}.{name}")
        return super().find_class(module, name)


def send(connection: socket.socket, *messages: object) -> None:
    """Write messages, in one go; blocks until they are taken."""
    frames = []
    for message in messages:
        data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        frames += [_HEADER.pack(_MAGIC, len(data)), data]
    connection.sendall(b"".join(frames))


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

    def feed(self, data: bytes) -> list[Reply]:
        """The messages that `data` completes.

        Raises
        ------
        WireError
            If the bytes are no messages.
        """
        self._buffer += data
        messages: list[Reply] = []
        while len(self._buffer) >= _HEADER.size:
            end = _HEADER.size + _frame_length(bytes(self._buffer[: _HEADER.size]))
            if len(self._buffer) < end:
                break
            messages.append(_unpack(bytes(self._buffer[_HEADER.size : end])))
            del self._buffer[:end]
        return messages


def _unpack(data: bytes) -> Reply:
    try:
        message = _MessageUnpickler(io.BytesIO(data)).load()
    except WireError:
        raise
    except Exception as error:  # unpickling garbage raises nearly anything
        raise WireError(f"a message of {len(data)} bytes cannot be read: {error}") from error
    if not isinstance(message, Reply):
        raise WireError(f"a message is a {type(message).__name__}")
    return message
