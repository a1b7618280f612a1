"""One run of a flow: what its stages share, and where their values are kept."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dflow.errors import FlowCancelledError, TooManyFailuresError, WiringError
from dflow.flowmanager.cluster.clusterclient import ClusterEngine
from dflow.flowmanager.cluster.clusters import Connection, is_foreign, resolve
from dflow.flowmanager.cluster.deaths import DeathWatch, WorkerDeath
from dflow.flowmanager.cluster.doctor import check_cluster
from dflow.flowmanager.cluster.engine import Engine, SynchronousEngine
from dflow.flowmanager.history.fingerprint import Fingerprint
from dflow.flowmanager.history.functions import pack_function, pack_here
from dflow.flowmanager.history.journal import Journal
from dflow.flowmanager.plan.batch import Batch, Isolation, TaskCall, pack_value
from dflow.flowmanager.plan.listing import listed
from dflow.flowmanager.plan.nodenames import NodeNames
from dflow.flowmanager.plan.roots import Root
from dflow.flowmanager.plan.settings import FlowSettings
from dflow.flowmanager.plan.tasks import EXPORT_TASK, TaskSpec
from dflow.flowmanager.plan.wiring import FLOW_INPUT, Plan, Source, Step
from dflow.flowmanager.reports.flowlog import FlowLog
from dflow.flowmanager.reports.flowoutput import TaskOutcome
from dflow.flowmanager.reports.monitorfeed import MonitorFeed
from dflow.flowmanager.reports.progress import Progress
from dflow.flowmanager.reports.timeline import Timeline
from dflow.flowmanager.worker import worker
from dflow.records import ItemRecord, SampleLayout


class Engines:
    """The engines of one run. The cluster is started when the first stage needs it, and closed by `close`."""

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
        """Where user code runs: in a child of the worker or, for debugging, here."""
        return "inline" if self._settings.debug else "process"

    def suffix(self, task: str) -> str:
        """What the keys of a task's nodes carry besides its name and their number."""
        return self._names.suffix(task) if self._names else ""

    @property
    def dashboard(self) -> str:
        """The link to Dask's dashboard, "" without one."""
        link = self._connection.client.dashboard_link if self._connection else None
        return str(link or "")

    def light(self) -> Engine:
        """For a handful of nodes: a cluster that runs already, else this process, so that none is started for them."""
        if self._settings.debug or (self._cluster is None and not is_foreign(self._settings.cluster)):
            return self._here
        return self.heavy()

    def heavy(self) -> Engine:
        """For real work: the cluster, started now if it has to be."""
        if self._cancelled:
            raise FlowCancelledError("The flow was cancelled; run it again to go on where it stopped.")
        if self._settings.debug:
            return self._here
        if self._cluster is None:
            foreign = is_foreign(self._settings.cluster)
            self._connection = resolve(self._settings.cluster, max_workers=self._settings.max_workers)
            client = self._connection.client
            if foreign:
                check_cluster(client, self._sources, self._settings.paths.root, kernel=self._opens_files)
            self._names = NodeNames(client, [*(task.name for task in self._settings.tasks), EXPORT_TASK])
            self._watch = DeathWatch(client, [*(task.name for task in self._settings.tasks), EXPORT_TASK])
            self._cluster = ClusterEngine(
                client,
                retries=self._settings.limits.max_retries,
                wait_seconds=self._connection.wait_seconds,
                on_wait=self._tell,
                warn=lambda text: self._log.say(text, "WARNING"),
            )
            self._progress.dashboard = self.dashboard
            self._feed = MonitorFeed(client, self._settings.paths.name, self.run_id)
            self._progress.add(self._feed)
            self._log.say(f"Running on {client.scheduler.address}, {self._cluster.n_workers} workers, {self.dashboard}")
        return self._cluster

    def _tell(self) -> None:
        """Nothing ends at the moment: tell what has ended."""
        self._progress.flush()
        if self._feed is not None:
            self._feed.flush()

    def deaths(self) -> tuple[WorkerDeath, ...]:
        """The workers that died in this run so far; each is logged once."""
        if self._watch is None:
            return ()
        for death in self._watch.look():
            self._log.say(str(death), "WARNING")
        return tuple(self._watch.deaths)

    def cancel(self) -> None:
        """Stop whatever runs; callable from any thread."""
        self._cancelled = True
        self._here.cancel()
        worker.cancel()
        if self._cluster is not None:
            self._cluster.cancel()

    def close(self, status: str = "finished") -> None:
        """Close what this run opened, children in this process included; `status` is told to the monitor."""
        worker.shutdown()
        try:
            if self._cluster is not None:
                self._cluster.close()
            if self._feed is not None:
                self._feed.close(status)
            if self._names is not None and self._cluster is not None and not self._cluster.has_dropped_jobs:
                self._names.release()
        finally:
            if self._connection is not None:
                self._connection.close()
            self._connection = self._cluster = self._names = self._feed = None

    def describe(self, *, ask: bool = True) -> dict[str, Any]:
        """Scheduler and workers, for ``run.json``; without `ask` no workers, for the scheduler may be gone."""
        if self._connection is None:
            return {"scheduler": None, "workers": {}}
        if not ask:
            scheduler = self._connection.client.scheduler
            return {"scheduler": scheduler.address if scheduler is not None else None, "workers": {}}
        info = self._connection.client.scheduler_info(n_workers=-1)
        workers = {
            address: {
                "host": state.get("host"),
                "threads": state.get("nthreads"),
                "memory_limit": state.get("memory_limit"),
            }
            for address, state in info.get("workers", {}).items()
        }
        return {"scheduler": info.get("address"), "workers": workers}


