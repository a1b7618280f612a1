"""`gather_cad_files`: the task that finds the CAD files below the flow's sources."""

from __future__ import annotations

import glob
import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence

from dflow.cadaccess.files.survey import suffix_of
from dflow.config import CAD_SUFFIXES
from dflow.errors import EmptySourceError, SourceNotFoundError
from dflow.flowmanager import flowtask

_LOGGER = logging.getLogger("dflow.flow")
_MAX_SUFFIXES = 8


@flowtask.extract(name="gather_cad_files", inputs=["sources"], outputs=["cad_files"], parallel_execution=False)
def gather_cad_files(sources: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return the CAD files of all sources, and report what lies beside them and is left out.

    Parameters
    ----------
    sources
        Folders, which are searched with all that is below them; files, which are taken whatever their names; and
        patterns such as ``parts/**/*.step``.

    Returns
    -------
    list of str
        Absolute paths, sorted, each once: names that end in .step, .stp, .iges, .igs, .brep or .brp, in any case, with
        or without .gz behind. Links to folders are not followed.

    Raises
    ------
    SourceNotFoundError
        If a source does not exist.
    EmptySourceError
        If no CAD file is found; the message counts what is there instead.

    Notes
    -----
    A warning of the logger ``dflow.flow`` counts the files that were left out, by the ends of their names, and folders
    that cannot be read.
    """
    found: set[str] = set()
    left_out: Counter[str] = Counter()
    for source in sources:
        for path, is_named in _files(os.fspath(source), left_out):
            ending = suffix_of(os.path.basename(path))
            if is_named or ending in CAD_SUFFIXES:
                found.add(path)
            else:
                left_out[ending or "without an ending"] += 1
    report = _counts(left_out)
    if not found:
        raise EmptySourceError(
            f"There is no CAD file below {', '.join(map(repr, sources))}"
            + (f", only: {report}" if report else ", and no other file")
            + f"; dflow reads {', '.join(CAD_SUFFIXES)}, also gzipped. Give a folder that has some, or their paths."
        )
    if report:
        _LOGGER.warning("gather_cad_files: %s CAD files; left out: %s", f"{len(found):,}", report)
    return sorted(found)


def _files(source: str, unreadable: Counter[str]) -> Iterator[tuple[str, bool]]:
    """The files of a source, and whether it names the file itself; folders that cannot be read are counted."""
    path = os.path.abspath(os.path.expanduser(source))
    if os.path.isfile(path):
        yield path, True
        return
    if "://" in source:
        raise SourceNotFoundError(f"{source} is an address; copy its files into a folder, which dflow can read.")
    places = [path] if os.path.exists(path) else glob.glob(path, recursive=True)
    if not places:
        raise SourceNotFoundError(f"There is no file or folder {path}; check the flow's sources.")
    for place in places:
        if not os.path.isdir(place):
            yield place, False
            continue
        for folder, _, names in os.walk(place, onerror=lambda error: unreadable.update(["folders without access"])):
            yield from ((os.path.join(folder, name), False) for name in names)


def _counts(endings: Counter[str]) -> str:
    """The most frequent endings with their counts."""
    ordered = sorted(endings.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{count:,} {ending}" for ending, count in ordered[:_MAX_SUFFIXES]]
    rest = sum(count for _, count in ordered[_MAX_SUFFIXES:])
    return ", ".join([*shown, *([f"{rest:,} others"] if rest else [])])
