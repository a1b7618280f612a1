"""Paths and suffixes of the output tree, identities of items, and names that must stay below a folder.

::

    <flows_outputdir>/flows/<name>/
      <name>.flow  <name>.dataset/  <name>.infoset  <name>.attribset
      error_summary.json  flow_log.log  run.json  report.html
      encoded/<sample>.data       one file per sample
      stream_cache/<sample>.png   preview; <sample>.glb  mesh
      .dflow/                     the journal of finished items, the owner's lock
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dflow.config import MAX_STORE_BYTES
from dflow.localpath import local_path

DATA_SUFFIX = ".data"
DATASET_SUFFIX = ".dataset"
FLOW_SUFFIX = ".flow"
INFOSET_SUFFIX = ".infoset"
ATTRIBSET_SUFFIX = ".attribset"
SUMS_SUFFIX = ".checksums"
TEMPORARY_PREFIX = ".tmp-"
"""Names of unfinished files begin with it; the next run removes them."""


@dataclass(frozen=True, slots=True)
class FlowPaths:
    """The files and folders of a flow. `root` is ``<flows_outputdir>/flows/<name>``, absolute."""

    root: Path
    name: str

    @classmethod
    def of(cls, flows_outputdir: str | os.PathLike[str], name: str) -> FlowPaths:
        """The paths of flow `name` below `flows_outputdir`, in which ``~`` is the home folder.

        Raises
        ------
        OutputFolderError
            If `flows_outputdir` is a URL.
        """
        return cls(Path(os.path.abspath(local_path(flows_outputdir))) / "flows" / name, name)

    @property
    def flow_file(self) -> Path:
        return self.root / f"{self.name}{FLOW_SUFFIX}"

    @property
    def dataset(self) -> Path:
        return self.root / f"{self.name}{DATASET_SUFFIX}"

    @property
    def infoset(self) -> Path:
        return self.root / f"{self.name}{INFOSET_SUFFIX}"

    @property
    def attribset(self) -> Path:
        return self.root / f"{self.name}{ATTRIBSET_SUFFIX}"

    @property
    def error_summary(self) -> Path:
        return self.root / "error_summary.json"

    @property
    def log(self) -> Path:
        return self.root / "flow_log.log"

    @property
    def run_file(self) -> Path:
        return self.root / "run.json"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    @property
    def encoded(self) -> Path:
        return self.root / "encoded"

    @property
    def stream_cache(self) -> Path:
        return self.root / "stream_cache"

    @property
    def state(self) -> Path:
        """The folder of the journal and the lock; after deleting it the next run compares
        each file's content with what its sample was made from."""
        return self.root / ".dflow"

    def data_file(self, sample: str) -> Path:
        return self.encoded / f"{sample}{DATA_SUFFIX}"

    def preview(self, sample: str) -> Path:
        return self.stream_cache / f"{sample}.png"

    def mesh(self, sample: str) -> Path:
        return self.stream_cache / f"{sample}.glb"


