"""What is wrong with this host, asked after an item has failed by an error of the operating system.

A host that cannot write the flow's folders or its own scratch folder fails every item: that is the host's fault.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
import uuid

from dflow.flowmanager.worker.samples import work_folder
from dflow.storage.paths import TEMPORARY_PREFIX, FlowPaths

PROBE_BYTES = bytes(64 * 1024)
"""What is written to a folder to see whether it takes files: the size of a small sample."""

PROBE_SECONDS = 30.0
"""Longest wait for a file system: a dead mount blocks for ever."""

LASTING_SECONDS = 2.0
"""How long an answer counts: a folder of files that all fail costs few probes."""

_known: dict[FlowPaths, tuple[float, str]] = {}


def host_fault(paths: FlowPaths) -> str:
    """Return why this host cannot work on a flow, "" where its folders and the scratch folder take files."""
    asked_at, fault = _known.get(paths, (0.0, ""))
    if not asked_at or time.monotonic() - asked_at > LASTING_SECONDS:
        fault = _in_time(paths)
        _known.clear()
        _known[paths] = time.monotonic(), fault
    return fault


def can_read(path: str) -> bool:
    """Whether this host reads a source: the first byte of a file, or the names in a folder."""
    return _read_error(path) is None


def is_kept_from(path: str) -> bool:
    """Whether there is a source that this host cannot read; false where nothing is known to be there."""
    error = _read_error(path)
    return error is not None and not isinstance(error, (FileNotFoundError, NotADirectoryError, ValueError))


def _read_error(path: str) -> Exception | None:
    try:
        if os.path.isdir(path):
            with os.scandir(path) as entries:
                next(entries, None)
        else:
            with open(path, "rb", buffering=0) as file:
                file.read(1)
    except (OSError, ValueError) as error:
        return error
    return None


def _in_time(paths: FlowPaths) -> str:
    found: list[str] = []
    probe = threading.Thread(target=lambda: found.append(_fault(paths)), daemon=True, name="dflow-probe")
    probe.start()
    probe.join(PROBE_SECONDS)
    return found[0] if found else f"the file system of {paths.root} does not answer within {PROBE_SECONDS:.0f} s"


def _fault(paths: FlowPaths) -> str:
    try:
        scratch = tempfile.gettempdir()
    except OSError as error:
        return f"has no scratch folder: {error}"
    if not os.path.isdir(paths.root):
        return f"does not see {paths.root}"
    for folder in (paths.encoded, paths.stream_cache, work_folder(paths)):
        if os.path.isdir(folder) and (fault := _write_fault(os.fspath(folder))):
            return fault
    fault = _write_fault(scratch)
    return f"{fault} (its scratch folder)" if fault else ""


def _write_fault(folder: str) -> str:
    path = os.path.join(folder, f"{TEMPORARY_PREFIX}probe-{uuid.uuid4().hex}")
    try:
        try:
            with open(path, "xb", buffering=0) as file:
                if file.write(PROBE_BYTES) < len(PROBE_BYTES):
                    return f"cannot write {folder}: No space left on device"
                os.fsync(file.fileno())
        finally:
            if os.path.lexists(path):
                os.unlink(path)
    except OSError as error:
        return f"cannot write {folder}: {error.strerror or error}"
    return ""
