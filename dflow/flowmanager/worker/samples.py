"""A sample's store through the stages of a flow: opened, extended, parked for the next stage or sealed.

A sample's file is always ``encoded/<name>.data``, whatever the stage, so that paths that users' functions return stay
valid. What a stage leaves for a later one is also kept as ``.dflow/work/<name>.<stage>.data`` (a hard link where the
file system has them), so that a stage that is tried again starts from what its predecessor left, not from its own
unfinished store.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from dflow.errors import StorageError
from dflow.flowmanager.plan.batch import Batch
from dflow.records import SampleRecord, Scalar
from dflow.storage import DataStorage, JsonStorageHandler, MemoryStorage, OptStorage, convert_storage
from dflow.storage.paths import DATA_SUFFIX, TEMPORARY_PREFIX, FlowPaths, sample_name
from dflow.storage.sample import check_required, describe

ITEM_METADATA = "Item"
FLOW_METADATA = "Flow name"


def work_folder(paths: FlowPaths) -> Path:
    """Return the folder of the samples that a later stage continues. The flow deletes it at its end."""
    return paths.state / "work"


def make_folders(paths: FlowPaths) -> None:
    """Create the folders of samples, previews and unfinished samples."""
    for folder in (paths.encoded, paths.stream_cache, work_folder(paths)):
        os.makedirs(folder, exist_ok=True)


def body_of(name: str) -> int:
    """Return the body index in a sample's name; a whole file and its first body have the same."""
    return int(name.rpartition("_")[2])


def _parked_file(paths: FlowPaths, name: str, stage: int) -> Path:
    return work_folder(paths) / f"{name}.{stage}{DATA_SUFFIX}"


class Sample:
    """One sample's store during one call. Open it, let the user write, then `seal`, `park` or `discard` it."""

    def __init__(self, batch: Batch, name: str, source: str, body: int) -> None:
        self._paths = batch.paths
        self._stage = batch.call.stage
        self._kind = batch.storage_type
        self._source = source
        self._body = body
        self.name = name
        self.storage = self._open()
        self.storage.memory_bytes = batch.limits.memory_bytes
        self.storage.save_metadata(ITEM_METADATA, source)
        self.storage.save_metadata(FLOW_METADATA, batch.paths.name)
        self._defaults: dict[str, Scalar] = {}
        self._n_own_writes = self.storage.n_writes

    @property
    def was_written(self) -> bool:
        """Whether the user saved anything: a schema alone does not count, compressing the store does."""
        return self.storage.n_writes > self._n_own_writes

    def save_default(self, key: str, value: Scalar) -> None:
        """Save the framework's own metadata, unless the user has saved something under that key."""
        known = self.storage.get_metadata().get(key)
        if self.storage.has_data(f"file/{key}"):
            return
        if known is None or known == self._defaults.get(key):
            self.storage.save_metadata(key, value)
            self._n_own_writes += 1
            self._defaults[key] = value

    def seal(self) -> SampleRecord | None:
        """Write the sample's file and return its record; None for a memory storage, which writes none."""
        if self._kind == "memory":
            if not _is_closed(self.storage):
                check_required(self.storage.schema, self.storage.array_keys(), self.storage.get_metadata())
            self.storage.close()
            return None
        store = self._as_file()
        record = describe(store, self.name, self._source, self._body)
        store.close()
        return record

    def park(self) -> None:
        """Keep the sample for the next stage."""
        self._as_file().close()
        final = self._paths.data_file(self.name)
        _link(final, _parked_file(self._paths, self.name, self._stage))
        if self._kind == "memory":
            _remove(final)

    def discard(self) -> None:
        """Remove the sample, which failed or is skipped."""
        self.storage.discard()
        discard_files(self._paths, self.name)

    def _as_file(self) -> DataStorage:
        """Write the store to one ``.data`` file and return it, still open."""
        path = str(self._paths.encoded / self.name)
        if isinstance(self.storage, OptStorage):
            store = OptStorage(path) if _is_closed(self.storage) else self.storage
            store.compress_store()
            return store
        _remove(self._paths.data_file(self.name))
        store = OptStorage(path)
        convert_storage(path if self._kind == "json" and _is_closed(self.storage) else self.storage, store)
        self.storage.close()
        store.compress_store()
        return store

    def _open(self) -> DataStorage:
        """Return an empty store at stage 0, else one with what the stage before parked."""
        path = str(self._paths.encoded / self.name)
        earlier = _parked_file(self._paths, self.name, self._stage - 1) if self._stage else None
        if earlier is None:
            discard_files(self._paths, self.name)
        if self._kind == "optimized":
            if earlier is not None:
                _link(earlier, self._paths.data_file(self.name))
            return OptStorage(path)
        shutil.rmtree(path, ignore_errors=True)
        storage = JsonStorageHandler(path) if self._kind == "json" else MemoryStorage()
        if earlier is not None:
            store = OptStorage(str(earlier.with_suffix("")))
            convert_storage(store, storage)
            store.close()
        return storage


