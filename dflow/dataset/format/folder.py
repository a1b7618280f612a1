"""An open `.dataset` folder: its metadata, and its files by relative path, all of the folder that was opened."""

from __future__ import annotations

import errno
import json
import os
import stat
import zlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dflow.checksums import MEMBER, parse_document
from dflow.dataset.format.array_metadata import check_arrays
from dflow.dataset.format.layout import MANIFEST, how_to_mend
from dflow.dataset.format.row_reader import RowReader
from dflow.errors import DamagedDatasetError, DatasetError, DatasetNotFoundError
from dflow.schema.names import NODE_DOCUMENT
from dflow.storage.paths import Below

_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)  # opening a pipe would wait
_DIRECTORY_HANDLES = os.open in os.supports_dir_fd


MAX_DOCUMENT_BYTES = 256 * 1024**2
"""Limit of a JSON document, which takes ten times its size in memory when it is parsed."""

Array = np.ndarray[Any, np.dtype[Any]]


class ArrayReader(Protocol):
    """Rows of one array of an open dataset.

    `path` is unique within the dataset. `rows_per_chunk` is the number of rows that are decoded together; None if the
    array is not stored in chunks of whole rows.
    """

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    rows_per_chunk: int | None

    @property
    def row_bytes(self) -> int:
        """Bytes of one row in memory."""

    def read(self, start: int = 0, stop: int | None = None) -> Array:
        """Return rows `start` to `stop` (excluded) as a new array."""

    def read_into(self, start: int, target: Array) -> None:
        """Read the rows from `start` on into an array of them."""


class OpenDataset(Protocol):
    """An open dataset, whatever its format: `DatasetFolder`, or the reader of another program's files. It pickles."""

    @property
    def path(self) -> Path:
        """The absolute path."""

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The root's attributes: ``dflow`` with ``n_files``, and ``schema``."""

    @property
    def arrays(self) -> Mapping[str, Mapping[str, Any]]:
        """The Zarr v3 metadata of every array, by ``group/name``."""

    @property
    def build(self) -> str:
        """The digest of the content, "" if there is none."""

    @property
    def token(self) -> str:
        """Eight hexadecimal digits that change whenever the content changes."""

    @property
    def listed_files(self) -> Mapping[str, Any]:
        """The files that the manifest lists, by relative path; empty without a manifest."""

    def reader(self, key: str) -> ArrayReader:
        """Return the reader of an array ``group/name`` of `arrays`."""

    def close(self) -> None:
        """Release the files; later reads raise `DamagedDatasetError`."""


