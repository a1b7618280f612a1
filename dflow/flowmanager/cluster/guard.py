"""Guarded nodes, which only a worker with the client's versions begins: any worker may join while a flow runs.

A node travels as bytes, since a worker ends when it cannot unpickle a message. Where the node runs, versions are
compared before anything else is unpickled; a worker that differs, or cannot even compare, fails the node with nothing
done. The client then queries that worker (`Refused.caused`), and the scheduler gives it no more work during the flow.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import cloudpickle
from dask._task_spec import Dict, List, Task, TaskRef
from dask.delayed import Delayed
from dask.utils import apply
from distributed import Client, SchedulerPlugin, Status

from dflow.flowmanager.cluster.doctor import unfit_workers
from dflow.flowmanager.preload import call_verified, decisive_versions


def guarded(nodes: Sequence[Delayed]) -> list[Delayed]:
    """Return the nodes under the same keys, for workers that have this process's versions."""
    graph: dict[Any, Any] = {}
    for node in nodes:
        graph.update(node.__dask_graph__())
    graph = {key: _sealed(task) for key, task in graph.items()}
    return [Delayed(node.key, graph) for node in nodes]  # type: ignore[no-untyped-call]  # dask


def _sealed(task: Task) -> Task:
    """Return a task of functions that every Dask worker has: unpickle `task`, then call it with its dependencies."""
    packed = pickle.dumps(partial(call_verified, decisive_versions(), _pickled(task)), pickle.HIGHEST_PROTOCOL)
    values = Dict({key: TaskRef(key) for key in task.dependencies}) if task.dependencies else {}
    return Task(task.key, apply, Task(None, pickle.loads, packed), List(values))


def _pickled(task: Task) -> bytes:
    try:
        return pickle.dumps(task, pickle.HIGHEST_PROTOCOL)
    except Exception:  # a function that cannot be found by its name
        return bytes(cloudpickle.dumps(task))


class Refused:
    """The workers that get no work of a flow, each with the reason. One thread.

    `warn` is called once per worker; `examine` returns, of workers' addresses, those that are unfit, with reasons.
    """

    def __init__(
        self,
        client: Client,
        warn: Callable[[str], None],
        examine: Callable[[Sequence[str]], dict[str, str]] | None = None,
    ) -> None:
        self._client = client
        self._warn = warn
        self._examine = examine or partial(unfit_workers, client)
        self.reasons: dict[str, str] = {}

    def examine(self, addresses: Sequence[str]) -> None:
        """Refuse those workers that are unfit."""
        for address, reason in self._unfit(addresses).items():
            self.refuse([address], reason)

    def refuse(self, addresses: Sequence[str], reason: str) -> None:
        """Give these workers no more work."""
        self.reasons.update(dict.fromkeys(addresses, reason))
        if addresses:
            self._client.run_on_scheduler(_set_aside, addresses=list(addresses), client=self._client.id)

    def _unfit(self, addresses: Sequence[str]) -> dict[str, str]:
        unfit = self._examine([address for address in addresses if address not in self.reasons])
        for address, reason in unfit.items():
            self._warn(f"Worker {address} does no work for this flow: {reason}")
        self.reasons.update(unfit)
        return unfit

    def failed_on(self, keys: Iterable[str]) -> list[str]:
        """Return the workers on which these nodes failed."""
        return list(self._client.run_on_scheduler(_failed_on, keys=list(keys)))

    def caused(self, keys: Iterable[str]) -> bool:
        """Whether these nodes failed on an unfit worker; such a worker gets no more work."""
        if self._client.status != "running":
            return False
        failed_on = self.failed_on(keys)
        self._unfit(failed_on)
        refused = [address for address in failed_on if address in self.reasons]
        if refused:
            self._client.run_on_scheduler(_set_aside, addresses=refused, client=self._client.id)
        return bool(refused)

    def give_back(self) -> None:
        """Let the workers work again, for other clients; a scheduler that is lost does it by itself."""
        if self.reasons and self._client.status == "running":
            with suppress(OSError):
                self._client.run_on_scheduler(_give_back, client=self._client.id)


def _failed_on(keys: Sequence[str], dask_scheduler: Any = None) -> list[str]:
    """Return the workers on which the nodes failed; runs on the scheduler."""
    tasks = (dask_scheduler.tasks.get(key) for key in keys)
    return sorted({address for task in tasks if task is not None for address in task.erred_on or ()})


class _SetAside(SchedulerPlugin):
    """The workers set aside for a client, until it gives them back or is gone; lives on the scheduler."""

    def __init__(self, client: str) -> None:
        self.name = _plugin_name(client)
        self._client = client
        self._workers: set[str] = set()

    def add(self, scheduler: Any, addresses: Iterable[str]) -> None:
        self._workers.update(addresses)
        self._switch(scheduler, Status.running, Status.paused)

    def remove_client(self, scheduler: Any, client: str) -> None:
        if client == self._client:
            self._switch(scheduler, Status.paused, Status.running)
            self._workers.clear()

    def _switch(self, scheduler: Any, old: Status, new: Status) -> None:
        for address in self._workers & set(scheduler.workers):
            if scheduler.workers[address].status == old:
                scheduler.handle_worker_status_change(new, address, f"{self.name}-{new.name}")


def _plugin_name(client: str) -> str:
    return f"dflow-set-aside-{client}"


def _set_aside(addresses: Sequence[str], client: str, dask_scheduler: Any = None) -> None:
    """Give the workers no tasks, those that they hold fail; runs on the scheduler."""
    plugin = dask_scheduler.plugins.get(_plugin_name(client))
    if plugin is None:
        plugin = _SetAside(client)
        dask_scheduler.add_plugin(plugin)
    plugin.add(dask_scheduler, addresses)


def _give_back(client: str, dask_scheduler: Any = None) -> None:
    plugin = dask_scheduler.plugins.get(_plugin_name(client))
    if plugin is not None:
        plugin.remove_client(dask_scheduler, client)
        dask_scheduler.remove_plugin(name=plugin.name)
