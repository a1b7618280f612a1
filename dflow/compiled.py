"""Loops over pixels and triangles, compiled by numba.

A kernel is a function of arrays and numbers with one signature, compiled once an installation: numba keeps the machine
code beside the module (like Python its ``.pyc``), or under the user's cache folder where that cannot be written, and
loads it from there afterwards, in some 20 ms. ``NUMBA_CACHE_DIR`` names another place. Where there is none, each
process compiles for itself.

Kept code is dropped when its own module changes, not when another does. So a kernel reads no constant and calls no
kernel of another module: what it needs from there is handed to it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import numba

_log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def compiled(signature: str | None = None) -> Callable[[F], F]:
    """A decorator that compiles a function when its module is imported.

    Parameters
    ----------
    signature : numba's notation of the arguments' types, as ``"void(float64[:, ::1], int64)"``; other arguments raise
        TypeError. None for a function that only kernels of its module call.

    Notes
    -----
    Indices are not checked: a kernel is run by the tests with ``NUMBA_BOUNDSCHECK=1``, too. Division follows numpy (by
    zero: inf or nan). Sums are not reordered, so that results are the same on every machine. The interpreter's lock is
    let go.
    """

    def decorate(function: F) -> F:
        if signature is None:
            return numba.njit(**_OPTIONS)(function)
        try:
            return numba.njit(signature, cache=True, **_OPTIONS)(function)
        except Exception as error:  # no folder that can be written, a full disk, kept code that is damaged
            kernel: F = numba.njit(signature, **_OPTIONS)(function)  # raises what is wrong with the function itself
            _log.warning("machine code of %s is not kept: %s", function.__qualname__, error)
            return kernel

    return decorate


def inlined(function: F) -> F:
    """A decorator that writes a function into each kernel of its module that calls it, before these are compiled.

    Notes
    -----
    For what is short, or called in one place: it saves compiling the function for itself, some 0.1 s. And for what is
    called so often that handing over its arrays takes as long as it does.
    """
    written: F = numba.njit(inline="always", **_OPTIONS)(function)
    return written
