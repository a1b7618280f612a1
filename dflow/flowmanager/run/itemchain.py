"""A chain of per-item steps: what is up to date is reused, the rest is done in batches on the engine."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from dflow.errors import ClusterError, OutputFolderError, StorageError
from dflow.flowmanager.cluster.engine import Engine, Finished, Job
from dflow.flowmanager.history.fingerprint import with_values
from dflow.flowmanager.history.freshness import (
    Requirements,
    Reuse,
    SourceState,
    content_hash,
    examine,
    judge,
    stores_are_whole,
    unread_hash,
)
from dflow.flowmanager.history.journal import Entry
from dflow.flowmanager.history.moved import Moved, path_depth
from dflow.flowmanager.plan.batch import BodyValues
from dflow.flowmanager.plan.batching import Batcher, Sized, split
from dflow.flowmanager.plan.items import FlowItem
from dflow.flowmanager.plan.wiring import Chain
from dflow.flowmanager.reports.flowoutput import NEAR, NearLimit
from dflow.flowmanager.run.elsewhere import DOUBTFUL_KINDS, Elsewhere, Trial
from dflow.flowmanager.run.flowrun import FlowRun, StepResult
from dflow.flowmanager.run.nodes import VALUE_LOST, ChainTemplate, follows_of, make_job, task_call
from dflow.flowmanager.worker.hostfaults import host_fault
from dflow.flowmanager.worker.samples import copy_sample
from dflow.records import BatchResult, ErrorRecord, ItemRecord, SampleRecord, share_layouts
from dflow.storage.paths import source_path

UNLASTING_KINDS = frozenset({"infrastructure", "cancelled", "vanished", "kernel_missing"})
"""Failures without the item's fault: not in the journal, so that the next run does the item again."""

HASHED_HERE_BYTES = 256 * 1024**2
"""Touched sources up to this total are compared in this process, which is faster than starting a cluster."""


