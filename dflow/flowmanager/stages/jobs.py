"""From items to Dask: each task of a stage becomes one delayed node a batch, chained to the task before it."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dask.delayed import Delayed, delayed

from dflow.flowmanager.cluster.engine import Job
from dflow.flowmanager.cluster.node import Follow, run_first, run_next
from dflow.flowmanager.plan.batch import Batch, Item, Limits, PackedValue, TaskCall, pack_value
from dflow.flowmanager.plan.nodenames import node_key
from dflow.flowmanager.plan.roots import Root
from dflow.flowmanager.plan.wiring import Stage, Step
from dflow.records import BatchResult


@dataclass(frozen=True, slots=True)
class ChainPlan:
    """All that the nodes of one stage have in common.

    `template` is a batch without items and with the first call; `calls`, `follows`, `needs_values` and key `suffixes`
    go along the stage's steps; `hashing` says whether sources are read for their content hash.
    """

    template: Batch
    calls: tuple[TaskCall, ...]
    follows: tuple[Follow, ...]
    needs_values: tuple[bool, ...]
    suffixes: tuple[str, ...]
    hashing: bool = False


def task_call(step: Step, function: bytes) -> TaskCall:
    """The message that names a step's function and how to feed it."""
    return TaskCall(
        task_name=step.task.name,
        kind=step.task.kind,
        function=function,
        feeds=step.feeds,
        stage=step.stage,
        is_last_stage=step.is_last_stage,
    )


def follows_of(stage: Stage) -> tuple[Follow, ...]:
    """How each step of a stage is fed from the earlier ones (-1: from the stage's own items)."""
    position = {step.index: number for number, step in enumerate(stage.steps)}
    return tuple(
        Follow(
            position.get(step.item.step, -1),
            tuple((key, position[source.step]) for key, source in step.extras if source.step in position),
        )
        for step in stage.steps
    )


def make_job(plan: ChainPlan, tag: int, roots: Mapping[int, Root], hashes: Mapping[int, str]) -> Job:
    """The nodes for one batch of items, given by their index; `hashes` are the contents that earlier runs saw."""
    items = tuple(
        Item(index, root.identity, _packed(root.value), content_hash=hashes.get(index, ""))
        for index, root in roots.items()
    )
    nodes: list[Delayed] = []
    for number, call in enumerate(plan.calls):
        batch = replace(plan.template, index=tag, call=call, items=items)
        key = node_key(call.task_name, tag, plan.suffixes[number])
        if number == 0:
            nodes.append(
                _FIRST(_pack(batch), hashing=plan.hashing, needs_value=plan.needs_values[0], dask_key_name=key)
            )
        else:
            nodes.append(
                _NEXT(
                    _pack(batch, plan.follows[number]),
                    *nodes,
                    needs_value=plan.needs_values[number],
                    dask_key_name=key,
                )
            )
    return Job(tag, tuple(nodes))


def gather_limits(limits: Limits) -> Limits:
    """An extract may return the list of all files, and has more time to find them."""
    return replace(
        limits, max_value_bytes=2 * 1024**3, timeout_seconds=max(limits.timeout_seconds, 24 * 3600.0), max_retries=0
    )


def _packed(value: Any) -> Any:
    return value if isinstance(value, PackedValue) else pack_value(value)


# Messages travel as bytes: Dask would look into every dataclass for nodes inside it.
def _pack(*parts: Any) -> bytes:
    return pickle.dumps(parts, protocol=pickle.HIGHEST_PROTOCOL)


def _first(packed: bytes, *, hashing: bool, needs_value: bool) -> BatchResult:
    (batch,) = pickle.loads(packed)
    return run_first(batch, hashing=hashing, needs_value=needs_value)


def _next(packed: bytes, *earlier: BatchResult, needs_value: bool) -> BatchResult:
    batch, follow = pickle.loads(packed)
    return run_next(batch, follow, *earlier, needs_value=needs_value)


_FIRST = delayed(_first, pure=False)
_NEXT = delayed(_next, pure=False)