class DatasetFolder:
    """An open `.dataset` folder.

    Files are opened relative to a handle of the folder, so that a merge that publishes a new dataset under the same
    name (by rename) never mixes new shards with old metadata: a read returns old data or raises. On platforms without
    such handles (Windows) plain paths are used. Safe to share between threads. Pickles as its path; unpickling raises
    `DamagedDatasetError` if another dataset has that path by then.

    Raises
    ------
    DatasetNotFoundError
        If there is no folder at the path.
    DamagedDatasetError
        If the folder holds no dataset of dflow, or a damaged one.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(os.path.abspath(path))
        if not self.path.is_dir():
            what = "is a file, not a folder" if self.path.exists() else "does not exist"
            raise DatasetNotFoundError(f"the dataset {self.path} {what}; pass the path of a merged .dataset folder")
        self._below = Below(self.path, top_links=False)
        self._checked: set[str] = set()
        self._handle = os.open(self.path, os.O_RDONLY) if _DIRECTORY_HANDLES else None
        try:
            self.metadata = self._read_metadata()
        except BaseException:
            self.close()
            raise

    def __reduce__(self) -> tuple[Any, ...]:
        return reopen, (str(self.path), self.token)

    def open(self, relative: str) -> int:
        """A read-only descriptor of a file below the folder; the caller closes it.

        Raises
        ------
        DamagedDatasetError
            If the dataset was closed, or `relative` leads out of the folder, also through a link, or is a folder, a
            pipe or a device.
        """
        handle = self._open(relative)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise DamagedDatasetError(
                f"{self.path / relative} is a folder, a pipe or a device, a file was expected; run the merge again"
            )
        return handle

    def _open(self, relative: str) -> int:
        if self._handle is None:
            self._check(relative)
            return os.open(self.path / relative, _FLAGS)
        if self._handle < 0:
            raise DamagedDatasetError(f"the dataset {self.path} was closed; open it again")
        folder = relative.rpartition("/")[0]
        if folder not in self._checked:
            self._check(folder)
            self._checked.add(folder)
        try:
            return os.open(relative, _FLAGS | os.O_NOFOLLOW, dir_fd=self._handle)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
        self._check(relative)  # a link, which may lead to another place in the folder
        return os.open(relative, _FLAGS, dir_fd=self._handle)

    def read_bytes(self, relative: str) -> bytes:
        """The content of a small file below the folder; one of more than `MAX_DOCUMENT_BYTES` is damaged.

        Raises as `open`.
        """
        with os.fdopen(self.open(relative), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_DOCUMENT_BYTES:
                raise DamagedDatasetError(
                    f"{self.path / relative} is damaged: it has {size:,} bytes, the limit is {MAX_DOCUMENT_BYTES:,}; "
                    "run the merge again"
                )
            return file.read()

    def check_links(self, relative: str) -> None:
        """Refuse links below the folder `relative` that lead out of the dataset, before zarr follows them.

        Raises
        ------
        DamagedDatasetError
            If there is one.
        """
        for name in self._below.links_out(relative):
            self._check(name)

    def explain_missing(self, relative: str) -> None:
        """Return if a shard may be missing (all fill values); raise if it must exist.

        A merge writes every shard and lists it, also one of fill values only: without this check, metadata that state a
        million times the rows would be read as fill values.

        Raises
        ------
        DamagedDatasetError
            If the folder was replaced or removed since it was opened, or the dataset has a manifest.
        """
        try:
            os.close(self.open(NODE_DOCUMENT))
        except OSError as error:
            message = f"the dataset {self.path} was replaced or removed while it was open; open it again"
            raise DamagedDatasetError(message) from error
        if relative in self.listed_files:
            raise DamagedDatasetError(
                f"{self.path / relative} is missing, although the dataset's manifest lists it; {how_to_mend(self.path)}"
            )
        if self.listed_files:
            raise DamagedDatasetError(
                f"the metadata of {self.path} state rows in {relative}, which neither exists nor is listed in its "
                "manifest; run the merge again"
            )

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The root's attributes: ``dflow`` and ``schema``."""
        found: Mapping[str, Any] = self.metadata["attributes"]
        return found

    @cached_property
    def arrays(self) -> Mapping[str, Mapping[str, Any]]:
        """The Zarr metadata of every array, by ``group/name``: the consolidated one, else that of single files.

        Raises
        ------
        DamagedDatasetError
            If it contradicts itself, the root's attributes or the limits of `dflow.dataset.format.array_metadata`.
        """
        try:
            found = self._nodes()
            check_arrays(found, self.attributes)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise DamagedDatasetError(
                f"the metadata of {self.path} is damaged, or not of dflow: {error}; run the merge again"
            ) from error
        return found

    def _nodes(self) -> Mapping[str, Mapping[str, Any]]:
        consolidated = self.metadata.get("consolidated_metadata")
        if consolidated is not None:
            nodes = consolidated["metadata"].items()
            return {key: node for key, node in nodes if node["node_type"] == "array" and key.count("/") == 1}
        found: dict[str, Mapping[str, Any]] = {}
        for path in sorted(self.path.glob(f"*/*/{NODE_DOCUMENT}")):
            node = self._document(path.relative_to(self.path).as_posix())
            if isinstance(node, dict) and node.get("node_type") == "array":
                found[f"{path.parent.parent.name}/{path.parent.name}"] = node
        return found

    def _document(self, relative: str) -> Any:
        """A parsed JSON file, compared with the checksum that it may carry. Raises also `FileNotFoundError`."""
        try:
            return parse_document(self.read_bytes(relative))
        except FileNotFoundError:
            raise
        except (ValueError, OSError) as error:
            if isinstance(error, DamagedDatasetError):
                raise
            raise DamagedDatasetError(
                f"{self.path / relative} is damaged, {error}; {how_to_mend(self.path)}"
            ) from error

    def reader(self, key: str) -> RowReader:
        """Return the reader of an array ``group/name`` of `arrays`.

        Raises
        ------
        DamagedDatasetError
            If the array's metadata contradicts itself.
        """
        try:
            return RowReader(self, key, self.arrays[key])
        except Exception as error:  # what Python and numpy raise of metadata without a checksum
            if isinstance(error, DatasetError):
                raise
            raise DamagedDatasetError(
                f"the metadata of {self.path / key} is damaged: {error!r}; {how_to_mend(self.path)}"
            ) from error

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """The content of `manifest.json`; empty without one, which only datasets of another program or version lack."""
        try:
            found = self._document(MANIFEST)
        except FileNotFoundError as error:
            if MEMBER not in self.attributes["dflow"]:
                return {}
            raise DamagedDatasetError(f"{self.path / MANIFEST} is missing; {how_to_mend(self.path)}") from error
        if not isinstance(found, dict) or not isinstance(found.get("files", {}), dict):
            raise DamagedDatasetError(
                f"{self.path / MANIFEST} is damaged: it is no list of files; {how_to_mend(self.path)}"
            )
        return found

    @property
    def listed_files(self) -> Mapping[str, Any]:
        """Every file that the manifest lists, by relative path."""
        files: Mapping[str, Any] = self.manifest.get("files", {})
        return files

    @property
    def build(self) -> str:
        """The digest of the dataset's content, which its tables hold too; "" if the manifest has none."""
        return str(self.manifest.get("build", ""))

    @cached_property
    def token(self) -> str:
        """Eight hexadecimal digits that change whenever the metadata or any listed shard changes."""
        crc = zlib.crc32(self.read_bytes(NODE_DOCUMENT))
        content = self.build or json.dumps(self.listed_files)  # the rest of the manifest changes with each split
        return f"{zlib.crc32(content.encode(), crc):08x}"

    def close(self) -> None:
        """Release the handle; later reads raise. Also called when the object is deleted."""
        if self._handle is not None and self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __del__(self) -> None:
        if hasattr(self, "_handle"):  # copies in workers are deleted, not closed
            self.close()

    def _check(self, relative: str) -> None:
        if self._below.path(relative) is None:
            raise DamagedDatasetError(
                f"{self.path} names {relative!r}, which is outside of the dataset; {how_to_mend(self.path)}"
            )

    def _read_metadata(self) -> Mapping[str, Any]:
        try:
            root = self._document(NODE_DOCUMENT)
        except FileNotFoundError as error:
            raise DamagedDatasetError(
                f"{self.path} has no {NODE_DOCUMENT}: no dataset, or its merge was interrupted; "
                f"{how_to_mend(self.path)}"
            ) from error
        attributes = root.get("attributes") if isinstance(root, dict) else None
        if not isinstance(attributes, dict) or not isinstance(attributes.get("dflow"), dict):
            raise DamagedDatasetError(
                f"{self.path} is a Zarr store, but no dataset of dflow; pass the path of a merged .dataset folder"
            )
        found: Mapping[str, Any] = root
        return found


def reopen(path: str, token: str) -> DatasetFolder:
    """Open the folder of a pickle and check that it holds the same dataset."""
    folder = DatasetFolder(path)
    if folder.token != token:
        folder.close()
        raise DamagedDatasetError(f"the dataset {path} was replaced while it was open; open it again")
    return folder
