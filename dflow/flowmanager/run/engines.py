"""The engines of one run: the cluster or this process, with their node keys, deaths and monitor feed."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from dflow.errors import ClusterError, FlowCancelledError
from dflow.flowmanager.cluster.clusterengine import NO_WORKER_SECONDS, ClusterEngine
from dflow.flowmanager.cluster.clusters import Connection, is_foreign, resolve
from dflow.flowmanager.cluster.deaths import DeathWatch, WorkerDeath
from dflow.flowmanager.cluster.doctor import check_cluster, unfit_workers
from dflow.flowmanager.cluster.engine import Engine, SynchronousEngine
from dflow.flowmanager.cluster.hosts import WorkerWait
from dflow.flowmanager.cluster.nodekeys import NodeNames
from dflow.flowmanager.plan.batch import Isolation
from dflow.flowmanager.plan.settings import FlowSettings
from dflow.flowmanager.plan.tasks import EXPORT_TASK
from dflow.flowmanager.reports.flowlog import FlowLog
from dflow.flowmanager.reports.monitorfeed import MonitorFeed
from dflow.flowmanager.reports.progress import Progress
from dflow.flowmanager.worker import worker


class Engines:
    """The engines of one run. The cluster is started when the first chain needs it, and closed by `close`."""

    def __init__(
        self,
        settings: FlowSettings,
        progress: Progress,
        log: FlowLog,
        sources: Sequence[Any] = (),
        *,
        opens_files: bool = False,
    ) -> None:
        self._sources = sources
        self._opens_files = opens_files
        self._settings = settings
        self._progress = progress
        self._log = log
        self._connection: Connection | None = None
        self._cluster: ClusterEngine | None = None
        self._names: NodeNames | None = None
        self._feed: MonitorFeed | None = None
        self._watch: DeathWatch | None = None
        self._here = SynchronousEngine()
        self._cancelled = False
        self.run_id = secrets.token_hex(6)

    @property
    def isolation(self) -> Isolation:
        """Where user code runs: in a child of the worker or, for debugging, in this process."""
        return "inline" if self._settings.debug else "process"

    def suffix(self, task: str) -> str:
        """Return what the keys of a task's nodes hold besides its name and their number."""
        return self._names.suffix(task) if self._names else ""

    @property
    def dashboard(self) -> str:
        """The link to Dask's dashboard, "" without one."""
        link = self._connection.client.dashboard_link if self._connection else None
        return str(link or "")

    def light(self) -> Engine:
        """Return the engine for a handful of nodes: a cluster that runs already, else this process."""
        if self._settings.debug or (self._cluster is None and not is_foreign(self._settings.cluster)):
            return self._here
        return self.heavy()

    def heavy(self) -> Engine:
        """Return the engine for all other work: the cluster, started now where none runs."""
        if self._cancelled:
            raise FlowCancelledError("The flow was cancelled; run it again to go on where it stopped.")
        if self._settings.debug:
            return self._here
        if self._cluster is None:
            foreign = is_foreign(self._settings.cluster)
            limit = self._settings.no_worker_timeout
            self._connection = connection = resolve(
                self._settings.cluster, max_workers=self._settings.max_workers, wait_seconds=limit, warn=self._warn
            )
            client = connection.client
            known = list(client.nthreads())  # before the check: who joins during it is examined after it
            if foreign:
                check_cluster(client, self._sources, self._settings.paths.root, kernel=self._opens_files)
            names = [*(task.name for task in self._settings.tasks), EXPORT_TASK]
            try:
                self._names = NodeNames(client, names)
            except OSError as error:
                raise ClusterError(f"Lost the scheduler at the start: {error}; run the flow again.") from error
            self._watch = DeathWatch(client, names)
            self._cluster = ClusterEngine(
                client,
                retries=self._settings.limits.max_retries,
                wait=WorkerWait(
                    client.scheduler.address,
                    limit or NO_WORKER_SECONDS,
                    self._warn,
                    connection.explain,
                    unfit_seconds=connection.wait_seconds,
                ),
                on_wait=self._flush,
                warn=self._warn,
                examine=self._unfit if foreign else None,
                known=known,
            )
            self._progress.dashboard = self.dashboard
            self._feed = MonitorFeed(client, self._settings.paths.name, self.run_id)
            self._progress.add(self._feed)
            self._log.write(
                f"Running on {client.scheduler.address}, {self._cluster.n_present} workers, {self.dashboard}"
            )
        return self._cluster

    def _warn(self, text: str) -> None:
        self._log.write(text, "WARNING")

    def _unfit(self, addresses: Sequence[str]) -> dict[str, str]:
        """Return those of some workers that cannot run the flow, each with the reason."""
        assert self._connection is not None
        return unfit_workers(
            self._connection.client,
            addresses,
            self._sources,
            self._settings.paths.root,
            kernel=self._opens_files,
        )

    def _flush(self) -> None:
        """Report what has ended, while nothing else ends."""
        self._progress.flush()
        if self._feed is not None:
            self._feed.flush()

    def deaths(self) -> tuple[WorkerDeath, ...]:
        """Return the workers that died in this run so far; each is logged once."""
        if self._watch is None:
            return ()
        for death in self._watch.new_deaths():
            self._log.write(str(death), "WARNING")
        return tuple(self._watch.deaths)

    def cancel(self) -> None:
        """Stop whatever runs; callable from any thread."""
        self._cancelled = True
        self._here.cancel()
        worker.cancel()
        if self._cluster is not None:
            self._cluster.cancel()

    def close(self, status: str = "finished") -> None:
        """Close what this run opened, children in this process included; `status` goes to the monitor."""
        worker.shutdown()
        try:
            if self._cluster is not None:
                self._cluster.close()
            if self._feed is not None:
                self._feed.close(status)
            if self._names is not None and self._cluster is not None and not self._cluster.has_dropped_jobs:
                self._names.release()
        except (OSError, TimeoutError) as error:  # a scheduler that is lost: what ended the flow says so
            self._log.write(f"The scheduler did not answer at the end: {error}", "WARNING")
        finally:
            if self._connection is not None:
                with suppress(OSError, TimeoutError):
                    self._connection.close()
            self._connection = self._cluster = self._names = self._feed = None

    def describe(self, *, with_workers: bool = True) -> dict[str, Any]:
        """Return the scheduler and its workers for ``run.json``; the workers need a scheduler that still answers."""
        if self._connection is None:
            return {"scheduler": None, "workers": {}}
        if not with_workers:
            scheduler = self._connection.client.scheduler
            return {"scheduler": scheduler.address if scheduler is not None else None, "workers": {}}
        try:
            info = self._connection.client.scheduler_info(n_workers=-1)
        except (OSError, TimeoutError):
            return self.describe(with_workers=False)
        workers = {
            address: {
                "host": state.get("host"),
                "threads": state.get("nthreads"),
                "memory_limit": state.get("memory_limit"),
            }
            for address, state in info.get("workers", {}).items()
        }
        return {"scheduler": info.get("address"), "workers": workers}
