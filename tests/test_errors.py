"""The tree of errors: all of it in `dflow.errors`, each class drawn once below its base."""

from __future__ import annotations

import ast
import importlib
import pickle
import re
from pathlib import Path

from dflow import errors
from dflow.errors import DflowError

ROOT = Path(__file__).resolve().parents[1]
DRAWN = re.compile(r"((?:│   |    )*(?:[├└]── )?)(\w+)(?: \((\w+)\))?")


def subclasses(cls: type[DflowError]) -> list[type[DflowError]]:
    found = [cls, *(each for below in cls.__subclasses__() for each in subclasses(below))]
    return [each for each in found if each.__module__ == "dflow.errors"]


def test_every_error_is_defined_in_errors():
    """Read from the sources: importing all modules takes seconds."""
    known = {cls.__name__ for cls in subclasses(DflowError)}
    elsewhere = []
    for path in sorted((ROOT / "dflow").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and known & {ast.unparse(base).rpartition(".")[2] for base in node.bases}:
                elsewhere += [f"{path.name}: {node.name}"] if path != ROOT / "dflow" / "errors.py" else []
    assert elsewhere == []
    assert {name for name in vars(errors) if name.endswith("Error")} == known


def test_every_error_is_raised_or_is_a_base():
    bases = {base for cls in subclasses(DflowError) for base in cls.__bases__}
    names = {cls.__name__ for cls in subclasses(DflowError) if cls not in bases}
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "dflow").rglob("*.py") if path.name != "errors.py"]
    used = {name for name in names if any(re.search(rf"\b{name}\(", text) for text in texts)}
    assert used == names


def test_the_drawing_shows_each_error_with_its_bases():
    drawing = str(errors.__doc__).partition("::\n\n")[2].partition("\n\n")[0]
    above: list[str] = []
    drawn: dict[str, tuple[str, ...]] = {}
    for line in drawing.splitlines():
        found = DRAWN.match(line.removeprefix("    "))
        assert found is not None, line
        depth, name = len(found[1]) // 4, found[2]
        assert name not in drawn
        above[depth:] = [name]
        parents = (above[depth - 1],) if depth else ("Exception",)
        drawn[name] = (*parents, found[3]) if found[3] else parents
    assert drawn == {cls.__name__: tuple(base.__name__ for base in cls.__bases__) for cls in subclasses(DflowError)}


def test_every_error_has_a_kind_of_its_own_and_pickles():
    importlib.import_module("distributed")  # it has exceptions pickled by tblib
    classes = set(subclasses(DflowError))
    assert len({cls.kind for cls in classes}) == len(classes)
    for cls in classes:
        error = pickle.loads(pickle.dumps(cls("found 1, expected 2")))
        assert (type(error), str(error)) == (cls, "found 1, expected 2")
