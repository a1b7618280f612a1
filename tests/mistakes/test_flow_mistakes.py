"""Mistakes in flows: each message says what was found, what was expected, and what to do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import dflow
from dflow.errors import (
    DflowError,
    EmptySourceError,
    SourceNotFoundError,
    TaskDefinitionError,
    WiringError,
)
from dflow.flowmanager import flowtask
from tests.mistakes.flows import Parts, count, gather, make, measure, run, says, touch

# Definitions


async def later(part):
    return part


def yielding(part):
    yield part


def streaming(part):
    yield part


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
    (
        "a transform that yields",
        [flowtask.transform(yielding)],
        ("'yielding' is a generator function", "whose body would not run", "return the value instead of `yield`"),
    ),
    (
        "a custom task that yields",
        [flowtask.custom(streaming)],
        ("'streaming' is a generator function", "whose body would not run", "return the value instead of `yield`"),
    ),
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


def test_a_sequential_task_may_yield_and_its_body_runs(tmp_path: Path) -> None:
    seen = []

    @flowtask.custom(name="listing", inputs=["parts"], parallel_execution=False)
    def listing(parts):
        seen.extend(parts)
        yield from parts

    output = run(make(tmp_path, count, listing), parts=[1, 2])
    assert seen == [1, 2]
    assert output.task_instances[1].results == [1, 2]


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


def test_a_folder_among_the_items_is_named_with_what_finds_its_files(tmp_path: Path) -> None:
    @flowtask.extract(name="folders", inputs=["sources"], outputs=["files"])
    def folders(sources):
        return list(sources)

    @flowtask.transform(name="opened", inputs=["cad_file", "cad_loader"])
    def opened(cad_file, cad_loader):
        cad_loader.create_from_file(cad_file)

    (error,) = run(make(tmp_path, folders, opened), sources=[str(touch(tmp_path / "in", "a.step"))]).errors
    assert error.kind == "unreadable"
    says(error.message, ("it is a folder", "give the paths of the files in it", "`gather_cad_files` as first task"))


@pytest.mark.parametrize("whole", [True, False], ids=["all sources", "each source"])
@pytest.mark.parametrize("parallel", [True, False], ids=["parallel", "sequential"])
def test_an_extract_task_without_return_is_named(tmp_path: Path, whole: bool, parallel: bool) -> None:
    def forgetful(sources):
        sorted(sources)

    def forgetful_of_each(source: str):
        source.upper()

    decorate = flowtask.extract(name="found", inputs=["sources"], outputs=["files"], parallel_execution=parallel)
    with pytest.raises(EmptySourceError) as caught:
        run(make(tmp_path, decorate(forgetful if whole else forgetful_of_each), measure), sources=[str(tmp_path)])
    says(caught.value, ("Task 'found' returned None", "expected a list of paths", "check that it ends with `return`"))


def test_an_extract_task_that_returns_bare_names_is_told_where_they_begin(tmp_path: Path) -> None:
    @flowtask.extract(name="names", inputs=["sources"], outputs=["files"])
    def names(sources):
        return [name for source in sources for name in os.listdir(source)]

    @flowtask.transform(name="opened", inputs=["cad_file", "cad_loader"])
    def opened(cad_file, cad_loader):
        cad_loader.create_from_file(cad_file)

    (error,) = run(make(tmp_path, names, opened), sources=[str(touch(tmp_path / "in", "a.step"))]).errors
    assert error.kind == "vanished"
    says(error.message, ("no such file", f"'a.step' is relative to {os.getcwd()}", "return absolute paths"))
    assert "\n" not in error.message
