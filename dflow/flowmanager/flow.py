"""`create_flow` and `Flow`: tasks become a pipeline, and `process` runs it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from dflow.errors import EmptySourceError, WiringError
from dflow.flowmanager.history.freshness import LASTING_KINDS, LIMIT_KINDS
from dflow.flowmanager.plan.items import check_sources
from dflow.flowmanager.plan.registry import print_task_registry
from dflow.flowmanager.plan.settings import (
    FlowSettings,
    checked_limits,
    checked_max_failures,
    checked_no_worker_timeout,
    checked_paths,
    checked_sample,
    checked_storage,
    checked_tasks,
    checked_workers,
)
from dflow.flowmanager.plan.tasks import listed
from dflow.flowmanager.plan.wiring import FLOW_INPUT, Plan, plan
from dflow.flowmanager.reports import console
from dflow.flowmanager.reports.console import is_notebook, notebook_bars
from dflow.flowmanager.reports.flowoutput import FlowOutput
from dflow.flowmanager.reports.progress import Listener, ProgressEvent
from dflow.flowmanager.run.inputs import remembered_inputs
from dflow.flowmanager.run.session import run_flow
from dflow.flowmanager.runningflow import RunningFlow
from dflow.hoops.arguments import hoops_arguments
from dflow.plaintext import get_logger

if TYPE_CHECKING:
    from dflow.flowmanager.reports.drawing import FlowDrawing

RETRIED_KINDS = LASTING_KINDS | LIMIT_KINDS | {"exception", "bad_return", "damaged_store"}
"""The kinds that `Flow.retry` tries again by default; lost and cancelled items are always done again."""

_LOGGER = get_logger("dflow.flow")


def create_flow(
    name: str,
    tasks: Sequence[Callable[..., Any]],
    flows_outputdir: str | os.PathLike[str],
    max_workers: int | None = None,
    debug: bool = False,
    auto_dataset_export: bool = True,
    ml_task: str = "",
    export_visualization: bool = True,
    storage_type: Literal["optimized", "json", "memory"] = "optimized",
    parallel_task_kwargs: Mapping[str, Any] | None = None,
    *,
    sample: Literal["file", "body"] = "file",
    cluster: Any = None,
    timeout_seconds: float | None = None,
    memory_limit: int | float | str | None = None,
    max_retries: int | None = None,
    max_failures: float | None = None,
    strict_geometry: bool = False,
    no_worker_timeout: float | None = None,
) -> Flow:
    """Make a flow from decorated functions; nothing runs yet.

    Parameters
    ----------
    name
        Names the flow, its folder ``<flows_outputdir>/flows/<name>`` and the files in it.
    tasks
        Functions decorated with `flowtask`, in the order they run.
    flows_outputdir
        Where flows write.
    max_workers
        Worker processes of a local cluster; as many as there are processors when omitted.
    debug
        Run the same graph in this process and thread, where ``pdb`` works.
    auto_dataset_export
        Merge the samples into one dataset at the end.
    ml_task
        Free text, kept in the ``.flow`` file.
    export_visualization
        Make a preview picture and a mesh of every part.
    storage_type
        "optimized" (one Zarr file per sample), "json" or "memory"; "memory" leaves nothing to export.
    parallel_task_kwargs
        HOOPS AI's executor settings; ``time_limit_overall`` is the time limit of a file, the others have no meaning
        here.
    sample
        "file": a sample is a file; "body": a transform is called once for each body of a file.
    cluster
        A `distributed.Client`; a cluster object (`SSHCluster`, `LocalCluster`, one of Gateway or Kubernetes: anything
        with `scheduler_address` and, if it has it, `security`); a scheduler's address; the path of a scheduler file; or
        a profile's name. Omitted: the active client, else a local cluster during the run.
    timeout_seconds
        Wall time that one file may take in a task; finding out what the file is counts. Omitted: that of
        `parallel_task_kwargs`, else 60 s and 4 s more for each megabyte of the file. What took more than half of it is
        reported (`FlowOutput.near_limit`, ``run.json``).
    memory_limit
        Memory that one file may need, as bytes or "2GB"; omitted: the machine's, divided by its processors.
    max_retries
        Further tries after a crash, a timeout or too much memory, each alone and with a larger allowance. Omitted: one,
        but none after a timeout, which `retry` takes up again.
    max_failures
        Stop when more files fail: a count, or a share of the submitted ones when below 1. Omitted: stop only when the
        first 20 failures of the tasks' own code have one type and one line and nothing has succeeded.
    strict_geometry
        A file with a defect (body by body: with a body that has one) fails, of kind "geometry". Without, its sample
        says so in file values: `read_path` ("text", "planar", "light" or "full": how a file was read; "none": a shape
        as it was stored), `n_defects` and `defect_names`, those of `CadModel.find_defects`.
    no_worker_timeout
        Seconds without a worker after which the flow ends in a `ClusterError`; run again, it goes on. A line says so
        from 15 s on, at growing intervals, with what the queue says. Omitted: 60 s at the start (a profile's
        ``dflow-wait`` on a queue), an hour later.

    Raises
    ------
    TaskDefinitionError, WiringError, SettingError, OutputFolderError
        Whatever is wrong with the arguments, before anything runs.
    """
    kind, export = checked_storage(storage_type, auto_dataset_export)
    settings = FlowSettings(
        paths=checked_paths(name, flows_outputdir),
        tasks=checked_tasks(tasks),
        max_workers=checked_workers(max_workers),
        debug=bool(debug),
        export=bool(export),
        ml_task=str(ml_task or ""),
        previews=bool(export_visualization),
        storage_type=kind,
        sample=checked_sample(sample),
        cluster=cluster,
        limits=checked_limits(timeout_seconds, memory_limit, max_retries, parallel_task_kwargs),
        max_failures=checked_max_failures(max_failures),
        task_options=dict(parallel_task_kwargs or {}),
        strict_geometry=bool(strict_geometry),
        no_worker_timeout=checked_no_worker_timeout(no_worker_timeout),
    )
    return Flow(settings)


class Flow:
    """A pipeline of tasks. `process` may be called again and again, by one thread at a time; `cancel` by any thread.

    Parameters
    ----------
    settings : checked by `create_flow`, which makes flows
    """

    def __init__(self, settings: FlowSettings) -> None:
        self.settings = settings
        self.name = settings.paths.name
        self._draft = plan(settings.tasks)
        self._output: FlowOutput | None = None
        self._inputs: dict[str, Any] | None = None
        self._cancel: Callable[[], None] | None = None

    @property
    def specifications(self) -> dict[str, Any]:
        """The flow's settings, as in the ``.flow`` file."""
        return self.settings.specifications()

    @hoops_arguments
    def process(
        self,
        inputs: Mapping[str, Any] | None = None,
        clean_output_dir: bool = False,
        *,
        progress: Listener | bool | None = None,
    ) -> tuple[FlowOutput, dict[str, Any], str]:
        """Run the flow; what an earlier run finished and still holds is reused.

        Parameters
        ----------
        inputs
            What the tasks start from, by name: ``{"sources": ["/path/to/cad"]}``. A single text or path is a list of
            one.
        clean_output_dir
            Delete all that earlier runs left, and start afresh; nothing is deleted before the sources are found.
        progress
            A function that is called with each `ProgressEvent`, in place of the bars; False for neither.

        Returns
        -------
        The `FlowOutput`, the summary dictionary (with absolute paths), and the path of the ``.flow`` file.

        Raises
        ------
        FlowError
            `WiringError`, `EmptySourceError`, `SourceNotFoundError`, `OutputFolderError`, `FlowBusyError`,
            `ClusterError`, `TooManyFailuresError` or `FlowCancelledError`; a sequential task's own error as it is. A
            file's failure is recorded, not raised.
        """
        return self._run(self.settings, inputs, clean=clean_output_dir, progress=progress)

    def start(
        self,
        inputs: Mapping[str, Any] | None = None,
        clean_output_dir: bool = False,
        *,
        progress: Listener | bool | None = None,
    ) -> RunningFlow:
        """Run the flow in the background; the arguments are those of `process`.

        Parameters
        ----------
        inputs, clean_output_dir, progress : as in `process`

        Returns
        -------
        A handle with ``status()``, ``wait()`` and ``cancel()``; what `process` raises is raised by ``wait()``. In a
        notebook the cell shows the bars, with a button that cancels; elsewhere nothing is shown.
        """
        shown = progress is None or progress is True
        panel = notebook_bars(self.cancel) if shown and is_notebook() else None
        listeners: list[Listener] = [panel] if panel is not None else [progress] if callable(progress) else []

        def run(note: Listener) -> tuple[FlowOutput, dict[str, Any], str]:
            def listen(event: ProgressEvent) -> None:
                for listener in (note, *listeners):
                    listener(event)

            return self.process(inputs, clean_output_dir, progress=listen)

        def ended(error: BaseException | None) -> None:
            if panel is not None:
                panel.note(f"{type(error).__name__}: {error}" if error is not None else "Finished.")
                panel.close()

        return RunningFlow(run, self.cancel, ended)

    def retry(
        self,
        kinds: Sequence[str] | None = None,
        *,
        timeout_seconds: float | None = None,
        memory_limit: int | float | str | None = None,
        inputs: Mapping[str, Any] | None = None,
        progress: Listener | bool | None = None,
    ) -> tuple[FlowOutput, dict[str, Any], str]:
        """Run again what failed in the last run, with another allowance if one is given; all else is reused.

        Parameters
        ----------
        kinds
            Which failures, by their `kind` in ``error_summary.json``: ``["timeout", "crash"]``. Omitted: all.
        timeout_seconds, memory_limit
            As in `create_flow`, for this run; omitted: the flow's own.
        inputs
            The last run's when omitted, even if another process ran it.
        progress
            As in `process`.

        Returns
        -------
        What `process` returns; it raises the same errors.
        """
        inputs = inputs if inputs is not None else self._inputs or remembered_inputs(self.settings.paths)
        if inputs is None:
            raise WiringError(f"{self.settings.paths.root} has no inputs of an earlier run: pass `inputs`.")
        limits = self.settings.limits
        wanted = checked_limits(timeout_seconds, memory_limit, limits.asked_retries, None)
        if timeout_seconds is None:
            wanted = replace(wanted, timeout_seconds=limits.timeout_seconds, seconds_per_byte=limits.seconds_per_byte)
        if memory_limit is None:
            wanted = replace(wanted, memory_bytes=limits.memory_bytes)
        retried = frozenset(kinds) if kinds is not None else frozenset(RETRIED_KINDS)
        return self._run(replace(self.settings, limits=wanted), inputs, progress=progress, retry_kinds=retried)

    def _run(
        self,
        settings: FlowSettings,
        inputs: Mapping[str, Any] | None,
        *,
        clean: bool = False,
        progress: Listener | bool | None = None,
        retry_kinds: frozenset[str] | None = None,
    ) -> tuple[FlowOutput, dict[str, Any], str]:
        wired, given = self._checked_inputs(inputs)
        self._inputs = given
        shown = console.default_bars() if progress is None or progress is True else None
        listeners: list[Listener] = [shown] if shown is not None else [progress] if callable(progress) else []
        try:
            result = run_flow(
                settings,
                wired,
                given,
                clean=clean,
                listeners=listeners,
                announce=self._set_cancel,
                retry_kinds=retry_kinds,
            )
        finally:
            self._cancel = None
            if shown is not None:
                shown.close()
        self._output = result.output
        if progress is None or progress is True:
            result.print_report()
        return result.output, result.summary, str(self.settings.paths.flow_file)

    def cancel(self) -> None:
        """Stop a running `process`, which raises `FlowCancelledError`; what is finished is kept."""
        if self._cancel is not None:
            self._cancel()

    def visualize(self, filename: str | os.PathLike[str] | None = None) -> FlowDrawing:
        """Draw the flow: its tasks, and after a run the batches that Dask worked through.

        Parameters
        ----------
        filename
            Where to save the drawing (``.svg``, ``.png`` or ``.pdf``). Omitted: it shows itself in a notebook.
        """
        from dflow.flowmanager.reports.drawing import draw_batches, draw_plan  # here, because matplotlib loads slowly

        drawing = draw_plan(self._draft) if self._output is None else draw_batches(self._output)
        if filename is not None:
            drawing.save(filename)
        return drawing

    def log_flow_summary(self) -> None:
        """Log the tasks with their inputs and outputs, and where the flow writes (logger ``dflow.flow``)."""
        _LOGGER.info("Flow %r writes to %s", self.name, self.settings.paths.root)
        for step in self._draft.steps:
            _LOGGER.info(
                "  %s (%s): %s -> %s", step.task.name, step.task.kind, step.item.key, ", ".join(step.task.outputs)
            )

    def print_flow_task_registry(self) -> None:
        """Print the flow's tasks, one per line."""
        print_task_registry([task.function for task in self.settings.tasks])

    def __repr__(self) -> str:
        tasks = " -> ".join(task.name for task in self.settings.tasks)
        return f"Flow({self.name!r}, {tasks}, {str(self.settings.paths.root)!r})"

    def _repr_svg_(self) -> str:
        return self.visualize().svg

    def _set_cancel(self, cancel: Callable[[], None]) -> None:
        self._cancel = cancel

    def _checked_inputs(self, inputs: Mapping[str, Any] | None) -> tuple[Plan, dict[str, Any]]:
        """Wire the tasks to the inputs of a run, and check these."""
        if inputs is None:
            inputs = {}
        if not isinstance(inputs, Mapping) or any(not isinstance(key, str) for key in inputs):
            raise WiringError(f'inputs={inputs!r}; expected a dictionary such as {{"sources": ["/path/to/cad"]}}.')
        wired = plan(self.settings.tasks, tuple(inputs))
        given = dict(inputs)
        for step in wired.steps:
            if step.item.step != FLOW_INPUT:
                continue
            key = step.item.key
            given[key] = listed(given[key])
            if not given[key]:
                raise EmptySourceError(f"The flow's input {key!r} is empty: there is nothing to work on.")
            check_sources(given[key], are_folders=step.task.kind == "extract")
        return wired, given
