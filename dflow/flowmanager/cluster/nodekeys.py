"""Node keys that name the task: ``encode-000012``, unique among the flows on a scheduler.

Two flows with equal keys on one scheduler would receive each other's results. A flow therefore registers its tasks'
names on the scheduler, in one step of its event loop; where a name is taken by another flow, or by remaining nodes, its
keys take a suffix that the dashboard's grouping ignores (``encode-1f9a03c2-000012``). A flow that was stopped keeps its
names: a worker may still be busy with one of its nodes.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from dask.delayed import Delayed
from distributed import Client

_REGISTRY = "dflow-node-names"


def node_key(task: str, number: int, suffix: str = "") -> str:
    """Return the key of a task's node, which the dashboard groups by the task's name."""
    return f"{_prefix(task)}-{suffix}-{number:06d}" if suffix else f"{_prefix(task)}-{number:06d}"


def renamed(node: Delayed, suffix: str) -> Delayed:
    """Return a node, which depends on no other, under a key with a suffix before its number."""
    if not suffix:
        return node
    head, _, number = str(node.key).rpartition("-")
    key = f"{head}-{suffix}-{number}"
    task = dict(node.__dask_graph__())[node.key]
    return Delayed(key, {key: task.substitute({}, key=key)})  # type: ignore[no-untyped-call]  # dask


def is_node_of(key: str, tasks: Sequence[str]) -> bool:
    """Whether a key is that of a node of one of these tasks."""
    return any(key.startswith(f"{_prefix(task)}-") for task in tasks)


class NodeNames:
    """Holds the names of a flow's tasks on a scheduler until `release`."""

    def __init__(self, client: Client, tasks: Sequence[str]) -> None:
        self._client = client
        # Dask's grouping drops words of 8 or more hexadecimal digits.
        self._token = secrets.token_hex(8)
        self._taken = frozenset(
            client.run_on_scheduler(_claim, names=tuple(_prefix(task) for task in tasks), token=self._token)
        )

    def suffix(self, task: str) -> str:
        """Return the suffix in the keys of `task`: "" where no other flow uses its name."""
        return self._token if _prefix(task) in self._taken else ""

    def release(self) -> None:
        """Free the names; only when no worker can still be busy with one of the nodes."""
        if self._client.status == "running":
            self._client.run_on_scheduler(_free, token=self._token)


def _prefix(task: str) -> str:
    return "".join(c if c.isalnum() or c in "_." else "_" for c in task)


def _claim(names: Sequence[str], token: str, dask_scheduler: Any = None) -> list[str]:
    """Hold the names, and return those that others use; runs on the scheduler."""
    held: dict[str, tuple[str, ...]] = dask_scheduler.extensions.setdefault(_REGISTRY, {})
    used = {name for theirs in held.values() for name in theirs}
    held[token] = tuple(names)
    for name in set(names) - used:
        if any(isinstance(key, str) and key.startswith(f"{name}-") for key in dask_scheduler.tasks):
            used.add(name)
    return sorted(used & set(names))


def _free(token: str, dask_scheduler: Any = None) -> None:
    dask_scheduler.extensions.get(_REGISTRY, {}).pop(token, None)
