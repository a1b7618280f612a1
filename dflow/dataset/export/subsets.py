"""The formats of an export that keep the subsets apart, as the libraries that read them expect: one Parquet row per
sample for Hugging Face's `datasets`, and tar shards for `webdataset`.

Files are named after the subsets of the stored split. Without one all samples are ``train``, as `datasets`
names data that is not divided; in a divided dataset those without a subset are ``unassigned``.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dflow.dataset.export.forms import absent_keys, pack_arrays, to_arrow, write_tables
from dflow.dataset.format.stored_split import SPLIT_SUFFIX, SUBSETS, body_contents, read_split
from dflow.dataset.format.tables import read_table
from dflow.dataset.training.samples import ID, SampleReader, Samples
from dflow.errors import UnsupportedDataError

Array = np.ndarray[Any, np.dtype[Any]]

UNASSIGNED = "unassigned"

_TITLES = {ID: pa.int64(), "name": pa.string(), "source": pa.string(), "body": pa.int32()}

SHARD_BYTES = 256 * 1024**2
"""Bytes from which on the next sample begins another tar file."""


class _Subsets:
    """What is said of each exported sample beside its arrays (id, and name, source and body where the `.infoset` has
    them), and its subset.
    """

    def __init__(self, reader: SampleReader, ids: Array) -> None:
        self.about: dict[int, dict[str, Any]] = {int(i): {ID: int(i)} for i in ids}
        infoset = reader.store.infoset
        table = None if infoset is None else read_table(infoset, ".infoset").sort_by("id").take(ids)
        for title, column in (("name", "name"), ("source", "description"), ("body", "body")):
            if table is not None and column in table.column_names:
                for about, value in zip(self.about.values(), table[column].to_pylist(), strict=True):
                    about[title] = value
        self.words = dict(zip(self.about, self._words(reader, table), strict=True))

    def _words(self, reader: SampleReader, table: pa.Table | None) -> list[str]:
        """The samples' subsets, as a loader finds them: in the stored split, by content or name."""
        file = reader.store.folder.path.with_suffix(SPLIT_SUFFIX)
        if not file.exists():
            return [SUBSETS[0]] * len(self.about)
        names = [str(about.get("name", file_id)) for file_id, about in self.about.items()]
        contents: list[str] = []
        if table is not None and {"content_hash", "body"} <= set(table.column_names):
            contents = body_contents(table["content_hash"].to_pylist(), table["body"].to_pylist())
        assigned = read_split(file).match(names, contents).assigned
        return [SUBSETS[i] if i >= 0 else UNASSIGNED for i in assigned.tolist()]

    def split(self, samples: Samples) -> dict[str, Array]:
        """Positions of the samples of each subset."""
        words = [self.words[int(i)] for i in samples.ids]
        return {word: np.flatnonzero([w == word for w in words]) for word in dict.fromkeys(words)}


class HuggingFaceWriter:
    """Writes ``<subset>-00000-of-00001.parquet``: one row per sample.

    The columns are ``id``, ``name``, ``source`` (its file), ``body`` (-1: all of the file), one for each file value,
    ``file/<name>``, and one for each array, ``<group>/<name>``: a list with an entry per row of the group.

    Types stay as they are (float16 and unsigned integers too): trailing dimensions are fixed-size lists, codes are
    integers whose names stand in ``labels.parquet``. A part without faces has empty lists; a sample that lacks an array
    or a value has null, not the dataset's fill value. Complex numbers are refused, Parquet has none.
    """

    def __init__(self, path: Path, reader: SampleReader, ids: Array) -> None:
        path.mkdir()
        self._path = path
        self._reader = reader
        self._subsets = _Subsets(reader, ids)
        self._files: dict[str, pq.ParquetWriter] = {}
        for column in reader.columns:  # raises before anything is written
            to_arrow(np.zeros((0, *column.shape[1:]), column.dtype), column.key)

    def write(self, samples: Samples) -> None:
        """Append the samples to the tables of their subsets, as one row group each."""
        for subset, positions in self._subsets.split(samples).items():
            self._append(subset, samples if len(positions) == len(samples) else samples.select(positions))

    def write_tables(self, info: pa.Table | None, labels: pa.Table | None) -> None:
        """Write ``labels.parquet``; the other table's names and subsets are in the rows."""
        if not self._files:  # an export of nothing has the columns nevertheless
            self._append(SUBSETS[0], self._reader.read_many(np.zeros(0, np.int64)))
        write_tables(self._path, None, labels)

    def close(self) -> None:
        """Write the tables' footers."""
        for file in self._files.values():
            file.close()

    def _append(self, subset: str, samples: Samples) -> None:
        table = self._table(samples)
        if subset not in self._files:
            place = self._path / f"{subset}-00000-of-00001.parquet"
            self._files[subset] = pq.ParquetWriter(place, table.schema, compression="zstd")
        self._files[subset].write_table(table)

    def _table(self, samples: Samples) -> pa.Table:
        about = [self._subsets.about[int(i)] for i in samples.ids]
        columns: dict[str, pa.Array] = {
            title: pa.array([entry.get(title) for entry in about], kind) for title, kind in _TITLES.items()
        }
        absent = {key: ~flag for key, flag in _present(self._reader, samples.ids).items()}
        for key, values in samples.values.items():
            array = to_arrow(values, key)
            columns[key] = array if key not in absent else _nulled(array, absent[key])
        for key, rows in samples.rows.items():
            counts = samples.counts[key.partition("/")[0]]
            offsets = np.concatenate([[0], np.cumsum(counts)])
            if offsets[-1] >= 2**31:
                raise UnsupportedDataError(f"{key} has {offsets[-1]} rows in one block; export fewer samples with ids=")
            mask = pa.array(absent[key]) if key in absent else None
            columns[key] = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), to_arrow(rows, key), mask=mask)
        return pa.table(columns)


