"""A task as its decorator declared it, and its result as a list of items.

Children import this module, so it imports nothing heavy.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dflow.errors import TaskDefinitionError

TaskKind = Literal["extract", "transform", "custom"]

TASK_CLASSES: dict[TaskKind, str] = {
    "extract": "GatherCADFiles",
    "transform": "EncodingTask",
    "custom": "CustomTask",
}
"""HOOPS AI's wrapper classes, which name the entries of ``Duration [seconds]``."""

EXPORT_CLASS = "AutoDatasetExportTask"
EXPORT_TASK = "merge"
"""Name of the export among the tasks, and in its nodes' keys."""

INJECTED = ("cad_loader", "storage")
"""Inputs that the framework provides, in the order of HOOPS AI's positional convention."""


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task of a flow, read from the attributes that the decorator left on its function.

    `inputs` is None where the user named none: they are then the function's own required parameters.
    """

    name: str
    kind: TaskKind
    function: Callable[..., Any]
    inputs: tuple[str, ...] | None
    outputs: tuple[str, ...]
    parallel: bool = True

    @property
    def task_class(self) -> str:
        """The wrapper's name in HOOPS AI."""
        return TASK_CLASSES[self.kind]


def spec_of(function: Any) -> TaskSpec:
    """Return the task behind a decorated callable.

    Raises
    ------
    TaskDefinitionError
        If `function` is not callable, or was never decorated with `flowtask`.
    """
    name = getattr(function, "__name__", repr(function))
    if not callable(function):
        raise TaskDefinitionError(f"{name} is {type(function).__name__}, not a function; pass decorated functions.")
    kind = getattr(function, "_task_type", None)
    if kind not in TASK_CLASSES:
        raise TaskDefinitionError(
            f"Function {name!r} is not a task: decorate it with @flowtask.extract, @flowtask.transform or "
            f"@flowtask.custom."
        )
    return TaskSpec(
        name=function._task_name,
        kind=kind,
        function=function,
        inputs=function._task_inputs,
        outputs=function._task_outputs,
        parallel=function._parallel_execution,
    )


def positional_parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters that can be given by position, in order, without ``*args``.

    Raises
    ------
    TaskDefinitionError
        If the callable has no readable signature.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise TaskDefinitionError(
            f"{function!r} has no readable signature: wrap it in a function of your own."
        ) from error
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [parameter for parameter in signature.parameters.values() if parameter.kind in kinds]


def listed(value: Any) -> list[Any]:
    """Return a value as a list of items: sequences spread; texts, paths and mappings are one item; None is empty."""
    if value is None:
        return []
    if isinstance(value, (str, bytes, os.PathLike, Mapping)) or not hasattr(value, "__iter__"):
        return [value]
    return list(value)


class Gathering:
    """An extract function whose result becomes a list in the process that runs it, so that generators travel too.

    None stays None: most often a ``return`` is missing, which the error that nothing came from it says.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any, **keywords: Any) -> list[Any] | None:
        """Call the user's function."""
        result = self._function(*arguments, **keywords)
        return None if result is None else listed(result)
