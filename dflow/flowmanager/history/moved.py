"""Sources that lie elsewhere than in an earlier run: which entries of the journal they may be reused from.

What a task makes of a file may depend on the file's path, too: a category that is its folder's name, a label file
beside it. `path_depth` reads from the task's text how much of the path it uses; where that cannot be told, a moved file
is a new one.
"""

from __future__ import annotations

import ast
import inspect
import os
import pathlib
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dflow.flowmanager.history.freshness import Requirements
from dflow.flowmanager.history.journal import Entry
from dflow.flowmanager.history.usercode import is_edited

_INJECTED = frozenset({"cad_loader", "storage"})
_READING = frozenset({"create_from_file", "read_text", "read_bytes", "open"})
_LAST = frozenset({"name", "stem", "suffix"})
_OTHER_WAYS = frozenset(
    {"get_filesource", "get_metadata", "get_model", "opened"}
    | {"locals", "vars", "eval", "exec", "_getframe", "currentframe"}
)
"""Names by which the user's code may learn a file's path without the task's parameter."""


def path_depth(function: Callable[..., Any], modules: Iterable[str] = ()) -> int | None:
    """Return how many of the last parts of an item's path a task's result may depend on.

    0 where the function only opens the file, 1 where it uses ``Path(file).stem``, 2 with ``Path(file).parent.name``, …;
    None where that cannot be told from its text, or that of the user's `modules` that it reaches.
    """
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    if code is None or is_edited(code) or code.co_filename == "<string>":
        return None
    files = {code.co_filename, *(str(getattr(sys.modules.get(name), "__file__", "")) for name in modules)}
    try:
        if any(_OTHER_WAYS & _identifiers(file) for file in files):
            return None
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, ValueError, SyntaxError):
        return None
    definition = tree.body[0] if tree.body else None
    if not isinstance(definition, ast.FunctionDef):
        return None
    arguments = definition.args
    if arguments.vararg is not None or arguments.kwarg is not None:
        return None
    listed = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return _deepest(definition, {argument.arg for argument in listed} - _INJECTED, function.__globals__)


def _identifiers(file: str) -> set[str]:
    """The names and attributes in a file of Python's."""
    with open(file, encoding="utf-8") as opened_file:
        nodes = ast.walk(ast.parse(opened_file.read()))
    return {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in nodes
        if isinstance(node, (ast.Name, ast.Attribute))
    }


def _deepest(definition: ast.FunctionDef, parameters: set[str], scope: Mapping[str, Any]) -> int | None:
    if scope.get("Path", pathlib.Path) is not pathlib.Path or "open" in scope:
        return None
    above = {child: node for node in ast.walk(definition) for child in ast.iter_child_nodes(node)}
    deepest = 0
    for node in ast.walk(definition):
        if isinstance(node, ast.Name) and node.id in parameters:
            depth = _depth_of_use(node, above) if isinstance(node.ctx, ast.Load) else None
            if depth is None:
                return None
            deepest = max(deepest, depth)
    return deepest


def _depth_of_use(node: ast.AST, above: Mapping[ast.AST, ast.AST]) -> int | None:
    """How much of the path one use of the parameter reads; None where the path itself goes elsewhere."""
    call = above.get(node)
    if not isinstance(call, ast.Call) or not call.args or call.args[0] is not node:
        return None
    called = call.func
    name = called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""
    if name in ("create_from_file", "open") and (name == "open") == isinstance(called, ast.Name):
        return 0
    if name == "basename":
        return 1
    if name in ("str", "fspath"):
        return _depth_of_use(call, above)
    return _depth_of_attributes(call, above) if name == "Path" else None


def _depth_of_attributes(path: ast.AST, above: Mapping[ast.AST, ast.AST]) -> int | None:
    """The same of ``Path(parameter)``: of its name, or of a folder's."""
    n_up, node = 0, above.get(path)
    while isinstance(node, ast.Attribute):
        if node.attr in _LAST:
            return n_up + 1
        if node.attr in _READING and n_up == 0:
            return 0
        if node.attr != "parent":
            return None
        n_up, node = n_up + 1, above.get(node)
    return None


class Moved:
    """The entries of a chain whose items this run does not have, by content.

    Parameters
    ----------
    entries : those
    required : of an entry that is reused
    depth : as `path_depth` returns it
    """

    def __init__(self, entries: Iterable[Entry], required: Requirements, depth: int | None) -> None:
        self._depth = depth or 0
        self._entries: dict[tuple[int, str], list[Entry]] = {}
        self._sizes: set[int] = set()
        if depth is None or required.needs_value:
            return
        for entry in entries:
            if _may_be_reused(entry, required):
                self._entries.setdefault((entry.n_bytes, entry.content_hash), []).append(entry)
                self._sizes.add(entry.n_bytes)

    def may_have(self, n_bytes: int) -> bool:
        """Return whether an entry is of a file of this size, so that the content is worth a hash."""
        return n_bytes in self._sizes

    def find(self, identity: str, n_bytes: int, content_hash: str) -> Entry | None:
        """Return an entry of a file of this content, with as much of the path in common as the task uses."""
        for entry in self._entries.get((n_bytes, content_hash), ()):
            if _last_parts(entry.item, self._depth) == _last_parts(identity, self._depth):
                return entry
        return None


def _may_be_reused(entry: Entry, required: Requirements) -> bool:
    return (
        entry.fingerprint == required.fingerprint
        and len(entry.records) == 1
        and entry.records[0].status == "succeeded"
        and bool(entry.content_hash)
        and entry.n_bytes >= 0
        and (entry.previews or not required.previews)
    )


def _last_parts(identity: str, depth: int) -> list[str]:
    return os.path.normpath(identity).split(os.sep)[-depth:] if depth else []
