"""Batches from a loader worker to the process that trains, through reused shared memory.

A batch has about two dozen arrays. Sent one by one, each costs a file descriptor and fresh pages, which cost more than
filling them. Here a batch lies in one block, an arena. The receiver maps an arena once and marks it free when its last
array is dropped; then the worker fills it again.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import tempfile
import uuid
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import reduction
from typing import Any

import numpy as np

from dflow.errors import DatasetError

AVAILABLE = hasattr(reduction, "DupFd") and reduction.HAVE_SEND_HANDLE
"""Whether this platform can send descriptors to another process; Windows cannot."""

MAX_ARENAS = 40
"""Arenas that a worker keeps. If the receiver holds more batches than that, each further one has memory of its own."""

_ALIGNMENT = 64
_BUSY, _KEPT = 0, 1
_HEADER_BYTES = 64

Array = np.ndarray[Any, np.dtype[Any]]
Place = tuple[int, int]
"""The worker's process id and the number of the arena."""


class Arena:
    """One block of shared memory that holds the arrays of a batch, one after the other.

    The first two bytes state whether a batch in it is still in use, and whether the receiver has kept the mapping.
    Belongs to one worker and thread; the receiver writes these two bytes only.
    """

    def __init__(self, n_bytes: int, place: Place | None = None) -> None:
        self.place = place
        self.descriptor = _shared_file(_HEADER_BYTES + n_bytes)
        self.memory = np.frombuffer(mmap.mmap(self.descriptor, _HEADER_BYTES + n_bytes), np.uint8)
        self._address = self.memory.__array_interface__["data"][0]
        self._used = _HEADER_BYTES

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)

    @property
    def n_bytes(self) -> int:
        """Bytes for arrays."""
        return len(self.memory) - _HEADER_BYTES

    @property
    def busy(self) -> bool:
        """Whether it holds a batch that is being sent or that the receiver uses."""
        return bool(self.memory[_BUSY])

    def reset(self) -> None:
        """Begin a new batch: mark the arena as busy and empty."""
        self.memory[_BUSY] = 1
        self._used = _HEADER_BYTES

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Allocate an array in the block, or in other memory if the block is full."""
        n_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        end = self._used + n_bytes
        if end > len(self.memory):
            return np.empty(shape, dtype)
        array = self.memory[self._used : end].view(dtype).reshape(shape)
        self._used = min(-(-end // _ALIGNMENT) * _ALIGNMENT, len(self.memory))
        return array

    def offset(self, array: Array) -> int | None:
        """The byte offset of an array in the block; None if it lies elsewhere, is not contiguous, or is empty."""
        offset = int(array.__array_interface__["data"][0]) - self._address
        inside = _HEADER_BYTES <= offset <= len(self.memory) - array.nbytes
        return offset if inside and array.flags.c_contiguous and array.nbytes else None

    def put(self, array: Array) -> Spot:
        """Return the place of an array for the receiver; copy the array into the block if it lies elsewhere."""
        if not array.nbytes:
            return Spot(array.dtype.str, array.shape, _HEADER_BYTES)
        offset = self.offset(array)
        if offset is None:
            copy = self.allocate(array.shape, array.dtype)
            copy[...] = array
            offset = self.offset(copy)
            if offset is None:
                return Spot(array.dtype.str, array.shape, copy)
        return Spot(array.dtype.str, array.shape, offset)

    def handle(self) -> Any:
        """The descriptor in a form that pickles; None once the receiver has kept the mapping."""
        kept = self.place is not None and self.memory[_KEPT]
        return None if kept else reduction.DupFd(self.descriptor)


@dataclass(frozen=True, slots=True)
class Spot:
    """The place of an array in an arena, or the array itself if the arena was full."""

    dtype: str
    shape: tuple[int, ...]
    where: int | Array

    def open(self, block: Array) -> Array:
        """The array; a view of the block if it lies there."""
        if isinstance(self.where, np.ndarray):
            return self.where
        n_bytes = int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize
        return block[self.where : self.where + n_bytes].view(self.dtype).reshape(self.shape)


class Channel:
    """One end of the channel that carries a loader's batches; pickles as the channel's name.

    A worker's end hands out arenas; the receiver's end keeps their mappings while it and the worker exist. A forked or
    unpickled channel is another end of the same channel.
    """

    def __init__(self, name: str | None = None) -> None:
        self.name = uuid.uuid4().hex if name is None else name
        self._arenas: list[Arena] = []
        self._owner = os.getpid()
        self._kept: dict[Place, mmap.mmap] = {}
        _channels[self.name] = self

    def __reduce__(self) -> tuple[Any, ...]:
        return channel, (self.name,)

    def arena(self, n_bytes: int) -> Arena:
        """Return a free arena of at least `n_bytes`; called by workers."""
        if self._owner != os.getpid():  # forked since
            self._owner, self._arenas = os.getpid(), []
        free = next((a for a in self._arenas if not a.busy), None)
        if free is None and len(self._arenas) == MAX_ARENAS:
            return Arena(n_bytes)
        if free is None or free.n_bytes < n_bytes:
            number = len(self._arenas) if free is None else self._arenas.index(free)
            free = Arena(n_bytes + n_bytes // 4, (os.getpid(), number))
            self._arenas[number : number + 1] = [free]
        free.reset()
        return free

    def keep(self, place: Place, memory: mmap.mmap) -> None:
        """Keep an arena's mapping, and drop those of workers that have ended; called by the receiver."""
        alive = {os.getpid(), *(child.pid for child in multiprocessing.active_children())}
        for other in [p for p in self._kept if p[0] not in alive]:
            self._kept.pop(other, None)
        self._kept[place] = memory
        memory[_KEPT] = 1

    def kept(self, place: Place | None) -> mmap.mmap:
        """The mapping of an arena that was kept before."""
        if place not in self._kept:
            raise DatasetError(
                f"a batch lies in shared memory {place} that this process has not mapped; receive batches in the "
                "process that iterates over their loader"
            )
        return self._kept[place]


_channels: weakref.WeakValueDictionary[str, Channel] = weakref.WeakValueDictionary()


def channel(name: str) -> Channel:
    """Return this process's end of a channel."""
    return _channels.get(name) or Channel(name)


def receive(
    name: str, place: Place | None, handle: Any, layout: Mapping[str, Spot], wrap: Callable[[Array], Any]
) -> dict[str, Any]:
    """Return the arrays of a batch, each passed through `wrap`. The arena is free again when the last is dropped."""
    end = _channels.get(name)
    if handle is not None:
        memory = _map(handle.detach())
        if end is not None and place is not None:
            end.keep(place, memory)
    else:
        memory = (end or Channel(name)).kept(place)
    block = np.frombuffer(memory, np.uint8)  # the base of every view, and of nothing else
    weakref.finalize(block, _release, memory, os.getpid()).atexit = False
    return {key: wrap(spot.open(block)) for key, spot in layout.items()}


def _release(memory: mmap.mmap, owner: int) -> None:
    if os.getpid() == owner:  # a fork of the receiver may drop its copies while the receiver still reads
        memory[_BUSY] = 0


def _map(descriptor: int) -> mmap.mmap:
    try:
        return mmap.mmap(descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


def _shared_file(n_bytes: int) -> int:
    """Create memory that two processes can map; its file has no name, so none is left after a crash."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("dflow-batch", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, n_bytes)
    return descriptor
