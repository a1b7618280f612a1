"""The web pages of clusters that dflow starts: Dask's own too answer known hosts only (`dflow.webhosts`)."""

from __future__ import annotations

from typing import Any

from distributed import Scheduler, SpecCluster

from dflow.webhosts import KnownHosts, guard


class GuardedScheduler(Scheduler):
    """A scheduler whose pages are guarded from the first request on: none is served before `__init__` has returned."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        guard(self.http_application, KnownHosts(self.http_server.address))


class GuardedCluster(SpecCluster):
    """Starts a `GuardedScheduler` in place of Dask's; to put before a class of cluster."""

    scheduler_spec: dict[str, Any]

    async def _start(self) -> None:
        self.scheduler_spec = {**self.scheduler_spec, "cls": GuardedScheduler}
        await super()._start()
