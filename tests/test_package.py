"""The package as it is published: what it says of itself, and what it needs."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import dflow

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FLOWMANAGER = sorted(path.parent.name for path in (ROOT / "dflow" / "flowmanager").glob("*/__init__.py"))

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
