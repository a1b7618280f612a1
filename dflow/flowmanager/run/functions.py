"""Users' functions as bytes: what workers cannot import, or may have imported in an older state, by value."""

from __future__ import annotations

import functools
import io
import pickle
import sys
import threading
import types
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
            return _pickled(function)
        except Exception:
            raise TaskDefinitionError(
                f"Task {task!r} uses something that cannot be sent to another process ({type(error).__name__}: "
                f"{error}); create it inside the function, or run with debug=True."
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
            return _pickled(function)
        finally:
            for module in added:
                cloudpickle.unregister_pickle_by_value(module)


def _pickled(function: Callable[..., Any]) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(function)
    return buffer.getvalue()


class _Pickler(cloudpickle.Pickler):
    """Cloudpickle, with objects by value that would travel as a name in a module that other processes do not have.

    Cached functions arrive with an empty cache.

    Raises
    ------
    pickle.PicklingError
        For any other object that would travel as such a name.
    """

    def reducer_override(self, obj: Any) -> Any:
        """Return how `obj` is rebuilt; called for each object."""
        if isinstance(obj, functools._lru_cache_wrapper) and _is_by_value(obj):
            return _cached, (obj.__wrapped__, obj.cache_parameters())
        if isinstance(obj, functools.cached_property):  # up to Python 3.11 it holds a lock
            return _cached_property, (obj.func, obj.attrname)
        if isinstance(getattr(obj, "registry", None), types.MappingProxyType) and _is_by_value(obj):
            return _dispatched, (tuple(obj.registry.items()),)  # `functools.singledispatch` keeps a weak cache
        if not isinstance(obj, (type, types.FunctionType, types.BuiltinFunctionType)) and _is_by_value(obj):
            reduced = obj.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
            if isinstance(reduced, str):
                raise pickle.PicklingError(f"{type(obj).__name__} {reduced!r} is pickled by its name only")
        return super().reducer_override(obj)


def _is_by_value(obj: Any) -> bool:
    """Whether a named object was defined where other processes cannot import it: a script, a cell, a function."""
    module, name = getattr(obj, "__module__", None), getattr(obj, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        return False
    known = cloudpickle.list_registry_pickle_by_value()
    return module == "__main__" or "<locals>" in name or any(f"{module}.".startswith(f"{each}.") for each in known)


def _cached(function: Callable[..., Any], parameters: dict[str, Any]) -> Callable[..., Any]:
    return functools.lru_cache(**parameters)(function)


def _dispatched(registry: tuple[tuple[type, Callable[..., Any]], ...]) -> Callable[..., Any]:
    functions = dict(registry)
    made = functools.singledispatch(functions.pop(object))
    for kind, function in functions.items():
        made.register(kind, function)
    return made


def _cached_property(function: Callable[..., Any], name: str | None) -> functools.cached_property[Any]:
    made = functools.cached_property(function)
    if name is not None:
        made.__set_name__(object, name)
    return made
