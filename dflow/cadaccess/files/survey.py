"""What lies in a folder of CAD files, found without reading the shapes."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dflow.cadaccess.files.formats import HEAD_BYTES, CadFormat, sniff
from dflow.config import CAD_SUFFIXES
from dflow.errors import SourceNotFoundError, UnreadableFileError
from dflow.plaintext import get_logger, plain

_BLOCK_BYTES = 1024**2
_MAX_COMPARED_BYTES = 1024**3

logger = get_logger(__name__)


def suffix_of(name: str) -> str:
    """Return the suffix of a file's name in lower case, that before ``.gz`` where it is packed; "" without one."""
    return os.path.splitext(name.lower().removesuffix(".gz"))[1]


def walk_files(folder: str) -> Iterator[str]:
    """Yield the files below a folder in order of names; a folder that may not be read is logged and left out."""

    def left_out(error: OSError) -> None:
        logger.warning("the folder %s is left out: %s", error.filename, error.strerror)

    for place, folders, names in os.walk(folder, onerror=left_out):
        folders.sort()
        yield from (os.path.join(place, name) for name in sorted(names))


@dataclass(frozen=True, slots=True)
class FolderSurvey:
    """What lies in a folder, found without reading the shapes.

    Attributes
    ----------
    folder : str
        Its absolute path.
    files : tuple of str
        Files with the content of a CAD format, absolute paths, sorted.
    formats : dict of CadFormat to int
        Their numbers by format.
    n_bytes : tuple of int
        Size of each file, in bytes, as it lies on the disk.
    broken : tuple of (str, str)
        Files that are named as CAD files and are none: path and reason.
    others : dict of str to int
        Numbers of files with other suffixes, most frequent first.
    copies : tuple of tuple of str
        Groups of files with the same bytes; files beyond 1 GiB are not compared.
    labels : dict of str to int
        Numbers of files by subfolder, where the subfolders look like classes; else empty.

    """

    folder: str
    files: tuple[str, ...]
    formats: dict[CadFormat, int]
    n_bytes: tuple[int, ...]
    broken: tuple[tuple[str, str], ...]
    others: dict[str, int]
    copies: tuple[tuple[str, ...], ...]
    labels: dict[str, int]


def survey_folder(folder: str | os.PathLike[str]) -> FolderSurvey:
    """Look at every file of a folder and its subfolders: suffix, size, first bytes, and whether it is a copy.

    Raises
    ------
    SourceNotFoundError
        If there is no such folder.

    """
    root = os.path.abspath(os.path.expanduser(folder))
    if not os.path.isdir(root):
        raise SourceNotFoundError(f"{root} is not a folder; give the folder that the CAD files lie in")
    files: dict[str, int] = {}
    formats: Counter[CadFormat] = Counter()
    broken: list[tuple[str, str]] = []
    others: Counter[str] = Counter()
    for path in walk_files(root):
        suffix = suffix_of(path)
        if suffix not in CAD_SUFFIXES:
            others[suffix or "no suffix"] += 1
            continue
        try:
            formats[_format_of(path)] += 1
            files[path] = os.path.getsize(path)
        except UnreadableFileError as error:
            broken.append((path, str(error).removeprefix(f"{plain(path)}: ")))
        except OSError as error:
            broken.append((path, error.strerror or str(error)))
    return FolderSurvey(
        folder=root,
        files=tuple(files),
        formats=dict(formats.most_common()),
        n_bytes=tuple(files.values()),
        broken=tuple(broken),
        others=dict(others.most_common()),
        copies=_copies(files),
        labels=_labels(root, files),
    )


def _format_of(path: str) -> CadFormat:
    """The format that a file's first bytes show."""
    if not os.path.isfile(path):
        raise UnreadableFileError(f"{path}: a pipe, socket or device, not a file")
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    if head[:2] == b"\x1f\x8b":
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, HEAD_BYTES)
        except zlib.error as error:
            raise UnreadableFileError(f"{path}: a damaged gzip ({error})") from error
    if not head.strip(b"\0 \t\r\n"):
        raise UnreadableFileError(f"{path}: the file is empty")
    return sniff(Path(path), head)


def _copies(sizes: dict[str, int]) -> tuple[tuple[str, ...], ...]:
    """Groups of files with the same bytes; only files of equal size are read."""
    of_size: dict[int, list[str]] = defaultdict(list)
    for path, size in sizes.items():
        of_size[size].append(path)
    of_content: dict[bytes, list[str]] = defaultdict(list)
    for size, paths in of_size.items():
        for path in paths if len(paths) > 1 and size <= _MAX_COMPARED_BYTES else ():
            of_content[_digest(path)].append(path)
    return tuple(sorted(tuple(paths) for paths in of_content.values() if len(paths) > 1))


def _digest(path: str) -> bytes:
    """The hash of a file's bytes; of its path where it can no longer be read."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError:
        digest.update(path.encode(errors="surrogateescape"))
    return digest.digest()


def _labels(root: str, files: Iterable[str]) -> dict[str, int]:
    """Numbers of files by the folder that they lie in, where these look like classes.

    They do where every file lies in a subfolder, there are at least two, no more than half as many as files, and no two
    of them have one name.
    """
    folders = Counter(os.path.dirname(path) for path in files)
    names = Counter(os.path.basename(folder) for folder in folders)
    if root in folders or len(folders) < 2 or 2 * len(folders) > folders.total() or len(names) < len(folders):
        return {}
    return {os.path.basename(folder): n for folder, n in sorted(folders.items())}
