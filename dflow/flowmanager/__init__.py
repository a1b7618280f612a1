"""Tasks, their wiring, and the flow that runs them on Dask."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dflow.flowmanager import flowtask
    from dflow.flowmanager.flow import Flow, create_flow
    from dflow.flowmanager.flowoutput import FlowOutput
    from dflow.flowmanager.progress import ProgressEvent
    from dflow.flowmanager.registry import (
        list_registered_tasks,
        print_task_registry,
        validate_function_signature,
        validate_tasks,
    )

_HOMES = {
    "Flow": "dflow.flowmanager.flow",
    "FlowOutput": "dflow.flowmanager.flowoutput",
    "ProgressEvent": "dflow.flowmanager.progress",
    "create_flow": "dflow.flowmanager.flow",
    "list_registered_tasks": "dflow.flowmanager.registry",
    "print_task_registry": "dflow.flowmanager.registry",
    "validate_function_signature": "dflow.flowmanager.registry",
    "validate_tasks": "dflow.flowmanager.registry",
}

__all__ = [
    "Flow",
    "FlowOutput",
    "ProgressEvent",
    "create_flow",
    "flowtask",
    "list_registered_tasks",
    "print_task_registry",
    "validate_function_signature",
    "validate_tasks",
]


def __getattr__(name: str) -> Any:
    if name == "flowtask":
        return import_module("dflow.flowmanager.flowtask")
    if name not in _HOMES:
        raise AttributeError(f"module 'dflow.flowmanager' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
