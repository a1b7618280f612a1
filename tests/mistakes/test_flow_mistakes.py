"""Mistakes in flows: each message says what was found, what was expected, and what to do."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dflow
from dflow.cadencoder import BrepEncoder
from dflow.dataset import DatasetExplorer, DatasetLoader
from dflow.demo.parts import box, write_step
from dflow.errors import (
    DatasetNotFoundError,
    DflowError,
    EmptySourceError,
    FlowFileError,
    SourceNotFoundError,
    TaskDefinitionError,
    TooManyFailuresError,
    WiringError,
)
from dflow.flowmanager import FlowOutput, flowtask
from dflow.storage import MemoryStorage

Parts = tuple[str, str, str]
"""What a message says was found, what was expected, and what to do."""


def says(error: object, parts: Parts) -> None:
    """Check that a message has its three parts, in any order."""
    message = str(error)
    for part in parts:
        assert part in message, (part, message)


@flowtask.extract(name="gather", inputs=["sources"], outputs=["files"])
def gather(sources):
    return sorted(str(path) for source in sources for path in Path(source).rglob("*.step"))


@flowtask.transform(name="measure", inputs=["cad_file", "storage"], outputs=["measured"])
def measure(cad_file, storage):
    storage.save_metadata("n_bytes", os.path.getsize(cad_file))
    return cad_file


@flowtask.transform(name="count", inputs=["part"])
def count(part):
    return part


def make(folder: Path, *tasks: Callable[..., Any], **arguments: Any) -> Any:
    """A flow in this process."""
    arguments = {"debug": True, "export_visualization": False, **arguments}
    return dflow.create_flow("parts", list(tasks or (gather, measure)), folder / "out", **arguments)


def run(flow: Any, **inputs: Any) -> FlowOutput:
    """The output of a quiet run."""
    output: FlowOutput = flow.process(inputs=inputs, progress=False)[0]
    return output


# Definitions


async def later(part):
    return part


def keyword(part, *, scale):
    return part


def no_parameter():
    return None


def two(first, second):
    return first


def wide(first, second):
    return first


def narrow(first, second):
    return first


DEFINITIONS: list[tuple[str, Any, Parts]] = [
    ("a function that is not a task", [two], ("'two' is not a task", "decorate it", "@flowtask.transform")),
    ("a call's result", [count(1)], ("1 is int", "not a function", "pass decorated functions")),
    ("one task, not a list", count, ("found function", "a list of decorated functions", "`tasks`")),
    ("no task", [], ("empty", "a flow needs", "at least one decorated function")),
    ("one task twice", [count, count], ("Tasks 0 and 1", "both named 'count'", "give one another name")),
    ("an async function", [flowtask.custom(later)], ("'later' is an async function", "tasks are", "plain functions")),
    ("a keyword that nothing fills", [flowtask.custom(keyword)], ("'keyword'", "['scale']", "nothing provides")),
    (
        "a function without parameters",
        [flowtask.custom(no_parameter)],
        ("takes no parameter", "first parameter", "input"),
    ),
    (
        "more inputs than parameters",
        [flowtask.custom(inputs=["a", "b", "c"])(wide)],
        ("declares 3 inputs ['a', 'b', 'c']", "its function takes 2", "['first', 'second']"),
    ),
    (
        "a parameter that nothing feeds",
        [flowtask.custom(inputs=["a"])(narrow)],
        ("its parameter 'second'", "its inputs are ['a']", "nothing feeds"),
    ),
]


@pytest.mark.parametrize(("tasks", "parts"), [each[1:] for each in DEFINITIONS], ids=[each[0] for each in DEFINITIONS])
def test_tasks_that_cannot_be_run_are_refused_when_the_flow_is_made(tmp_path: Path, tasks: Any, parts: Parts) -> None:
    with pytest.raises((TaskDefinitionError, WiringError)) as caught:
        dflow.create_flow("parts", tasks, tmp_path)
    says(caught.value, parts)


SETTINGS: list[tuple[dict[str, Any], Parts]] = [
    ({"name": "a/b"}, ("'a/b'", "names its files", "leave out /")),
    ({"name": " parts"}, ("' parts'", "text without blanks around it", "A flow's name")),
    ({"flows_outputdir": 5}, ("flows_outputdir=5", "is not a path", "give the path of a folder")),
    ({"flows_outputdir": "s3://bucket/out"}, ("'s3://bucket/out' is an address", "local or mounted", "mount it")),
    ({"max_workers": 0}, ("max_workers=0", "a whole number from 1", "or None")),
    ({"storage_type": "optimised"}, ("storage_type='optimised'", "expected one of", "'optimized'")),
    ({"sample": "files"}, ("sample='files'", "expected one of", "'file'")),
    ({"timeout_seconds": -1}, ("timeout_seconds=-1", "a positive number", "of seconds")),
    ({"memory_limit": "lots"}, ("memory_limit='lots'", "expected bytes", '"2GB"')),
    ({"max_retries": 1.5}, ("max_retries=1.5", "expected a whole number", "from 0")),
    ({"max_failures": "few"}, ("max_failures='few'", "a count of files", "a share such as 0.1")),
]


@pytest.mark.parametrize(("arguments", "parts"), SETTINGS, ids=[str(*each[0].items()) for each in SETTINGS])
def test_settings_are_checked_when_the_flow_is_made(tmp_path: Path, arguments: dict[str, Any], parts: Parts) -> None:
    given = {"name": "parts", "flows_outputdir": tmp_path, **arguments}
    with pytest.raises(DflowError) as caught:
        dflow.create_flow(tasks=[count], **given)
    says(caught.value, parts)


# Inputs


@flowtask.custom(name="compare", inputs=["part", "scale"])
def compare(part, scale):
    return part


INPUTS: list[tuple[str, Any, Any, Parts]] = [
    ("none", [count], None, ("The flow has no inputs", 'inputs={"sources": [...]}', "with at least one entry")),
    ("a list", [count], ["a"], ("inputs=['a']", "expected a dictionary", '{"sources": ["/path/to/cad"]}')),
    ("an empty list", [count], {"parts": []}, ("input 'parts' is empty", "there is nothing", "to work on")),
    ("an empty text", [gather], {"sources": [""]}, ("an empty text: ['']", "file or folder", "name a")),
    (
        "a name that no task takes",
        [count],
        {"part": [1], "scales": 2},
        ("input 'scales'", "The tasks take: {'count': ['part']}", "No task takes"),
    ),
    (
        "a name that is missing",
        [compare],
        {"part": [1], "scales": 2},
        ("takes 'scale', which nothing provides", "Available to it: ['part', 'scales']", "injected"),
    ),
]


@pytest.mark.parametrize(("tasks", "inputs", "parts"), [e[1:] for e in INPUTS], ids=[each[0] for each in INPUTS])
def test_inputs_that_do_not_fit_are_refused_before_the_run(
    tmp_path: Path, tasks: Any, inputs: Any, parts: Parts
) -> None:
    with pytest.raises(DflowError) as caught:
        make(tmp_path, *tasks).process(inputs=inputs, progress=False)
    says(caught.value, parts)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        (
            "/nowhere/parts",
            ("There is no file or folder /nowhere/parts", "relative paths begin at", "check the flow's inputs"),
        ),
        ("./prats", ("There is no file or folder ./prats", "relative paths begin at", "check the flow's inputs")),
        (r"C:\cad\parts", (r"There is no file or folder C:\cad\parts", "a Windows path", "give the path under which")),
        (r"\\server\parts", (r"folder \\server\parts", "a Windows path", "give the path under which")),
        (Path("prats"), ("There is no file or folder prats", "relative paths begin at", "check the flow's inputs")),
    ],
)
def test_a_path_that_is_not_there_is_named_before_the_run(tmp_path: Path, source: Any, parts: Parts) -> None:
    with pytest.raises(SourceNotFoundError) as caught:
        run(make(tmp_path), sources=[source])
    says(caught.value, parts)


def touch(folder: Path, *names: str) -> Path:
    """A folder with empty files of these names."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        ((), ("lies no file", "no items came from sources", "task 'measure'")),
        (
            ("a.sldprt", "b.SLDPRT", "notes"),
            ("lie 3 files (2 .sldprt, 1 without a suffix)", "dflow reads (.step, .stp", "check the path"),
        ),
        (
            ("a.STEP", "b.stp", "c.step.gz", "d.txt"),
            ("lie 4 files", "3 of them are CAD files", "check the pattern that the task searches with"),
        ),
    ],
)
def test_a_folder_in_which_nothing_was_found_is_described(tmp_path: Path, names: Any, parts: Parts) -> None:
    folder = touch(tmp_path / "in", *names)
    with pytest.raises(EmptySourceError) as caught:
        run(make(tmp_path), sources=[str(folder)])
    says(caught.value, parts)
    assert str(folder) in str(caught.value)