@dataclass(slots=True)
class StepResult:
    """What a finished step left: `records` of tasks called once an item, `value` of a call over the list."""

    step: Step
    roots: Sequence[Root] = ()
    records: Sequence[ItemRecord] = ()
    value: Any = None
    seconds: float = 0.0
    n_nodes: int = 0

    def outcome(self) -> TaskOutcome:
        """The step as `FlowOutput` shows it."""
        task = self.step.task
        return TaskOutcome(
            task.name,
            task.kind,
            task.task_class,
            self.seconds,
            tuple(self.records),
            self.value,
            flatten=task.kind == "extract",
            n_nodes=self.n_nodes,
        )


@dataclass(slots=True)
class FlowRun:
    """The state of one ``process`` call, shared by its stages. One thread."""

    settings: FlowSettings
    plan: Plan
    inputs: dict[str, Any]
    journal: Journal
    fingerprint: Fingerprint
    log: FlowLog
    progress: Progress
    engines: Engines
    timeline: Timeline = field(default_factory=Timeline)
    results: dict[int, StepResult] = field(default_factory=dict)
    layouts: dict[SampleLayout, SampleLayout] = field(default_factory=dict)
    retry_kinds: frozenset[str] | None = None
    distrusted: set[str] = field(default_factory=set)
    n_submitted: int = 0
    n_failed: int = 0

    def template(self, step: Step, call: TaskCall) -> Batch:
        """A batch of `step` without items."""
        return Batch(
            index=0,
            call=call,
            items=(),
            paths=self.settings.paths,
            limits=self.settings.limits,
            isolation=self.engines.isolation,
            sample=self.settings.sample,
            storage_type=self.settings.storage_type,
            export_visualization=self.settings.previews,
            monitor_run=self.engines.run_id,
            imports=self.fingerprint.imports,
            shared=self.shared(step),
        )

    def shared(self, step: Step) -> tuple[tuple[str, Any], ...]:
        """The values, packed, that every call of `step` is given, as far as they are known by now."""
        return tuple((key, pack_value(self.value(source))) for key, source in step.extras if self._is_ready(source))

    def packed(self, task: TaskSpec) -> bytes:
        """The task's function as bytes: for other processes, or for this one when debugging."""
        if self.engines.isolation == "inline":
            return pack_here(task.function)
        return pack_function(task.function, self.fingerprint.modules, task.name)

    def value(self, source: Source) -> Any:
        """The value behind a source: the user's input as given, or all that a step gave out under that name."""
        if source.step == FLOW_INPUT:
            return self.inputs[source.key]
        result = self.results[source.step]
        task = result.step.task
        if result.step.here and result.step.whole:
            return pick(result.value, task.outputs, source.key, task.name)
        return [pick(value, task.outputs, source.key, task.name) for value in result.outcome().results]

    def needs_value(self, step: Step) -> bool:
        """Whether a later task takes what `step` returns."""
        return any(
            source.step == step.index
            for later in self.plan.steps
            for source in (later.item, *(source for _, source in later.extras))
        )

    def count_failures(self, more: int) -> None:
        """Count files that failed.

        Raises
        ------
        TooManyFailuresError
            When they pass the flow's `max_failures`.
        """
        self.n_failed += more
        limit = self.settings.max_failures
        if limit is None or not more:
            return
        allowed = limit * self.n_submitted if limit < 1.0 else limit
        if self.n_failed > allowed:
            raise TooManyFailuresError(
                f"{self.n_failed} of {self.n_submitted} files failed, more than max_failures={limit:g} allows; "
                f"see {self.settings.paths.error_summary}. What is finished is kept: a new run goes on from here."
            )

    def _is_ready(self, source: Source) -> bool:
        return source.step == FLOW_INPUT or source.step in self.results


def pick(value: Any, outputs: Sequence[str], key: str, task: str) -> Any:
    """One of a task's outputs from what it returned: by name from a dictionary, by place from a tuple.

    Raises
    ------
    WiringError
        If several outputs are declared and the value has not that many parts.
    """
    if isinstance(value, dict) and set(value) == set(outputs):
        return value[key]
    if len(outputs) == 1:
        return value
    if isinstance(value, (tuple, list)) and len(value) == len(outputs):
        return value[list(outputs).index(key)]
    raise WiringError(
        f"Task {task!r} declares the outputs {list(outputs)}, but returned {type(value).__name__}; return a tuple or a "
        "dictionary of them."
    )


def source_values(run: FlowRun, source: Source) -> list[Any]:
    """A source as the list that a task works through."""
    return listed(run.value(source))
