"""What a message names is there: each option, argument, function, method and command that one tells the user to use."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import click
import pytest

import dflow
from dflow.cli.main import cli

ROOT = Path(dflow.__file__).parent

ELSEWHERE = {
    "--force-reinstall",  # pip's
    "--format",  # of Slurm's squeue
    "--scheduler-file",  # of `dask scheduler`
    "batch_sampler=",  # of torch's DataLoader
    "in_order=",
    "exclude_keys=",  # of the DataLoader of PyTorch Geometric
    "isin(",  # of an xarray.DataArray
    "to_csv(",  # of a pandas.DataFrame
    "astype(",  # of numpy arrays
    "filled(",
    "json_serialize_sql(",  # DuckDB's
    "laddr=",  # in the text of a warning of Python's
    "f(",  # an item_loader_func
}
"""Names of other programs and libraries."""

PROGRAMS = {"cli/start.py", "insights/explore/export_panel.py"}
"""Modules whose texts are programs, which their own tests run."""

NO_MESSAGE = re.compile(
    r"^import sys\n|</|<\w+ |[;{]\n|=>|class=|charset=|\bvoid\(|Tuple\(|\b(u?int|float|boolean)\d*[\[(]"
)
"""HTML, scripts, styles, and signatures of compiled functions."""


class Text(NamedTuple):
    """A text of the source, with ``{}`` for what is filled in."""

    place: str
    text: str


def texts_of(source: str, place: str) -> Iterator[Text]:
    """The texts of a module that may be messages: of two words or more, no docstrings, no HTML, no scripts."""
    tree = ast.parse(source)
    skipped: set[int] = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            skipped |= {id(child.value) for child in body if isinstance(child, ast.Expr)}
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(value) for value in node.values}
    for node in ast.walk(tree):
        text = "" if id(node) in skipped else _text(node)
        if " " in text and not NO_MESSAGE.search(text):
            yield Text(f"{place}:{getattr(node, 'lineno', 0)}", text)


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(value.value) if isinstance(value, ast.Constant) else "{}" for value in node.values)
    return ""


@cache
def sources() -> dict[str, str]:
    """The modules' sources by path."""
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in sorted(ROOT.rglob("*.py"))}


@cache
def texts() -> list[Text]:
    """All texts that may be messages."""
    return [text for place, source in sources().items() if place not in PROGRAMS for text in texts_of(source, place)]


@cache
def definitions() -> tuple[set[str], set[str], dict[str, set[str]]]:
    """The names of functions, methods and classes; those of arguments; the members of each class."""
    callables, arguments, members = set(dir(builtins)), set(), {}
    for source in sources().values():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                callables.add(node.name)
                arguments |= {a.arg for a in (*node.args.args, *node.args.kwonlyargs, *node.args.posonlyargs)}
            if isinstance(node, ast.ClassDef):
                callables.add(node.name)
                names = {getattr(child, "name", "") for child in node.body}
                names |= {getattr(getattr(child, "target", None), "id", "") for child in node.body}
                members.setdefault(node.name, set()).update(names)
                arguments |= names
    return callables, arguments, members


@cache
def all_commands() -> dict[str, click.Command]:
    context = click.Context(cli)
    found = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


@cache
def all_options() -> set[str]:
    return {opt for command in (cli, *all_commands().values()) for each in command.params for opt in each.opts}


def options(text: str) -> list[str]:
    """``--options`` that no command has."""
    return [name for name in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text) if name not in all_options()]


def arguments(text: str) -> list[str]:
    """``argument=`` that no function has."""
    return [
        f"{n}=" for n in re.findall(r"(?<![\w.{}\"'=<&?%/-])([a-z_]\w+)=(?![=>])", text) if n not in definitions()[1]
    ]


def calls(text: str) -> list[str]:
    """``function(``, ``Class.method(`` and ``name.method(`` that are not there."""
    return [f"{name}(" for name in re.findall(r"(?:\b\w+\.)*([A-Za-z_]\w*)\(", text) if name not in definitions()[0]]


def methods(text: str) -> list[str]:
    """``Class.member`` of dflow's classes that are not there."""
    pairs = re.findall(r"\b([A-Z]\w+)\.([a-z_]\w+)", text)
    members = definitions()[2]
    return [f"{c}.{m}" for c, m in pairs if c in members and m not in members[c] | members.get("DataStorage", set())]


def commands(text: str) -> list[str]:
    """```dflow command``` that is not there."""
    return [f"dflow {name}" for name in re.findall(r"`dflow ([a-z]\w*)", text) if name not in all_commands()]


CHECKS: list[Callable[[str], list[str]]] = [options, arguments, calls, methods, commands]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_what_a_message_names_is_there(check: Callable[[str], list[str]]) -> None:
    wrong = [f"{place}: {name} in {text!r}" for place, text in texts() for name in check(text) if name not in ELSEWHERE]
    assert not wrong, "\n".join(wrong)


def test_the_check_finds_what_is_not_there() -> None:
    text = (
        "pass index_array=0 or --overwright to SchemaBuilder.biuld, get_fil_list(x), `dflow inof`, or group= of len(x)"
    )
    assert [name for check in CHECKS for name in check(text)] == [
        "--overwright",
        "index_array=",
        "get_fil_list(",
        "SchemaBuilder.biuld",
        "dflow inof",
    ]


def test_messages_are_collected_with_what_they_fill_in_and_nothing_else() -> None:
    source = '"""Not this one."""\nx = f"pass {a}= or {b!r} of c="\ny = "word"\nz = "<p> </p>"\n'
    assert [text for _, text in texts_of(source, "x.py")] == ["pass {}= or {} of c="]
    assert len(texts()) > 1000
