"""The last step of a flow: its samples become one dataset."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from dask.delayed import Delayed

from dflow.dataset.format.tables import table_rows
from dflow.dataset.merge.merge import MergeReport, merge_dataset
from dflow.errors import DatasetError
from dflow.flowmanager.cluster.engine import compute_each
from dflow.flowmanager.cluster.nodekeys import renamed
from dflow.flowmanager.plan.tasks import EXPORT_CLASS, EXPORT_TASK
from dflow.flowmanager.reports.flowoutput import TaskOutcome
from dflow.flowmanager.reports.progress import TaskProgress
from dflow.flowmanager.run.flowrun import FlowRun
from dflow.records import ErrorRecord, ItemRecord, ShardRecord


@dataclass(frozen=True, slots=True)
class Export:
    """The result of the export: its outcome, and the merge's report (None when there was nothing to merge)."""

    outcome: TaskOutcome
    report: MergeReport | None = None


def export_dataset(run: FlowRun, items: Sequence[ItemRecord]) -> Export:
    """Merge the samples of the items that succeeded; `items` hold one final record per item."""
    started = time.monotonic()
    samples = [sample for item in items if item.status == "succeeded" for sample in item.samples]
    if not samples:
        kept = " The one of an earlier run is kept." if run.settings.paths.dataset.exists() else ""
        run.log.write(f"No samples to merge: no dataset was written.{kept}", "WARNING")
        return Export(TaskOutcome(EXPORT_TASK, "export", EXPORT_CLASS, 0.0))
    before = _published_samples(run)
    if len(samples) < before:
        run.log.write(
            f"The dataset of {before} samples is replaced by one of {len(samples)}: this run's sources hold no more. "
            "To have all of them again, run the flow on all sources; a part is better run under another name=, or with "
            "auto_dataset_export=False.",
            "WARNING",
        )
    bar = run.progress.start(EXPORT_TASK, None, unit="shards")
    written: list[ShardRecord] = []
    report = merge_dataset(
        samples,
        run.settings.paths,
        flow_name=run.settings.paths.name,
        compute=lambda nodes: _compute(run, bar, nodes, written),
        content_hashes={s.name: i.content_hash for i in items for s in i.samples if i.content_hash},
    )
    bar.finish()
    result = "was up to date" if report.reused else "was written"
    run.log.write(
        f"merge: the dataset {result}: {report.n_samples} samples, {report.n_bytes} bytes, {report.seconds:.3f}s"
    )
    value = [
        str(path) for path in (run.settings.paths.dataset, run.settings.paths.infoset, run.settings.paths.attribset)
    ]
    seconds = time.monotonic() - started
    return Export(TaskOutcome(EXPORT_TASK, "export", EXPORT_CLASS, seconds, value=value, n_nodes=len(written)), report)


def _published_samples(run: FlowRun) -> int:
    """Return the number of samples of the dataset that this run replaces; 0 without one."""
    try:
        return table_rows(run.settings.paths.infoset)
    except DatasetError:
        return 0


def rejected_items(items: Sequence[ItemRecord], report: MergeReport, task: str) -> list[ItemRecord]:
    """Return the item records after the merge: an item with a rejected or damaged sample has failed."""
    reasons: dict[str, tuple[str, str]] = {name: (kind, why) for name, kind, why in report.rejected}
    reasons.update({name: ("damaged_store", why) for name, why in report.damaged})
    return [_judged(item, reasons, task) for item in items]


def damaged_identities(items: Sequence[ItemRecord], report: MergeReport) -> set[str]:
    """Return the items whose stores the merge could not read."""
    damaged = {name for name, _ in report.damaged}
    return {item.item for item in items if any(sample.name in damaged for sample in item.samples)}


def _judged(item: ItemRecord, reasons: dict[str, tuple[str, str]], task: str) -> ItemRecord:
    found = [(sample.name, *reasons[sample.name]) for sample in item.samples if sample.name in reasons]
    if not found or item.status != "succeeded":
        return item
    _, kind, why = found[0]
    error = ErrorRecord(
        kind, why, task, item.item, item.item_index, exception="SchemaError" if kind == "schema" else ""
    )
    return replace(item, status="failed", error=error)


def _compute(
    run: FlowRun, bar: TaskProgress, nodes: Sequence[Delayed], written: list[ShardRecord]
) -> Iterator[ShardRecord]:
    engine = run.engines.heavy()
    engine.keep_to_sound_hosts()
    suffix = run.engines.suffix(EXPORT_TASK)
    for record in compute_each(engine, [renamed(node, suffix) for node in nodes]):
        bar.advance(succeeded=1, n_bytes=0 if record.reused else record.n_bytes)
        written.append(record)
        yield record
