"""Batches from a loader worker to the process that trains, through shared memory that is used again and again.

A batch has two dozen arrays. Sent one by one, each costs a file descriptor, and fresh pages cost more than filling
them. Here a batch lies in one block, an arena; the receiver maps an arena once and marks it free when the last array
that lies in it is dropped, and the worker fills it again.
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
"""Whether descriptors can be sent to another process here; not on Windows."""

MAX_ARENAS = 16
"""Arenas that a worker keeps. Whoever holds more batches than that at once gets the further ones in memory of their
own.
"""

_ALIGNMENT = 64
_BUSY, _KEPT = 0, 1
_HEADER_BYTES = 64

Array = np.ndarray[Any, np.dtype[Any]]
Place = tuple[int, int]
"""The worker's process id and the number of the arena."""


class Arena:
    """One block of shared memory from which the arrays of a batch are cut, one after the other.

    The first bytes state whether a batch in it is still in use, and whether the receiver has kept it.
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
        """Room for arrays."""
        return len(self.memory) - _HEADER_BYTES

    @property
    def busy(self) -> bool:
        """Whether a batch in it is on its way, or held by the receiver."""
        return bool(self.memory[_BUSY])

    def reset(self) -> None:
        """Begin a new batch."""
        self.memory[_BUSY] = 1
        self._used = _HEADER_BYTES

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An array in the block, or elsewhere when the block is full."""
        n_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        end = self._used + n_bytes
        if end > len(self.memory):
            return np.empty(shape, dtype)
        array = self.memory[self._used : end].view(dtype).reshape(shape)
        self._used = min(-(-end // _ALIGNMENT) * _ALIGNMENT, len(self.memory))
        return array

    def offset(self, array: Array) -> int | None:
        """Where in the block an array lies; None where it does not, or not in one piece."""
        offset = int(array.__array_interface__["data"][0]) - self._address
        inside = _HEADER_BYTES <= offset <= len(self.memory) - array.nbytes
        return offset if inside and array.flags.c_contiguous and array.nbytes else None

    def put(self, array: Array) -> Spot:
        """How the receiver finds an array, which is copied into the block where it lies elsewhere."""
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
        """The descriptor in a form that pickles; None once the receiver has kept the arena."""
        kept = self.place is not None and self.memory[_KEPT]
        return None if kept else reduction.DupFd(self.descriptor)


@dataclass(frozen=True, slots=True)
class Spot:
    """Where an array lies in an arena; or the array itself, where the arena was full."""

    dtype: str
    shape: tuple[int, ...]
    where: int | Array

    def open(self, block: Array) -> Array:
        """The array, a view of the block where it lies there."""
        if isinstance(self.where, np.ndarray):
            return self.where
        n_bytes = int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize
        return block[self.where : self.where + n_bytes].view(self.dtype).reshape(self.shape)


class Channel:
    """Both ends of one loader's way for batches; pickles as its name, and is found by it.

    The workers' end gives out arenas; the receiving end keeps their mappings for as long as it lives and the workers
    do. A fork or a pickle of a channel is another end of the same.
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
        """A free arena with that much room. For workers."""
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
        """Hold on to an arena's mapping; those of workers that have ended are let go. For the receiver."""
        alive = {os.getpid(), *(child.pid for child in multiprocessing.active_children())}
        for other in [p for p in self._kept if p[0] not in alive]:
            self._kept.pop(other, None)
        self._kept[place] = memory
        memory[_KEPT] = 1

    def kept(self, place: Place | None) -> mmap.mmap:
        """The mapping of an arena that was kept before."""
        if place not in self._kept:
            raise DatasetError(f"a batch came from worker {place} whose memory is not known here")
        return self._kept[place]


_channels: weakref.WeakValueDictionary[str, Channel] = weakref.WeakValueDictionary()


def channel(name: str) -> Channel:
    """This process's end of a channel."""
    return _channels.get(name) or Channel(name)


def receive(
    name: str, place: Place | None, handle: Any, layout: Mapping[str, Spot], wrap: Callable[[Array], Any]
) -> dict[str, Any]:
    """The arrays of a batch, each wrapped. They share the arena, which is free again when the last is dropped."""
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
    if os.getpid() == owner:  # a fork of the receiver drops its copies while the receiver reads on
        memory[_BUSY] = 0


def _map(descriptor: int) -> mmap.mmap:
    try:
        return mmap.mmap(descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


def _shared_file(n_bytes: int) -> int:
    """The descriptor of memory that two processes can map; it has no name, so nothing is left behind."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("dflow-batch", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, n_bytes)
    return descriptor
