"""One run of a flow: the state that its chains share, with their results."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dflow.errors import TooManyFailuresError, WiringError
from dflow.flowmanager.history.fingerprint import Fingerprint
from dflow.flowmanager.history.journal import Journal
from dflow.flowmanager.history.usercode import is_installed
from dflow.flowmanager.plan.batch import Batch, TaskCall, pack_value, unpack_value
from dflow.flowmanager.plan.items import FlowItem
from dflow.flowmanager.plan.settings import FlowSettings
from dflow.flowmanager.plan.tasks import TaskSpec, listed
from dflow.flowmanager.plan.wiring import FLOW_INPUT, Plan, Source, Step
from dflow.flowmanager.reports.flowlog import FlowLog
from dflow.flowmanager.reports.flowoutput import NearLimit, TaskOutcome
from dflow.flowmanager.reports.progress import Progress
from dflow.flowmanager.reports.timeline import Timeline
from dflow.flowmanager.run.engines import Engines
from dflow.flowmanager.run.fileshapes import FileShapes
from dflow.flowmanager.run.functions import pack_function, pack_here
from dflow.records import ErrorRecord, ItemRecord, SampleLayout, SampleRecord, cause

OWN_KINDS = frozenset({"exception", "schema", "recipe"})
"""Failures that come from the user's own code, not from a file."""

MAX_ALIKE = 20
"""A run stops when so many first failures of the user's own code are alike and nothing has succeeded."""

_FRAME = re.compile(r'^  File "(.*)", line (\d+)', re.MULTILINE)


@dataclass(slots=True)
class StepResult:
    """The result of a step: `records` of a task called once per item, `value` of a call over the list."""

    step: Step
    items: Sequence[FlowItem] = ()
    records: Sequence[ItemRecord] = ()
    value: Any = None
    seconds: float = 0.0
    n_nodes: int = 0

    def outcome(self) -> TaskOutcome:
        """Return the step's outcome for `FlowOutput`."""
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

    def returned_none(self) -> bool:
        """Whether no call of the step returned anything."""
        values = [unpack_value(record.value) for record in self.records] if self.records else [self.value]
        return all(value is None for value in values)


@dataclass(slots=True)
class FlowRun:
    """The state of one ``process`` call, shared by its chains. One thread."""

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
    file_shapes: FileShapes = field(default_factory=FileShapes)
    distrusted: set[str] = field(default_factory=set)
    near_limit: list[NearLimit] = field(default_factory=list)
    n_submitted: int = 0
    n_failed: int = 0
    n_untried: int = 0
    _n_ended: int = 0
    _has_succeeded: bool = False
    _first_failures: list[ErrorRecord] = field(default_factory=list)

    def template(self, step: Step, call: TaskCall) -> Batch:
        """Return a batch of `step` without items."""
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
            strict_geometry=self.settings.strict_geometry,
            shared=self.shared(step),
        )

    def shared(self, step: Step) -> tuple[tuple[str, Any], ...]:
        """Return the packed values that every call of `step` takes, as far as they are known yet."""
        return tuple((key, pack_value(self.value(source))) for key, source in step.extras if self._is_ready(source))

    def packed(self, task: TaskSpec) -> bytes:
        """Return the task's function as bytes: for other processes, or for this one when debugging."""
        if self.engines.isolation == "inline":
            return pack_here(task.function)
        return pack_function(task.function, self.fingerprint.modules, task.name)

    def value(self, source: Source) -> Any:
        """Return the value of a source: the user's input as given, or all that a step returned under that name."""
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

    def count(self, ended: Sequence[ItemRecord]) -> None:
        """Count files that have ended, each by its last record.

        Raises
        ------
        TooManyFailuresError
            When more failed than the flow's `max_failures`; without one, when the first `MAX_ALIKE` failures of the
            user's own code have one type and one line and nothing has succeeded.
        """
        more = sum(record.status == "failed" for record in ended)
        self.n_failed += more
        self._n_ended += len(ended)
        limit = self.settings.max_failures
        if limit is None:
            self._stop_where_all_fail_alike(ended)
            return
        if not more:
            return
        allowed = limit * self.n_submitted if limit < 1.0 else limit
        if self.n_failed > allowed:
            raise TooManyFailuresError(
                f"{self.n_failed} of {self.n_submitted} files failed, more than max_failures={limit:g} allows; "
                f"see {self.settings.paths.error_summary}. What is finished is kept: run the flow again to go on."
            )

    def _stop_where_all_fail_alike(self, ended: Sequence[ItemRecord]) -> None:
        if self._has_succeeded or len(self._first_failures) >= MAX_ALIKE:
            return
        self._has_succeeded = any(record.status != "failed" for record in ended)
        own = [r.error for r in ended if r.error is not None and not r.reused and r.error.kind in OWN_KINDS]
        first = self._first_failures = [*self._first_failures, *own][:MAX_ALIKE]
        if self._has_succeeded or len(first) < MAX_ALIKE or len({_place(error) for error in first}) > 1:
            return
        self.n_untried = max(0, self.n_submitted - self._n_ended)
        place = user_line(first[0].traceback)
        stop = TooManyFailuresError(
            f"The first {len(first)} files failed alike and none succeeded: {first[0].exception or first[0].kind}: "
            f"{cause(first[0].message, first[0].file)}{place and f' ({place})'}. Correct task {first[0].task!r} and "
            f"run the flow again, or pass max_failures={self.n_submitted} to try all files nevertheless; "
            f"{self.n_untried} of {self.n_submitted} files were not tried."
        )
        stop.add_note(first[0].traceback)
        raise stop

    def note_shapes(self, samples: Iterable[SampleRecord]) -> None:
        """Count the shapes of samples that will be merged; see `FileShapes.note`."""
        if self.settings.export:
            self.file_shapes.note(samples)

    def _is_ready(self, source: Source) -> bool:
        return source.step == FLOW_INPUT or source.step in self.results


def pick(value: Any, outputs: Sequence[str], key: str, task: str) -> Any:
    """Return one of a task's outputs from what it returned: by name from a dictionary, by position from a tuple.

    Raises
    ------
    WiringError
        If several outputs are declared and the value has another number of parts.
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


def _place(error: ErrorRecord) -> tuple[str, tuple[str, str]]:
    """Return the type of a failure, and the file and line that raised it."""
    return error.exception or error.kind, (("", ""), *_FRAME.findall(error.traceback))[-1]


def user_line(traceback: str) -> str:
    """Return the innermost line of a traceback that is the user's own as "file, line n", "" without one."""
    package = str(Path(__file__).parents[2])
    own = [f"{f}, line {n}" for f, n in _FRAME.findall(traceback) if not (is_installed(f) or f.startswith(package))]
    return own[-1] if own else ""


def source_values(run: FlowRun, source: Source) -> list[Any]:
    """Return the value of a source as the list that a task works through."""
    return listed(run.value(source))
