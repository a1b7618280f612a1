"""Steps over the list of items: extract tasks, which make it, and sequential tasks, which take all of it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

from dask.delayed import delayed

from dflow.flowmanager.cluster.engine import Engine, SynchronousEngine, compute_each, compute_here
from dflow.flowmanager.cluster.nodekeys import node_key
from dflow.flowmanager.plan.batch import Isolation
from dflow.flowmanager.plan.items import FlowItem, sequence_identity
from dflow.flowmanager.plan.tasks import Gathering, listed
from dflow.flowmanager.plan.wiring import Step
from dflow.flowmanager.run.flowrun import FlowRun, StepResult, source_values
from dflow.flowmanager.run.functions import pack_function, pack_here
from dflow.flowmanager.run.nodes import ChainTemplate, Follow, gather_limits, make_job, task_call
from dflow.storage.paths import item_identity


def run_here(run: FlowRun, step: Step) -> StepResult:
    """Call a sequential task in this process, as a node of the synchronous scheduler. Its error stops the flow."""
    started = time.monotonic()
    bar = run.progress.start(step.task.name, 1, unit="calls")
    values = source_values(run, step.item)
    calls = [values] if step.whole else values
    extras = {key: run.value(source) for key, source in step.extras}
    returned = [_call_here(step, number, item, extras) for number, item in enumerate(calls)]
    value: Any = returned[0] if step.whole else [each for result in returned for each in listed(result)]
    if all(each is None for each in returned):
        value = None  # as `Gathering` has it
    bar.advance(succeeded=1)
    bar.finish()
    run.log.write(f"{step.task.name} ran over {len(values)} items in {time.monotonic() - started:.3f}s")
    return StepResult(step, value=value, seconds=time.monotonic() - started, n_nodes=len(calls))


def run_gather(run: FlowRun, step: Step) -> StepResult:
    """Run an extract task: once over all sources or once per source, on the cluster when one runs already."""
    started = time.monotonic()
    sources = source_values(run, step.item)
    items = _gather_items(run, step, sources)
    engine = run.engines.light()
    isolation = _isolation(run, step, engine)
    gathering = Gathering(step.task.function)
    function = (
        pack_here(gathering)
        if isolation == "inline"
        else pack_function(gathering, run.fingerprint.modules, step.task.name)
    )
    call = task_call(step, function)
    batch = run.template(step, call)
    chain = ChainTemplate(
        batch=replace(
            batch,
            limits=gather_limits(batch.limits),
            export_visualization=False,
            isolation=isolation,
        ),
        calls=(call,),
        follows=(Follow(-1),),
        needs_values=(True,),
        suffixes=(run.engines.suffix(step.task.name),),
    )
    bar = run.progress.start(step.task.name, len(items), unit="sources")
    records = []
    nodes = [make_job(chain, number, {number: item}, {}).nodes[0] for number, item in enumerate(items)]
    for result in compute_each(engine, nodes):
        records.extend(result.items)
        run.log.items(step.task.name, result.items)
        errors = [record.error for record in result.items if record.error is not None]
        bar.advance(succeeded=len(result.items) - len(errors), failed=len(errors), errors=errors)
    bar.finish()
    records.sort(key=lambda record: record.item_index)
    return StepResult(step, items=items, records=records, seconds=time.monotonic() - started, n_nodes=len(nodes))


def _gather_items(run: FlowRun, step: Step, sources: list[Any]) -> list[FlowItem]:
    folder = run.settings.paths.root
    if step.whole:
        return [FlowItem(sequence_identity(sources, folder), sources)]
    return [FlowItem(_name(source, folder), source) for source in sources]


def _isolation(run: FlowRun, step: Step, engine: Engine) -> Isolation:
    """Return "inline" where no cluster runs and the task opens no CAD files: listing files needs no child."""
    return "inline" if isinstance(engine, SynchronousEngine) and not step.opens_files else run.engines.isolation


def _name(source: Any, folder: Any) -> str:
    # A source may be any object. A path is named like the items, relative to the flow.
    try:
        return item_identity(source, folder)
    except (TypeError, ValueError):
        return repr(source)


def _call_here(step: Step, number: int, item: Any, extras: dict[str, Any]) -> Any:
    """Make one call as a Dask node; its arguments are bound beforehand, so that Dask does not traverse them."""
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    for feed in step.feeds:
        value = item if feed.kind == "item" else extras[feed.key]
        if feed.keyword:
            keywords[feed.keyword] = value
        else:
            positional.append(value)
    bound: Callable[[], Any] = functools.partial(step.task.function, *positional, **keywords)
    node = delayed(_Bound(bound), pure=False)(dask_key_name=node_key(step.task.name, number))
    result = compute_here([node])[0]
    return list(result) if isinstance(result, Generator) else result  # else its body might never run


class _Bound:
    """A call with its arguments, opaque to Dask."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self.__name__ = "call"

    def __call__(self) -> Any:
        return self._call()
