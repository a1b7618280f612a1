"""Jobs of a queue that are submitted again when they end: at their workers' lifetime, the walltime, or with a node."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

import dask
from dask.utils import parse_timedelta
from distributed import SpecCluster, Status

_LOGGER = logging.getLogger(__name__)

RESUBMIT_SECONDS = 30.0
"""So long after a submission that failed comes the next."""


class LastingJobs(SpecCluster):
    """Keeps as many jobs as were asked for. To be inherited from before a class of dask-jobqueue.

    Dask replaces only a job that bears its worker's name: none of those with several workers, and with `scale` none at
    all. Here a job has ended when none of its workers has been there for ``distributed.deploy.lost-worker-timeout``;
    a nanny that starts its worker again does so well within that.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._left_at: dict[str, float] = {}
        super().__init__(*args, **kwargs)

    def _update_worker_status(self, op: str, msg: Any) -> None:
        if op == "remove":
            self._worker_left(self.scheduler_info["workers"][msg]["name"])
        super(SpecCluster, self)._update_worker_status(op, msg)

    def _worker_left(self, name: Any) -> None:
        job = next((job for job in self.workers if name in self._worker_names(job)), None)
        if job is not None:
            loop = asyncio.get_running_loop()
            self._left_at[job] = loop.time()
            loop.call_later(_patience(), self._replace_if_ended, job, self._left_at[job])

    def _worker_names(self, job: Any) -> set[Any]:
        group = self.worker_spec.get(job, {}).get("group")
        return {f"{job}{suffix}" for suffix in group} if group else {job}

    def _replace_if_ended(self, job: Any, left_at: float) -> None:
        """Submit the job again unless it is wanted no more, has a worker, or had one after `left_at`."""
        present = {worker["name"] for worker in self.scheduler_info["workers"].values()}
        is_wanted = job in self.workers and job in self.worker_spec and self._left_at[job] == left_at
        if is_wanted and not present & self._worker_names(job):
            _LOGGER.info("The job of %s has ended; another is submitted", job)
            self._futures.add(asyncio.ensure_future(self._resubmit(self.workers.pop(job))))

    async def _resubmit(self, ended: Any = None) -> None:
        if ended is not None:
            with suppress(Exception):  # the queue knows a job no more that has ended
                await ended.close()
        if self.status != Status.running:
            return
        try:
            await self._correct_state()
        except Exception as error:
            _LOGGER.warning("A job was not submitted: %s; tried again in %.0f s", error, RESUBMIT_SECONDS)
            self._forget_unsubmitted()
            asyncio.get_running_loop().call_later(
                RESUBMIT_SECONDS, lambda: self._futures.add(asyncio.ensure_future(self._resubmit()))
            )

    def _forget_unsubmitted(self) -> None:
        """Dask counts a job as submitted also where that failed."""
        for name, job in list(self.workers.items()):
            if job.status == Status.created:
                job.status = Status.failed
                del self.workers[name]


def _patience() -> float:
    return float(parse_timedelta(dask.config.get("distributed.deploy.lost-worker-timeout")))
