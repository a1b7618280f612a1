"""Loops over pixels and triangles, compiled by numba.

A kernel is a function of arrays and numbers with one signature, compiled once an installation: numba keeps the machine
code beside the module (like Python its ``.pyc``), or under the user's cache folder where that cannot be written, and
loads it from there afterwards, in some 20 ms. ``NUMBA_CACHE_DIR`` names another place.

Kept code is dropped when its own module changes, not when another does. So a kernel reads no constant and calls no
kernel of another module: what it needs from there is handed to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])


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
    options = {"cache": True, "nogil": True, "error_model": "numpy"}
    decorate: Callable[[F], F] = numba.njit(signature, **options) if signature else numba.njit(**options)
    return decorate
