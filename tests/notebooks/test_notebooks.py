"""The notebooks run from top to bottom, in a folder of their own; the scripts beside them learn what they say."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from nbclient import NotebookClient

NEEDS = {"03_train": "torch", "06_face_segmentation": "torch_geometric", "07_part_classification": "torch"}
"""Optional packages that a lesson needs; without them it says so, and its test is skipped."""

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SCRIPTS = sorted(FOLDER.glob("*.py"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_what_a_notebook_imports_of_dflow_is_there(path: Path) -> None:
    """The quick suite's guard: running the lessons takes minutes, a renamed module shows here at once."""
    cells = (cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
    code = "\n".join(line for cell in cells for line in cell.splitlines() if not line.lstrip().startswith(("%", "!")))
    modules = 0
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == "dflow":
            module = importlib.import_module(str(node.module))
            modules += 1
            assert [alias.name for alias in node.names if not found(module, alias.name)] == []
    assert modules


def found(module: ModuleType, name: str) -> bool:
    """Whether ``from module import name`` works."""
    return hasattr(module, name) or importlib.util.find_spec(f"{module.__name__}.{name}") is not None


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_runs(path: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if path.stem in NEEDS:
        pytest.importorskip(NEEDS[path.stem])
    if path.stem == "06_face_segmentation":
        some_of_mfcad(request.getfixturevalue("shared_data"), tmp_path, 12)
    elif path.stem == "07_part_classification":
        some_of_kicad(request.getfixturevalue("shared_data"), tmp_path)
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs), "a lesson without a picture"


def test_there_are_notebooks_and_they_hold_no_outputs() -> None:
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        assert all(not cell.get("outputs") for cell in cells if cell.cell_type == "code"), path.name


def some_of_mfcad(shared_data: Path, folder: Path, n_parts: int) -> None:
    """The first parts and all labels, as ``mfcad`` in a folder."""
    (folder / "mfcad").mkdir()
    (folder / "mfcad" / "face_labels.json").symlink_to(shared_data / "mfcad" / "face_labels.json")
    link(sorted((shared_data / "mfcad" / "step").glob("*.step"))[:n_parts], folder / "mfcad" / "step")


def some_of_kicad(shared_data: Path, folder: Path) -> None:
    """Five small parts of each of three classes, as ``kicad`` in a folder."""
    for category in ("Diode_THT", "Mounting_Wuerth", "Resistor_THT"):
        files = sorted((shared_data / "kicad" / category).glob("*.step"), key=lambda path: path.stat().st_size)
        link(files[:5], folder / "kicad" / category)


def link(files: Iterable[Path], folder: Path) -> None:
    folder.mkdir(parents=True)
    for file in files:
        (folder / file.name).symlink_to(file)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.stem)
def test_a_script_is_short_and_its_notebook_has_the_same_cells(path: Path) -> None:
    script = path.read_text(encoding="utf-8")
    assert len(script.splitlines()) < 120
    cells = [cell.strip() for cell in script.split("\n# %%")[1:-1]]
    code = [cell if cell.startswith(("import ", "from ")) else cell.partition("\n")[2].strip() for cell in cells]
    (notebook,) = FOLDER.glob(f"*_{path.stem}.ipynb")
    shown = [cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    assert shown[: len(code)] == code


def run_script(name: str, *arguments: str) -> str:
    """What a script prints at last."""
    environment = os.environ | {"PYTHONPATH": str(FOLDER.parent)}
    done = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.train
def test_classes_of_faces_are_learned_from_few_parts(shared_data: Path, tmp_path: Path) -> None:
    """100 parts, 15 of them held out."""
    pytest.importorskip("torch_geometric")
    some_of_mfcad(shared_data, tmp_path, 100)
    assert share(run_script("face_segmentation", str(tmp_path / "mfcad"), "25")) > 0.6


@pytest.mark.long
@pytest.mark.train
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("name", "package", "folder", "least"),
    [("face_segmentation", "torch_geometric", "mfcad", 0.98), ("part_classification", "torch", "kicad", 0.6)],
)
def test_the_figures_that_the_documentation_gives(
    shared_data: Path, name: str, package: str, folder: str, least: float
) -> None:
    pytest.importorskip(package)
    assert share(run_script(name, str(shared_data / folder))) >= least


def share(line: str) -> float:
    """The share that a script prints first."""
    return float(line.partition("%")[0]) / 100
