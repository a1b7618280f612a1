"""Tasks, their wiring, and the flow that runs them on Dask.

What users hold lies here: `flowtask` (the decorators), `flow`, `handle` (a run in the background), and `preload` for
workers that users start. Below it, each package importing only those under it:

* `stages`: one ``process`` call in the client;
* `reports`: what is told of it, meanwhile and afterwards;
* `cluster`: where nodes are computed, and whether hosts can;
* `worker`: a batch on a worker, its child process, and the user's function in it;
* `history`: what earlier runs left, and whether it still holds;
* `plan`: what is decided before anything runs, by pure functions.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dflow.flowmanager import flowtask
    from dflow.flowmanager.flow import Flow, create_flow
    from dflow.flowmanager.plan.registry import (
        list_registered_tasks,
        print_task_registry,
        validate_function_signature,
        validate_tasks,
    )
    from dflow.flowmanager.reports.flowoutput import FlowOutput
    from dflow.flowmanager.reports.progress import ProgressEvent

_HOMES = {
    "Flow": "dflow.flowmanager.flow",
    "FlowOutput": "dflow.flowmanager.reports.flowoutput",
    "ProgressEvent": "dflow.flowmanager.reports.progress",
    "create_flow": "dflow.flowmanager.flow",
    "list_registered_tasks": "dflow.flowmanager.plan.registry",
    "print_task_registry": "dflow.flowmanager.plan.registry",
    "validate_function_signature": "dflow.flowmanager.plan.registry",
    "validate_tasks": "dflow.flowmanager.plan.registry",
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
