"""The user's own modules that functions import as they run, found and read without running anything.

Such a module may not be loaded when its flow starts, and loading it then may be slow or unsafe. It counts as a whole,
and so do the modules that it imports.
"""

from __future__ import annotations

import ast
import dis
import functools
import importlib.util
import inspect
import linecache
import os
import sys
import sysconfig
import types
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder


@dataclass(frozen=True, slots=True, order=True)
class Import:
    """An import statement: `level` dots, the module's name behind them, and what is taken from it."""

    level: int
    name: str
    members: tuple[str, ...] = ()


def imports_of(code: types.CodeType) -> set[Import]:
    """Return the imports in a function, without those of functions nested in it."""
    found: set[Import] = set()
    constants: list[object] = [0, ()]
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            level, members = constants[-2:]
            taken = members if isinstance(members, tuple) else ()
            found.add(Import(level if isinstance(level, int) else 0, str(instruction.argval), taken))
        elif instruction.opname != "EXTENDED_ARG":
            constants.append(instruction.argval)
    return found


def own_modules(statement: Import, package: str) -> Iterator[tuple[str, str]]:
    """Yield name and file of each of the user's modules that an import in `package` loads, parent packages too."""
    try:
        absolute = importlib.util.resolve_name("." * statement.level + statement.name, package)
    except ImportError:  # it would also fail at run time
        return
    names = absolute.split(".")
    spec = _top_spec(names[0])
    if spec is not None and spec.origin is not None and is_installed(spec.origin):
        return
    for depth in range(1, len(names) + 1):
        if spec is None:
            return
        yield from _own_file(spec)
        if depth < len(names):
            spec = _spec_below(spec, names[depth])
    if spec is not None:
        for member in statement.members:  # a name in the module, or a module below it
            below = _spec_below(spec, member)
            if below is not None:
                yield from _own_file(below)


def imports_in(text: str) -> set[Import]:
    """Return the imports anywhere in a module's text; none where it is not Python."""
    found: set[Import] = set()
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return found
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {Import(0, alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(Import(node.level, node.module or "", tuple(alias.name for alias in node.names)))
    return found


def is_installed(file: str) -> bool:
    """Whether a module's file is a library's, not the user's own."""
    folders = {sysconfig.get_path(key) for key in ("purelib", "platlib")}
    return any(os.path.abspath(file).startswith(folder + os.sep) for folder in folders) or "-packages" in file


def is_known(top: str) -> bool:
    """Whether a top-level name is dflow's or the standard library's."""
    return top == "dflow" or top in sys.stdlib_module_names or top in sys.builtin_module_names


def _top_spec(name: str) -> ModuleSpec | None:
    if is_known(name):
        return None
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):  # a module made at run time, without a specification
        return None


def _spec_below(package: ModuleSpec, name: str) -> ModuleSpec | None:
    locations = package.submodule_search_locations
    return PathFinder.find_spec(f"{package.name}.{name}", locations) if locations is not None else None


def _own_file(spec: ModuleSpec) -> Iterator[tuple[str, str]]:
    if spec.has_location and spec.origin is not None and not is_installed(spec.origin):
        yield spec.name, spec.origin


def is_edited(code: types.CodeType) -> bool:
    """Whether the file of loaded code now holds other code. False where there is no file that can be read."""
    if not os.path.isfile(code.co_filename):  # a cell of a notebook, or typed at a prompt
        return False
    linecache.checkcache(code.co_filename)
    known = _codes_of(code.co_filename, "".join(linecache.getlines(code.co_filename)))
    return known is not None and code_text(code) not in known.get((code.co_name, code.co_firstlineno), ())


def members_of(cls: type) -> list[types.CodeType]:
    """Return the code of a class's own functions."""
    found = []
    for member in vars(cls).values():
        inner = inspect.unwrap(getattr(member, "__func__", getattr(member, "fget", None)) or member)
        if isinstance(inner, types.FunctionType) and inner.__module__ == cls.__module__:
            found.append(inner.__code__)
    return found


def code_text(code: types.CodeType) -> str:
    """Return code as text: its bytecode, with that of the functions nested in it."""
    constants = [code_text(c) if isinstance(c, types.CodeType) else _constant(c) for c in code.co_consts]
    return f"{code.co_code.hex()}|{constants}|{code.co_names}|{code.co_varnames}"


def _constant(value: object) -> str:
    return f"frozenset{sorted(map(repr, value))}" if isinstance(value, frozenset) else repr(value)


@functools.lru_cache(maxsize=256)
def _codes_of(filename: str, text: str) -> dict[tuple[str, int], tuple[str, ...]] | None:
    """Return the code in a file by name and first line, None where it cannot be compiled."""
    try:
        waiting = [compile(text, filename, "exec", dont_inherit=True)]
    except (SyntaxError, ValueError):
        return None
    found: dict[tuple[str, int], tuple[str, ...]] = {}
    while waiting:
        code = waiting.pop()
        key = code.co_name, code.co_firstlineno
        found[key] = (*found.get(key, ()), code_text(code))
        waiting += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return found
