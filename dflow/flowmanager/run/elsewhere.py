"""Whose fault a failure is, the file's or the host's: what fails on one host is tried on another."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from dflow.flowmanager.cluster.hosts import host_of
from dflow.flowmanager.worker.hostfaults import can_read
from dflow.records import BatchResult, ErrorRecord, ItemRecord

DOUBTFUL_KINDS = frozenset({"infrastructure", "vanished", "kernel_missing"})
"""Failures that a host may cause."""

MOST_TRIALS = 5
"""Tries of one item without a host's known fault: the scheduler may hand it to the same host again."""

MOST_ALIKE = 20
"""Files in a row that failed on a second host as on the first; the next ones are not tried a second time."""

Decision = Literal["final", "again"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One failure of an item: the worker, its host's name, the reason, and when the work was handed out."""

    worker: str
    name: str
    reason: str
    begun: float


@dataclass(slots=True)
class Elsewhere:
    """Decides by evidence whose fault the failures of a chain's items are. One thread.

    A host is at fault where it cannot write the flow's folders, where it does not read a file that this process reads,
    and where an item that failed on it succeeds on another. `blame` counts a host's fault, with a trial.
    """

    blame: Callable[[Trial], None]
    _trials: dict[int, list[Trial]] = field(default_factory=dict)
    _n_alike: int = 0

    def judge(
        self, record: ItemRecord, result: BatchResult, source: str, hosts: frozenset[str], begun: float
    ) -> Decision:
        """Return "again" for an item to be tried on another host than those `tried`, "final" where its record counts.

        `result` is that of the batch in which the item ended, `hosts` are those that do work now.
        """
        error = record.error
        if error is None or error.kind not in DOUBTFUL_KINDS:
            self._succeeded(record)
            return "final"
        trial = Trial(result.worker, result.host, error.message, begun)
        if result.host_fault:
            return "again"  # the batch's fault was counted
        if error.kind == "kernel_missing" and result.worker:
            return self._blamed(trial)
        if record.item_index in result.unread and result.worker and can_read(source):
            what = f"does not read {source}, which this process reads: {error.message}"
            return self._blamed(replace(trial, reason=what))
        trials = self._trials.setdefault(record.item_index, [])
        trials.append(trial)
        is_enough = self._n_alike >= MOST_ALIKE or len(trials) >= MOST_TRIALS
        if error.kind == "vanished" or is_enough or not hosts - self.tried(record.item_index):
            self._n_alike += len(trials) > 1
            return "final"
        return "again"

    @property
    def has_trials(self) -> bool:
        """Whether items are being tried on another host."""
        return bool(self._trials)

    def tried(self, index: int) -> frozenset[str]:
        """Return the hosts that an item has failed on without a fault of theirs being known."""
        return frozenset(host_of(trial.worker) for trial in self._trials.get(index, ()))

    def final(self, record: ItemRecord, result: BatchResult) -> ItemRecord:
        """Return the record of an item that stays failed, with the evidence in its message."""
        trials, error = self._trials.pop(record.item_index, []), record.error
        if error is None or not trials or error.kind != "infrastructure":
            return record
        kind = error.kind
        if record.item_index in result.unread:
            kind = "unreadable"
        elif error.exception == "PermissionError":
            kind = "exception"
        return replace(record, error=replace(error, kind=kind, message=f"{error.message} ({_evidence(error, trials)})"))

    def _blamed(self, trial: Trial) -> Decision:
        self.blame(trial)
        return "again"

    def _succeeded(self, record: ItemRecord) -> None:
        """Blame the hosts that failed with an item that another host has done."""
        trials = self._trials.pop(record.item_index, [])
        if trials and record.status != "failed":
            self._n_alike = 0
            for trial in trials:
                self.blame(
                    replace(trial, reason=f"{os.path.basename(record.item)}, done on another host: {trial.reason}")
                )


def _evidence(error: ErrorRecord, trials: list[Trial]) -> str:
    names = list(dict.fromkeys(trial.name or error.host for trial in trials))
    where = f"on {names[0]}" if len(names) == 1 else f"alike on {' and '.join(names)}"
    if len(trials) > 1 and len(names) == 1:
        where = f"{len(trials)} times on {names[0]}"
    return f"failed {where}, where the flow's folders can be written"
