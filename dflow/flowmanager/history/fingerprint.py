"""The hash of a pipeline: when it changes, samples that the old one made are made again.

It covers the tasks' source text, the functions and constants that they reach in the user's own modules or notebook, and
the parameters that shape a sample; a module of the user's that a function imports as it runs counts as a whole.
Libraries count by their names; dflow and the CAD kernel by their versions. Worker count, batch size and machine do not
count. What cannot be read this way is listed in `Fingerprint.unknown`.
"""

from __future__ import annotations

import ast
import dis
import functools
import hashlib
import inspect
import json
import logging
import os
import re
import sys
import textwrap
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from dflow._version import __version__
from dflow.flowmanager.history.usercode import (
    Import,
    code_text,
    imports_in,
    imports_of,
    is_edited,
    is_installed,
    is_known,
    members_of,
    own_modules,
)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A pipeline's hash and what it was made of.

    `digest` is 32 hexadecimal digits; `parts` maps what was read (``function cad_tasks.scale``) to its own hash, so
    that two fingerprints can be compared; `unknown` names what could not be read; `modules` are the user's modules
    reached.
    """

    digest: str
    parts: tuple[tuple[str, str], ...]
    unknown: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()

    @property
    def imports(self) -> str:
        """The hash of the user's modules that are imported as tasks run; "" where there are none."""
        parts = [part for part in self.parts if part[0].startswith(_MODULE)]
        return _digest(json.dumps(parts)) if parts else ""


def fingerprint(functions: Iterable[Callable[..., Any]], parameters: Mapping[str, Any]) -> Fingerprint:
    """Return the fingerprint of user functions together with `parameters`, which JSON can hold."""
    reader = _Reader()
    for function in functions:
        reader.visit(function, f"task {getattr(function, '_task_name', getattr(function, '__name__', '?'))}")
    for name, value in parameters.items():
        reader.parts[f"parameter {name}"] = _digest(json.dumps(value, sort_keys=True))
    return reader.fingerprint()


def with_values(base: Fingerprint, values: Mapping[str, Any]) -> Fingerprint:
    """Return `base` extended by the values that tasks take besides their items, by input name."""
    if not values:
        return base
    reader = _Reader()
    reader.parts.update(base.parts)
    reader.unknown.update(base.unknown)
    reader.modules.update(base.modules)
    for name, value in values.items():
        reader.visit(value, f"input {name}")
    return reader.fingerprint()


def versions() -> dict[str, str]:
    """Return the versions that shape a sample: dflow's and the CAD kernel's."""
    return {"dflow": __version__, "cadquery-ocp": version_of("cadquery-ocp")}


