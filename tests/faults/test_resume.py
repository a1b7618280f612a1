"""What a second run does again: exactly what it must, and it says why; names stay."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.faults.programs import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

HELPERS = "FACTOR = 2\n\ndef scaled(value):\n    return value * FACTOR\n\ndef unreached(value):\n    return value\n"

PROGRAM = """
import sys
sys.path.insert(0, {repository!r})
import dflow
from dflow.flowmanager import flowtask
from helpers import scaled
from tests.faults.held_tasks import gather

@flowtask.transform(name="encode", inputs=["file", "storage"], outputs=["encoded"])
def encode(file, storage):
    import numpy as np
    storage.save_data("rows/values", np.array([scaled(float(word)) for word in open(file).read().split()]))
    return storage.get_file_path("")

output, _, _ = dflow.create_flow("resumed", [gather, encode], "out", debug=True).process({{"sources": ["./in"]}}, progress=False)
print(output.counts.submitted, output.counts.succeeded, output.counts.reused)
"""  # noqa: E501


@pytest.fixture
def run(tmp_path: Path) -> Callable[[], tuple[int, ...]]:
    """Run the program in a new process: the numbers of items submitted, succeeded and reused."""
    (tmp_path / "program.py").write_text(PROGRAM.format(repository=str(REPOSITORY)))
    (tmp_path / "helpers.py").write_text(HELPERS)
    (tmp_path / "in").mkdir()
    for stem in "bdfh":
        write(tmp_path, stem, "1 2 3")

    def program() -> tuple[int, ...]:
        done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return tuple(int(word) for word in done.stdout.split())

    return program


def write(folder: Path, stem: str, text: str) -> None:
    (folder / "in" / f"{stem}.txt").write_text(text)
    os.utime(folder / "in" / f"{stem}.txt", (1_600_000_000, 1_600_000_000))


def names(folder: Path) -> dict[str, str]:
    table = pd.read_parquet(folder / "out" / "flows" / "resumed" / "resumed.infoset")
    assert table["id"].tolist() == list(range(len(table)))
    return {Path(source).stem: name for source, name in zip(table["description"], table["name"], strict=True)}


def log(folder: Path) -> str:
    return (folder / "out" / "flows" / "resumed" / "flow_log.log").read_text()


def test_only_what_changed_is_encoded_and_samples_keep_their_names(
    tmp_path: Path, run: Callable[[], tuple[int, ...]]
) -> None:
    assert run() == (4, 4, 0)
    first = names(tmp_path)
    write(tmp_path, "d", "4 5 6")
    os.utime(tmp_path / "in" / "d.txt")
    assert run() == (4, 4, 3)
    write(tmp_path, "a", "7")
    write(tmp_path, "z", "8")
    assert run() == (6, 6, 4)
    more = names(tmp_path)
    assert {stem: more[stem] for stem in first} == first
    (tmp_path / "in" / "b.txt").unlink()
    (tmp_path / "in" / "z.txt").unlink()
    assert run() == (4, 4, 4)
    left = names(tmp_path)
    assert left == {stem: more[stem] for stem in "adfh"}
    write(tmp_path, "b", "1 2 3")
    succeeded, reused = run()[1:]
    assert (succeeded, names(tmp_path)["b"]) == (5, first["b"])
    assert reused >= 4


@pytest.mark.parametrize(
    ("before", "after", "word", "reused"),
    [
        ("FACTOR = 2", "FACTOR = 3", "FACTOR", 0),
        ("return value * FACTOR", "return FACTOR * value", "scaled", 0),
        ("def unreached(value):\n    return value", "def unreached(value):\n    return -value", "", 4),
    ],
)
def test_an_edited_helper_that_the_task_reaches_encodes_all_again_and_is_named(
    tmp_path: Path, run: Callable[[], tuple[int, ...]], before: str, after: str, word: str, reused: int
) -> None:
    assert run() == (4, 4, 0)
    (tmp_path / "helpers.py").write_text(HELPERS.replace(before, after))
    assert run() == (4, 4, reused)
    assert ("the pipeline changed" in log(tmp_path)) == (reused == 0)
    assert word in log(tmp_path)