def test_a_name_that_is_misspelt_is_named_where_nothing_was_found(tmp_path: Path) -> None:
    with pytest.raises(EmptySourceError) as caught:
        run(make(tmp_path), sources=["prats"])
    says(caught.value, (f"There is no file or folder {os.path.abspath('prats')}", "no items came", "task 'measure'"))


def test_a_file_in_place_of_a_folder_is_named_where_the_task_lists_folders(tmp_path: Path) -> None:
    path = touch(tmp_path / "in", "a.step") / "a.step"
    with pytest.raises(EmptySourceError) as caught:
        run(make(tmp_path), sources=[str(path)])
    says(caught.value, (f"{path} is a file", "nothing lies below a file", "the task must return the path itself"))


def test_a_single_file_is_a_source_of_the_built_in_gatherers(tmp_path: Path) -> None:
    from dflow.flowmanager.gathering import gather_cad_files
    from dflow.hoops.files import LocalStorageProvider

    path = str(touch(tmp_path / "in", "a.step") / "a.step")
    assert run(make(tmp_path, gather_cad_files, measure), sources=path).counts.succeeded == 1
    assert LocalStorageProvider(path).list_files() == [path]


# Wiring


def test_tasks_in_the_wrong_order_are_told_the_right_one(tmp_path: Path) -> None:
    with pytest.raises(WiringError) as caught:
        run(make(tmp_path, measure, gather), sources=[str(tmp_path)])
    says(caught.value, ("'gather'", "stands behind task 'measure'", "Give tasks in the order ['gather', 'measure']"))


