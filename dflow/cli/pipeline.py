"""``pipeline.py:flow`` on the command line: the user's file is loaded, and the named object becomes a flow."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import update_wrapper
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from dflow.plaintext import plain

if TYPE_CHECKING:
    from dflow.flowmanager.flow import Flow
    from dflow.flowmanager.plan.settings import FlowSettings

DEFAULT_OUT = "dflow_output"


@dataclass(frozen=True, slots=True)
class Overrides:
    """Settings from the command line; None keeps the pipeline's own."""

    name: str | None = None
    out: str | None = None
    workers: int | None = None
    cluster: str | None = None
    debug: bool | None = None
    sample: str | None = None
    timeout_seconds: float | None = None
    memory_limit: str | None = None
    max_retries: int | None = None
    max_failures: float | None = None
    export: bool | None = None
    previews: bool | None = None
    strict_geometry: bool | None = None


def _checked_memory(_context: click.Context, _parameter: click.Parameter, limit: str | None) -> str | None:
    from dflow.errors import SettingError
    from dflow.flowmanager.plan.settings import checked_limits

    try:
        checked_limits(None, limit, 0, None)
    except SettingError:
        raise click.BadParameter(
            f"{plain(str(limit))} is not a size in bytes; expected a number of bytes, or text such as 2GB"
        ) from None
    return limit


_OPTIONS = (
    click.option("--name", help="The flow's name, which names its folder and files."),
    click.option("--out", help=f"Write below this folder (a list of tasks: {DEFAULT_OUT})."),
    click.option("--workers", type=click.IntRange(min=1), help="Worker processes of a local cluster, or of a queue."),
    click.option("--cluster", help="A scheduler's address or a profile: local, slurm, pbs, lsf, sge."),
    click.option("--debug/--no-debug", default=None, help="Run in this process, where pdb works."),
    click.option("--sample", type=click.Choice(["file", "body"]), help="What is one sample."),
    click.option("--timeout-seconds", type=click.FloatRange(min=0, min_open=True), help="Time limit of one file."),
    click.option(
        "--memory-limit", metavar="BYTES", callback=_checked_memory, help="Memory limit of one file, such as 2GB."
    ),
    click.option(
        "--max-retries", type=click.IntRange(min=0), help="Further tries after a crash, a timeout or too much memory."
    ),
    click.option("--max-failures", type=click.FloatRange(min=0), help="Stop at more: a count, or a share below 1."),
    click.option("--export/--no-export", default=None, help="Merge the samples into a dataset at the end."),
    click.option("--previews/--no-previews", default=None, help="Draw a picture of every part."),
    click.option("--strict-geometry/--no-strict-geometry", default=None, help="A shape with a defect fails."),
)


