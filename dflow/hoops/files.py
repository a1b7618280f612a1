"""Find CAD files: a provider lists files, a retriever selects the CAD files among them."""

from __future__ import annotations

import fnmatch
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence

from dflow.config import CAD_SUFFIXES
from dflow.errors import SourceNotFoundError
from dflow.localpath import is_address
from dflow.plaintext import get_logger

logger = get_logger(__name__)


class StorageProvider(ABC):
    """Lists the files of one storage location."""

    @abstractmethod
    def list_files(self) -> list[str]:
        """Paths of all files, sorted."""


class LocalStorageProvider(StorageProvider):
    """Lists all files below a local folder. Links to folders are not followed, so there are no endless loops.

    Parameters
    ----------
    directory_path : the folder, or a single file

    Raises
    ------
    SourceNotFoundError
        If there is no such folder or file, or it is a URL.
    """

    def __init__(self, directory_path: str | os.PathLike[str]) -> None:
        if is_address(directory_path):
            raise SourceNotFoundError(
                f"{directory_path} is an address, expected the path of a local or mounted folder: mount what it names, "
                "and pass the path below the mount"
            )
        self.directory_path = os.path.abspath(os.fspath(directory_path))
        if not os.path.exists(self.directory_path):
            raise SourceNotFoundError(f"there is no folder {self.directory_path}; pass an existing one")

    def list_files(self) -> list[str]:
        """Return the sorted absolute paths; folders that cannot be read are logged and left out."""
        if not os.path.isdir(self.directory_path):
            return [self.directory_path]
        walk = os.walk(self.directory_path, onerror=lambda error: logger.warning("a folder is left out: %s", error))
        return sorted(os.path.join(folder, name) for folder, _, names in walk for name in names)


class CADFileRetriever:
    """Selects files by suffix and by a pattern.

    Parameters
    ----------
    storage_provider
        The provider that lists the files.
    formats
        Suffixes with or without the dot, in upper or lower case; by default those that dflow reads. ``.gz`` may follow.
    filter_pattern
        A shell wildcard that the whole file name must match, or with `use_regex` a regular expression that is searched
        for in it.
    """

    def __init__(
        self,
        storage_provider: StorageProvider,
        formats: Sequence[str] | None = None,
        filter_pattern: str | None = None,
        use_regex: bool = False,  # HOOPS AI's positional argument
    ) -> None:
        self.storage_provider = storage_provider
        self.suffixes = tuple(f".{suffix.lstrip('.').lower()}" for suffix in (formats or CAD_SUFFIXES))
        expression = filter_pattern if use_regex else fnmatch.translate(filter_pattern or "*")
        self._pattern = re.compile(expression or "")

    def get_file_list(self) -> list[str]:
        """Return the selected paths, sorted."""
        return [path for path in self.storage_provider.list_files() if self._passes(os.path.basename(path))]

    def _passes(self, name: str) -> bool:
        return name.lower().removesuffix(".gz").endswith(self.suffixes) and bool(self._pattern.search(name))
