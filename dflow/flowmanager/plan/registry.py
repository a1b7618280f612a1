"""The tasks that this process has defined, and checks of their definitions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from dflow.errors import TaskDefinitionError
from dflow.flowmanager.plan.tasks import TaskSpec, positional_parameters, spec_of

_REGISTERED: dict[str, Callable[..., Any]] = {}


def register(function: Callable[..., Any]) -> None:
    """Register a decorated function under its task name; a later one of the same name (a re-run cell) replaces it."""
    _REGISTERED[spec_of(function).name] = function


def list_registered_tasks() -> dict[str, dict[str, Any]]:
    """Return name → kind, inputs, outputs, parallel_execution, task_class and function of every task decorated here."""
    return {name: _describe(spec_of(function)) for name, function in _REGISTERED.items()}


def print_task_registry(tasks: Sequence[Callable[..., Any]] | None = None) -> None:
    """Print the registered tasks (or `tasks`), one per line."""
    specs = [spec_of(function) for function in (_REGISTERED.values() if tasks is None else tasks)]
    for spec in specs:
        entry = _describe(spec)
        mode = "parallel" if spec.parallel else "sequential"
        print(f"{spec.name:24} {spec.kind:10} {mode:10} {entry['inputs']} -> {entry['outputs']}")


def validate_function_signature(function: Callable[..., Any]) -> list[str]:
    """Return what is wrong with a decorated function's definition, as sentences; empty when nothing is.

    Parameters
    ----------
    function : decorated by one of `flowtask`

    Raises
    ------
    TaskDefinitionError
        If `function` is not a task.

    Examples
    --------
    >>> from dflow.flowmanager import flowtask, validate_function_signature
    >>> @flowtask.transform(name="encode")
    ... def encode():
    ...     return None
    >>> validate_function_signature(encode)
    ["Task 'encode' takes no parameter; its first parameter receives the input."]
    """
    spec = spec_of(function)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return [f"Task {spec.name!r} is an async function; tasks are plain functions."]
    is_per_item = spec.kind == "transform" or (spec.kind == "custom" and spec.parallel)
    if is_per_item and inspect.isgeneratorfunction(function):
        return [
            f"Task {spec.name!r} is a generator function, whose body would not run: return the value instead of "
            "`yield` (extract tasks may yield their items)."
        ]
    parameters = positional_parameters(function)
    takes_any = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in inspect.signature(function).parameters.values())
    problems = []
    if not parameters and not takes_any:
        problems.append(f"Task {spec.name!r} takes no parameter; its first parameter receives the input.")
    if spec.inputs is not None and not spec.inputs:
        problems.append(f"Task {spec.name!r} declares inputs=[]; name at least one, or leave `inputs` out.")
    if spec.inputs is not None and len(spec.inputs) > len(parameters) and not takes_any:
        problems.append(
            f"Task {spec.name!r} declares {len(spec.inputs)} inputs {list(spec.inputs)}, but its function takes "
            f"{len(parameters)}: {[p.name for p in parameters]}."
        )
    required = [
        p.name
        for p in inspect.signature(function).parameters.values()
        if p.kind is inspect.Parameter.KEYWORD_ONLY and p.default is inspect.Parameter.empty
    ]
    if required:
        problems.append(f"Task {spec.name!r} needs keyword-only arguments {required}, which nothing provides.")
    return problems


def validate_tasks(tasks: Sequence[Callable[..., Any]]) -> list[str]:
    """Return what is wrong with a list of tasks, as sentences: undecorated functions, duplicate names, bad signatures.

    Parameters
    ----------
    tasks : as `create_flow` takes them
    """
    if isinstance(tasks, str) or not isinstance(tasks, Sequence):
        return [f"`tasks` is a list of decorated functions; found {type(tasks).__name__}."]
    if not tasks:
        return ["`tasks` is empty; a flow needs at least one decorated function."]
    problems: list[str] = []
    seen: dict[str, int] = {}
    for position, function in enumerate(tasks):
        try:
            problems.extend(validate_function_signature(function))
            name = spec_of(function).name
        except TaskDefinitionError as error:
            problems.append(str(error))
            continue
        if name in seen:
            problems.append(f"Tasks {seen[name]} and {position} are both named {name!r}; give one another name.")
        seen.setdefault(name, position)
    return problems


def _describe(spec: TaskSpec) -> dict[str, Any]:
    inputs = spec.inputs if spec.inputs is not None else tuple(p.name for p in positional_parameters(spec.function))
    return {
        "kind": spec.kind,
        "inputs": list(inputs),
        "outputs": list(spec.outputs),
        "parallel_execution": spec.parallel,
        "task_class": spec.task_class,
        "function": spec.function,
    }