def _is_closed(storage: DataStorage) -> bool:
    """Whether the user has closed the store, which is allowed: its contents are on disk."""
    try:
        storage.get_keys()
    except StorageError:
        return True
    return False


def _link(source: Path, target: Path) -> None:
    """Make `target` a link to `source` or a copy of it, atomically."""
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{target.name}")
    _remove(temporary)
    try:
        os.link(source, temporary)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without hard links
        shutil.copyfile(source, temporary)
    os.replace(temporary, target)
    _remove(temporary)  # renaming a link onto another link of the same file does nothing (POSIX)


def _remove(path: Path) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):  # a folder with a sample's name; PermissionError on macOS
        if not path.is_dir():
            raise
        shutil.rmtree(path)


def discard_files(paths: FlowPaths, name: str) -> None:
    """Remove a sample's files from the output folders."""
    for path in (paths.data_file(name), paths.preview(name), paths.mesh(name)):
        _remove(path)
    folder = paths.encoded / name
    if folder.is_dir():
        shutil.rmtree(folder, ignore_errors=True)


def copy_sample(paths: FlowPaths, record: SampleRecord, source: str) -> SampleRecord:
    """Make a finished sample that of another source of equal content, and return its record.

    The files are those that encoding the other source would leave: a sample holds nothing of its source but the name.

    Raises
    ------
    OSError, StorageError
        If the sample's file cannot be read or copied.
    """
    name = sample_name(source, record.body)
    discard_files(paths, name)
    shutil.copyfile(paths.data_file(record.name), paths.data_file(name))
    store = OptStorage(str(paths.encoded / name))
    try:
        store.save_metadata(ITEM_METADATA, source)
        store.compress_store()
        copied = describe(store, name, source, record.body)
    finally:
        store.close()
    for place in (paths.preview, paths.mesh):
        if place(record.name).exists():
            _link(place(record.name), place(name))
    return replace(copied, layout=record.layout) if copied.layout == record.layout else copied


def sweep_item(paths: FlowPaths, identity: str, keep_bodies: Iterable[int]) -> None:
    """Remove what a dead child wrote of an item, temporary files too, but not the finished bodies' samples.

    Lists the whole folders: half a second at a million samples, and only after a death.
    """
    digest = sample_name(identity).rpartition("_")[0]
    keep = {sample_name(identity, body) for body in keep_bodies}
    for folder in (paths.encoded, paths.stream_cache, work_folder(paths)):
        for name in _names(folder):
            if digest not in name or (not name.startswith(TEMPORARY_PREFIX) and folder == work_folder(paths)):
                continue
            if name.startswith(TEMPORARY_PREFIX):
                _remove(folder / name)
            elif name.partition(".")[0] not in keep:
                discard_files(paths, name.partition(".")[0])


def _names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    except FileNotFoundError:
        return []
