"""One ``process`` call from lock to report."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from distributed.comm import CommClosedError

from dflow.cadaccess.kernel.check import require_kernel
from dflow.dataset.merge.publish import Outputs, recover
from dflow.errors import ClusterError, EmptySourceError, FlowCancelledError, OutputFolderError
from dflow.flowmanager.cluster.clusters import is_foreign
from dflow.flowmanager.cluster.deaths import as_errors
from dflow.flowmanager.history import folder
from dflow.flowmanager.history.fingerprint import Fingerprint, fingerprint, versions
from dflow.flowmanager.history.journal import Journal
from dflow.flowmanager.history.lock import FolderLock
from dflow.flowmanager.plan.items import FlowItem, contents_of, flow_items
from dflow.flowmanager.plan.settings import FlowSettings
from dflow.flowmanager.plan.tasks import EXPORT_TASK, listed
from dflow.flowmanager.plan.wiring import FLOW_INPUT, Chain, Plan
from dflow.flowmanager.reports.console import print_report
from dflow.flowmanager.reports.declarations import compare_declarations
from dflow.flowmanager.reports.flowfiles import error_entries, flow_summary, write_flow_file, write_json, write_text
from dflow.flowmanager.reports.flowlog import FlowLog
from dflow.flowmanager.reports.flowoutput import Counts, FlowOutput, TaskOutcome
from dflow.flowmanager.reports.progress import Listener, Progress
from dflow.flowmanager.reports.runfacts import run_facts
from dflow.flowmanager.reports.runreport import report_page
from dflow.flowmanager.reports.timeline import Timeline
from dflow.flowmanager.run.collector import rare_full_collections
from dflow.flowmanager.run.engines import Engines
from dflow.flowmanager.run.export import damaged_identities, export_dataset, rejected_items
from dflow.flowmanager.run.flowrun import FlowRun, source_values
from dflow.flowmanager.run.functions import pack_function
from dflow.flowmanager.run.inputs import remember_inputs
from dflow.flowmanager.run.itemchain import ItemChain, items_after
from dflow.flowmanager.run.liststeps import run_gather, run_here
from dflow.records import ErrorRecord, ItemRecord
from dflow.storage.paths import FlowPaths


@dataclass(frozen=True, slots=True)
class FlowResult:
    """The result of a finished run."""

    output: FlowOutput
    summary: dict[str, Any]

    def print_report(self) -> None:
        """Print the tables of counts and errors."""
        print_report(self.output)


def run_flow(
    settings: FlowSettings,
    plan: Plan,
    inputs: Mapping[str, Any],
    *,
    clean: bool,
    listeners: Sequence[Listener],
    announce: Callable[[Callable[[], None]], None],
    retry_kinds: frozenset[str] | None = None,
) -> FlowResult:
    """Run a wired flow; `announce` is called with what cancels it, `retry_kinds` are the only failures tried again."""
    started = time.monotonic()
    if any(step.opens_files for step in plan.steps) and not is_foreign(settings.cluster):
        require_kernel()  # on another cluster `check_cluster` does it, on the workers
    pipeline = pipeline_fingerprint(settings)
    for task in settings.tasks:
        if not settings.debug and task.kind != "extract" and task.parallel:
            pack_function(task.function, pipeline.modules, task.name)  # what cannot travel is refused before the start
    if clean:
        folder.refuse_sources_inside(settings.paths, (each for value in inputs.values() for each in listed(value)))
    try:
        with (
            rare_full_collections(),
            _owned_folder(settings.paths, clean=clean),
            _opened_run(settings, plan, inputs, pipeline, listeners) as run,
        ):
            announce(run.engines.cancel)
            run.retry_kinds = retry_kinds
            remember_inputs(settings.paths, inputs)
            return _finish(run, _run_chains_and_export(run), started)
    except CommClosedError as error:  # a cut between two questions to the scheduler
        raise ClusterError(
            f"Lost the scheduler: {error}. What is finished is kept: run the flow again to go on where it stopped."
        ) from error


def pipeline_fingerprint(settings: FlowSettings) -> Fingerprint:
    """Return the fingerprint of the flow's transforms, of custom tasks before them, and of the sample's settings."""
    last = max((number for number, task in enumerate(settings.tasks) if task.kind == "transform"), default=-1)
    parameters: dict[str, Any] = {
        "sample": settings.sample,
        "storage_type": settings.storage_type,
        "versions": versions(),
    }
    if settings.strict_geometry:
        parameters["strict_geometry"] = True
    return fingerprint([task.function for task in settings.tasks[: last + 1] if task.kind != "extract"], parameters)


@contextmanager
def _owned_folder(paths: FlowPaths, *, clean: bool) -> Iterator[None]:
    folder.prepare(paths)
    with FolderLock(paths.state):
        folder.bring_back(paths)
        recover(Outputs.of(paths))
        if clean:
            folder.set_aside(paths)
        folder.sweep(paths)
        try:
            yield
        finally:
            with folder.writing(paths.root):
                folder.bring_back(paths)
                recover(Outputs.of(paths))  # a finished dataset that an exception kept from its name
                folder.sweep(paths)


@contextmanager
def _opened_run(
    settings: FlowSettings,
    plan: Plan,
    inputs: Mapping[str, Any],
    pipeline: Fingerprint,
    listeners: Sequence[Listener],
) -> Iterator[FlowRun]:
    """Open a run with its log, journal and engines; all are closed, and failures are written, however it ends."""
    log = FlowLog(settings.paths.log)
    journal = Journal(settings.paths.state)
    timeline = Timeline()
    progress = Progress(settings.paths.name, [timeline, *listeners])
    sources = [each for value in inputs.values() for each in listed(value)]
    opens_files = any(step.opens_files for step in plan.steps)
    engines = Engines(settings, progress, log, sources, opens_files=opens_files)
    run = FlowRun(settings, plan, dict(inputs), journal, pipeline, log, progress, engines, timeline)
    status = "finished"
    try:
        log.write(f"Flow {settings.paths.name!r} with the tasks {[task.name for task in settings.tasks]} starts")
        yield run
    except BaseException as error:
        status = "cancelled" if isinstance(error, (FlowCancelledError, KeyboardInterrupt)) else "failed"
        log.write(f"Stopped by {type(error).__name__}: {error}", "ERROR")
        with suppress(OutputFolderError):  # it may be what stopped the flow
            write_json(
                settings.paths.error_summary,
                error_entries([*_errors(run), *as_errors(engines.deaths())], settings.paths.root),
            )
            _report_early_end(run, status, error)
        raise
    finally:
        with closing(log), closing(journal):
            engines.close(status)


@dataclass(slots=True)
class _Ended:
    """The results of chains and export: `items` hold one final record per item of the flow's samples."""

    items: Sequence[ItemRecord]
    export: TaskOutcome | None
    n_samples: int
    is_dataset_new: bool = False


