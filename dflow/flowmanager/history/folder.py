"""A flow's folder: made, checked, swept and, on a clean start, emptied."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dflow.errors import DflowError, OutputFolderError
from dflow.storage.paths import TEMPORARY_PREFIX, FlowPaths


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the error of a file that cannot be written (a full disk, a permission taken away) into the flow's own.

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
    """Make the flow's folder and check that it can be written.

    Raises
    ------
    OutputFolderError
        Naming the folder and the reason.
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
    """Remove what unfinished work left and return the number of entries; the caller holds the folder's lock."""
    removed = 0
    for leftover in _leftovers(paths):
        _remove(leftover)
        removed += 1
    return removed


def refuse_sources_inside(paths: FlowPaths, sources: Iterable[Any]) -> None:
    """Refuse a clean start, which deletes all in the flow's folder, where it would delete the flow's sources.

    Raises
    ------
    OutputFolderError
        Naming the first of `sources` that lies there.
    """
    roots = {f"{root}{os.sep}" for root in (str(paths.root), os.path.realpath(paths.root))}
    for source in sources:
        if isinstance(source, (str, os.PathLike)):
            path = os.path.abspath(os.fsdecode(source))
            if any(path.startswith(root) for root in roots) and os.path.lexists(path):
                raise OutputFolderError(
                    f"clean_output_dir=True would delete the source {path}, which lies in the flow's own folder "
                    f"{paths.root}: move it, or give another flows_outputdir."
                )


def set_aside(paths: FlowPaths) -> None:
    """Move aside all that earlier runs of this flow left, except the lock that the caller holds.

    Nothing is lost before there is something to replace it: `bring_back` undoes the move, `drop_aside` makes it final.
    """
    aside = _aside(paths)
    with writing(aside):
        (aside / paths.state.name).mkdir(parents=True)
        for entry in _entries(paths.root):
            if entry != paths.state:
                os.rename(entry, aside / entry.name)
        for entry in _entries(paths.state):
            if entry != aside and not entry.name.startswith("lock."):
                os.rename(entry, aside / paths.state.name / entry.name)
        for folder in (paths.encoded, paths.stream_cache):
            folder.mkdir()


def bring_back(paths: FlowPaths) -> None:
    """Undo `set_aside`, also that of a run that was killed; does nothing where nothing was moved aside.

    The log and the errors of the run that failed stay.
    """
    aside = _aside(paths)
    if not aside.exists():
        return
    kept = [path for path in (paths.log, paths.error_summary) if path.exists()]
    with writing(aside):
        for source, target in ((aside / paths.state.name, paths.state), (aside, paths.root)):
            for entry in _entries(source):
                if entry.name != paths.state.name and target / entry.name not in kept:
                    _remove(target / entry.name)
                    os.rename(entry, target / entry.name)
        _remove(aside)


def drop_aside(paths: FlowPaths) -> None:
    """Delete what `set_aside` moved, if anything; from here on the new run's outputs count."""
    aside = _aside(paths)
    if aside.exists():
        dropped = paths.state / f"{TEMPORARY_PREFIX}{aside.name}"
        with writing(aside):
            os.rename(aside, dropped)  # in one step: `bring_back` must never find half of it
            _remove(dropped)


def _aside(paths: FlowPaths) -> Path:
    return paths.state / "earlier"


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


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
