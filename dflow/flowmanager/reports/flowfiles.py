"""The files that a flow leaves beside its dataset: ``.flow``, ``error_summary.json`` and ``run.json``."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dflow.checksums import BLANK, MEMBER, seal
from dflow.flowmanager.history.folder import writing
from dflow.flowmanager.plan.tasks import EXPORT_CLASS
from dflow.flowmanager.reports.declarations import Declarations
from dflow.flowmanager.reports.flowoutput import Counts, TaskOutcome
from dflow.records import ErrorRecord
from dflow.storage.atomic import write_whole
from dflow.storage.paths import TEMPORARY_PREFIX, FlowPaths, resolve_identity

ADVICE = {
    "timeout": "too slow: raise timeout_seconds, or leave the file out",
    "out_of_memory": "too big: raise memory_limit, or leave the file out",
    "too_big": 'too big: its pair arrays would exceed the limit: encode(…, too_big="leave_out"), or raise memory_limit',
    "crash": "the CAD kernel crashed on it: repair or re-export the file",
    "unreadable": "not a readable CAD file: see the message, and check that the file is complete",
    "no_geometry": "holds no shape: nothing to encode",
    "geometry": "the shape has no such value, or a defect that strict_geometry refuses: repair or re-export the file",
    "kernel_error": "the CAD kernel refused it: repair or re-export the file",
    "kernel_missing": "the CAD kernel is not installed where the file was opened: see `dflow doctor`",
    "exception": "your task raised: see the traceback (dflow errors --traceback), and try the file alone: debug=True, "
    "auto_dataset_export=False",
    "bad_return": "your task returned what cannot be handed on: return numbers, texts, lists or dictionaries",
    "schema": "contradicts the schema or the other files' arrays: see the message, and correct the task or the schema",
    "recipe": "your task names a recipe or an option that the encoder does not have: see the message, and correct it",
    "non_finite": "NaN or inf where the schema allows none: correct the task, or allow them for the array",
    "damaged_store": "its sample was damaged on disk: run the flow again",
    "infrastructure": "the cluster or the host's disk failed, not the file: see the message, and run the flow again",
    "worker_lost": "not a file's fault: see the workers' logs; start fewer workers per host, or give each more memory",
    "vanished": "there is no such file (any more): put it back, or correct the path, and run the flow again",
}
"""What to do about a kind of failure."""


def write_flow_file(paths: FlowPaths, summary: Mapping[str, Any]) -> None:
    """Write the ``.flow`` file like `write_json`, with its own checksum (`dflow.checksums`), and a copy for repairs."""
    content = seal(_json({MEMBER: BLANK, **summary}))
    _write(paths.flow_file, content)
    with writing(paths.state):
        write_whole(paths.state / paths.flow_file.name, [content])


def write_json(path: Path, content: Any) -> None:
    """Write JSON completely or not at all: temporary name, flush, rename.

    Raises
    ------
    OutputFolderError
        If the disk is full or no longer writable.
    """
    _write(path, _json(content))


def write_text(path: Path, text: str) -> None:
    """Write a text file like `write_json`."""
    _write(path, _encoded(text))


def _json(content: Any) -> bytes:
    return _encoded(json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n")


def _encoded(text: str) -> bytes:
    """UTF-8; the lone surrogates of a name that is not UTF-8 are escaped."""
    return text.encode("utf-8", "backslashreplace")


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}")
    with writing(path):
        with temporary.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)


def durations(tasks: Sequence[TaskOutcome], total: float) -> dict[str, float]:
    """Return HOOPS AI's ``Duration [seconds]``: by total, wrapper class and task name."""
    seconds: dict[str, float] = {"total": round(total, 3)}
    for task in tasks:
        seconds[task.task_class] = round(seconds.get(task.task_class, 0.0) + task.seconds, 3)
    for task in tasks:
        if task.task_class != EXPORT_CLASS:
            seconds.setdefault(task.name, round(task.seconds, 3))
    return seconds


def flow_summary(
    paths: FlowPaths,
    tasks: Sequence[TaskOutcome],
    counts: Counts,
    *,
    declarations: Declarations,
    specifications: Mapping[str, Any],
    seconds: float,
) -> dict[str, Any]:
    """Return the content of the ``.flow`` file; paths relative to the flow's folder, null where there is no file."""
    errors = [error for task in tasks for error in task.errors]
    return {
        "flow_name": paths.name,
        "flow_data": _relative(paths, paths.dataset),
        "flow_info": _relative(paths, paths.infoset),
        "flow_attributes": _relative(paths, paths.attribset),
        "Duration [seconds]": durations(tasks, seconds),
        "file_count": counts.succeeded,
        "submitted": counts.submitted,
        "skipped": counts.skipped,
        "failed": counts.failed,
        "samples": counts.samples,
        "error_distribution": dict(sorted(Counter(e.exception or e.kind for e in errors).items())),
        "declared_not_saved": _pairs(declarations.not_saved),
        "saved_not_declared": _pairs(declarations.not_declared),
        "Flow Specifications": dict(specifications),
    }


def error_entries(errors: Sequence[ErrorRecord], root: str | os.PathLike[str] = os.curdir) -> list[dict[str, Any]]:
    """Return the content of ``error_summary.json``, HOOPS AI's keys last: there ``item`` is a file's absolute path.

    Parameters
    ----------
    root : the flow's folder, which the records' paths are relative to
    """
    return [
        {
            "file": error.file,
            "message": error.message,
            "task": error.task,
            "kind": error.kind,
            "traceback": error.traceback,
            "seconds": round(error.seconds, 3),
            "exception": error.exception,
            "signal": error.signal,
            "attempts": error.attempts,
            "host": error.host,
            "advice": ADVICE.get(error.kind, ""),
            "item_index": error.item_index,
            "item": _item(error.file, root),
            "error": error.message,
            "worker_pid": error.worker_pid,
            "logs": [*([error.traceback] if error.traceback else []), *error.logs],
        }
        for error in errors
    ]


def _item(file: str, root: str | os.PathLike[str]) -> str:
    path = resolve_identity(file, root) if "/" in file else None
    return str(path) if path is not None and path.exists() else file


def _pairs(pairs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "nearest": nearest} for name, nearest in pairs]


def _relative(paths: FlowPaths, path: Path) -> str | None:
    return path.relative_to(paths.root).as_posix() if path.exists() else None
