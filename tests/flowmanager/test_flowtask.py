"""The decorators: what they attach, and what they refuse."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from dflow.errors import TaskDefinitionError
from dflow.flowmanager import flowtask
from dflow.flowmanager.plan.registry import list_registered_tasks
from dflow.flowmanager.plan.tasks import spec_of


def test_decorators_return_the_same_callable_with_attributes():
    def plain(path):
        return path + "!"

    decorated = flowtask.transform(name="shout", outputs=["loud"])(plain)
    assert decorated is plain
    assert decorated("a") == "a!"
    assert (decorated._task_type, decorated._task_name, decorated._task_outputs) == ("transform", "shout", ("loud",))
    assert decorated._task_class == "EncodingTask"
    assert list_registered_tasks()["shout"]["function"] is plain


def test_wrong_names_are_refused_at_decoration():
    with pytest.raises(TaskDefinitionError, match="name twice"):
        flowtask.transform(inputs=["a", "a"])(lambda a: a)
    with pytest.raises(TaskDefinitionError, match="is text"):
        flowtask.transform(3)


@pytest.mark.parametrize(
    ("decorator", "kind", "task_class"),
    [
        (flowtask.extract, "extract", "GatherCADFiles"),
        (flowtask.transform, "transform", "EncodingTask"),
        (flowtask.custom, "custom", "CustomTask"),
    ],
)
def test_a_bare_decorator_takes_names_from_the_function(decorator: Any, kind: str, task_class: str) -> None:
    @decorator
    def measure(part):
        return part

    spec = spec_of(measure)
    assert (spec.name, spec.kind, spec.inputs, spec.outputs) == ("measure", kind, None, ("measure",))
    assert spec.parallel
    assert spec.task_class == task_class
    assert decorator.__name__ == kind
    assert "Declare" in decorator.__doc__


def test_one_name_may_be_given_as_text() -> None:
    @flowtask.custom(inputs="part", outputs="mass", parallel_execution=False)
    def weigh(part):
        return 1.0

    spec = spec_of(weigh)
    assert (spec.inputs, spec.outputs, spec.parallel) == (("part",), ("mass",), False)


@pytest.mark.parametrize("names", [[""], [3], ["a", None]])
def test_names_are_non_empty_text(names: list[Any]) -> None:
    with pytest.raises(TaskDefinitionError, match="must be names"):
        flowtask.transform(outputs=names)(lambda part: part)


def test_an_object_that_takes_no_attributes_has_to_be_wrapped() -> None:
    with pytest.raises(TaskDefinitionError, match="wrap it in a function of your own"):
        flowtask.custom(name="length")(len)
    assert spec_of(flowtask.custom(name="first")(functools.partial(max, default=0))).name == "first"


def test_only_functions_are_decorated() -> None:
    with pytest.raises(TaskDefinitionError, match="decorates functions"):
        flowtask.extract(name="gather")("not a function")