def test_a_task_before_the_one_that_makes_its_input_is_told_the_right_order(tmp_path: Path) -> None:
    @flowtask.custom(name="sum_up", inputs=["measured"], parallel_execution=False)
    def sum_up(measured):
        return len(measured)

    with pytest.raises(WiringError) as caught:
        run(make(tmp_path, gather, sum_up, measure), sources=[str(tmp_path)])
    says(caught.value, ("outputs ['measured']", "behind task 'sum_up'", "order ['gather', 'measure', 'sum_up']"))


@pytest.mark.parametrize(
    "inputs", [["part", "scale", "storage"], ["storage", "part", "scale"], ["part", "storage", "scale"]]
)
def test_parameters_in_another_order_than_the_inputs_are_bound_by_name(tmp_path: Path, inputs: list[str]) -> None:
    if inputs[0] == "storage":
        inputs = ["part", *[name for name in inputs if name != "part"]]

    @flowtask.transform(name="scaled", inputs=inputs)
    def scaled(storage, scale, part, factor=1):
        storage.save_metadata("part", part)
        return part * scale * factor

    assert run(make(tmp_path, scaled), part=[1, 2], scale=10).task_instances[0].results == [10, 20]


def failure(tmp_path: Path, task: Callable[..., Any], part: Path) -> str:
    """The message of the only failure of a task over one part."""
    (error,) = run(make(tmp_path, task), files=[str(part)]).errors
    return error.message


@pytest.fixture
def part(tmp_path: Path) -> Path:
    path = tmp_path / "box.step"
    write_step(box(0, 0, 0, 1, 2, 3), path)
    return path


def test_a_loader_that_is_used_as_the_storage_is_named(tmp_path: Path, part: Path) -> None:
    @flowtask.transform(name="swapped", inputs=["cad_file"])
    def swapped(path, store, loader):
        store.save_metadata("n", 1)

    says(
        failure(tmp_path, swapped, part),
        ("the CAD loader has no 'save_metadata'", "which is a storage's", "the storage as `storage`"),
    )


def test_a_storage_that_is_used_as_the_loader_is_named(tmp_path: Path, part: Path) -> None:
    @flowtask.transform(name="swapped", inputs=["cad_file"])
    def swapped(path, store, loader):
        loader.create_from_file(path)

    says(
        failure(tmp_path, swapped, part),
        (
            "the storage has no 'create_from_file'",
            "which is the CAD loader's",
            "injected as the parameter `cad_loader`",
        ),
    )


