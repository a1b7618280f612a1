"""A sample's store through the stages of a flow: opened, extended, parked for the next stage or sealed.

A sample's file is always ``encoded/<name>.data``, whatever the stage, so that paths that users' functions return stay
valid. What a stage leaves for a later one is also kept as ``.dflow/work/<name>.<stage>.data`` (a hard link where the
file system has them), so that a stage that is tried again starts from what its predecessor left, not from its own
unfinished store.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dflow.flowmanager.history.journal import pack_json, unpack_json
from dflow.flowmanager.plan.batch import Batch, BodyValues, Item
from dflow.records import SampleRecord, Scalar
from dflow.storage import DataStorage, JsonStorageHandler, MemoryStorage, OptStorage, convert_storage
from dflow.storage.container import MAX_SEAL_BYTES, read_seal, seal
from dflow.storage.paths import DATA_SUFFIX, TEMPORARY_PREFIX, FlowPaths, sample_name, source_path
from dflow.storage.sample import check_required, describe, describe_file

ITEM_METADATA = "Item"
FLOW_METADATA = "Flow name"


def work_folder(paths: FlowPaths) -> Path:
    """Return the folder of the samples that a later stage continues. The flow deletes it at its end."""
    return paths.state / "work"


def make_folders(paths: FlowPaths) -> None:
    """Create the folders of samples, previews and unfinished samples in the flow's folder.

    Raises
    ------
    FileNotFoundError
        If there is no such folder: this host lacks the mount, and what it would write elsewhere would be lost.
    """
    for folder in (paths.encoded, paths.stream_cache, paths.state, work_folder(paths)):
        if not os.path.isdir(folder):
            with suppress(FileExistsError):
                os.mkdir(folder)


def body_of(name: str) -> int:
    """Return the body index in a sample's name; a whole file and its first body have the same."""
    return int(name.rpartition("_")[2])


def _parked_file(paths: FlowPaths, name: str, stage: int) -> Path:
    return work_folder(paths) / f"{name}.{stage}{DATA_SUFFIX}"


class Sample:
    """One sample's store during one call. Open it, let the user write, then `seal`, `park` or `discard` it.

    `n_bodies` is the number of the file's bodies where each is a sample of its own.
    """

    def __init__(self, batch: Batch, item: Item, body: int, n_bodies: int = 0) -> None:
        self._paths = batch.paths
        self._stage = batch.call.stage
        self._kind = batch.storage_type
        self._item = item
        self._source = source = item.identity
        self._body = body
        self._origin = _origin(batch, item, body, n_bodies)
        self.name = sample_name(source, body)
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

    def seal(self, value: Any = None) -> SampleRecord | None:
        """Write the sample's file and return its record; None for a memory storage, which writes none.

        `value` is what the task returned. A later run recognises the file by its seal, which names its source, the hash
        of the source's content and the pipeline. It gets no seal where the source was changed since it was hashed:
        which contents were read is then unknown.
        """
        if self._kind == "memory":
            if not self.storage.is_closed:
                check_required(self.storage.schema, self.storage.array_keys(), self.storage.get_metadata())
            self.storage.close()
            return None
        store = self._as_file()
        record = describe(store, self.name, self._source, self._body)
        store.close()
        if self._origin and state_of(source_path(self._source, str(self._paths.root))) == self._item.source_state:
            seal(self._paths.data_file(self.name), _seal_text(self._origin, value, self._paths))
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
            store = OptStorage(path) if self.storage.is_closed else self.storage
            store.compress_store()
            return store
        _remove(self._paths.data_file(self.name))
        store = OptStorage(path)
        convert_storage(path if self._kind == "json" and self.storage.is_closed else self.storage, store)
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


def state_of(path: str) -> tuple[int, int, int] | None:
    """Return inode, size and modification time of a source; None where there is no file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


@dataclass(frozen=True, slots=True)
class Finished:
    """What an earlier run finished of an item: its samples, and the value; `value_lost` where it was not kept."""

    samples: tuple[SampleRecord, ...]
    value: Any = None
    value_lost: bool = False


def finished_item(batch: Batch, item: Item) -> Finished | None:
    """Return what an earlier run finished of an item but lost the record of; None where it must be done.

    Samples count only whole: sealed, made from these contents by this pipeline, of every body, with the pictures that
    this run wants. `item.content_hash` is the hash that the source has now.

    Raises
    ------
    Exception
        For samples that cannot be read, or are not dflow's own.
    """
    by_body = batch.sample == "body"
    first = _read_seal(batch, item, 0 if by_body else -1)
    n_bodies = first["bodies"] if first is not None else 0
    if (n_bodies > 0) is not by_body:
        return None
    bodies = range(n_bodies) if by_body else (-1,)
    samples, values, is_lost = [], [], False
    for body in bodies:
        name, found = sample_name(item.identity, body), _read_seal(batch, item, body)
        value = found.pop("value", None) if found is not None else None
        pictures = (batch.paths.preview(name), batch.paths.mesh(name))
        if found != _origin(batch, item, body, n_bodies) or (
            batch.export_visualization and not all(map(os.path.exists, pictures))
        ):
            return None
        samples.append(describe_file(batch.paths.data_file(name), name, item.identity, body))
        is_lost |= value is None
        values.append((body, unpack_json(value[0]) if value else None))
    return Finished(tuple(samples), BodyValues(tuple(values)) if by_body else values[0][1], is_lost)


def _origin(batch: Batch, item: Item, body: int, n_bodies: int) -> dict[str, Any]:
    """Return what a seal says of a sample; {} where that is unknown."""
    if not item.content_hash or not batch.pipeline:
        return {}
    name = sample_name(item.identity, body)
    return {"sample": name, "hash": item.content_hash, "pipeline": batch.pipeline, "bodies": n_bodies}


def _seal_text(origin: Mapping[str, Any], value: Any, paths: FlowPaths) -> str:
    """Return a seal's JSON, without the returned value where JSON cannot hold it or it is too long.

    The flow's folder and the sample's name in the value are replaced: seals do not depend on where the flow writes.
    """
    with suppress(Exception):  # of any class: whatever packing it raises
        packed = json.dumps([pack_json(value)])
        if not any(mark in packed for mark, _ in _marks(paths, origin["sample"])):
            for mark, text in _marks(paths, origin["sample"]):
                packed = packed.replace(text, mark)
            sealed = f'{json.dumps(origin)[:-1]}, "value": {packed}}}'
            if len(sealed) <= MAX_SEAL_BYTES:
                return sealed
    return json.dumps(origin)


def _marks(paths: FlowPaths, name: str) -> tuple[tuple[str, str], ...]:
    """Return what stands in a seal's JSON for the flow's folder and for the sample's name, each with its text."""
    return ("\\u0001", json.dumps(str(paths.root))[1:-1]), ("\\u0002", name)


def _read_seal(batch: Batch, item: Item, body: int) -> dict[str, Any] | None:
    text = read_seal(batch.paths.data_file(sample_name(item.identity, body)))
    found = json.loads(text) if text else None
    if not isinstance(found, dict):
        return None
    if "value" in found:
        packed = json.dumps(found["value"])
        for mark, meant in _marks(batch.paths, str(found.get("sample"))):
            packed = packed.replace(mark, meant)
        found["value"] = json.loads(packed)
    return found


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
    if sealed := read_seal(paths.data_file(record.name)):
        seal(paths.data_file(name), json.dumps({**json.loads(sealed), "sample": name}))
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
