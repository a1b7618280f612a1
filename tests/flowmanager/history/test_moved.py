"""Sources that moved: what a task uses of the path, and whole flows that reuse by content, byte for byte."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest

import dflow
from dflow.flowmanager.history.moved import path_depth
from tests.dataset.samples import tree_bytes
from tests.flowmanager import movedtasks


def function_of(body: str, folder: Path) -> Any:
    """A function ``f(file, cad_loader, storage)`` of a module of its own."""
    path = folder / "tasks.py"
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    path.write_text(f"import os\nfrom pathlib import Path\n\n\ndef f(file, cad_loader, storage):\n{lines}")
    spec = importlib.util.spec_from_file_location("tasks", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.f


@pytest.mark.parametrize(
    ("body", "depth"),
    [
        ("return cad_loader.create_from_file(file)", 0),
        ("return cad_loader.create_from_file(str(file)), open(file).read(), Path(file).read_bytes()", 0),
        ("pass", 0),
        ("return Path(file).stem, os.path.basename(file)", 1),
        ("return Path(file).name.split('_')", 1),
        ("return Path(file).parent.name", 2),
        ("return [Path(file).parent.parent.stem for _ in range(3)]", 3),
        ("return file", None),
        ("path = file\nreturn Path(path).stem", None),
        ("return Path(file).with_suffix('.seg')", None),
        ("return Path(file).parent", None),
        ("return Path(file).parent.read_text()", None),
        ("return Path(file).parts[0]", None),
        ("return Path(file) / 'x'", None),
        ("return os.path.dirname(file)", None),
        ("return f'{file}'", None),
        ("return len(file)", None),
        ("return storage.open(file)", None),
        ("file = 'x'\nreturn Path(file).stem", None),
        ("return cad_loader.create_from_file(file).get_filesource()", None),
        ("return storage.get_metadata()", None),
        ("return locals()", None),
    ],
)
def test_how_much_of_the_path_a_task_uses(body: str, depth: int | None, tmp_path: Path) -> None:
    assert path_depth(function_of(body, tmp_path)) == depth


def test_what_cannot_be_read_is_not_known(tmp_path: Path) -> None:
    scope: dict[str, Any] = {}
    exec("def f(file): pass", scope)
    assert path_depth(scope["f"]) is None
    assert path_depth(len) is None
    edited = function_of("pass", tmp_path)
    (tmp_path / "tasks.py").write_text("def f(file, cad_loader, storage):\n    return file\n")
    assert path_depth(edited) is None


def run(task: Any, sources: Path, out: Path) -> tuple[int, int]:
    """How many items of a flow were done and reused."""
    flow = dflow.create_flow("moved", [movedtasks.find, task], out, debug=True, export_visualization=False)
    output, _, _ = flow.process(inputs={"sources": [str(sources)]}, progress=False)
    assert output.counts.failed == 0
    return output.counts.succeeded, output.counts.reused


def write(folder: Path, n: int = 4) -> Path:
    folder.mkdir(parents=True)
    for i in range(n):
        (folder / f"{i}.txt").write_text(f"{i} {i + 1}")
    return folder


def dataset(out: Path) -> dict[str, bytes]:
    root = out / "flows" / "moved"
    return {
        **{f"dataset/{name}": content for name, content in tree_bytes(root / "moved.dataset").items()},
        **{f"encoded/{path.name}": path.read_bytes() for path in (root / "encoded").iterdir()},
    }


def test_a_moved_folder_is_reused_and_gives_the_same_bytes(tmp_path: Path) -> None:
    sources = write(tmp_path / "in" / "parts")
    assert run(movedtasks.by_content, sources, tmp_path / "out") == (4, 0)
    moved = tmp_path / "elsewhere" / "other"
    shutil.move(sources, moved)
    (moved / "0.txt").rename(moved / "renamed.txt")
    (moved / "1.txt").write_text("7 7")  # of the same size
    assert run(movedtasks.by_content, moved, tmp_path / "out") == (4, 3)
    assert run(movedtasks.by_content, moved, tmp_path / "fresh") == (4, 0)
    found, fresh = dataset(tmp_path / "out"), dataset(tmp_path / "fresh")
    assert {name: found[name] for name in fresh} == fresh
    assert run(movedtasks.by_content, moved, tmp_path / "out") == (4, 4)


def test_a_category_from_the_folder_is_never_that_of_before(tmp_path: Path) -> None:
    sources = write(tmp_path / "in" / "bolts")
    assert run(movedtasks.by_folder, sources, tmp_path / "out") == (4, 0)
    same = tmp_path / "elsewhere" / "bolts"
    same.parent.mkdir()
    shutil.move(sources, same)
    assert run(movedtasks.by_folder, same, tmp_path / "out") == (4, 4)
    shutil.move(same, tmp_path / "elsewhere" / "nuts")
    assert run(movedtasks.by_folder, tmp_path / "elsewhere", tmp_path / "out") == (4, 0)
    files = dflow.DatasetExplorer(flow_output_file=tmp_path / "out" / "flows" / "moved" / "moved.flow").files
    assert set(files["category_label"]) == {"nuts"}


def test_a_task_that_looks_around_its_file_does_it_anew(tmp_path: Path) -> None:
    sources = write(tmp_path / "in" / "parts")
    run(movedtasks.by_neighbour, sources, tmp_path / "out")
    shutil.move(sources, tmp_path / "parts")
    assert run(movedtasks.by_neighbour, tmp_path / "parts", tmp_path / "out") == (4, 0)


def test_a_damaged_sample_is_not_taken(tmp_path: Path) -> None:
    sources = write(tmp_path / "in" / "parts")
    run(movedtasks.by_content, sources, tmp_path / "out")
    damaged = sorted((tmp_path / "out" / "flows" / "moved" / "encoded").iterdir())[0]
    damaged.write_bytes(damaged.read_bytes()[:-9])
    shutil.move(sources, tmp_path / "parts")
    assert run(movedtasks.by_content, tmp_path / "parts", tmp_path / "out") == (4, 3)
