"""Mistakes that show as a flow starts or runs: failures that are alike, functions that cannot travel, no kernel."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from dflow.cadencoder.recipes import find_recipe
from dflow.dataset import DatasetExplorer
from dflow.errors import (
    FlowFileError,
    TaskDefinitionError,
    TooManyFailuresError,
)
from dflow.flowmanager import flowtask
from tests.mistakes.flows import Parts, make, run, says, touch

# Failures that are all alike


@flowtask.transform(name="misspelt", inputs=["part", "storage"])
def misspelt(part, storage):
    storage.save_metadat("part", part)


LINE = misspelt.__code__.co_firstlineno + 2


def test_the_first_failures_that_are_alike_stop_the_run_with_their_traceback(tmp_path: Path) -> None:
    flow = make(tmp_path, misspelt)
    with pytest.raises(TooManyFailuresError) as caught:
        run(flow, parts=list(range(500)))
    says(
        caught.value,
        ("The first 20 files failed alike and none succeeded: AttributeError", f"line {LINE}", "pass max_failures=500"),
    )
    assert "storage.save_metadat(" in caught.value.__notes__[0]
    facts = (tmp_path / "out" / "flows" / "parts" / "run.json").read_text()
    assert '"submitted": 500' in facts
    assert "files were not tried" in facts


def test_a_misspelt_recipe_stops_the_run(tmp_path: Path) -> None:
    @flowtask.transform(name="encode", inputs=["part"])
    def encode(part):
        return find_recipe("uvnte")

    with pytest.raises(TooManyFailuresError) as caught:
        run(make(tmp_path, encode), parts=list(range(50)))
    says(caught.value, ("RecipeError: there is no recipe 'uvnte'", "the recipes are", "Correct task 'encode'"))


def test_an_explicit_limit_lets_the_run_go_on_and_its_last_line_says_that_nothing_succeeded(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    flow = make(tmp_path, misspelt, max_failures=500)
    output, _, flow_file = flow.process(inputs={"parts": list(range(50))})
    last = capfd.readouterr().err.strip().splitlines()[-1]
    says(last, ("No file succeeded: 50 failed", "no new dataset", "See error_summary.json"))
    assert output.summary().splitlines()[-1].startswith("No file succeeded: 50 failed")
    with pytest.raises(FlowFileError) as caught:
        DatasetExplorer(flow_output_file=flow_file)
    says(caught.value, ("names no dataset", "no file succeeded", "dflow errors"))


# Functions that have to travel


def test_what_cannot_travel_is_refused_before_the_run(tmp_path: Path) -> None:
    lock = threading.Lock()
    vectorized = np.frompyfunc(lambda part: part + 1, 1, 1)

    @flowtask.transform(name="locked", inputs=["part"])
    def locked(part):
        with lock:
            return part

    @flowtask.transform(name="by_name", inputs=["part"])
    def by_name(part):
        return vectorized(part)

    for task in (locked, by_name):
        with pytest.raises(TaskDefinitionError) as caught:
            run(make(tmp_path, task, debug=False), parts=[1])
        says(
            caught.value,
            (f"Task {task.__name__!r}", "cannot be sent to another process", "create it inside the function"),
        )


CACHED = """
import functools, sys
import dflow
from dflow.flowmanager import flowtask


@functools.cache
def labels(path):
    return {1: "bolt", 2: "nut"}


class Names:
    @functools.cached_property
    def upper(self):
        return {key: value.upper() for key, value in labels("labels.json").items()}


@flowtask.transform(name="label", inputs=["part"])
def label(part):
    return labels("labels.json")[part], Names().upper[part]


flow = dflow.create_flow("cached", [label], sys.argv[1], max_workers=1, export_visualization=False)
output, _, _ = flow.process(inputs={"parts": [1, 2]}, progress=False)
print(output.task_instances[0].results)
"""


@pytest.mark.slow
def test_a_cached_helper_of_a_script_travels(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(CACHED)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.stdout == "[('bolt', 'BOLT'), ('nut', 'NUT')]\n", done.stderr


# The kernel's libraries

BROKEN = "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')\n"
INSTALL: Parts = ("the system library libGL.so.1", "the CAD kernel needs", "apt-get install -y libgl1")

MEASURED = """
import sys
import dflow
import dflow.cadaccess.kernel.check as check
from dflow.flowmanager import flowtask

check.LIBRARIES = ("libdflow-does-not-exist.so.1",)  # as where the system lacks one


@flowtask.transform(name="opened", inputs=["cad_file"])
def opened(cad_file, cad_loader):
    raise SystemExit("a file was tried")


flow = dflow.create_flow("parts", [opened], sys.argv[1] if __name__ == "__main__" else "out", debug=True)
if __name__ == "__main__":
    flow.process(inputs={"files": ["a.step"]})
"""


DEMO = """
import dflow.cadaccess.kernel.check as check
from dflow.cli import main

check.LIBRARIES = ("libdflow-does-not-exist.so.1",)
main()
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", "from dflow import CadLoader"],
        ["-c", "from dflow.cadaccess import CadLoader"],
        ["-c", MEASURED],
        pytest.param(["-c", DEMO, "demo"], marks=pytest.mark.slow),
        pytest.param(["-m", "dflow", "run", "pipeline.py", "--sources", "a.step"], marks=pytest.mark.slow),
    ],
    ids=["from dflow", "from dflow.cadaccess", "a flow's start", "dflow demo", "dflow run"],
)
def test_a_missing_library_of_the_kernel_is_named_with_the_line_that_installs_it(
    tmp_path: Path, arguments: list[str]
) -> None:
    touch(tmp_path / "OCP")
    (tmp_path / "OCP" / "__init__.py").write_text(BROKEN)
    (tmp_path / "pipeline.py").write_text(MEASURED)
    (tmp_path / "a.step").touch()
    search = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, *arguments, *(["out"] if arguments[0] == "-c" and len(arguments) == 2 else [])],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": search},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    says(done.stderr, INSTALL)
    assert "a file was tried" not in done.stderr
