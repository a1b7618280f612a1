"""Tasks, their wiring, and the flow that runs them on Dask.

Where to look, from a user's call down to the child process:

* What users hold: `flowtask` (the decorators), `flow`, `settings`, `handle` (a run in the background), `flowoutput`,
  `registry`, `tasks`.
* Decided before anything runs, by pure functions: `wiring` (who feeds whom), `fanout` (once or once an item), `roots`
  (which items), `freshness` (again or not), `batching` (how many a batch), `nodenames`.
* One ``process`` call in the client: `session` (the order of things), `run` (what stages share), `liststage` and
  `itemstage` (the two kinds of stage), `jobs` (items to Dask nodes), `export` (the merge), with `folder`, `lock` and
  `collector` (of garbage); what earlier runs left: `journal`, `fingerprint`, `reuse`, `interning`; users' functions as
  bytes: `functions`.
* Where nodes are computed: `engine`, `clusterclient`, `clusters` (which one), `profiles` (queues), `preload`, `node`
  (what a node calls).
* On a worker: `worker` (a batch), `batch` (what it is sent), `isolation` (the supervisor of a child), `watch` (one
  request: time, memory, life), `processes`, `nursery` and `child` (the two processes), `wire` (what is said between
  them), `outcome` (what becomes of an item), `limits`, `logtail`, `inflight`, `deaths` (workers that keep dying).
* In the child, at the user's function: `execution`, `injection` (its arguments), `samples` (its store), `listing` (an
  extract task's result); what went wrong: `faults`.
* What is told while it runs: `progress` (typed events), `bars`, `notebookbars`, `monitorfeed` (to the dashboard's
  page), `flowlog`; and when it is over: `outputs` (the files), `report` (the table), `runfacts` and `timeline`
  (``run.json``), `runreport` and `runcharts` (``report.html``), `drawing` (the flow as a picture).
* Whether hosts can run a flow at all: `doctor`, `hostfacts`, `findings`.
"""

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
