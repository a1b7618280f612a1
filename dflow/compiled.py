"""Loops over pixels and triangles, compiled by numba.

A kernel is a function of arrays and numbers with one signature, compiled once per installation: numba keeps the machine
code beside the module (like Python its ``.pyc``), or under the user's cache folder where that cannot be written, and
loads it from there afterwards, in some 20 ms. ``NUMBA_CACHE_DIR`` names another place. Where there is none, each
process compiles for itself.

Kept code is dropped when its own module changes, or that of a kernel that it calls, however far down, or a number that
one of them refers to. numba alone checks the kernel's own module only.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.dispatcher import Dispatcher

_log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def compiled(signature: str | None = None) -> Callable[[F], F]:
    """A decorator that compiles a function when its module is imported.

    Parameters
    ----------
    signature : numba's notation of the arguments' types, as ``"void(float64[:, ::1], int64)"``; other arguments raise
        TypeError. None for a function that only kernels call.

    Notes
    -----
    Indices are not checked: a kernel is run by the tests with ``NUMBA_BOUNDSCHECK=1``, too. Division follows numpy (by
    zero: inf or nan). Sums are not reordered, so that results are the same on every machine. The interpreter's lock is
    released.
    """

    def decorate(function: F) -> F:
        kernel: Any = numba.njit(**_OPTIONS)(function)
        if signature is None or kernel is function:  # as it is under NUMBA_DISABLE_JIT
            return kernel
        try:
            kernel._cache = _KernelCache(function)
            kernel.compile(signature)
            kernel.disable_compile()
        except Exception as error:  # no folder that can be written, a full disk, kept code that is damaged
            kernel = numba.njit(signature, **_OPTIONS)(function)  # raises what is wrong with the function itself
            _log.warning("machine code of %s is not kept: %s", function.__qualname__, error)
        return kernel

    return decorate


def inlined(function: F) -> F:
    """A decorator that writes a function into each kernel that calls it, before these are compiled.

    Notes
    -----
    For what is short, or called in one place: it saves compiling the function for itself, some 0.1 s. And for what is
    called so often that handing over its arrays takes as long as it does.
    """
    written: F = numba.njit(inline="always", **_OPTIONS)(function)
    return written


class _KernelCache(FunctionCache):
    """Where a kernel's machine code is kept, with all sources that went into it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = IndexDataCacheFile(self.cache_path, self._impl.filename_base, _sources(function))


def _sources(function: Callable[..., Any]) -> tuple[tuple[int, ...], tuple[tuple[str, str], ...]]:
    """What a kernel is made of: the checksums of its module and of those of all kernels that it calls, sorted; the
    names and values of the numbers that they refer to.
    """
    waiting, seen, numbers = [function], set[Any](), set[tuple[str, str]]()
    while waiting:
        each: Any = waiting.pop()
        if each in seen:
            continue
        seen.add(each)
        for name in each.__code__.co_names:
            value = each.__globals__.get(name)
            if isinstance(value, Dispatcher):
                waiting.append(value.py_func)
            elif isinstance(value, (int, float, tuple)):
                numbers.add((name, repr(value)))
    return tuple(sorted({_checksum(each.__code__.co_filename) for each in seen})), tuple(sorted(numbers))


@functools.cache
def _checksum(path: str) -> int:
    return crc32(Path(path).read_bytes())
