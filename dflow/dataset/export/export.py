"""Write a merged dataset in other formats, one block of samples at a time.

Memory stays at a few blocks for any size of dataset. The output holds no pickles, and appears whole, by a rename, or
not at all. Equal datasets give equal bytes, except in HDF5, which does not guarantee it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from dflow.dataset.export.forms import ArraysWriter, GraphWriter, ParquetWriter, Writer
from dflow.dataset.export.hdf5 import Hdf5Writer
from dflow.dataset.export.networks import WRITERS, NetworkInput
from dflow.dataset.export.subsets import HuggingFaceWriter, WebDatasetWriter
from dflow.dataset.format.location import DatasetLocation
from dflow.dataset.format.tables import read_infoset, read_table
from dflow.dataset.query.store import DatasetStore, open_store
from dflow.dataset.training.samples import SampleReader
from dflow.errors import DatasetError, UnknownKeyError
from dflow.localpath import local_path
from dflow.storage.paths import TEMPORARY_PREFIX

Form = Literal["parquet", "npz", "pyg", "hdf5", "huggingface", "webdataset"]

BLOCK_BYTES = 64 * 1024**2
"""Uncompressed arrays of one block of samples; a larger sample is a block of its own."""

BLOCK_SAMPLES = 4096

_WRITERS: Mapping[str, Callable[..., Writer]] = {
    "parquet": ParquetWriter,
    "npz": ArraysWriter,
    "pyg": GraphWriter,
    "hdf5": Hdf5Writer,
    "huggingface": HuggingFaceWriter,
    "webdataset": WebDatasetWriter,
}

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export wrote: the folder or file, number of samples, and bytes on disk."""

    path: Path
    n_samples: int
    n_bytes: int


def export_dataset(
    location: DatasetLocation,
    out: str | os.PathLike[str],
    form: str,
    *,
    columns: str | Sequence[str] | None = None,
    ids: Sequence[int | range] | None = None,
    overwrite: bool = False,
) -> ExportReport:
    """Write a dataset, or some of its samples and columns, in another format.

    Parameters
    ----------
    location
        Of the dataset and its tables (`dflow.dataset.format.location.locate`).
    out
        The folder (hdf5: file) to make.
    form
        "parquet", "npz", "pyg", "hdf5", "huggingface" or "webdataset".
    columns
        Groups and ``group/array`` names; all but the face-pair arrays if omitted.
    ids
        File ids and ranges of them, in any order; all if omitted. The output is in id order.
    overwrite
        Replace what is at `out`: a file, or a folder without folders in it, as exports are. A folder that holds the
        dataset is never replaced.

    Raises
    ------
    DatasetError
        If `out` exists or may not be replaced, the format is unknown, or a library is missing.
    UnknownKeyError
        If there is no such group, array or id.
    """
    if form not in get_args(Form):
        raise DatasetError(f"no export format {form!r}; expected {', '.join(get_args(Form))}")
    return _export(location, out, form, _WRITERS[form], columns=columns, ids=ids, overwrite=overwrite)


def export_network(
    location: DatasetLocation,
    out: str | os.PathLike[str],
    network: NetworkInput,
    *,
    ids: Sequence[int | range] | None = None,
    overwrite: bool = False,
) -> ExportReport:
    """Write a dataset of encoded solids as the files that a published network's own loader reads.

    Parameters
    ----------
    location
        Of the dataset and its tables.
    out
        The folder to make.
    network
        Which, from which arrays, with which labels and subsets.
    ids
        File ids and ranges of them; all when omitted.
    overwrite
        Replace what is at `out`, if it is a folder without folders in it.

    Raises
    ------
    DatasetError
        If `out` exists or may not be replaced.
    UnknownKeyError
        If the dataset lacks an array that the network's input is made of, the labels, or an id.
    """
    columns = [*network.keys, *([] if network.labels is None else [network.labels])]
    with closing(open_store(location.dataset, location.infoset)) as store:
        _check_encoded(store, network)

    def make(path: Path, reader: SampleReader, chosen: Array) -> Writer:
        return WRITERS[network.name](path, network, chosen)

    return _export(location, out, network.name, make, columns=columns, ids=ids, overwrite=overwrite)


