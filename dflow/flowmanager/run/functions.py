"""Users' functions as bytes: what workers cannot import, or may have imported in an older state, by value."""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import cloudpickle

from dflow.errors import TaskDefinitionError

_LOCK = threading.Lock()


def pack_function(function: Callable[..., Any], modules: Sequence[str], task: str) -> bytes:
    """Return cloudpickle's bytes of `function`.

    `modules` are the user's own: what is defined in them travels by value, together with what it uses. Where that
    fails, they travel by reference, and the workers must be able to import them.

    Raises
    ------
    TaskDefinitionError
        If the function refers to something that cannot be pickled.
    """
    try:
        return _by_value(function, modules)
    except Exception as error:
        try:
            return bytes(cloudpickle.dumps(function))
        except Exception:
            raise TaskDefinitionError(
                f"Task {task!r} uses something that cannot be sent to another process ({type(error).__name__}: "
                f"{error}); "
                "create it inside the function, or run with debug=True."
            ) from error


def pack_here(function: Callable[..., Any]) -> bytes:
    """Return bytes that unpickle, in this process only, to `function` itself with its globals and closures."""
    number = next((n for n, known in _HERE.items() if known is function), len(_HERE))
    _HERE[number] = function
    return pickle.dumps(_Reference(number))


_HERE: dict[int, Callable[..., Any]] = {}
"""Functions that bytes in this process refer to, by number."""


def _here(number: int) -> Callable[..., Any]:
    return _HERE[number]


class _Reference:
    """Unpickles as the function it refers to."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> tuple[Callable[[int], Callable[..., Any]], tuple[int]]:
        return _here, (self._number,)


def _by_value(function: Callable[..., Any], modules: Sequence[str]) -> bytes:
    with _LOCK:  # cloudpickle's registry belongs to the whole process
        known = set(cloudpickle.list_registry_pickle_by_value())
        added = [sys.modules[name] for name in modules if name in sys.modules and name not in known]
        for module in added:
            cloudpickle.register_pickle_by_value(module)
        try:
            return bytes(cloudpickle.dumps(function))
        finally:
            for module in added:
                cloudpickle.unregister_pickle_by_value(module)
