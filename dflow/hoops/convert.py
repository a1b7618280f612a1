"""Copy one storage into another of any format; HOOPS AI's Zarr v2 stores can be the source."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from dflow.errors import DamagedStoreError, SchemaError, StorageError
from dflow.hoops.zarr2 import STORAGE_SCHEMA, FolderReader, Zarr2Store, ZipFiles
from dflow.schema import FILE_GROUP, Schema, parse_schema, standard_groups
from dflow.schema.names import NODE_DOCUMENT, free_name, reserved_for
from dflow.storage.base import DataStorage
from dflow.storage.container import ZipReader
from dflow.storage.jsonfiles import METADATA_FILE, JsonStorageHandler
from dflow.storage.keys import locate
from dflow.storage.memory import MemoryStorage
from dflow.storage.opt import OptStorage


def convert_storage(source: DataStorage | str | os.PathLike[str], target: DataStorage) -> None:
    """Copy schema, arrays and metadata of `source` into `target`, which is not closed.

    Parameters
    ----------
    source
        A storage, or the path of one: a `.data` file of dflow, a folder of JSON files, a `.data` or `.dataset` zip or
        folder that HOOPS AI wrote. NaN and infinities are copied.

    Raises
    ------
    FileNotFoundError
        If there is nothing at the path.
    DamagedStoreError, StoreLimitError
        If it cannot be read, or has an unknown format.
    SchemaError
        If the source contradicts its own schema.
    """
    origin = source if isinstance(source, DataStorage) else open_storage(source)
    policy, target.nan_policy = target.nan_policy, "allow"
    try:
        if origin.has_schema:
            target.set_schema(origin.schema)
        for key in origin.array_keys():
            group, _, name = key.partition("/")
            target.save_data(f"{group}/{_free(name, group, target)}", origin.array(key))
        for key, value in origin.get_metadata().items():
            target.save_metadata(_free(key, FILE_GROUP, target), value)
        target.copy_places(origin)
    finally:
        target.nan_policy = policy
        if origin is not source:
            origin.discard()


def _free(name: str, group: str, target: DataStorage) -> str:
    """Return the name for `target` of an entry that an older version or HOOPS AI saved under a reserved one."""
    groups = (*standard_groups(), *target.schema.groups, *target.get_keys())
    return free_name(name) if reserved_for(name, group, groups) else name


def open_storage(path: str | os.PathLike[str]) -> DataStorage:
    """Open the storage at a path; a HOOPS AI store is read into a `MemoryStorage`. Raises as `convert_storage`.

    Parameters
    ----------
    path : of a `.data` file, a folder of JSON files, or a HOOPS AI store
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        if METADATA_FILE in os.listdir(path) and not os.path.exists(os.path.join(path, ".zgroup")):
            return JsonStorageHandler(path)
        return _from_zarr2(Zarr2Store(FolderReader(path)))
    with ZipReader(path) as reader:
        ours = NODE_DOCUMENT in reader.members
    if ours:
        base, suffix = os.path.splitext(path)
        return OptStorage(base, suffix)
    with ZipFiles(path) as files:
        return _from_zarr2(Zarr2Store(files))


def _from_zarr2(store: Zarr2Store) -> MemoryStorage:
    storage = MemoryStorage(nan_policy="allow")
    storage.refuses_names = False
    metadata = store.metadata()
    schema = _stored_schema(metadata, store.path)
    if schema is not None:
        storage.set_schema(schema)
    for key in store.keys:
        array = store.read(key)
        group, name = locate(key, storage.schema)
        if array.ndim == 0 and group != FILE_GROUP:
            group = FILE_GROUP  # HOOPS AI keeps graph/num_nodes among the arcs
        try:
            storage.save_data(f"{group}/{name}" if "/" in key else key, array)
        except (SchemaError, StorageError) as error:
            raise DamagedStoreError(f"{store.path}: array {key!r} cannot be copied: {error}") from error
    for key, value in metadata.items():
        storage.save_metadata(key, value)
    return storage


def _stored_schema(metadata: dict[str, Any], path: str) -> Schema | None:
    """Remove the schema from a HOOPS AI store's metadata and return it."""
    found = metadata.pop(STORAGE_SCHEMA, None)
    if not isinstance(found, Mapping):
        return None
    try:
        return parse_schema(found)
    except SchemaError as error:
        raise DamagedStoreError(f"{path}: its schema contradicts itself: {error}") from error