def changes(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[str, ...]:
    """Return what differs between two fingerprints' parts, as phrases: ``constant cad_tasks.SCALE changed``."""
    phrases = []
    for name in sorted({*old, *new}):
        if name not in new:
            phrases.append(f"{name} is gone")
        elif name not in old:
            phrases.append(f"{name} is new")
        elif old[name] != new[name]:
            phrases.append(f"{name} changed")
    return tuple(phrases)


_MODULE = "module "
_EDITED = "its file was edited after it was loaded, and what runs is older; import it anew, or restart Python"


class _Reader:
    """Walks from functions to everything of the user's that they reach."""

    def __init__(self) -> None:
        self.parts: dict[str, str] = {}
        self.unknown: set[str] = set()
        self.modules: set[str] = set()
        self._seen: set[int] = set()
        self._kept: list[Any] = []  # keeps ids unique during the walk

    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint of what was read so far."""
        parts = tuple(sorted(self.parts.items()))
        modules = tuple(sorted(self.modules - {"__main__"}))
        return Fingerprint(_digest(json.dumps(parts)), parts, tuple(sorted(self.unknown)), modules)

    def visit(self, value: Any, label: str) -> None:
        """Add `value`, of whatever type, to the parts."""
        if isinstance(value, types.MethodType):
            self.visit(value.__func__, label)
            self.visit(value.__self__, f"{label} (its object)")
        elif isinstance(value, functools.partial):
            self.visit(value.func, label)
            self._constant([value.args, value.keywords], f"{label} (arguments)")
        elif isinstance(value, types.FunctionType):
            self._function(value, label)
        elif isinstance(value, type):
            self._class(value)
        elif (compiled := _compiled_from(value)) is not None:
            self.visit(compiled, label)
        elif not isinstance(value, (types.ModuleType, types.BuiltinFunctionType, logging.Logger)):
            self._constant(value, label)

    def _first_time(self, value: Any) -> bool:
        if id(value) in self._seen:
            return False
        self._seen.add(id(value))
        self._kept.append(value)
        return True

    def _function(self, function: types.FunctionType, label: str) -> None:
        wrapped = getattr(function, "__wrapped__", None)
        if wrapped is not None:
            self.visit(wrapped, label)
        for variant in _variants(function):
            self.visit(variant, label)
        module = function.__globals__.get("__name__")  # a wrapper's ``__module__`` is that of what it wraps
        if not _is_own(module) or not self._first_time(function):
            return
        self._note_module(module)
        name = label if label.startswith("task ") else f"function {function.__module__}.{function.__qualname__}"
        if name in self.parts:  # two lambdas of one scope
            name = f"{name} line {function.__code__.co_firstlineno}"
        if is_edited(function.__code__):
            self.unknown.add(f"the text of {name}: {_EDITED}")
            self.parts[name] = _digest(code_text(function.__code__))
        else:
            self.parts[name] = _digest(_source(function, function.__code__))
        self._constant([function.__defaults__, function.__kwdefaults__], f"defaults of {function.__qualname__}")
        for cell_name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                content = cell.cell_contents
            except ValueError:  # not filled yet
                continue
            self.visit(content, f"closure {function.__qualname__}.{cell_name}")
        self._reached(function.__code__, function.__globals__, str(module))

    def _import(self, statement: Import, package: str) -> None:
        """Add the text of each of the user's own modules that an import statement loads."""
        for name, file in own_modules(statement, package):
            label = f"{_MODULE}{name}"
            if label in self.parts:
                continue
            try:
                data = Path(file).read_bytes()
            except OSError as error:
                self.unknown.add(f"{label}: {error}")
                continue
            text = data.decode("utf-8", "replace") if file.endswith(".py") else ""
            self.parts[label] = _digest(_normalised(text) if text else data)
            inside = name if os.path.basename(file) == "__init__.py" else name.rpartition(".")[0]
            for each in sorted(imports_in(text)):
                self._import(each, inside)

    def _class(self, cls: type) -> None:
        if not _is_own(cls.__module__) or not self._first_time(cls):
            return
        self._note_module(cls.__module__)
        label = f"class {cls.__module__}.{cls.__qualname__}"
        codes = members_of(cls)
        try:
            if any(map(is_edited, codes)):
                self.unknown.add(f"the text of {label}: {_EDITED}")
                self.parts[label] = _digest("|".join(map(code_text, codes)))
            else:
                self.parts[label] = _digest(_normalised(inspect.getsource(cls)))
        except (OSError, TypeError):
            self.unknown.add(label)
        for base in cls.__bases__:
            self._class(base)
        for member in vars(cls).values():
            inner = getattr(member, "__func__", getattr(member, "fget", member))
            if isinstance(inner, types.FunctionType):
                self._reached(inner.__code__, inner.__globals__, inner.__module__)

    def _reached(self, code: types.CodeType, scope: Mapping[str, Any], module: str) -> None:
        names, attributes, imports = _names_in(code)
        package = scope.get("__package__") or ""
        for name in sorted(names & scope.keys()):
            self._name(scope[name], f"{module}.{name}", attributes)
        for statement in sorted(imports):
            self._import(statement, package)

    def _name(self, value: Any, label: str, attributes: set[str], above: tuple[types.ModuleType, ...] = ()) -> None:
        """Add a global, or a module's member; `above` are the modules on the way to it."""
        if not isinstance(value, types.ModuleType):
            self.visit(value, f"constant {label}")
            return
        if not _is_own(value.__name__) or value in above:
            return
        self._note_module(value.__name__)
        for attribute in sorted(attributes & vars(value).keys()):
            self._name(vars(value)[attribute], f"{value.__name__}.{attribute}", attributes, (*above, value))

    def _note_module(self, name: str | None) -> None:
        if name and name in sys.modules:
            self.modules.add(name)

    def _constant(self, value: Any, label: str) -> None:
        try:
            self.parts[label] = _digest(self._encoded(value, label))
        except TypeError as error:
            self.unknown.add(f"{label}: {error}")

    def _encoded(self, value: Any, label: str) -> str:
        """Return a constant's canonical text; functions and classes inside it become parts of their own."""
        if value is None or isinstance(value, (bool, int, float, complex, str, bytes, range, Enum)):
            return f"{type(value).__name__}:{value!r}"
        if isinstance(value, os.PathLike):
            return f"path:{os.fspath(value)!r}"
        if isinstance(value, np.ndarray) and value.dtype != object:
            return f"array:{value.dtype.str}{value.shape}{_digest(np.ascontiguousarray(value).tobytes())}"
        if isinstance(value, re.Pattern):
            return f"pattern:{value.pattern!r}{value.flags}"
        if isinstance(value, (list, tuple)):
            return f"{type(value).__name__}[{','.join(self._encoded(v, label) for v in value)}]"
        if isinstance(value, (set, frozenset)):
            return f"set[{','.join(sorted(self._encoded(v, label) for v in value))}]"
        if isinstance(value, Mapping):
            pairs = [f"{self._encoded(k, label)}={self._encoded(v, label)}" for k, v in value.items()]
            return f"map[{','.join(pairs)}]"
        return self._encoded_object(value, label)

    def _encoded_object(self, value: Any, label: str) -> str:
        if isinstance(value, (types.FunctionType, types.MethodType, functools.partial, type)):
            self.visit(value, label)
            return f"callable:{getattr(value, '__qualname__', label)}"
        compiled = _compiled_from(value)
        if compiled is not None:
            self.visit(compiled, label)
            return f"callable:{compiled.__qualname__}"
        if isinstance(value, (np.generic, np.dtype)):
            return f"{type(value).__name__}:{value!r}"
        if isinstance(value, (types.ModuleType, types.BuiltinFunctionType, logging.Logger)):
            return str(type(value))
        if hasattr(value, "__dict__") and self._first_time(value):
            self._class(type(value))
            return f"{type(value).__qualname__}{self._encoded(vars(value), label)}"
        if id(value) in self._seen:
            return f"again:{type(value).__qualname__}"
        raise TypeError(f"{type(value).__module__}.{type(value).__qualname__} cannot be fingerprinted")


def _compiled_from(value: Any) -> types.FunctionType | None:
    """Return the function that numba, or a compiler with its conventions, made a callable object from."""
    function = getattr(value, "py_func", None)
    return function if isinstance(function, types.FunctionType) else None


def _variants(function: types.FunctionType) -> list[Any]:
    """Return the implementations that `functools.singledispatch` chooses from."""
    registry = getattr(function, "registry", None)
    return list(registry.values()) if isinstance(registry, types.MappingProxyType) else []


def _names_in(code: types.CodeType) -> tuple[set[str], set[str], set[Import]]:
    """Return global names, attribute names and imports in a code object and those nested in it."""
    names: set[str] = set()
    attributes: set[str] = set()
    imports = imports_of(code)
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            names.add(str(instruction.argval))
        elif instruction.opname in ("LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM"):
            attributes.add(str(instruction.argval))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            inner_names, inner_attributes, inner_imports = _names_in(constant)
            names |= inner_names
            attributes |= inner_attributes
            imports |= inner_imports
    return names, attributes, imports


def _source(function: types.FunctionType, code: types.CodeType) -> str:
    if code.co_filename == "<string>":  # from Python 3.13 on, `inspect` may return lines of another program
        return code_text(code)
    try:  # for a wrapper, `inspect` would return the wrapped function
        return _normalised(inspect.getsource(code if hasattr(function, "__wrapped__") else function))
    except (OSError, TypeError):
        return code_text(code)


def _normalised(source: str) -> str:
    """Return source text without comments and layout, where it parses by itself."""
    try:
        return ast.unparse(ast.parse(textwrap.dedent(source)))
    except SyntaxError:
        return textwrap.dedent(source)


@functools.lru_cache(maxsize=4096)
def _is_own(module_name: str | None) -> bool:
    """Whether a module is the user's: not dflow, not the standard library, not installed."""
    if module_name is None or module_name == "__main__":
        return True
    top = module_name.partition(".")[0]
    if is_known(top):
        return False
    file = getattr(sys.modules.get(module_name), "__file__", None)
    if file is None:
        return top not in sys.modules or getattr(sys.modules[top], "__path__", None) is None
    return not is_installed(file)


@functools.cache
def version_of(distribution: str) -> str:
    """Return an installed distribution's version, "absent" without one; takes 0.3 ms, once per process."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "absent"


def _digest(content: str | bytes) -> str:
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return hashlib.blake2b(data, digest_size=16).hexdigest()
