"""The registry of tasks, and what is wrong with a task's definition."""

from __future__ import annotations

from typing import Any

import pytest

from dflow.errors import TaskDefinitionError
from dflow.flowmanager import flowtask
from dflow.flowmanager.plan import registry
from dflow.flowmanager.plan.registry import (
    list_registered_tasks,
    print_task_registry,
    validate_function_signature,
    validate_tasks,
)
from tests.flowmanager.flowparts import encode, gather


@pytest.fixture(autouse=True)
def no_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty registry: other tests of this process register tasks, some of them wrong on purpose."""
    monkeypatch.setattr(registry, "_REGISTERED", {})


def test_the_registry_prints_one_line_a_task(capsys):

    @flowtask.custom(name="count", parallel_execution=False)
    def count(encoded):
        return len(encoded)

    print_task_registry([gather, count])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "sequential" in lines[1]


def test_bad_definitions_are_told_apart():
    async def later(path):
        return path

    def undecorated(path):
        return path

    def keyword(path, *, scale):
        return path

    problems = validate_tasks([gather, gather, undecorated, flowtask.transform(later), flowtask.transform(keyword), 3])
    for part in ("both named 'gather'", "'undecorated' is not a task", "async", "keyword-only", "not a function"):
        assert any(part in problem for problem in problems), part
    assert validate_tasks([]) == ["`tasks` is empty; a flow needs at least one decorated function."]
    assert validate_tasks([gather, encode]) == []


def test_more_inputs_than_parameters_is_a_problem():
    @flowtask.transform(inputs=["a", "b", "c"])
    def one(path):
        return path

    assert "declares 3 inputs" in validate_tasks([one])[0]


def test_a_task_is_listed_with_what_it_takes_and_gives():
    @flowtask.custom(name="registry_weigh", outputs=["mass"])
    def weigh(part, density=1.0):
        return density

    assert list_registered_tasks()["registry_weigh"] == {
        "kind": "custom",
        "inputs": ["part", "density"],
        "outputs": ["mass"],
        "parallel_execution": True,
        "task_class": "CustomTask",
        "function": weigh,
    }


def test_a_task_that_is_defined_again_replaces_the_first():
    def define(value: int) -> Any:
        @flowtask.custom(name="registry_again")
        def again(part):
            return value

        return again

    define(1)
    second = define(2)
    assert list_registered_tasks()["registry_again"]["function"] is second


def test_a_function_with_star_arguments_takes_any_number_of_inputs():
    @flowtask.custom(inputs=["a", "b"])
    def star(*values):
        return values

    assert validate_function_signature(star) == []


def test_no_input_at_all_is_a_problem():
    @flowtask.custom(inputs=[])
    def nothing(part):
        return part

    assert "declares inputs=[]" in validate_function_signature(nothing)[0]
    with pytest.raises(TaskDefinitionError, match="not a task: decorate it with"):
        validate_function_signature(len)


@pytest.mark.parametrize("tasks", ["gather", 3, {"gather": gather}])
def test_tasks_are_a_list(tasks):
    assert validate_tasks(tasks) == [f"`tasks` is a list of decorated functions; found {type(tasks).__name__}."]
