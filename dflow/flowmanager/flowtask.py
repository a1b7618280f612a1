"""The decorators: ``from dflow.flowmanager import flowtask``, then ``@flowtask.transform(…)``.

A decorator returns the same callable with ``_task_*`` attributes attached, so the function can still be called
directly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, overload

from dflow.errors import TaskDefinitionError
from dflow.flowmanager.plan import registry
from dflow.flowmanager.plan.tasks import TASK_CLASSES, TaskKind

F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["custom", "extract", "transform"]


class TaskDecorator(Protocol):
    """What `extract`, `transform` and `custom` are: bare (``@flowtask.extract``) or called with arguments."""

    @overload
    def __call__(self, name: F) -> F: ...
    @overload
    def __call__(
        self,
        name: str | None = None,
        inputs: Sequence[str] | None = None,
        outputs: Sequence[str] | None = None,
        parallel_execution: bool = True,
    ) -> Callable[[F], F]: ...


def _decorator(kind: TaskKind, doc: str) -> TaskDecorator:
    def decorate(
        name: Any = None,
        inputs: Sequence[str] | None = None,
        outputs: Sequence[str] | None = None,
        parallel_execution: bool = True,
    ) -> Any:
        if callable(name):  # bare @flowtask.extract
            return _attach(name, kind, None, inputs, outputs, parallel_execution)
        if name is not None and not isinstance(name, str):
            raise TaskDefinitionError(f"The name of a task is text; found {name!r}.")
        return lambda function: _attach(function, kind, name, inputs, outputs, parallel_execution)

    decorate.__name__ = decorate.__qualname__ = kind
    decorate.__doc__ = doc
    return decorate


extract = _decorator(
    "extract",
    """Declare a task that finds what to work on: files, rows of a database, anything.

    Parameters
    ----------
    name
        The task's name; the function's own when omitted.
    inputs
        Names of what the task takes. A name that nothing produces is fed from the flow's input.
    outputs
        Names of what later tasks can take from it; the task's name when omitted.
    parallel_execution
        False runs it in the calling process, where raising stops the flow.

    Notes
    -----
    The function takes the whole list when its first parameter has the input's own name (``sources``) or is annotated
    as a sequence, and is called once per source otherwise. Returned lists are flattened one level.
    """,
)
transform = _decorator(
    "transform",
    """Declare a task that is called once per item, with ``cad_loader`` and ``storage`` injected.

    Parameters
    ----------
    name, outputs, parallel_execution
        As in `extract`.
    inputs
        ``["cad_file", "cad_loader", "storage"]`` in the function's order, or only the first, HOOPS AI's short form.

    Notes
    -----
    Returning None from a call that wrote nothing skips the item; raising fails that item only.
    """,
)
custom = _decorator(
    "custom",
    """Declare any other step: once per item, or once over the whole list with ``parallel_execution=False``.

    Parameters
    ----------
    name, inputs, outputs
        As in `extract`.
    parallel_execution
        False calls the function once with the whole list, in the calling process; an error there stops the flow.
    """,
)


def _attach(
    function: Any,
    kind: TaskKind,
    name: str | None,
    inputs: Sequence[str] | None,
    outputs: Sequence[str] | None,
    parallel: bool,
) -> Any:
    if not callable(function):
        raise TaskDefinitionError(f"@flowtask.{kind} decorates functions; found {function!r}.")
    task_name = str(name or getattr(function, "__name__", type(function).__name__))
    attributes = {
        "_task_type": kind,
        "_task_name": task_name,
        "_task_inputs": None if inputs is None else _names(inputs, "inputs", task_name),
        "_task_outputs": (task_name,) if outputs is None else _names(outputs, "outputs", task_name),
        "_parallel_execution": bool(parallel),
        "_task_class": TASK_CLASSES[kind],
    }
    try:
        for key, value in attributes.items():
            setattr(function, key, value)
    except AttributeError as error:
        raise TaskDefinitionError(f"{function!r} takes no attributes: wrap it in a function of your own.") from error
    registry.register(function)
    return function


def _names(names: Sequence[str], what: str, task: str) -> tuple[str, ...]:
    if isinstance(names, str):
        names = [names]
    listed = tuple(names)
    wrong = [name for name in listed if not isinstance(name, str) or not name]
    if wrong:
        raise TaskDefinitionError(f"Task {task!r}: {what} must be names (non-empty text); found {wrong[0]!r}.")
    if len(set(listed)) != len(listed):
        raise TaskDefinitionError(f"Task {task!r}: {what} holds a name twice: {list(listed)}.")
    return listed
