"""HOOPS AI's calls on storages, and its view of the graph in one."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import numpy as np

from dflow.storage.base import DataStorage
from dflow.storage.paths import DATA_SUFFIX

if TYPE_CHECKING:
    import zarr


class StorageNames:
    """HOOPS AI's names of `DataStorage`."""

    @property
    def store_path(self: DataStorage) -> str:  # type: ignore[misc]
        """The path of the sample's file without its suffix."""
        return self.get_file_path("").removesuffix(DATA_SUFFIX)

    def get_store_group(self: DataStorage) -> zarr.Group:  # type: ignore[misc]
        """Return a copy of the arrays as a Zarr group in memory: ``group["faces/face_areas"]``."""
        import zarr

        root = zarr.group(store=zarr.storage.MemoryStore())
        for key in self.array_keys():
            root.create_array(key, data=np.asarray(self._get_array(key)))
        root.attrs.update(self.get_metadata())
        return root


def generate_unique_id_from_path(path: str | os.PathLike[str]) -> str:
    """Return a name for a file's outputs: 32 hexadecimal digits that depend on the path as it is written.

    Parameters
    ----------
    path : of the file; the file need not exist
    """
    return hashlib.md5(os.fspath(path).encode(errors="surrogateescape"), usedforsecurity=False).hexdigest()
