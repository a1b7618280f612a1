"""`gather_cad_files`: the task that finds the CAD files below the flow's sources."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence

from dflow.cadaccess.files.survey import suffix_of, walk_files
from dflow.config import CAD_SUFFIXES
from dflow.errors import EmptySourceError, SourceNotFoundError
from dflow.flowmanager import flowtask
from dflow.plaintext import get_logger

_LOGGER = get_logger("dflow.flow")
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
    A warning of the logger ``dflow.flow`` counts the files that were left out, by their suffixes; others name folders
    that cannot be read.
    """
    found: set[str] = set()
    left_out: Counter[str] = Counter()
    for source in sources:
        for path, is_named in _files(os.fspath(source)):
            suffix = suffix_of(os.path.basename(path))
            if is_named or suffix in CAD_SUFFIXES:
                found.add(path)
            else:
                left_out[suffix or "without a suffix"] += 1
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


def _files(source: str) -> Iterator[tuple[str, bool]]:
    """Yield the files of a source, and whether it names the file itself."""
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
        yield from ((file, False) for file in (walk_files(place) if os.path.isdir(place) else [place]))


def _counts(suffixes: Counter[str]) -> str:
    """Return the most frequent suffixes with their counts."""
    ordered = sorted(suffixes.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{count:,} {suffix}" for suffix, count in ordered[:_MAX_SUFFIXES]]
    rest = sum(count for _, count in ordered[_MAX_SUFFIXES:])
    return ", ".join([*shown, *([f"{rest:,} others"] if rest else [])])
