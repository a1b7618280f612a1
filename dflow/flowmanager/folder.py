"""A flow's folder: made, tried, swept and, when asked, emptied."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dflow.errors import DflowError, OutputFolderError
from dflow.storage.paths import TEMPORARY_PREFIX, FlowPaths


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say of a file that cannot be written (a full disk, a permission taken away) what that means for the flow.

    Raises
    ------
    OutputFolderError
        In place of the `OSError`.
    """
    try:
        yield
    except DflowError:
        raise
    except OSError as error:
        raise OutputFolderError(
            f"Cannot write {path}: {error}. What is finished is kept: make room or permit writing there, and run the "
            "flow again."
        ) from error


def prepare(paths: FlowPaths) -> None:
    """Make the flow's folder and see that it can be written.

    Raises
    ------
    OutputFolderError
        Saying which folder and why not.
    """
    try:
        paths.state.mkdir(parents=True, exist_ok=True)
        for folder in (paths.root, paths.state, paths.encoded, paths.stream_cache):
            folder.mkdir(exist_ok=True)
            with tempfile.NamedTemporaryFile(prefix=TEMPORARY_PREFIX, dir=folder):
                pass
    except OSError as error:
        raise OutputFolderError(
            f"Cannot write to {paths.root}: {error}. Give another flows_outputdir, or permit writing there."
        ) from error


def sweep(paths: FlowPaths) -> int:
    """Remove what unfinished work left behind; the caller holds the folder's lock. Returns how much was removed."""
    removed = 0
    for leftover in _leftovers(paths):
        _remove(leftover)
        removed += 1
    return removed


def empty(paths: FlowPaths) -> None:
    """Remove all that earlier runs of this flow left, except the lock that the caller holds."""
    for entry in paths.root.iterdir():
        if entry != paths.state:
            _remove(entry)
    for entry in paths.state.iterdir():
        if not entry.name.startswith("lock."):
            _remove(entry)
    for folder in (paths.encoded, paths.stream_cache):
        folder.mkdir(exist_ok=True)


def _leftovers(paths: FlowPaths) -> Iterator[Path]:
    for folder in (paths.root, paths.state, paths.encoded, paths.stream_cache):
        try:
            with os.scandir(folder) as entries:
                yield from [Path(entry.path) for entry in entries if entry.name.startswith(TEMPORARY_PREFIX)]
        except FileNotFoundError:
            continue
    work = paths.state / "work"
    if work.exists():
        yield work


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