def _run_chains_and_export(run: FlowRun) -> _Ended:
    _run_chains(run)
    items = final_records(run)
    if not run.settings.export or not run.plan.writes_samples:
        return _Ended(items, None, sum(len(item.samples) for item in items if item.status == "succeeded"))
    export = export_dataset(run, items)
    if export.report is not None and export.report.damaged:
        run.distrusted |= damaged_identities(items, export.report)
        run.log.write(f"{len(run.distrusted)} items have damaged stores and are done again", "WARNING")
        _run_chains(run)
        items = final_records(run)
        export = export_dataset(run, items)
    n_samples = 0
    if export.report is not None:
        items = rejected_items(items, export.report, EXPORT_TASK)
        n_samples = export.report.n_samples
    return _Ended(items, export.outcome, n_samples, export.report is not None and not export.report.reused)


def _run_chains(run: FlowRun) -> None:
    run.n_failed = run.n_untried = 0
    for chain in run.plan.chains:
        if chain.kind == "here":
            run.results[chain.steps[0].index] = run_here(run, chain.steps[0])
        elif chain.kind == "gather":
            run.results[chain.steps[0].index] = run_gather(run, chain.steps[0])
        else:
            _run_items(run, chain)
    folder.drop_aside(run.settings.paths)


def _run_items(run: FlowRun, chain: Chain) -> None:
    items = _chain_items(run, chain)
    folder.drop_aside(run.settings.paths)  # not before there is something to do
    if chain.steps[0].task.kind == "transform" or not run.n_submitted:
        run.n_submitted = len(items)
    work = ItemChain(run, chain, items)
    try:
        work.execute()
    finally:  # failures before an early end are reported as well
        run.results.update({result.step.index: result for result in work.results()})