def _export(
    location: DatasetLocation,
    out: str | os.PathLike[str],
    form: str,
    make: Callable[..., Writer],
    *,
    columns: Sequence[str] | None,
    ids: Sequence[int | range] | None,
    overwrite: bool,
) -> ExportReport:
    store = open_store(location.dataset, location.infoset)
    try:
        reader = SampleReader(store, columns)
        chosen = _chosen_ids(store, ids)
        path = Path(os.path.abspath(local_path(out)))
        _check_place(path, form, location, overwrite=overwrite)
        with _published(path) as unfinished:
            writer = make(unfinished, reader, chosen)
            try:
                for block in _blocks(reader, chosen):
                    writer.write(reader.read_many(block))
                writer.write_tables(*_tables(location, store, chosen))
            finally:
                writer.close()
            n_bytes = _size(unfinished)
    finally:
        store.close()
    return ExportReport(path, len(chosen), n_bytes)


def _check_encoded(store: DatasetStore, network: NetworkInput) -> None:
    """Refuse a dataset without the arrays that the network's input is made of."""
    parts = (key.partition("/") for key in network.keys)
    lacking = [f"{group}/{name}" for group, _, name in parts if name not in store.columns.get(group, {})]
    if lacking:
        raise UnknownKeyError(
            f"the dataset was not encoded for {network.name}: it lacks {', '.join(lacking)}, of which "
            "the network's input is made; encode the files by "
            f'BrepEncoder(brep, storage).encode(network="{network.name}") in the task, and run the flow again'
        )


def _chosen_ids(store: DatasetStore, ids: Sequence[int | range] | None) -> Array:
    if ids is None:
        return np.arange(store.n_files, dtype=np.int64)
    ranges = [i if isinstance(i, range) else range(int(i), int(i) + 1) for i in ids]
    for wanted in ranges:  # before they become arrays: a mistyped range may need more memory than there is
        for end in (wanted[0], wanted[-1]) if wanted else ():
            if not 0 <= end < store.n_files:
                known = f"ids 0 to {store.n_files - 1}" if store.n_files else "none"
                raise UnknownKeyError(f"no file id {end}; the dataset has {known}")
    return np.unique(np.concatenate([np.zeros(0, np.int64), *(np.arange(r.start, r.stop, r.step) for r in ranges)]))


def _blocks(reader: SampleReader, ids: Array) -> Iterator[Array]:
    """The ids in consecutive parts of about `BLOCK_BYTES` of arrays."""
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


def _check_place(path: Path, form: str, location: DatasetLocation, *, overwrite: bool) -> None:
    """Refuse to write over other data; with `overwrite`, over anything but an export."""
    if not overwrite and os.path.lexists(path):
        raise DatasetError(f"{path} exists; remove it, choose another name, or pass overwrite=True (--overwrite)")
    place, dataset = path.resolve(), location.dataset.resolve()
    sources = [dataset, *(table.resolve() for table in (location.infoset, location.attribset) if table is not None)]
    held = next((source for source in sources if source.is_relative_to(place)), None)
    if held is not None:
        raise DatasetError(f"{path} cannot be replaced by an export: it holds {held}, which is exported")
    if place.is_relative_to(dataset):
        raise DatasetError(f"{path} lies inside the dataset; choose another name")
    if path.is_dir() and not path.is_symlink():
        with os.scandir(path) as entries:
            folder = min((entry.name for entry in entries if entry.is_dir(follow_symlinks=False)), default=None)
        if folder is not None:
            raise DatasetError(
                f"{path} is not an export: it holds the folder {folder!r}; remove it, or choose another name"
            )
    elif os.path.lexists(path) and form != "hdf5":
        raise DatasetError(f"{path} is not a folder, and {form} writes one; remove it, or choose another name")


@contextmanager
def _published(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to `path` at the end and removed after an error."""
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
