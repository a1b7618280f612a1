"""The package as it is published: what it says of itself, and what it needs."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import pydoc
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import dflow

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FLOWMANAGER = sorted(path.parent.name for path in (ROOT / "dflow" / "flowmanager").glob("*/__init__.py"))


def face(package: str) -> Path:
    """The file that says what a package gives."""
    return ROOT / package.replace(".", "/") / "__init__.py"


FACES = sorted(
    ".".join(path.parent.relative_to(ROOT).parts)
    for path in (ROOT / "dflow").rglob("__init__.py")
    if "attach(" in path.read_text(encoding="utf-8")
)
"""The packages whose names load on first use: all that users import from."""

HEAVY = {"OCP", "bokeh", "matplotlib", "numba", "pandas", "torch", "xarray"}

ERRORS = [name for name, value in vars(importlib.import_module("dflow.errors")).items() if name.endswith("Error")]

DISTRIBUTIONS = {
    "OCP": "cadquery-ocp",
    "yaml": "pyyaml",
    "google_crc32c": "google-crc32c",
    "torch_geometric": "torch-geometric",
}
"""Where the distribution is not called what is imported."""

GUARDED = {"IPython", "prometheus_client"}
"""Used where somebody else has brought them: the notebook's, distributed's own metrics."""


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module).partition(".")[0]


def required(lines: list[str]) -> set[str]:
    return {re.split(r"[<>=!~\[ ]", line, maxsplit=1)[0].lower() for line in lines}


def test_everything_imported_is_a_declared_dependency():
    used = {name for path in (ROOT / "dflow").rglob("*.py") for name in imports(path)}
    foreign = used - set(sys.stdlib_module_names) - {"dflow"} - GUARDED
    optional = {name for lines in PROJECT["optional-dependencies"].values() for name in required(lines)}
    assert {DISTRIBUTIONS.get(name, name) for name in foreign} <= required(PROJECT["dependencies"]) | optional


def test_every_dependency_has_a_lower_bound_and_a_reason():
    text = (ROOT / "pyproject.toml").read_text()
    block = re.search(r"^dependencies = \[\n(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    assert block is not None
    lines = block.group(1).splitlines()
    assert len(lines) == len(PROJECT["dependencies"])
    assert [line for line in lines if not re.match(r'  "[\w-]+>=[\d.]+(,<\d+)?", +# \S', line)] == []


def test_the_version_stands_in_one_place_and_heads_the_changelog():
    assert PROJECT["dynamic"] == ["version"]
    heads = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heads[0] == dflow.__version__
    mentions = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "dflow").rglob("*.py"))
        if re.search(rf'"{re.escape(dflow.__version__)}"', path.read_text())
    ]
    assert mentions == ["dflow/_version.py"]


def test_the_licence_is_apache():
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:200]


@pytest.mark.parametrize("minor", [11, 12, 13])
def test_the_classifiers_name_the_tested_pythons(minor):
    assert f"Programming Language :: Python :: 3.{minor}" in PROJECT["classifiers"]


def test_every_package_of_the_flow_manager_has_its_layer():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert {name for name in FLOWMANAGER if f'"dflow.flowmanager.{name}"' in text} == set(FLOWMANAGER)


def test_what_containers_and_clusters_start_exists():
    """``python -m`` and ``--preload`` in the files of `cluster/` name modules by text."""
    named = {
        name
        for path in sorted((ROOT / "cluster").rglob("*"))
        if path.is_file() and path.suffix != ".py"
        for name in re.findall(r'(?:-m |--preload"?,? "?)(dflow\.[\w.]+)', path.read_text(encoding="utf-8"))
    }
    assert {"dflow.flowmanager.preload", "dflow.monitor.preload"} <= named
    assert [name for name in sorted(named) if not (ROOT / f"{name.replace('.', '/')}.py").is_file()] == []


# The public face


def test_what_a_script_needs_is_imported_from_the_root():
    from dflow import (
        BrepEncoder,
        CadLoader,
        DatasetExplorer,
        DatasetLoader,
        DatasetViewer,
        SchemaBuilder,
        create_flow,
        flowtask,
    )

    assert BrepEncoder is importlib.import_module("dflow.cadencoder").BrepEncoder
    assert CadLoader is importlib.import_module("dflow.cadaccess").CadLoader
    assert DatasetExplorer is importlib.import_module("dflow.dataset").DatasetExplorer
    assert DatasetLoader is importlib.import_module("dflow.dataset").DatasetLoader
    assert DatasetViewer is importlib.import_module("dflow.insights").DatasetViewer
    assert SchemaBuilder is importlib.import_module("dflow.schema").SchemaBuilder
    assert create_flow is importlib.import_module("dflow.flowmanager").create_flow
    assert flowtask is importlib.import_module("dflow.flowmanager.flowtask")


@pytest.mark.parametrize("package", FACES)
def test_dir_lists_exactly_the_public_names_and_each_of_them_loads(package):
    module = importlib.import_module(package)
    assert dir(module) == sorted(module.__all__)
    assert [name for name in module.__all__ if getattr(module, name, None) is None] == []


@pytest.mark.parametrize("package", FACES)
def test_help_shows_every_public_class_and_function(package):
    module = importlib.import_module(package)
    text = pydoc.render_doc(module, renderer=pydoc.plaintext)
    shown = [name for name in module.__all__ if inspect.isclass(value := getattr(module, name)) or callable(value)]
    assert [name for name in shown if name not in text] == []


@pytest.mark.parametrize("package", FACES)
def test_type_checkers_and_scripts_get_the_same_names_from_the_same_modules(package):
    tree = ast.parse(face(package).read_text(encoding="utf-8"))
    guard = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {
        alias.asname or alias.name: importlib.import_module(node.module)
        if node.module == package
        else getattr(importlib.import_module(node.module), alias.name)
        for node in guard.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    module = importlib.import_module(package)
    assert sorted(typed) == sorted(module.__all__)
    for name in set(typed) - {"flowtask", "labels"}:  # modules
        assert getattr(module, name) is typed[name]


def test_a_name_that_a_package_has_not_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"'dflow.dataset' has no attribute 'DatasetExplore'"):
        importlib.import_module("dflow.dataset").DatasetExplore  # noqa: B018
    with pytest.raises(ImportError, match="CadLoder"):
        exec("from dflow import CadLoder")


def test_importing_a_package_loads_no_heavy_library():
    program = f"""