class ItemChain:
    """Runs one chain over its items and keeps one record per step and item. One thread."""

    def __init__(self, run: FlowRun, chain: Chain, items: Sequence[FlowItem]) -> None:
        self._started = time.monotonic()
        self._run = run
        self._chain = chain
        self._items = items
        self._name = "+".join(step.task.name for step in chain.steps)
        self._is_kept = chain.steps[0].task.kind == "transform"
        self._records: list[list[ItemRecord | None]] = [[None] * len(items) for _ in chain.steps]
        self._fingerprint = with_values(run.fingerprint, self._inputs())
        if self._is_kept:
            run.journal.note_pipeline(self._fingerprint.digest, dict(self._fingerprint.parts))
        folder = str(run.settings.paths.root)
        self._sources = [_examine(item, folder) for item in items]
        self._reuse = Reuse()
        self._perhaps_finished: set[int] = set()
        self._jobs: dict[int, tuple[int, ...]] = {}
        self._begun: dict[int, float] = {}
        self._engine: Engine | None = None
        self._elsewhere = Elsewhere(self._blame)
        self._again: deque[tuple[int, ...]] = deque()
        self._suspects: deque[int] = deque()
        self._tried_alone: set[int] = set()
        self._next_tag = self._n_found = 0
        self._bars = [run.progress.start(step.task.name, len(items)) for step in chain.steps]

    def execute(self) -> None:
        """Run the chain."""
        pending = self._reuse_what_holds() if self._is_kept else list(range(len(self._items)))
        if pending:
            self._work(pending)
        if self._n_found:
            self._run.log.write(f"{self._name}: {self._n_found} items were found finished by a run that ended early")
        self._run.near_limit += self._near_limit()
        for bar in self._bars:
            bar.finish()

    def _near_limit(self) -> list[NearLimit]:
        """Return the items that took more than `NEAR` of their time limit in a task, and did not fail."""
        limits = self._run.settings.limits
        least = NEAR * limits.timeout_seconds
        return [
            NearLimit(step.task.name, record.item, record.seconds, limit)
            for step, records in zip(self._chain.steps, self._records, strict=True)
            for index, record in enumerate(records)
            if record is not None and record.seconds >= least and not record.reused and record.error is None
            if record.seconds >= NEAR * (limit := limits.seconds_for(self._sources[index].n_bytes))
        ]

    def results(self) -> list[StepResult]:
        """Return one result per step, of what has ended so far."""
        work = [sum(r.seconds for r in records if r is not None and not r.reused) for records in self._records]
        total = sum(work)
        shares = [part / total for part in work] if total else [1.0, *[0.0] * (len(work) - 1)]
        seconds = time.monotonic() - self._started
        return [
            StepResult(
                step,
                items=self._items,
                records=[record for record in records if record is not None],
                seconds=seconds * share,
                n_nodes=self._next_tag,
            )
            for step, records, share in zip(self._chain.steps, self._records, shares, strict=True)
        ]

    # -- what earlier runs left ------------------------------------------------------------------------------------

    def _reuse_what_holds(self) -> list[int]:
        """Take over items whose journal entry still holds; return the indices of the others."""
        run, pending = self._run, []
        held: list[ItemRecord] = []
        touched: list[Entry] = []
        required, budget = self._requirements(), HASHED_HERE_BYTES
        moved: Moved | None = None
        encoded, entries = str(run.settings.paths.encoded), run.journal.state.entries
        looks_for_samples = self._may_find_samples()
        for index, item in enumerate(self._items):
            entry = entries.get((self._name, item.identity))
            if item.identity in run.distrusted:
                entry = None
            if entry is None:
                moved = moved or self._moved(required)
                if (found := self._take_from(moved, index)) is not None:
                    touched.append(found)
                    held.append(self._take_over(index, found))
                    continue
            verdict = judge(entry, self._sources[index], required)
            reason = verdict.reason
            if verdict.action == "redo" and looks_for_samples and item.identity not in run.distrusted:
                self._perhaps_finished.add(index)
            if verdict.action != "redo" and entry is not None and not stores_are_whole(entry, encoded):
                verdict, reason = replace(verdict, action="redo"), "its .data file is missing or damaged"
            source = self._sources[index]
            if verdict.action == "hash" and entry is not None and source.n_bytes <= budget:
                budget -= source.n_bytes
                if self._is_same(item, entry):
                    verdict = replace(verdict, action="reuse")
                    touched.append(replace(entry, n_bytes=source.n_bytes, mtime_ns=source.mtime_ns))
                else:
                    verdict, reason = replace(verdict, action="redo"), "the source changed"
            if verdict.action == "reuse" and entry is not None:
                held.append(self._take_over(index, entry))
                continue
            if verdict.action == "hash" and entry is not None:
                self._reuse.hashes[index] = entry.content_hash
            else:
                self._reuse.count(reason)
            pending.append(index)
        run.journal.append(touched)
        self._reuse.n_reused = len(held)
        run.log.items(self._name, held)
        self._log_reuse()
        run.count(held)
        run.note_shapes(sample for record in held for sample in record.samples)
        return pending

    def _moved(self, required: Requirements) -> Moved:
        """The entries of files that lie elsewhere now, perhaps."""
        entries = [e for (chain, _), e in self._run.journal.state.entries.items() if chain == self._name]
        present = {item.identity for item in self._items}
        absent = [entry for entry in entries if entry.item not in present]
        alone = self._chain.steps[0].task.function if absent and len(self._chain.steps) == 1 else None
        depth = None if alone is None else path_depth(alone, self._fingerprint.modules)
        return Moved(absent, required, depth)

    def _take_from(self, moved: Moved, index: int) -> Entry | None:
        """The entry of an item that an earlier run had under another path, with a copy of its samples; None without."""
        item, source, paths = self._items[index], self._sources[index], self._run.settings.paths
        if not moved.may_have(source.n_bytes) or item.identity in self._run.distrusted:
            return None
        try:
            found = content_hash(source_path(item.identity, str(paths.root)), item.identity)
            entry = moved.find(item.identity, source.n_bytes, found)
            if entry is None or not stores_are_whole(entry, str(paths.encoded)):
                return None
            record = entry.records[0]
            samples = tuple(copy_sample(paths, sample, item.identity) for sample in record.samples)
        except (OSError, StorageError):
            return None  # it is done anew, and the task's own error names the fault
        record = replace(record, item=item.identity, samples=samples)
        return replace(entry, item=item.identity, mtime_ns=source.mtime_ns, records=(record,))

    def _may_find_samples(self) -> bool:
        """Whether a run that ended early may have left finished samples of this chain, which its journal lacks.

        They hold what the last task returned.
        """
        own = {step.index for step in self._chain.steps[:-1]}
        later = [step for step in self._run.plan.steps if step.index > self._chain.steps[-1].index]
        taken = {source.step for step in later for source in (step.item, *(each for _, each in step.extras))}
        if own & taken or not self._chain.steps[-1].is_last_stage:
            return False
        with os.scandir(self._run.settings.paths.encoded) as entries:
            return next(entries, None) is not None

    def _is_same(self, item: FlowItem, entry: Entry) -> bool:
        path = source_path(item.identity, str(self._run.settings.paths.root))
        try:
            if entry.content_hash == unread_hash(path):
                return True
            seconds = self._run.settings.limits.seconds_for(entry.n_bytes)
            return content_hash(path, item.identity, seconds=seconds) == entry.content_hash
        except OSError:
            return False  # the task's own error names the fault of the file

    def _requirements(self) -> Requirements:
        limits = self._run.settings.limits
        later = {step.index for step in self._run.plan.steps} - {step.index for step in self._chain.steps}
        sources = [
            source
            for step in self._run.plan.steps
            if step.index in later
            for source in (step.item, *(source for _, source in step.extras))
        ]
        own = {step.index for step in self._chain.steps}
        return Requirements(
            fingerprint=self._fingerprint.digest,
            previews=self._run.settings.previews,
            timeout_seconds=limits.timeout_seconds,
            memory_bytes=limits.memory_bytes or 0,
            needs_value=any(source.step in own for source in sources),
            retry_kinds=self._run.retry_kinds,
            seconds_per_byte=limits.seconds_per_byte,
        )

    def _inputs(self) -> dict[str, object]:
        """Return the values that the chain's tasks take from outside it, besides their items."""
        own = {step.index for step in self._chain.steps}
        sources = {key: source for step in self._chain.steps for key, source in step.extras}
        return {key: self._run.value(source) for key, source in sources.items() if source.step not in own}

    def _log_reuse(self) -> None:
        for line in self._reuse.lines(self._name, self._run.journal.state, self._fingerprint):
            self._run.log.write(line)

    def _take_over(self, index: int, entry: Entry) -> ItemRecord:
        records = [replace(record, item_index=index) for record in entry.records]
        self._store(index, records)
        return records[-1]

    # -- the work --------------------------------------------------------------------------------------------------

    def _work(self, pending: Sequence[int]) -> None:
        run = self._run
        functions = [run.packed(step.task) for step in self._chain.steps]
        self._engine = engine = run.engines.heavy()
        calls = tuple(task_call(step, data) for step, data in zip(self._chain.steps, functions, strict=True))
        template = ChainTemplate(
            batch=replace(
                run.template(self._chain.steps[0], calls[0]),
                shared=self._shared(),
                pipeline=self._fingerprint.digest if self._is_kept else "",
            ),
            calls=calls,
            follows=follows_of(self._chain),
            needs_values=tuple(run.needs_value(step) for step in self._chain.steps),
            hashing=self._is_kept,
            suffixes=tuple(run.engines.suffix(step.task.name) for step in self._chain.steps),
        )
        sized = [Sized(index, max(0, self._sources[index].n_bytes)) for index in pending]
        batcher = Batcher(sized, engine.n_workers)
        finished = engine.run(self._offer(template, batcher))
        try:
            for each in finished:
                self._settle(each, batcher)
        finally:
            close = getattr(finished, "close", None)
            if close is not None:
                close()

    def _shared(self) -> tuple[tuple[str, object], ...]:
        return tuple(dict(pair for step in self._chain.steps for pair in self._run.shared(step)).items())

    def _offer(self, template: ChainTemplate, batcher: Batcher) -> Iterator[Job | None]:
        """Yield the batches, also those to do again; None while nothing can be done before a batch ends."""
        while True:
            indices = self._next_indices(batcher)
            if not indices and not self._jobs:
                return
            yield self._job(template, indices) if indices else None

    def _next_indices(self, batcher: Batcher) -> tuple[int, ...]:
        """Return the items of the next batch; a suspect forms a batch alone, when nothing else runs."""
        indices = self._again.popleft() if self._again else batcher.take(len(self._jobs))
        if not indices and self._suspects and not self._jobs:
            indices = (self._suspects.popleft(),)
            self._tried_alone.update(indices)
        return indices

    def _job(self, template: ChainTemplate, indices: tuple[int, ...]) -> Job:
        tag, self._next_tag = self._next_tag, self._next_tag + 1
        self._jobs[tag] = indices
        self._begun[tag] = time.monotonic()
        avoid = frozenset[str]().union(*(self._elsewhere.tried(index) for index in indices))
        items = {index: self._items[index] for index in indices}
        return replace(make_job(template, tag, items, self._reuse.hashes, self._perhaps_finished), avoid=avoid)

    def _settle(self, finished: Finished, batcher: Batcher) -> None:
        indices, begun = self._jobs.pop(finished.tag), self._begun.pop(finished.tag)
        if finished.error is not None:
            self._do_again_or_give_up(indices, finished.error)
            return
        batcher.observe(indices, sum(result.seconds for result in finished.results))
        known = self._run.layouts
        by_step = [{r.item_index: r for r in share_layouts(result.items, known)} for result in finished.results]
        entries = []
        again: list[int] = []
        settled: list[int] = []
        try:
            for result in finished.results:
                if result.host_fault:
                    self._blame(Trial(result.worker, result.host, result.host_fault, begun))
            for index in indices:
                records = [records[index] for records in by_step if index in records]
                last = finished.results[len(records) - 1]
                if self._is_tried_elsewhere(records[-1], last, begun):
                    again.append(index)
                    continue
                settled.append(index)
                records = [*records[:-1], self._elsewhere.final(records[-1], last)]
                if index in last.unread:  # a permission may come back without a change of the file
                    records[0] = replace(records[0], content_hash="")
                entry = self._settle_item(index, records)
                if entry is not None:
                    entries.append(entry)
        finally:  # what is done is kept, also where no host is left
            if self._is_kept:
                self._run.journal.append(entries)
        self._again.extend([tuple(again)] if again else [])
        self._log(finished.results, settled)
        self._run.count([self._last(index) for index in settled])
        self._run.note_shapes(self._samples(settled))

    def _is_tried_elsewhere(self, record: ItemRecord, result: BatchResult, begun: float) -> bool:
        if record.error is None and not self._elsewhere.has_trials:
            return False
        assert self._engine is not None
        doubtful = record.error is not None and record.error.kind in DOUBTFUL_KINDS
        hosts = self._engine.hosts() if doubtful else frozenset[str]()
        source = source_path(record.item, str(self._run.settings.paths.root))
        return self._elsewhere.judge(record, result, source, hosts, begun) == "again"

    def _blame(self, trial: Trial) -> None:
        """Count a host's fault.

        Raises
        ------
        OutputFolderError
            Where no host is left, and this process cannot write the flow's folders either.
        ClusterError
            Where no host is left.
        """
        assert self._engine is not None
        try:
            self._engine.blame(trial.worker, trial.name, trial.reason, trial.begun)
        except ClusterError as error:
            paths = self._run.settings.paths
            if fault := host_fault(paths):
                raise OutputFolderError(
                    f"This host {fault}. What is finished is kept: make room or permit writing there, and run the flow "
                    "again."
                ) from error
            raise

    def _samples(self, indices: Iterable[int]) -> Iterator[SampleRecord]:
        for index in indices:
            for records in self._records:
                if (record := records[index]) is not None and record.status == "succeeded":
                    yield from record.samples

    def _settle_item(self, index: int, records: list[ItemRecord]) -> Entry | None:
        """Keep an item's records; return its journal entry, None where there is none to write."""
        identity = self._items[index].identity
        earlier = self._run.journal.state.entries.get((self._name, identity))
        source = self._sources[index]
        is_found = records[0].reused and bool(records[0].samples)
        if records[0].reused and not is_found and earlier is not None:
            self._run.log.items(self._name, [self._take_over(index, earlier)])
            self._reuse.n_reused += 1
            return replace(earlier, n_bytes=source.n_bytes, mtime_ns=source.mtime_ns)
        if index in self._reuse.hashes:
            self._reuse.count("the source changed")
        if is_found:
            self._n_found += 1
            bare = replace(records[0], samples=(), value=None, notes=())
            records = [*[bare] * (len(self._chain.steps) - 1), records[0]]
            self._run.log.items(self._name, records[-1:])
        self._store(index, records)
        error = records[-1].error
        if not self._is_kept or (error is not None and error.kind in UNLASTING_KINDS):
            return None
        if not records[0].content_hash:  # what was read is unknown: the next run does it again
            return None
        limits = self._run.settings.limits
        return Entry(
            chain=self._name,
            item=identity,
            content_hash=records[0].content_hash,
            n_bytes=source.n_bytes,
            mtime_ns=source.mtime_ns,
            fingerprint=self._fingerprint.digest,
            previews=self._run.settings.previews,
            timeout_seconds=limits.seconds_for(source.n_bytes),
            memory_bytes=limits.memory_bytes or 0,
            records=tuple(records),
            value_lost=is_found and VALUE_LOST in records[-1].notes,
        )

    def _do_again_or_give_up(self, indices: tuple[int, ...], error: BaseException) -> None:
        """Halve a batch that was lost with its worker, until the one file that kills workers is alone.

        Dask charges a worker's death to every node that it held. A single item is therefore tried once more when
        nothing else runs, and only an item that is lost then has itself ended its workers.
        """
        deaths = self._run.engines.deaths()
        if len(indices) > 1:
            self._run.log.write(
                f"A batch of {len(indices)} items was lost ({_name_of(error)}); trying its halves", "WARNING"
            )
            self._again.extend(split(indices))
            return
        (index,) = indices
        if index not in self._tried_alone:
            self._suspects.append(index)
            return
        task = self._chain.steps[0].task.name
        message = f"The cluster lost this item: {_name_of(error)}. Run the flow again to try it once more."
        record = ErrorRecord(
            "infrastructure",
            message,
            task,
            self._items[index].identity,
            index,
            exception=type(error).__name__,
            host=deaths[-1].host if deaths else "",
        )
        failed = ItemRecord(index, self._items[index].identity, "failed", error=record)
        self._store(index, [failed])
        self._run.log.items(task, [failed])
        self._run.count([failed])

    # -- book-keeping ----------------------------------------------------------------------------------------------

    def _store(self, index: int, records: Sequence[ItemRecord]) -> None:
        for number, record in enumerate(records):
            self._records[number][index] = record
            errors = (record.error,) if record.error is not None else ()
            n_bytes = 0 if record.reused else sum(sample.n_bytes for sample in record.samples)
            self._bars[number].advance(**{record.status: 1}, reused=int(record.reused), n_bytes=n_bytes, errors=errors)

    def _last(self, index: int) -> ItemRecord:
        return next(records[index] for records in reversed(self._records) if records[index] is not None)  # type: ignore[return-value]  # filtered

    def _log(self, results: Sequence[BatchResult], settled: Sequence[int]) -> None:
        self._run.timeline.note(results)
        for step, records in zip(self._chain.steps, self._records, strict=True):
            ended = [record for index in settled if (record := records[index]) is not None]
            self._run.log.items(step.task.name, [record for record in ended if not record.reused])


def _examine(item: FlowItem, folder: str) -> SourceState:
    """Return the state of an item's source; a value that cannot be a path is not looked for."""
    if not isinstance(item.value, str) and isinstance(item.value, (int, float, Mapping, list, tuple)):
        return SourceState()
    return examine(source_path(item.identity, folder))


def items_after(result: StepResult) -> list[FlowItem]:
    """Return the items that a step hands to a later chain: those that succeeded, with what was returned for them."""
    identities = {index: item.identity for index, item in enumerate(result.items)}
    items: list[FlowItem] = []
    for record in result.records:
        if record.status != "succeeded" or record.value is None:
            continue
        values = [v for _, v in record.value.values] if isinstance(record.value, BodyValues) else [record.value]
        items.extend(FlowItem(identities[record.item_index], value) for value in values)
    return items


def _name_of(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]