class WebDatasetWriter:
    """Writes ``<subset>-<number>.tar``: of each sample ``<key>.npz`` with the arrays ``group/array`` and
    ``file/value``, as `npz` exports have them, and ``<key>.json`` with its id, name, source and body.

    The key is the sample's id in digits: `webdataset` takes what stands before the first dot of a file's name for the
    key, so that parts called ``M3.5`` and ``M3.2`` would become one sample. Times and owners are 0, so that equal
    datasets give equal bytes.
    """

    def __init__(self, path: Path, reader: SampleReader, ids: Array) -> None:
        path.mkdir()
        self._path = path
        self._reader = reader
        self._subsets = _Subsets(reader, ids)
        self._digits = len(str(int(ids[-1]))) if len(ids) else 1
        self._files: dict[str, tarfile.TarFile] = {}
        self._numbers: dict[str, int] = {}

    def write(self, samples: Samples) -> None:
        """Append two members per sample to the shard of its subset."""
        for position, file_id in enumerate(samples.ids.tolist()):
            item = samples.item(position)
            absent = absent_keys(self._reader, file_id)
            key = f"{file_id:0{self._digits}d}"
            file = self._shard(self._subsets.words[file_id])
            arrays = io.BytesIO()
            pack_arrays(arrays, {name: value for name, value in item.items() if name not in absent})
            about = json.dumps(self._subsets.about[file_id], sort_keys=True, ensure_ascii=False)
            _add(file, f"{key}.json", about.encode("utf-8", "backslashreplace"))
            _add(file, f"{key}.npz", arrays.getvalue())

    def write_tables(self, info: pa.Table | None, labels: pa.Table | None) -> None:
        """Write ``file.parquet`` and ``labels.parquet``."""
        write_tables(self._path, info, labels)

    def close(self) -> None:
        """Write the ends of the archives."""
        for file in self._files.values():
            file.close()

    def _shard(self, subset: str) -> tarfile.TarFile:
        """The open archive of a subset; another one once it is full."""
        file = self._files.get(subset)
        if file is not None and file.offset < SHARD_BYTES:
            return file
        if file is not None:
            file.close()
        number = self._numbers[subset] = self._numbers.get(subset, -1) + 1
        place = self._path / f"{subset}-{number:06d}.tar"
        self._files[subset] = tarfile.open(place, "x", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 - closed by `close`
        return self._files[subset]


def _add(file: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    file.addfile(member, io.BytesIO(content))


def _present(reader: SampleReader, ids: Array) -> Mapping[str, Array]:
    """Which of the samples have each chosen column that some sample lacks, by its key."""
    found = {column.key: reader.store.present(column.group, column.name) for column in reader.columns}
    return {key: flags[ids] for key, flags in found.items() if flags is not None}


def _nulled(array: pa.Array, absent: Array) -> pa.Array:
    """The array with null where a sample lacks the value."""
    index = np.arange(len(array), dtype=np.int64)
    return array.take(pa.array(index, mask=absent))
