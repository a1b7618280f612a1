"""The user's own code: its imports, and whether its file has changed since it was loaded."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from dflow.flowmanager.history.usercode import Import, code_text, imports_in, imports_of, is_edited, own_modules


def test_imports_are_read_from_code_and_from_text_alike() -> None:
    text = "import os.path\nfrom . import near\nfrom ..far import a, b\n"
    expected = {Import(0, "os.path"), Import(1, "", ("near",)), Import(2, "far", ("a", "b"))}
    assert imports_in(text) == expected
    assert imports_of(compile(text, "text", "exec")) == expected
    assert imports_in("no Python :") == set()


def test_own_modules_are_those_outside_of_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ownpackage").mkdir()
    for name in ("__init__", "inner"):
        (tmp_path / "ownpackage" / f"{name}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    found = dict(own_modules(Import(0, "ownpackage", ("inner", "a_name")), ""))
    assert {name: os.path.basename(file) for name, file in found.items()} == {
        "ownpackage": "__init__.py",
        "ownpackage.inner": "inner.py",
    }
    for library in ("numpy", "json", "dflow.records"):
        assert list(own_modules(Import(0, library), "")) == []


def test_code_is_edited_once_its_file_has_other_code(tmp_path: Path) -> None:
    path = tmp_path / "edited.py"
    path.write_text("def twice(x):\n    return 2 * x\n")
    spec = importlib.util.spec_from_file_location("edited", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert not is_edited(module.twice.__code__)
    path.write_text("def twice(x):\n    return 2 * x  # the same code\n")
    assert not is_edited(module.twice.__code__)
    path.write_text("def twice(x):\n    return 33 * x\n")
    assert is_edited(module.twice.__code__)


def test_code_text_differs_by_constants_and_not_by_lines() -> None:
    def code(text: str) -> str:
        return code_text(compile(text, "text", "exec"))

    assert code("x = {1, 2}") == code("\n\nx = {1, 2}")
    assert code("x = 1") != code("x = 2")