def _chain_items(run: FlowRun, chain: Chain) -> list[FlowItem]:
    source, task = chain.source, chain.steps[0].task.name
    if source.step != FLOW_INPUT:
        result = run.results[source.step]
        if result.items and result.step.task.kind != "extract" and not result.step.here:
            return items_after(result)
    items, repeated = flow_items(source_values(run, source), run.settings.paths.root, task)
    if repeated:
        names = ", ".join(repeated[:3]) + (f" and {len(repeated) - 3} more" if len(repeated) > 3 else "")
        run.log.write(f"{task}: given more than once and done once: {names}", "WARNING")
    if not items:
        raise EmptySourceError(_why_empty(run, chain))
    return items


def _why_empty(run: FlowRun, chain: Chain) -> str:
    given = ", ".join(f"{key}={str(value)[:200]}" for key, value in run.inputs.items())
    errors = _errors(run)
    cause = f" {len(errors)} calls failed, the first: {errors[0].message}" if errors else ""
    found = contents_of(each for value in run.inputs.values() for each in listed(value))
    why = f"Nothing to do for task {chain.steps[0].task.name!r}: no items came from {given}.{cause}"
    if chain.source.step != FLOW_INPUT and not errors and run.results[chain.source.step].returned_none():
        name = run.results[chain.source.step].step.task.name
        return f"{why} Task {name!r} returned None, expected a list of paths: check that it ends with `return`."
    return f"{why} {found}".rstrip()


def final_records(run: FlowRun) -> list[ItemRecord]:
    """Return one record per item of the flow's files: the last one of the chains that transform it, with its samples.

    An item's samples are those that its last task with a store left; an item that a later task failed or skipped counts
    as failed or skipped.
    """
    counted = [chain for chain in run.plan.chains if chain.kind == "items" and chain.steps[0].task.kind == "transform"]
    if not counted:
        counted = [chain for chain in run.plan.chains if chain.kind == "items"][-1:]
    final: dict[str, ItemRecord] = {}
    for chain in counted:
        for step in chain.steps:
            result = run.results.get(step.index)  # there is none where a run ended early
            for record in result.records if result is not None else ():
                earlier = final.get(record.item)
                samples = record.samples or (earlier.samples if earlier is not None else ())
                final[record.item] = replace(record, samples=samples) if samples is not record.samples else record
    return list(final.values())


