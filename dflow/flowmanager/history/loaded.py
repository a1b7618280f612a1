"""Whether code that is loaded is still what its file says: a module may be edited while its session goes on.

What runs then is the older code, whatever the file says, until it is imported anew.
"""

from __future__ import annotations

import functools
import inspect
import linecache
import os
import types


def is_edited(code: types.CodeType) -> bool:
    """Whether the file of loaded code says something else by now. False where it has none that can be read."""
    if not os.path.isfile(code.co_filename):  # a cell of a notebook, or typed at a prompt
        return False
    linecache.checkcache(code.co_filename)
    known = _codes_of(code.co_filename, "".join(linecache.getlines(code.co_filename)))
    return known is not None and code_text(code) not in known.get((code.co_name, code.co_firstlineno), ())


def members_of(cls: type) -> list[types.CodeType]:
    """The code of a class's own functions."""
    found = []
    for member in vars(cls).values():
        inner = inspect.unwrap(getattr(member, "__func__", getattr(member, "fget", None)) or member)
        if isinstance(inner, types.FunctionType) and inner.__module__ == cls.__module__:
            found.append(inner.__code__)
    return found


def code_text(code: types.CodeType) -> str:
    """What code does, as text: its bytecode, with that of the functions within it."""
    constants = [code_text(c) if isinstance(c, types.CodeType) else _constant(c) for c in code.co_consts]
    return f"{code.co_code.hex()}|{constants}|{code.co_names}|{code.co_varnames}"


def _constant(value: object) -> str:
    return f"frozenset{sorted(map(repr, value))}" if isinstance(value, frozenset) else repr(value)


@functools.lru_cache(maxsize=256)
def _codes_of(filename: str, text: str) -> dict[tuple[str, int], tuple[str, ...]] | None:
    """The code in a file by name and first line, None where it cannot be told."""
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
