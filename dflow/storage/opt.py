"""The storage of flows: arrays are collected in memory and written as one `.data` file in one pass."""

from __future__ import annotations

import os
from typing import Any

from numpy.typing import NDArray

from dflow.errors import DamagedStoreError, SchemaError
from dflow.localpath import local_path
from dflow.schema import NanPolicy, parse_schema
from dflow.storage.base import DataStorage
from dflow.storage.keys import METADATA_GROUP
from dflow.storage.paths import DATA_SUFFIX
from dflow.storage.tree import MetadataTree
from dflow.storage.zarrzip import StoreContents, StoredArray, WrittenStore, json_text, read_zip_store, write_zip_store

FORMAT = 1
"""The version of the root's attributes."""

BY_NAME = "by_name"
"""The root's attribute with the keys of arrays that were saved without a group; a later task may move them."""


class OptStorage(DataStorage):
    """Keeps one sample in one file, ``<store_path>.data``: Zarr v3 in a zip.

    Nothing is written before `compress_store` or `close`, and then under a temporary name that is renamed, so the
    file is always complete. An existing file is read, its checksums verified, when the storage is made; it can be
    extended, and is written again only after a change.

    Parameters
    ----------
    nan_policy
        for NaN and inf in arrays for which the schema declares none: "raise", "warn" or "allow"
    store_path
        The path, with or without `compress_extension`.
    compress_extension
        The file's suffix.

    Raises
    ------
    DamagedStoreError, StoreLimitError
        If there is a file and it cannot be read.
    """

    def __init__(
        self,
        store_path: str | os.PathLike[str],
        compress_extension: str = DATA_SUFFIX,
        *,
        nan_policy: NanPolicy = "raise",
    ) -> None:
        super().__init__(nan_policy=nan_policy)
        path = os.path.abspath(local_path(store_path))
        self._path = path if path.endswith(compress_extension) else path + compress_extension
        self._arrays: dict[str, NDArray[Any]] = {}
        self._changed = False
        self._written: WrittenStore | None = None
        if os.path.exists(self._path):
            self._restore(read_zip_store(self._path))

    @property
    def is_changed(self) -> bool:
        """Whether there are changes that are not in the file yet."""
        return self._changed

    @property
    def written(self) -> WrittenStore | None:
        """Size and checksum of the file as it was last written or read; None before the first time."""
        return self._written

    def _put_array(self, key: str, array: NDArray[Any]) -> None:
        self._arrays[key] = array
        self._changed = True

    def _drop_array(self, key: str) -> None:
        del self._arrays[key]
        self._changed = True

    def _get_array(self, key: str) -> NDArray[Any]:
        return self._arrays[key]

    def _metadata_changed(self) -> None:
        self._changed = True

    def _has_array(self, key: str) -> bool:
        return key in self._arrays

    def array_keys(self) -> list[str]:
        return sorted(self._arrays)

    def get_file_path(self, key: str) -> str:
        """The path of the `.data` file, for every key.

        Parameters
        ----------
        key : any
        """
        return self._path

    def format(self) -> str:
        return "zarr"

    def _compress(self) -> int:
        if self._changed or self._written is None:
            tree, stored = self._metadata.pack()
            dims = self.dimensions()
            stored |= {key: StoredArray(array, dims[key]) for key, array in self._arrays.items()}
            self._written = write_zip_store(self._path, stored, self._root_attributes(tree))
            self._changed = False
        return self._written.n_bytes

    def _root_attributes(self, metadata: dict[str, Any]) -> str:
        by_name = {BY_NAME: self._by_name} if self._by_name else {}
        head = f'{{"dflow":{json_text({"format": FORMAT, **by_name})},"metadata":{json_text(metadata)}'
        return f'{head},"schema":{self.schema_text or "{}"}}}'

    def close(self) -> None:
        """Write pending changes and release the arrays. A storage without content leaves no file."""
        if self._closed:
            return
        if self._changed:
            self.compress_store()
        self.discard()

    def discard(self) -> None:
        super().discard()
        self._arrays.clear()

    def _restore(self, contents: StoreContents) -> None:
        reserved = f"{METADATA_GROUP}/"
        extra = {key: stored for key, stored in contents.arrays.items() if key.startswith(reserved)}
        self._arrays = {key: stored.data for key, stored in contents.arrays.items() if key not in extra}
        schema, metadata = read_attributes(contents.attributes, self._path)
        try:
            self._schema, self._has_schema = parse_schema(schema), bool(schema)
        except SchemaError as error:
            raise DamagedStoreError(f"{self._path} cannot be read: its schema contradicts itself: {error}") from error
        self._metadata = MetadataTree.unpack(metadata, extra, path=self._path)
        found = contents.attributes["dflow"].get(BY_NAME)
        places = found.items() if isinstance(found, dict) else ()
        self._by_name = {name: place for name, place in places if isinstance(place, str) and place in self._arrays}
        self._written = WrittenStore(contents.n_bytes, contents.crc)


def read_attributes(attributes: dict[str, Any], path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema and metadata dictionaries of a root's attributes.

    Raises
    ------
    DamagedStoreError
        If they are missing or of a later format.
    """
    try:
        found = attributes["dflow"]["format"]
        schema, metadata = attributes["schema"], attributes["metadata"]
    except (KeyError, TypeError) as error:
        raise DamagedStoreError(f"{path} was not written by dflow: its root has no {error}") from error
    if found != FORMAT:
        raise DamagedStoreError(f"{path} has format {found!r}; this dflow reads format {FORMAT}: update dflow")
    if not isinstance(schema, dict) or not isinstance(metadata, dict):
        raise DamagedStoreError(f"{path} cannot be read: its schema or metadata is no dictionary")
    return schema, metadata