def _finish(run: FlowRun, ended: _Ended, started: float) -> FlowResult:
    paths, settings = run.settings.paths, run.settings
    counts = _counts(ended.items, ended.n_samples)
    tasks = [run.results[step.index].outcome() for step in run.plan.steps]
    if ended.export is not None:
        rejected = [i for i in ended.items if i.error is not None and i.error.task == EXPORT_TASK]
        tasks.append(replace(ended.export, records=tuple(rejected)))
    seconds = time.monotonic() - started
    declarations = compare_declarations([s for item in ended.items if item.status == "succeeded" for s in item.samples])
    summary = flow_summary(
        paths,
        tasks,
        counts,
        declarations=declarations,
        specifications=settings.specifications(),
        seconds=seconds,
    )
    for name, near in declarations.not_saved:
        hint = f"; nearest saved name: {near}" if near else ""
        run.log.write(
            f"The schema declares {name}, but no file saved it: all its rows are fill values{hint}", "WARNING"
        )
    errors = [error for task in tasks for error in task.errors]
    deaths = run.engines.deaths()
    write_json(paths.error_summary, error_entries([*errors, *as_errors(deaths)], paths.root))
    facts = _facts(run, tasks, counts, seconds=seconds)
    _write_facts(paths, facts, is_work=ended.is_dataset_new or _did_work(tasks))
    write_flow_file(paths, summary)
    run.log.write(f"Done in {seconds:.3f}s: {dataclasses.asdict(counts)}")
    if counts.verdict:
        run.log.write(counts.verdict, "WARNING")
    absolute = {
        key: str(paths.root / summary[key]) for key in ("flow_data", "flow_info", "flow_attributes") if summary[key]
    }
    summary = {**summary, **absolute}
    slow = tuple(run.near_limit)
    output = FlowOutput(paths.name, settings.specifications(), tasks, seconds, counts, summary, deaths, slow)
    _compact(run)
    return FlowResult(output, summary)


def _report_early_end(run: FlowRun, status: str, error: BaseException) -> None:
    """Keep the facts of a run that ended early; the ``.flow`` stays that of the last finished one."""
    results = [run.results[step.index] for step in run.plan.steps if step.index in run.results]
    message = f"{type(error).__name__}: {error}"
    counts = _counts(final_records(run), 0)
    counts = replace(counts, submitted=counts.submitted + run.n_untried, skipped=counts.skipped + run.n_untried)
    tasks = [result.outcome() for result in results]
    facts = _facts(run, tasks, counts, seconds=run.timeline.seconds, status=status, error=message)
    _write_facts(run.settings.paths, facts, is_work=_did_work(tasks))


def _did_work(tasks: Sequence[TaskOutcome]) -> bool:
    """Whether anything was made; listing sources does not count."""
    return any(not record.reused for task in tasks if task.kind != "extract" for record in task.records)


def _write_facts(paths: FlowPaths, facts: Mapping[str, Any], *, is_work: bool) -> None:
    """Write ``run.json``, and the report unless this run did no work and there is a report of one that did."""
    write_json(paths.run_file, facts)
    if is_work or not paths.report.exists():
        write_text(paths.report, report_page(facts))


def _facts(
    run: FlowRun,
    tasks: Sequence[TaskOutcome],
    counts: Counts,
    *,
    seconds: float,
    status: str = "finished",
    error: str = "",
) -> dict[str, Any]:
    return run_facts(
        run.settings.paths.name,
        tasks,
        counts,
        status=status,
        error=error,
        seconds=seconds,
        configuration=run.settings.specifications(),
        cluster=run.engines.describe(with_workers=status == "finished"),
        fingerprint=run.fingerprint,
        timeline=run.timeline,
        near_limit=run.near_limit,
    )


def _counts(items: Sequence[ItemRecord], n_samples: int) -> Counts:
    statuses = [item.status for item in items]
    return Counts(
        submitted=len(statuses),
        succeeded=statuses.count("succeeded"),
        skipped=statuses.count("skipped"),
        failed=statuses.count("failed"),
        reused=sum(item.reused for item in items),
        samples=n_samples,
    )


def _compact(run: FlowRun) -> None:
    """Rewrite a journal that holds mostly outdated lines, or torn ones."""
    state = run.journal.state
    if state.n_damaged:
        run.log.write(f"{state.n_damaged} torn records of an earlier run were left out", "WARNING")
    if state.n_lines > 1000 + 3 * len(state.entries) or state.n_damaged:
        run.journal.close()
        fresh = Journal(run.settings.paths.state)
        fresh.rewrite(fresh.state.entries.values())


def _errors(run: FlowRun) -> list[ErrorRecord]:
    return [error for result in run.results.values() for error in result.outcome().errors]