def flow_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of `Overrides` to a command, which takes them as one argument."""

    def gathered(**arguments: Any) -> Any:
        given = {name: arguments.pop(name) for name in Overrides.__slots__}
        return command(overrides=Overrides(**given), **arguments)

    wrapped: Callable[..., Any] = update_wrapper(gathered, command)
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def load_flow(pipeline: str, overrides: Overrides) -> Flow:
    """Return the flow of ``file.py:attribute`` or ``package.module:attribute``, with the command line's settings.

    The attribute is a `Flow`, a function that returns one (or tasks), a task, or a list of tasks; without one, the
    only flow of the file is taken.

    Raises
    ------
    click.UsageError
        If there is no such file or attribute, or it is not a flow.
    click.ClickException
        If the file raises; the message holds the traceback.
    DflowError
        If a setting is invalid.
    """
    place, attribute = split_target(pipeline)
    module = _load_module(place)
    value = _attribute(module, attribute, place) if attribute else _only_flow(module, place)
    return _adjusted(_as_flow(value, pipeline, overrides), overrides)


def split_target(pipeline: str) -> tuple[str, str]:
    """Split ``file.py:name`` in two; the name is "" where there is none (a colon may belong to the path)."""
    place, colon, attribute = pipeline.rpartition(":")
    if colon and all(part.isidentifier() for part in attribute.split(".")) and not attribute.endswith(".py"):
        return place, attribute
    return pipeline, ""


def _load_module(place: str) -> ModuleType:
    if not place.endswith(".py"):
        _search_first(os.getcwd())  # as `python -m` does
        return _running_user_code(place, lambda: importlib.import_module(place))
    path = os.path.abspath(place)
    if not os.path.isfile(path):
        raise click.UsageError(f"There is no file {plain(path)}.")
    _search_first(os.path.dirname(path))  # as `python pipeline.py` does, so that the file finds its neighbours
    name = os.path.basename(path)[: -len(".py")]
    if name in sys.modules or name in sys.stdlib_module_names or not name.isidentifier():
        name = "pipeline_" + "".join(c if c.isalnum() else "_" for c in name)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise click.UsageError(f"{plain(path)} is not a Python file; give a file whose name ends in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pickle and the fingerprint find modules by name
    _running_user_code(place, lambda: spec.loader.exec_module(module))  # type: ignore[union-attr]  # checked above
    return module


def _search_first(folder: str) -> None:
    if folder not in sys.path:
        sys.path.insert(0, folder)


def _running_user_code(place: str, run: Callable[[], Any]) -> Any:
    from dflow.cli.main import Failure

    try:
        return run()
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == place.split(".")[0]:
            raise click.UsageError(f"There is no file or module {plain(place)}.") from error
        lines = "".join(traceback.format_exception(error)).rstrip()
        raise Failure(f"{plain(place)} raised while it was loaded:\n{lines}") from error


def _attribute(module: ModuleType, attribute: str, place: str) -> Any:
    value: Any = module
    for part in attribute.split("."):
        if not hasattr(value, part):
            known = ", ".join(_flow_names(module)) or "no flow and no task"
            raise click.UsageError(f"{plain(place)} has no {plain(attribute)}; it has {known}.")
        value = getattr(value, part)
    return value


def _only_flow(module: ModuleType, place: str) -> Any:
    from dflow.flowmanager.flow import Flow

    flows = [name for name, value in vars(module).items() if isinstance(value, Flow)]
    if len(flows) == 1:
        return getattr(module, flows[0])
    known = ", ".join(flows or _flow_names(module)) or "no flow and no task"
    raise click.UsageError(f"{plain(place)} has not exactly one flow; it has {known}. Name one: {plain(place)}:NAME.")


def _flow_names(module: ModuleType) -> list[str]:
    from dflow.flowmanager.flow import Flow

    return [name for name, value in vars(module).items() if isinstance(value, Flow) or _is_task(value)]


def _is_task(value: Any) -> bool:
    return callable(value) and hasattr(value, "_task_type")


def _as_flow(value: Any, pipeline: str, overrides: Overrides) -> Flow:
    from dflow.flowmanager.flow import Flow, create_flow

    if callable(value) and not _is_task(value) and not isinstance(value, type):
        value = _running_user_code(pipeline, value)
    if isinstance(value, Flow):
        return value
    tasks: Sequence[Any] = [value] if _is_task(value) else value
    if not isinstance(tasks, (list, tuple)) or not tasks:
        raise click.UsageError(
            f"{plain(pipeline)} is {type(value).__name__}; expected a Flow, a function that returns one, or tasks."
        )
    stem = os.path.splitext(os.path.basename(split_target(pipeline)[0]))[0]
    return create_flow(overrides.name or stem, list(tasks), overrides.out or DEFAULT_OUT)


def _adjusted(flow: Flow, overrides: Overrides) -> Flow:
    from dflow.flowmanager.flow import Flow

    return Flow(adjusted_settings(flow.settings, overrides))


def adjusted_settings(settings: FlowSettings, overrides: Overrides) -> FlowSettings:
    """Return a flow's settings overridden by the command line's, with the checks of `create_flow`."""
    from dflow.flowmanager.plan.settings import (
        checked_limits,
        checked_max_failures,
        checked_paths,
        checked_sample,
        checked_storage,
    )

    given = {name: getattr(overrides, name) for name in ("cluster", "debug", "previews", "strict_geometry")}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if overrides.workers is not None:
        changes["max_workers"] = overrides.workers
    if overrides.name is not None or overrides.out is not None:
        out = overrides.out if overrides.out is not None else settings.paths.root.parent.parent
        changes["paths"] = checked_paths(overrides.name or settings.paths.name, out)
    if overrides.sample is not None:
        changes["sample"] = checked_sample(overrides.sample)
    if overrides.max_failures is not None:
        changes["max_failures"] = checked_max_failures(overrides.max_failures)
    if overrides.export is not None:
        _, changes["export"] = checked_storage(settings.storage_type, overrides.export)
    limits = settings.limits
    wanted = checked_limits(
        overrides.timeout_seconds,
        overrides.memory_limit if overrides.memory_limit is not None else limits.memory_bytes,
        limits.asked_retries if overrides.max_retries is None else overrides.max_retries,
        None,
    )
    if overrides.timeout_seconds is not None:
        limits = replace(limits, timeout_seconds=wanted.timeout_seconds, seconds_per_byte=0.0)
    limits = replace(
        limits,
        memory_bytes=wanted.memory_bytes,
        max_retries=wanted.max_retries,
        retry_timeouts=wanted.retry_timeouts,
    )
    return replace(settings, limits=limits, **changes)
