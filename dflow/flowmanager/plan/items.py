"""A flow's items: their identities and values, each once."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dflow.cadaccess.files.survey import suffix_of
from dflow.config import CAD_SUFFIXES
from dflow.errors import EmptySourceError, SourceNotFoundError, WiringError
from dflow.flowmanager.plan.tasks import listed
from dflow.localpath import home_path
from dflow.storage.paths import item_identity

_WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]|\\\\|\.{1,2}\\")
"""Matches what begins with a drive, a server or a relative folder in Windows' notation."""

_MAX_LISTED = 10_000


@dataclass(frozen=True, slots=True)
class FlowItem:
    """One item: `identity` names it in records and stores, `value` is the task's argument."""

    identity: str
    value: Any


def flow_items(values: Iterable[Any], folder: str | os.PathLike[str], task: str) -> tuple[list[FlowItem], list[str]]:
    """Return the items of plain values, each once, and the identities of those that were repeated.

    Raises
    ------
    WiringError
        If a value is neither a path nor JSON.
    """
    items: dict[str, FlowItem] = {}
    repeated: list[str] = []
    for position, given in enumerate(values):
        value = from_home(given)
        try:
            identity = item_identity(value, folder)
        except (TypeError, ValueError) as error:
            raise WiringError(
                f"Item {position} for task {task!r} is {type(value).__name__}: items are paths, or values that JSON "
                f"can hold ({error})."
            ) from error
        if identity in items:
            repeated.append(identity)
        else:
            items[identity] = FlowItem(identity, value)
    return list(items.values()), repeated


def from_home(value: Any) -> Any:
    """Return a value, where it is a path that begins with ``~`` with the home folder in its place."""
    if isinstance(value, (str, os.PathLike)) and os.fspath(value)[:1] == "~" and "\n" not in os.fspath(value):
        return home_path(value) if isinstance(value, str) else type(value)(home_path(value))  # type: ignore[call-arg]
    return value


def check_sources(sources: Any, *, are_folders: bool = False) -> None:
    """Refuse sources that can only be paths and do not exist, before anything starts.

    With `are_folders`, where one source exists as a path, a bare name beside it counts as a path as well.

    Raises
    ------
    EmptySourceError
        If one is an empty text, which would mean the whole file system to a pattern such as ``f"{source}/**"``.
    SourceNotFoundError
        Naming the first missing one.
    """
    sources = listed(sources)
    if any(isinstance(source, str) and not source.strip() for source in sources):
        raise EmptySourceError(f"One of the flow's inputs is an empty text: {sources!r:.200}; name a file or folder.")
    are_paths = are_folders and any(_could_be_a_path(source) and _is_there(source) for source in sources)
    for source in sources:
        if (looks_like_a_path(source) or (are_paths and _could_be_a_path(source))) and not _is_there(source):
            raise SourceNotFoundError(f"There is no file or folder {os.fspath(source)}; {_path_advice(source)}.")


def _path_advice(source: str | os.PathLike[str]) -> str:
    if os.sep == "/" and _WINDOWS_PATH.match(os.fspath(source)):
        return "a Windows path means nothing on this system: give the path under which this system has the folder"
    return f"check the flow's inputs (relative paths begin at {os.getcwd()})"


def contents_of(sources: Iterable[Any]) -> str:
    """Return what lies in sources that are paths, as sentences for the error that nothing was found in them."""
    sentences = []
    for source in sources:
        if not _could_be_a_path(source):
            continue
        path = os.path.abspath(os.path.expanduser(os.fspath(source)))
        if os.path.isfile(path):
            sentences.append(f"{path} is a file: the task must return the path itself, for nothing lies below a file.")
        elif not os.path.isdir(path):
            sentences.append(f"There is no file or folder {path}.")
        else:
            sentences.append(_listing(path))
    return " ".join(sentences)


def _listing(folder: str) -> str:
    names = [name for _, _, names in os.walk(folder) for name in names][:_MAX_LISTED]
    if not names:
        return f"In {folder} lies no file."
    kinds = Counter(suffix_of(name) or "without a suffix" for name in names)
    most = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))
    readable = sum(kinds[suffix] for suffix in CAD_SUFFIXES)
    advice = (
        f"{readable} of them are CAD files by their names: check the pattern that the task searches with"
        if readable
        else f"none is a CAD file that dflow reads ({', '.join(CAD_SUFFIXES)}): check the path"
    )
    more = " or more" if len(names) == _MAX_LISTED else ""
    return f"In {folder} lie {len(names)}{more} files ({most}); {advice}."


def _is_there(source: str | os.PathLike[str]) -> bool:
    return os.path.exists(os.path.expanduser(source))


def _could_be_a_path(source: Any) -> bool:
    """Whether a source is a path or a text that is neither an address nor a pattern."""
    if isinstance(source, os.PathLike):
        return True
    return isinstance(source, str) and "://" not in source and not re.search(r"[*?\[\]{}\n]", source)


def looks_like_a_path(source: Any) -> bool:
    """Whether a source can only be meant as a path here: no query, no pattern, no address."""
    if isinstance(source, os.PathLike):
        return True
    if not _could_be_a_path(source):
        return False
    if os.path.isabs(source) or source.startswith(("./", "../", "~")) or _WINDOWS_PATH.match(source):
        return True
    return os.sep in source and " " not in source


def sequence_identity(values: Sequence[Any], folder: str | os.PathLike[str]) -> str:
    """Return the identity of a whole list where it is one item."""
    names = []
    for value in values[:3]:
        try:
            names.append(item_identity(value, folder))
        except (TypeError, ValueError):
            names.append(type(value).__name__)
    more = f" and {len(values) - 3} more" if len(values) > 3 else ""
    return ", ".join(names) + more
