"""Compilation of loops over pixels and triangles by numba.

A compiled function takes arrays and numbers of one signature and is compiled once per installation: numba keeps the
machine code beside the module (like Python its ``.pyc``), or under the user's cache folder where that cannot be
written, and loads it afterwards in some 20 ms. ``NUMBA_CACHE_DIR`` sets another folder. Where none can be written, each
process compiles again.

Kept code is dropped when its module changes, or that of a compiled function that it calls, directly or indirectly, or a
number that one of them refers to. numba by itself checks only the function's own module.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.dispatcher import Dispatcher
from numba.core.sigutils import normalize_signature

from dflow.plaintext import get_logger

_log = get_logger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def record(fields: type[tuple[Any, ...]], notation: str) -> Any:
    """Return numba's type of a NamedTuple, from its fields' types in numba's notation."""
    return numba.types.NamedTuple(normalize_signature(f"void({notation})")[0], fields)


def arguments(*types: Any) -> tuple[Any, ...]:
    """Return the types of a function's arguments, given in numba's notation (several in one string) or as types."""
    parts = (normalize_signature(f"void({each})")[0] if isinstance(each, str) else (each,) for each in types)
    return tuple(itertools.chain.from_iterable(parts))


def compiled(signature: str | tuple[Any, ...] | None = None) -> Callable[[F], F]:
    """Return a decorator that compiles a function when its module is imported.

    Parameters
    ----------
    signature : numba's notation of the arguments' types, as ``"void(float64[:, ::1], int64)"``, or the `arguments`;
        others raise TypeError. None for a function that only compiled functions call.

    Notes
    -----
    Indices are not checked; the tests also run with ``NUMBA_BOUNDSCHECK=1``. Division follows numpy (by zero: inf or
    nan). Sums are not reordered, so that results are the same on every machine. The interpreter's lock is released.
    """

    def decorate(function: F) -> F:
        kernel: Any = numba.njit(**_OPTIONS)(function)
        if signature is None or kernel is function:  # under NUMBA_DISABLE_JIT
            return kernel
        try:
            kernel._cache = _KernelCache(function)
            kernel.compile(signature)
            kernel.disable_compile()
        except Exception as error:  # no folder that can be written, a full disk, kept code that is damaged
            kernel = numba.njit(signature, **_OPTIONS)(function)  # raises where the function itself is wrong
            _log.warning(
                "The machine code of %s is not kept, so each process compiles it: %s", function.__qualname__, error
            )
        return kernel

    return decorate


def inlined(function: F) -> F:
    """Inline a function into each compiled function that calls it.

    Notes
    -----
    For functions that are short or called in one place: it saves compiling them separately, some 0.1 s. Also for those
    called so often that passing their arrays takes as long as their work.
    """
    written: F = numba.njit(inline="always", **_OPTIONS)(function)
    return written


class _KernelCache(FunctionCache):
    """The cache of a function's machine code, valid for all sources that went into it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = IndexDataCacheFile(self.cache_path, self._impl.filename_base, _sources(function))


def _sources(function: Callable[..., Any]) -> tuple[tuple[int, ...], tuple[tuple[str, str], ...]]:
    """Return the sorted checksums of the modules of a function and of all compiled functions that it calls, and the
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
