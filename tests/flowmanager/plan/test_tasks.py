"""A task as its decorator declared it, and values as lists of items."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dflow.errors import TaskDefinitionError
from dflow.flowmanager import flowtask
from dflow.flowmanager.plan.tasks import Gathering, listed, positional_parameters, spec_of


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, []), ("ab", ["ab"]), ({"a": 1}, [{"a": 1}]), ((1, 2), [1, 2]), (iter([3]), [3]), (5, [5])],
)
def test_values_as_lists(value, expected):
    assert listed(value) == expected


def test_gathered_results_are_lists():
    assert Gathering(lambda: (n for n in range(3)))() == [0, 1, 2]
    assert Gathering(lambda: "one")() == ["one"]
    assert Gathering(lambda: None)() is None


def test_a_child_imports_no_cluster_for_an_extract_task() -> None:
    code = "import sys, dflow.flowmanager.plan.tasks; print('distributed' in sys.modules, 'dask' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_paths_bytes_and_mappings_are_one_item_and_arrays_spread():
    assert listed(Path("a")) == [Path("a")]
    assert listed(b"ab") == [b"ab"]
    assert listed(np.arange(3)) == [0, 1, 2]


def test_arguments_reach_the_gathered_function():
    assert Gathering(lambda a, b=0: (a, b))(1, b=2) == [1, 2]


def test_star_arguments_and_keywords_are_not_positional():
    def task(first, /, second, *rest, third=1, **others):
        return first

    assert [parameter.name for parameter in positional_parameters(task)] == ["first", "second"]
    assert [p.name for p in positional_parameters(functools.partial(task, 1))] == ["second"]


def test_what_is_not_a_task_is_told_with_what_to_do():
    def plain(path):
        return path

    with pytest.raises(TaskDefinitionError, match=r"'plain' is not a task: decorate it with @flowtask\.extract"):
        spec_of(plain)
    with pytest.raises(TaskDefinitionError, match="3 is int, not a function; pass decorated functions"):
        spec_of(3)
    with pytest.raises(TaskDefinitionError, match="no readable signature: wrap it"):
        positional_parameters(dict)


def test_a_specification_is_read_from_the_function():
    @flowtask.transform(name="encode", inputs=["file", "storage"], outputs=["done"])
    def function(file, storage):
        return file

    spec = spec_of(function)
    assert (spec.name, spec.kind, spec.inputs, spec.outputs) == ("encode", "transform", ("file", "storage"), ("done",))
    assert spec.function is function