def test_a_loader_that_is_used_as_a_model_is_named(tmp_path: Path, part: Path) -> None:
    @flowtask.transform(name="direct", inputs=["cad_file"])
    def direct(cad_file, cad_loader):
        return cad_loader.get_brep()

    says(
        failure(tmp_path, direct, part),
        ("the CAD loader has no 'get_brep'", "which is a model's", "`cad_loader.create_from_file(path)` returns"),
    )


def test_a_model_in_place_of_its_brep_is_named(part: Path) -> None:
    model = dflow.CadLoader().create_from_file(part)
    with pytest.raises(TypeError) as caught:
        BrepEncoder(model)  # type: ignore[arg-type]
    says(caught.value, ("brep is CadModel", "expected a Brep", "pass model.get_brep()"))


@pytest.mark.parametrize("wrong", ["part.step", MemoryStorage(), None])
def test_another_object_in_place_of_a_brep_is_named(wrong: Any) -> None:
    with pytest.raises(TypeError) as caught:
        BrepEncoder(wrong)
    says(caught.value, (f"brep is {type(wrong).__name__}", "expected a Brep", "the brep is CadModel.get_brep()"))


def test_another_object_in_place_of_a_storage_is_named(part: Path) -> None:
    brep = dflow.CadLoader().create_from_file(part).get_brep()
    with pytest.raises(TypeError) as caught:
        BrepEncoder(brep, "out")  # type: ignore[arg-type]
    says(caught.value, ("storage is str", "expected a DataStorage or None", "pass the task's parameter `storage`"))


def test_another_number_of_outputs_than_declared_is_named(tmp_path: Path) -> None:
    @flowtask.transform(inputs=["part"], outputs=["half", "rest"])
    def halve(part):
        return part

    @flowtask.custom(inputs=["rest"], parallel_execution=False)
    def total(rest):
        return len(rest)

    with pytest.raises(WiringError) as caught:
        run(make(tmp_path, halve, total), parts=[1])
    says(caught.value, ("returned int", "declares the outputs ['half', 'rest']", "return a tuple or a dictionary"))


# Addresses

URL = "s3://bucket/parts.dataset"


@pytest.mark.parametrize(
    "opened",
    [
        lambda: DatasetExplorer(flow_output_file="https://host/parts.flow"),
        lambda: DatasetExplorer(merged_store_path=URL),
        lambda: DatasetLoader(merged_store_path=URL, parquet_file_path="s3://bucket/parts.infoset"),
    ],
)
def test_an_address_of_a_dataset_is_refused(opened: Callable[[], Any]) -> None:
    with pytest.raises(DatasetNotFoundError) as caught:
        opened()
    says(caught.value, ("is an address", "expected the path of a local or mounted dataset", "mount what it names"))


def test_an_address_that_reaches_the_loader_is_refused(tmp_path: Path) -> None:
    @flowtask.transform(name="opened", inputs=["cad_file", "cad_loader"])
    def opened(cad_file, cad_loader):
        cad_loader.create_from_file(cad_file)

    (error,) = run(make(tmp_path, opened), files=["https://host/a.step"]).errors
    assert error.kind in ("unreadable", "vanished")
    says(error.message, ("an address", "expected the path of a local or mounted file", "mount what it names, or copy"))


def test_an_address_is_refused_by_the_built_in_gatherers(tmp_path: Path) -> None:
    from dflow.flowmanager.gathering import gather_cad_files
    from dflow.hoops.files import LocalStorageProvider

    with pytest.raises(SourceNotFoundError) as caught:
        run(make(tmp_path, gather_cad_files, measure), sources=["s3://bucket/parts"])
    says(caught.value, ("s3://bucket/parts", "is an address", "copy its files into a folder"))
    with pytest.raises(SourceNotFoundError) as caught:
        LocalStorageProvider("s3://bucket/parts")
    says(caught.value, ("is an address", "expected the path of a local or mounted folder", "mount what it names"))


def test_what_the_user_s_own_extract_takes_is_not_judged(tmp_path: Path) -> None:
    taken = []

    @flowtask.extract(inputs=["databases"], outputs=["parts"])
    def rows(databases):
        taken.extend(databases)
        return [1, 2]

    sources = ["postgresql://host/parts", "SELECT * FROM parts", {"table": "parts"}]
    assert run(make(tmp_path, rows, count), databases=sources).counts.succeeded == 2
    assert taken == sources


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
