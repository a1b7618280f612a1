"""A merged dataset in other formats, written a block of samples at a time.

Memory stays at a few blocks, whatever the dataset's size. Nothing written holds a pickle. The output appears whole,
by a rename, or not at all; it is byte-equal for equal datasets, except that HDF5 promises no bytes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from dflow.dataset.exportforms import ArraysWriter, GraphWriter, ParquetWriter, Writer
from dflow.dataset.hdf5 import Hdf5Writer
from dflow.dataset.infotable import read_infoset, read_table
from dflow.dataset.items import SampleReader
from dflow.dataset.location import DatasetLocation
from dflow.dataset.store import DatasetStore, open_store
from dflow.errors import DatasetError, UnknownKeyError
from dflow.storage.paths import TEMPORARY_PREFIX

Form = Literal["parquet", "npz", "pyg", "hdf5"]

BLOCK_BYTES = 64 * 1024**2
"""Uncompressed arrays of one block of samples; a sample that is larger makes a block alone."""

BLOCK_SAMPLES = 4096

_WRITERS: Mapping[str, Callable[..., Writer]] = {
    "parquet": ParquetWriter,
    "npz": ArraysWriter,
    "pyg": GraphWriter,
    "hdf5": Hdf5Writer,
}

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written: the folder or file, samples, and bytes on disk."""

    path: Path
    n_samples: int
    n_bytes: int


def export_dataset(
    location: DatasetLocation,
    out: str | os.PathLike[str],
    form: str,
    *,
    columns: Sequence[str] | None = None,
    ids: Sequence[int] | None = None,
    overwrite: bool = False,
) -> ExportReport:
    """Write a dataset, or some of its samples and columns, in another format.

    Parameters
    ----------
    location
        Of the dataset and its tables (`dflow.dataset.location.locate`).
    out
        The folder (hdf5: file) to make.
    form
        "parquet", "npz", "pyg" or "hdf5".
    columns
        Groups and ``group/array`` names; all but the face-pair arrays when omitted.
    ids
        File ids, in any order; all when omitted. The output is in id order.
    overwrite
        Replace what is at `out`.

    Raises
    ------
    DatasetError
        If `out` exists, an unknown format is asked for, or a library is missing.
    UnknownKeyError
        If there is no such group, array or id.
    """
    if form not in get_args(Form):
        raise DatasetError(f"there is no export format {form!r}; there are {', '.join(get_args(Form))}")
    store = open_store(location.dataset, location.infoset)
    try:
        reader = SampleReader(store, columns)
        chosen = _chosen_ids(store, ids)
        with _published(Path(os.path.abspath(out)), overwrite=overwrite) as unfinished:
            writer = _WRITERS[form](unfinished, reader, chosen)
            try:
                for block in _blocks(reader, chosen):
                    writer.write(reader.read_many(block))
                writer.write_tables(*_tables(location, store, chosen))
            finally:
                writer.close()
            n_bytes = _size(unfinished)
    finally:
        store.close()
    return ExportReport(Path(os.path.abspath(out)), len(chosen), n_bytes)


def _chosen_ids(store: DatasetStore, ids: Sequence[int] | None) -> Array:
    if ids is None:
        return np.arange(store.n_files, dtype=np.int64)
    chosen = np.unique(np.asarray(list(ids), np.int64))
    if len(chosen) and not (chosen[0] >= 0 and chosen[-1] < store.n_files):
        wrong = chosen[(chosen < 0) | (chosen >= store.n_files)][0]
        raise UnknownKeyError(f"no file id {wrong}; the dataset has ids 0 to {store.n_files - 1}")
    return chosen


def _blocks(reader: SampleReader, ids: Array) -> Iterator[Array]:
    """The ids in runs of about `BLOCK_BYTES` of arrays."""
    n_bytes = np.zeros(len(ids), np.int64)
    for column in reader.columns:
        if column.group in reader.groups:
            n_bytes += reader.store.span(column.group).count[ids] * column.row_bytes
        else:
            n_bytes += column.row_bytes
    begin = 0
    ends = np.cumsum(n_bytes)
    while begin < len(ids):
        used = int(ends[begin - 1]) if begin else 0
        end = int(np.searchsorted(ends, used + BLOCK_BYTES, side="right"))
        end = min(max(end, begin + 1), begin + BLOCK_SAMPLES)
        yield ids[begin:end]
        begin = end


def _tables(location: DatasetLocation, store: DatasetStore, ids: Array) -> tuple[Any, Any]:
    """The `.infoset`'s rows of the samples, and the `.attribset`; None for a table that is not there."""
    info = labels = None
    if location.infoset is not None:
        read_infoset(location.infoset, store.n_files, store.folder.build)  # refuses a table of another dataset
        info = read_table(location.infoset, ".infoset").sort_by("id").take(ids).replace_schema_metadata(None)
    if location.attribset is not None:
        labels = read_table(location.attribset, ".attribset").replace_schema_metadata(None)
    return info, labels


@contextmanager
def _published(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """A name beside `path` to write to, which becomes `path` at the end; nothing is left after an error."""
    if not overwrite and (path.exists() or path.is_symlink()):
        raise DatasetError(f"{path} exists; remove it, choose another name, or say that it shall be replaced")
    if path.parent == path:
        raise DatasetError(f"{path} cannot be replaced by an export")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{os.getpid()}")
    try:
        yield unfinished
        if path.is_dir() and not path.is_symlink():
            old = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{os.getpid()}-old")
            os.replace(path, old)
            os.replace(unfinished, path)
            shutil.rmtree(old)
        else:
            os.replace(unfinished, path)
    finally:
        if unfinished.is_dir():
            shutil.rmtree(unfinished)
        else:
            unfinished.unlink(missing_ok=True)


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(entry.stat().st_size for entry in path.rglob("*") if entry.is_file())
