"""Tasks, their wiring, and the flow that runs them on Dask.

* `flowtask`: the decorators; `gather_cad_files`: a task that finds CAD files
* `create_flow`, `Flow`: a pipeline of tasks
* `FlowOutput`, `ProgressEvent`: what a run returns, and what it reports meanwhile
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dflow.lazy import attach

if TYPE_CHECKING:
    from dflow.flowmanager import flowtask
    from dflow.flowmanager.flow import Flow, create_flow
    from dflow.flowmanager.gathering import gather_cad_files
    from dflow.flowmanager.plan.registry import (
        list_registered_tasks,
        print_task_registry,
        validate_function_signature,
        validate_tasks,
    )
    from dflow.flowmanager.reports.flowoutput import FlowOutput
    from dflow.flowmanager.reports.progress import ProgressEvent
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "Flow": "dflow.flowmanager.flow",
            "FlowOutput": "dflow.flowmanager.reports.flowoutput",
            "ProgressEvent": "dflow.flowmanager.reports.progress",
            "create_flow": "dflow.flowmanager.flow",
            "flowtask": "dflow.flowmanager.flowtask:",
            "gather_cad_files": "dflow.flowmanager.gathering",
            "list_registered_tasks": "dflow.flowmanager.plan.registry",
            "print_task_registry": "dflow.flowmanager.plan.registry",
            "validate_function_signature": "dflow.flowmanager.plan.registry",
            "validate_tasks": "dflow.flowmanager.plan.registry",
        },
    )

__all__ = [
    "Flow",
    "FlowOutput",
    "ProgressEvent",
    "create_flow",
    "flowtask",
    "gather_cad_files",
    "list_registered_tasks",
    "print_task_registry",
    "validate_function_signature",
    "validate_tasks",
]
