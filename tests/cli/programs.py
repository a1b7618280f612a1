"""A pipeline file as a user writes it, and ways to run the command line on it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from click.testing import CliRunner, Result

from dflow.cli.main import cli

HOSTILE = "evil\x1b[2J\n[bold]x<b>.txt"

SUMMARY = {
    "flow_name": "numbers \x1b[2J",
    "flow_data": "numbers.dataset",
    "flow_info": "numbers.infoset",
    "flow_attributes": "numbers.attribset",
    "Duration [seconds]": {"total": 1.5},
    "file_count": 2,
    "submitted": 3,
    "skipped": 0,
    "failed": 1,
    "samples": 2,
    "error_distribution": {"ValueError": 1},
}
"""The ``.flow`` file of `made`."""

PIPELINE = """
from pathlib import Path

import numpy as np

import dflow
from dflow.flowmanager import flowtask
from neighbour import FACTOR


@flowtask.extract(name="gather", inputs=["sources"], outputs=["files"])
def gather(sources):
    return [str(path) for source in sources for path in sorted(Path(source).rglob("*.txt"))]


@flowtask.transform(name="encode", inputs=["file", "storage"], outputs=["encoded"])
def encode(file, storage):
    words = Path(file).read_text().split()
    if words == ["slow"]:
        import time

        time.sleep(60)
    storage.save_data("rows/values", FACTOR * np.asarray([float(word) for word in words], np.float32))
    storage.save_metadata("n_words", len(words))
    return file


@flowtask.custom(name="stop", inputs=["encoded"], parallel_execution=False)
def stop(encoded):
    raise RuntimeError("stopped \\x1b[31mhere")


tasks = [gather, encode]
stopping = [gather, encode, stop]
flow = dflow.create_flow("parts", tasks, OUT, debug=True, export_visualization=False)
number = 5


def make():
    return dflow.create_flow("made", [gather, encode], OUT, debug=True, export_visualization=False)


def broken():
    raise LookupError("not today")


class Places:
    flow = make()
"""


def write_pipeline(folder: Path) -> Path:
    """``pipeline.py`` that writes below ``folder/out``, with a neighbour that it imports, and ``folder/parts``."""
    path = folder / "pipeline.py"
    out = f"OUT = {str(folder / 'out')!r}\n"
    path.write_text(out + textwrap.dedent(PIPELINE))
    (folder / "neighbour.py").write_text("FACTOR = 2.0\n")
    parts = folder / "parts"
    parts.mkdir()
    for name, text in {"a": "1 2 3", "b": "4 5", "c": "6"}.items():
        (parts / f"{name}.txt").write_text(text)
        os.utime(parts / f"{name}.txt", (1_600_000_000, 1_600_000_000))
    return path


def parts_of(pipeline: Path) -> Path:
    """The folder of the pipeline's sources."""
    return pipeline.parent / "parts"


def invoke(*arguments: object) -> Result:
    """The command line in this process; what it should not raise is raised here."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def shell(*arguments: object, cwd: Path, seconds: float = 200) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    command = [sys.executable, "-c", "from dflow.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=seconds)