def item_identity(item: Any, root: str | os.PathLike[str]) -> str:
    """The text that identifies an item in records and tables.

    A path (`str` or `os.PathLike`) becomes relative to the flow's folder `root`, with forward slashes (absolute if the
    two are on different drives). Any other item becomes canonical JSON: sorted keys, no spaces.

    Raises
    ------
    TypeError
        If the item is neither a path nor representable as JSON.
    """
    if isinstance(item, (str, os.PathLike)):
        return _relative_from(os.fspath(item), _absolute(os.fspath(root)))
    return json.dumps(item, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _absolute(root: str) -> str:
    """``os.path.abspath``, cached where it does not depend on the working directory."""
    return _normal(root) if os.path.isabs(root) else os.path.abspath(root)


@functools.lru_cache(maxsize=64)
def _normal(path: str) -> str:
    return os.path.normpath(path)


def _relative_from(path: str, root: str) -> str:
    """``os.path.relpath`` with forward slashes; `root` is absolute. Cached by folder for absolute paths."""
    folder, _, name = path.rpartition(os.sep)
    if name in _odd_names(root) or os.altsep or not os.path.isabs(path):
        return _relative(path, root)
    return _prefix(folder or os.sep, root) + name


@functools.lru_cache(maxsize=64)
def _odd_names(root: str) -> frozenset[str]:
    """Last parts with which a path is not a name within a folder, or is perhaps a folder around `root`."""
    return frozenset(("", os.curdir, os.pardir, *root.split(os.sep)))


@functools.lru_cache(maxsize=1024)
def _prefix(folder: str, root: str) -> str:
    """The part of a relative path before the names of a folder's files."""
    relative = _relative(os.path.normpath(folder), root)
    return "" if relative == os.curdir else f"{relative}/"


def _relative(path: str, root: str) -> str:
    try:
        path = os.path.relpath(path, root)
    except ValueError:  # another drive on Windows
        path = os.path.abspath(path)
    return path.replace(os.sep, "/")


def resolve_identity(identity: str, root: str | os.PathLike[str]) -> Path:
    """The absolute path of a path identity: the inverse of `item_identity` for paths."""
    return Path(source_path(identity, _absolute(os.fspath(root))))


def source_path(identity: str, root: str) -> str:
    """The normalised path of a path identity, cached by folder. `root` is absolute."""
    head, slash, name = identity.rpartition("/")
    if name in ("", os.curdir, os.pardir):
        return os.path.normpath(os.path.join(root, identity))
    folder = _folder(head + slash, root)
    return folder + name if folder.endswith(os.sep) else f"{folder}{os.sep}{name}"


@functools.lru_cache(maxsize=1024)
def _folder(relative: str, root: str) -> str:
    return os.path.normpath(os.path.join(root, relative))


def sample_name(identity: str, body: int = -1) -> str:
    """The sample's stable name: 32 hexadecimal digits of BLAKE2b over the identity, an underscore and the body index.

    The whole file (`body` -1) is named ``…_0``, as HOOPS AI names a part of one body.
    """
    digest = hashlib.blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{digest}_{max(body, 0)}"


class Below:
    """Resolves names from tables and documents to paths below a folder, and refuses all that lead out of it.

    Each folder is examined once, so that each further name in it costs one `lstat`.

    Parameters
    ----------
    root : the folder that relative names start from
    top_links : whether its direct entries may be links out of it, such as a dataset on another disk
    """

    def __init__(self, root: str | os.PathLike[str], *, top_links: bool = True) -> None:
        self._root = os.path.abspath(root)
        self._real = os.path.realpath(root)
        self._top_links = top_links
        self._folders: dict[str, bool] = {}

    def path(self, name: str) -> str | None:
        """The absolute path of `name`; None where it leads out of the folder."""
        if "\0" in name:
            return None
        path = os.path.normpath(os.path.join(self._root, name))
        if _is_in(path, self._real) and not _is_in(path, self._root):  # an absolute name, the folder behind a link
            path = os.path.join(self._root, os.path.relpath(path, self._real))
        folder = os.path.dirname(path)
        known = self._folders.get(folder)
        if known is None:
            known = self._folders[folder] = self._holds(folder)
        return path if (known and not os.path.islink(path)) or self._holds(path) else None

    def links_out(self, start: str = "") -> Iterator[str]:
        """Names, relative to the root, of links below the folder `start` that lead out of the root."""
        if start and self.path(start) is None:
            yield start
            return
        for folder, folders, files in os.walk(os.path.join(self._root, start)):
            for path in (os.path.join(folder, name) for name in sorted([*folders, *files])):
                if self.path(path) is None:
                    yield os.path.relpath(path, self._root).replace(os.sep, "/")

    def _holds(self, path: str) -> bool:
        if not _is_in(path, self._root):
            return False
        real = os.path.realpath(path)
        if _is_in(real, self._real):
            return True
        top = os.path.relpath(path, self._root).partition(os.sep)[0]
        return self._top_links and _is_in(real, os.path.realpath(os.path.join(self._root, top)))


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def open_regular(path: str | os.PathLike[str]) -> int:
    """A read-only descriptor of a regular file. A pipe or a device is refused, because it can block for ever.

    Raises
    ------
    OSError
        If the file is missing, unreadable or not regular.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return handle
    os.close(handle)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    raise OSError(errno.ESPIPE, "not a regular file", os.fspath(path))


def read_regular(path: str | os.PathLike[str]) -> bytes:
    """The content of a regular file of at most `MAX_STORE_BYTES`. Raises as `open_regular`, and for a larger one."""
    with os.fdopen(open_regular(path), "rb") as file:
        if os.fstat(file.fileno()).st_size > MAX_STORE_BYTES:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), os.fspath(path))
        return file.read()
