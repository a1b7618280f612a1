"""The output of a finished flow: its tasks' results and errors, and counts."""

from __future__ import annotations

import html
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dflow.flowmanager.cluster.deaths import WorkerDeath, by_host
from dflow.flowmanager.plan.batch import BodyValues, unpack_value
from dflow.flowmanager.plan.tasks import listed
from dflow.localpath import local_path
from dflow.plaintext import plain
from dflow.records import ErrorRecord, ItemRecord, reason


@dataclass(frozen=True, slots=True)
class Counts:
    """The submitted files by result: ``submitted = succeeded + skipped + failed``.

    `reused` counts those of them whose earlier result still held; `samples` the samples in the dataset (more than files
    where bodies are samples).
    """

    submitted: int = 0
    succeeded: int = 0
    skipped: int = 0
    failed: int = 0
    reused: int = 0
    samples: int = 0

    @property
    def verdict(self) -> str:
        """A sentence for a run in which no file succeeded, "" for any other."""
        if self.succeeded or not self.submitted:
            return ""
        return f"No file succeeded: {self.failed} failed and {self.skipped} were skipped, so there is no new dataset."


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """One task of a finished flow.

    `records` hold one record per item in item order; `value` is what a task in the calling process returned; `seconds`
    is wall time (tasks of one chain share theirs in proportion to the work done in each); `n_nodes` is the
    number of its Dask nodes.
    """

    name: str
    kind: str
    task_class: str
    seconds: float
    records: tuple[ItemRecord, ...] = ()
    value: Any = None
    flatten: bool = False
    n_nodes: int = 0

    @property
    def results(self) -> list[Any]:
        """The function's values in item order, without failed and skipped items; lists of an extract are joined."""
        if not self.records:
            return listed(self.value)
        values: list[Any] = []
        for record in self.records:
            if record.status == "succeeded":
                values.extend(record_values(record, flatten=self.flatten))
        return values

    @property
    def errors(self) -> list[ErrorRecord]:
        """The errors of failed items, in item order."""
        return [record.error for record in self.records if record.error is not None]


NEAR = 0.5
"""Share of its time limit from which on an item is reported: a slower machine would take it over the limit."""


@dataclass(frozen=True, slots=True)
class NearLimit:
    """An item that came near its time limit in a task; `seconds` it took, `limit` it had."""

    task: str
    file: str
    seconds: float
    limit: float


def near_limit_line(near: Sequence[NearLimit]) -> str:
    """Return what came near its time limit as one line, "" where nothing did."""
    if not near:
        return ""
    worst = max(near, key=lambda each: each.seconds / each.limit)
    files = "1 file" if len(near) == 1 else f"{len(near)} files"
    return (
        f"{files} took more than {NEAR:.0%} of the time limit, most of all {worst.file}: {worst.seconds:.1f} of "
        f"{worst.limit:.0f} s in {worst.task}. run.json lists them; timeout_seconds= gives every file another limit."
    )


@dataclass(frozen=True, slots=True)
class FlowOutput:
    """The first value of ``Flow.process``.

    `flow_spec` are the flow's settings, `task_instances` its tasks in order (the export last), `time_to_process` the
    wall time in seconds.

    Parameters
    ----------
    flow_name : the flow's
    counts : items submitted, succeeded, skipped, failed and reused, and samples
    summary_data : what ``Flow.process`` returns second
    worker_deaths : Dask workers that were lost unexpectedly, whose work others took over
    near_limit : items that took more than half of their time limit, without failing
    """

    flow_name: str
    flow_spec: Mapping[str, Any]
    task_instances: Sequence[TaskOutcome]
    time_to_process: float
    counts: Counts
    summary_data: Mapping[str, Any] = field(default_factory=dict)
    worker_deaths: tuple[WorkerDeath, ...] = ()
    near_limit: tuple[NearLimit, ...] = ()

    @property
    def errors(self) -> list[ErrorRecord]:
        """The errors of all tasks."""
        return [error for task in self.task_instances for error in task.errors]

    @property
    def too_slow(self) -> list[str]:
        """The files that exceeded their time; `Flow.retry` with more `timeout_seconds` tries them again."""
        return [error.file for error in self.errors if error.kind == "timeout"]

    @property
    def too_big(self) -> list[str]:
        """The files that exceeded their memory, or whose arrays would exceed their limit."""
        return [error.file for error in self.errors if error.kind in ("out_of_memory", "too_big")]

    def summary(self) -> str:
        """Return a few lines of text: counts, seconds per task, and the most frequent errors."""
        counts = self.counts
        lines = [
            f"Flow {self.flow_name!r}: {counts.submitted} files in {self.time_to_process:.1f} s: "
            f"{counts.succeeded} succeeded ({counts.reused} reused), {counts.skipped} skipped, {counts.failed} failed; "
            f"{counts.samples} samples."
        ]
        lines += [f"  {task.name:20} {task.seconds:8.2f} s  {len(task.errors)} errors" for task in self.task_instances]
        lines += [f"  {count} workers on {host} were lost: {why}" for host, count, why in by_host(self.worker_deaths)]
        lines += [f"  {count} x {reason}" for reason, count in frequent_errors(self.errors)]
        for key, fault in (
            ("declared_not_saved", "declared, not saved"),
            ("saved_not_declared", "saved, not declared"),
        ):
            if entries := self.summary_data.get(key):
                lines.append(f"  {fault}: {', '.join(entry['name'] for entry in entries)}")
        lines += [f"  {line}" for line in (near_limit_line(self.near_limit),) if line]
        lines += [counts.verdict] if counts.verdict else []
        return "\n".join(map(plain, lines))

    def generate_flow_summary(self, file_path: str | os.PathLike[str]) -> None:
        """Write the summary dictionary as JSON.

        Parameters
        ----------
        file_path : of the new file
        """
        with open(local_path(file_path), "w", encoding="utf-8") as handle:
            json.dump(dict(self.summary_data), handle, indent=2)
            handle.write("\n")

    def __repr__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.summary())}</pre>"


def record_values(record: ItemRecord, *, flatten: bool = False) -> list[Any]:
    """Return the values of a record: one, one per body, or the members of a returned list; without None."""
    value = unpack_value(record.value)
    if isinstance(value, BodyValues):
        values = [unpack_value(each) for _, each in value.values]
    else:
        values = listed(value) if flatten else [value]
    return [each for each in values if each is not None]


def frequent_errors(errors: Sequence[ErrorRecord], most: int = 10) -> list[tuple[str, int]]:
    """Return the most frequent reasons with their counts: ``[kind] first line of the message``, without the path."""
    reasons = Counter(f"[{e.kind}] {reason(e.kind, e.exception, e.message, e.file)}"[:160] for e in errors)
    return sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))[:most]
