"""A flow's settings: the arguments of `create_flow`, checked and frozen."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from dask.utils import parse_bytes

from dflow.config import TIMEOUT_SECONDS, TIMEOUT_SECONDS_PER_BYTE
from dflow.errors import OutputFolderError, SettingError, TaskDefinitionError, WiringError
from dflow.flowmanager.plan.batch import Limits, SampleKind, StorageKind
from dflow.flowmanager.plan.registry import validate_tasks
from dflow.flowmanager.plan.tasks import TaskSpec, spec_of
from dflow.storage.paths import FlowPaths


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """The settings of one flow. `max_failures`: a count of files, a share of them below 1.0, None for no limit."""

    paths: FlowPaths
    tasks: tuple[TaskSpec, ...]
    max_workers: int | None = None
    debug: bool = False
    export: bool = True
    ml_task: str = ""
    previews: bool = True
    storage_type: StorageKind = "optimized"
    sample: SampleKind = "file"
    cluster: Any = None
    limits: Limits = field(default_factory=Limits)
    max_failures: float | None = None
    task_options: Mapping[str, Any] | None = None
    strict_geometry: bool = False
    no_worker_timeout: float | None = None

    def specifications(self) -> dict[str, Any]:
        """Return the ``Flow Specifications`` of the ``.flow`` file."""
        return {
            "max_workers": self.max_workers,
            "sequential_mode": self.debug,
            "storage_type": self.storage_type,
            "ml_task": self.ml_task,
            "auto_dataset_export": self.export,
            "export_visualization": self.previews,
            "sample": self.sample,
            "timeout_seconds": self.limits.timeout_seconds,
            "timeout_seconds_per_megabyte": round(self.limits.seconds_per_byte * 1e6, 6),
            "memory_limit": self.limits.memory_bytes,
            "max_retries": self.limits.max_retries,
            "max_failures": self.max_failures,
            "strict_geometry": self.strict_geometry,
            "tasks": [task.name for task in self.tasks],
        }


def checked_tasks(tasks: Sequence[Callable[..., Any]]) -> tuple[TaskSpec, ...]:
    """Return the tasks' specifications.

    Raises
    ------
    TaskDefinitionError
        Naming everything that is wrong with them.
    """
    problems = validate_tasks(tasks)
    if any("both named" in problem for problem in problems):
        raise WiringError(" ".join(problems))
    if problems:
        raise TaskDefinitionError(" ".join(problems))
    return tuple(spec_of(function) for function in tasks)


def checked_paths(name: str, flows_outputdir: Any) -> FlowPaths:
    """Return the paths that the flow writes to.

    Raises
    ------
    SettingError
        If the name cannot name a folder.
    OutputFolderError
        If `flows_outputdir` is not a path, or an address.
    """
    if not isinstance(name, str) or not name.strip() or name != name.strip():
        raise SettingError(f"A flow's name is text without blanks around it; found {name!r}.")
    if re.search(r'[/\\:*?"<>|\0-\x1f]', name) or name.startswith(".") or len(name.encode()) > 200:
        raise SettingError(
            f"The flow's name {name!r} names its files: leave out / \\ : * ? \" < > | and a dot in front."
        )
    try:
        return FlowPaths.of(flows_outputdir, name)
    except TypeError as error:
        raise OutputFolderError(
            f"flows_outputdir={flows_outputdir!r} is not a path; give the path of a folder."
        ) from error


def checked_storage(storage_type: str, export: bool) -> tuple[StorageKind, bool]:
    """Return the kind of store, and whether a dataset is exported from it."""
    kind: Any = getattr(storage_type, "value", storage_type)
    if kind not in get_args(StorageKind):
        raise SettingError(f"storage_type={storage_type!r}; expected one of {list(get_args(StorageKind))}.")
    if kind == "memory" and export:
        warnings.warn(
            f"storage_type={kind!r} leaves nothing to merge: auto_dataset_export is switched off.",
            UserWarning,
            stacklevel=3,
        )
        export = False
    return kind, export


def checked_sample(sample: str) -> SampleKind:
    """Return `sample`, which is "file" or "body"."""
    if sample not in get_args(SampleKind):
        raise SettingError(f"sample={sample!r}; expected one of {list(get_args(SampleKind))}.")
    return sample  # type: ignore[return-value]  # just checked


def checked_workers(max_workers: Any) -> int | None:
    """Return a positive count, or None for as many as there are processors."""
    if max_workers is None:
        return None
    if isinstance(max_workers, bool) or not isinstance(max_workers, int) or max_workers < 1:
        raise SettingError(f"max_workers={max_workers!r}; expected a whole number from 1, or None.")
    return max_workers


def checked_no_worker_timeout(seconds: Any) -> float | None:
    """Return a positive number of seconds, or None."""
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0:
        raise SettingError(f"no_worker_timeout={seconds!r}; expected a positive number of seconds, or None.")
    return float(seconds)


def checked_max_failures(max_failures: Any) -> float | None:
    """Return a count, a share below 1.0, or None."""
    if max_failures is None:
        return None
    if isinstance(max_failures, bool) or not isinstance(max_failures, (int, float)) or max_failures < 0:
        raise SettingError(f"max_failures={max_failures!r}; expected a count of files, a share such as 0.1, or None.")
    return float(max_failures)


def checked_limits(
    timeout_seconds: float | None,
    memory_limit: int | float | str | None,
    max_retries: int | None,
    options: Mapping[str, Any] | None,
) -> Limits:
    """Return the limits of one file; without `timeout_seconds`, HOOPS AI's ``time_limit_overall`` counts.

    Without either, the time grows with the file. A `max_retries` that is given counts for timeouts too.
    """
    if timeout_seconds is None:
        timeout_seconds = (options or {}).get("time_limit_overall")
    per_byte = TIMEOUT_SECONDS_PER_BYTE if timeout_seconds is None else 0.0
    if timeout_seconds is None:
        timeout_seconds = TIMEOUT_SECONDS
    if not isinstance(timeout_seconds, (int, float)) or isinstance(timeout_seconds, bool) or not timeout_seconds > 0:
        raise SettingError(f"timeout_seconds={timeout_seconds!r}; expected a positive number of seconds.")
    timeout_seconds, memory_bytes = float(timeout_seconds), _bytes_of(memory_limit)
    if max_retries is None:
        return Limits(timeout_seconds=timeout_seconds, memory_bytes=memory_bytes, seconds_per_byte=per_byte)
    if isinstance(max_retries, bool) or not isinstance(max_retries, int) or max_retries < 0:
        raise SettingError(f"max_retries={max_retries!r}; expected a whole number from 0.")
    return Limits(
        timeout_seconds=timeout_seconds,
        memory_bytes=memory_bytes,
        max_retries=max_retries,
        retry_timeouts=True,
        seconds_per_byte=per_byte,
    )


def _bytes_of(limit: int | float | str | None) -> int | None:
    if limit is None:
        return None
    try:
        n_bytes = int(parse_bytes(limit)) if limit != "" else 0  # dask reads "" as 1
    except (ValueError, TypeError) as error:
        raise SettingError(f'memory_limit={limit!r}; expected bytes, "2GB", or None.') from error
    if n_bytes <= 0:
        raise SettingError(f"memory_limit={limit!r}; expected more than 0 bytes.")
    return n_bytes
