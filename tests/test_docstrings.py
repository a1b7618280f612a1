"""Every public name says what it is, and every parameter of it is explained; examples in docstrings run."""

from __future__ import annotations

import doctest
import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import dflow
from dflow.demo.parts import write_parts
from dflow.flowmanager.plan import registry

PUBLIC = (
    "dflow",
    "dflow.cadaccess",
    "dflow.cadencoder",
    "dflow.config",
    "dflow.dataset",
    "dflow.dataset.training.torch",
    "dflow.errors",
    "dflow.flowmanager",
    "dflow.flowmanager.flowtask",
    "dflow.insights",
    "dflow.labels",
    "dflow.render",
    "dflow.schema",
    "dflow.storage",
)
"""The modules whose names users import; the reference pages show these."""

IMPORTABLE = [name for name in PUBLIC if name != "dflow.dataset.training.torch" or importlib.util.find_spec("torch")]
"""Those that can be imported here: PyTorch is an extra."""


def exported(module_name: str) -> Iterator[tuple[str, Any]]:
    """The names that a public module gives: those of ``__all__``, or its own functions and classes."""
    module = importlib.import_module(module_name)
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module_name]
    for name in getattr(module, "__all__", own):
        if not name.startswith("_"):
            yield f"{module_name}.{name}", getattr(module, name)


def members(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The name itself, and what of a class a user calls: its own and inherited public methods and properties."""
    yield path, value
    if not inspect.isclass(value):
        return
    for name, member in inspect.getmembers_static(value):
        if isinstance(member, (staticmethod, classmethod)):
            member = member.__func__
        home = str(getattr(member.fget if isinstance(member, property) else member, "__module__", ""))
        if home.startswith("dflow") and not name.startswith("_") and (callable(member) or isinstance(member, property)):
            yield f"{path}.{name}", member


ROOT = Path(__file__).resolve().parents[1]


@cache
def things(module: str) -> dict[str, Any]:
    """What users call of a module, by path."""
    return {
        path: member
        for name, value in exported(module)
        if inspect.isroutine(value) or inspect.isclass(value)
        for path, member in members(name, value)
    }


WITH_EXAMPLES = [
    module.name
    for module in pkgutil.walk_packages(dflow.__path__, "dflow.")
    if not module.ispkg
    and ">>> " in (ROOT / module.name.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8")
]


def text_of(thing: Any) -> str:
    """A thing's docstring, with those of the methods it overrides and, for a class, of its constructor."""
    texts = [inspect.getdoc(thing) or ""]
    if inspect.isclass(thing):
        texts.append(inspect.getdoc(thing.__init__) or "")
    return "\n".join(texts)


def parameters_of(thing: Any) -> list[str]:
    if isinstance(thing, property) or (inspect.isclass(thing) and issubclass(thing, Exception)):
        return []
    if inspect.isclass(thing) and (thing.__init__ is object.__init__ or getattr(thing, "_is_protocol", False)):
        return []
    if inspect.isclass(thing) and not (getattr(thing.__init__, "__module__", None) or "dflow").startswith("dflow"):
        return []  # the constructor of a class of another library
    try:
        signature = inspect.signature(thing)
    except ValueError:
        return []
    return [name for name in signature.parameters if name not in ("self", "cls") and not name.startswith("_")]


def explains(text: str, name: str) -> bool:
    """Whether a docstring speaks of a parameter: in a section's entry, or by its name in backticks."""
    entry = rf"^\s*(?:\*{{0,2}}[\w]+, )*\*{{0,2}}{re.escape(name)}(?:, \*{{0,2}}\w+)*(?: :|$)"
    return bool(re.search(entry, text, re.MULTILINE) or re.search(rf"`\*{{0,2}}{re.escape(name)}\b", text))


@pytest.mark.parametrize("module", IMPORTABLE)
def test_every_public_name_has_a_docstring(module):
    bare = [path for path, thing in things(module).items() if not text_of(thing).strip()]
    assert bare == []


@pytest.mark.parametrize("module", IMPORTABLE)
def test_every_parameter_is_explained(module):
    unexplained = [
        f"{path}({name})"
        for path, thing in things(module).items()
        for name in parameters_of(thing)
        if not explains(text_of(thing), name)
    ]
    assert unexplained == []


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    """The STEP file that the examples speak of."""
    return write_parts(tmp_path_factory.mktemp("parts"), n_parts=1)[0]


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_examples_in_docstrings_run(module, part, monkeypatch):
    monkeypatch.setattr(registry, "_REGISTERED", {})
    result = doctest.testmod(importlib.import_module(module), extraglobs={"part": part})
    assert result.attempted > 0
    assert result.failed == 0


def test_the_reference_shows_every_public_module_and_every_name_of_the_package():
    pages = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs/reference").glob("*.md"))
    shown = set(re.findall(r"^::: (\S+)", pages, re.MULTILINE))
    assert set(PUBLIC) - {"dflow"} <= shown
    # A name of the root has an entry of its own, or stands on the page of the package that it comes from.
    packages = [importlib.import_module(name) for name in shown & set(PUBLIC)]
    on_pages = {id(getattr(package, name)) for package in packages for name in vars(package).get("__all__", ())}
    missing = [
        name for name in dflow.__all__ if f"dflow.{name}" not in shown and id(getattr(dflow, name)) not in on_pages
    ]
    assert missing == ["__version__"]