import importlib, sys
for package in {FACES!r}:
    importlib.import_module(package)
    print(package, *({HEAVY!r} & sys.modules.keys()))
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.split() == FACES


def test_every_error_of_dflow_is_imported_from_one_module():
    for path in (ROOT / "dflow").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and path.name != "errors.py":
                bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                assert not bases & set(ERRORS), f"{path}: {node.name} is an error that dflow.errors has not"


def test_every_error_that_a_docstring_names_can_be_imported():
    named = {
        name
        for path in (ROOT / "dflow").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        for section in re.findall(r"Raises\n\s*-+\n(.*?)(?:\n\n|\Z)", ast.get_docstring(node) or "", re.DOTALL)
        for name in re.findall(r"\b[A-Z]\w*Error\b", section)
    }
    internal = {"CancelledError", "ChildStartError", "RefusedError", "UsageError", "WireError"}  # worker, reader, click
    assert {"SettingError", "WiringError", "QueryError"} <= named
    assert sorted(named - set(ERRORS) - set(vars(builtins)) - internal) == []


def test_the_tree_of_errors_in_the_docstring_is_the_tree_of_classes():
    text = str(importlib.import_module("dflow.errors").__doc__)
    assert sorted(re.findall(r"[├└]── (\w+)", text)) == sorted(set(ERRORS) - {"DflowError"})
