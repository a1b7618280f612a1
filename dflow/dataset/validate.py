"""Check a dataset against its manifest and metadata: files, checksums, offsets, ids, tables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from numpy.typing import NDArray

from dflow.dataset.format.layout import MANIFEST
from dflow.dataset.format.location import table_beside
from dflow.dataset.format.manifest import Manifest, file_crc, missing_files, read_manifest
from dflow.dataset.format.tables import ATTRIBSET_SCHEMA, INFOSET_COLUMNS, table_build
from dflow.errors import DatasetError
from dflow.schema import FILE_GROUP
from dflow.schema.names import id_array, row_count, row_start
from dflow.storage.paths import ATTRIBSET_SUFFIX, INFOSET_SUFFIX, TEMPORARY_PREFIX, Below

_ROWS = 4 * 1024**2


def validate_dataset(
    path: str | os.PathLike[str],
    *,
    infoset: str | os.PathLike[str] | None = None,
    attribset: str | os.PathLike[str] | None = None,
) -> list[str]:
    """List every problem of a dataset, one sentence each; the list is empty if there is none.

    Reads every byte once, a few chunks at a time: the manifest's files and checksums, offsets against row counts, the
    ids of every row, and the two tables. A damaged dataset is a problem in the list, never an exception.

    Parameters
    ----------
    path : the `.dataset`
    infoset, attribset : its tables; searched for beside it if omitted, where a missing one is no problem
    """
    path = Path(path)
    try:
        manifest = read_manifest(path)
    except DatasetError as error:
        return [str(error)]
    if outside := list(Below(path, top_links=False).links_out()):
        return [f"{name}: a link that leads out of the dataset" for name in outside]
    if odd := sorted(
        file for file in path.rglob("*") if not (file.is_file() or file.is_dir())
    ):  # reading a pipe would block
        return [f"{file.relative_to(path)}: is not a regular file" for file in odd]
    problems = missing_files(path, manifest)
    problems += _wrong_checksums(path, manifest, {problem.split(":")[0] for problem in problems})
    problems += _unlisted_files(path, manifest)
    if not problems:
        try:
            problems += _check_rows(path)
        except (
            Exception
        ) as error:  # zarr raises anything from KeyError to RuntimeError on metadata that contradicts itself
            problems.append(f"the arrays cannot be read: {type(error).__name__}: {error}")
    for table, suffix, check in (
        (infoset, INFOSET_SUFFIX, _check_infoset),
        (attribset, ATTRIBSET_SUFFIX, _check_attribset),
    ):
        file = Path(table) if table is not None else table_beside(path, suffix)
        if file.exists() and not file.is_file():
            problems.append(f"{file.name}: is not a regular file")
        elif table is not None or file.exists():
            problems += check(file, path, manifest)
    return problems


def _wrong_checksums(path: Path, manifest: Manifest, skip: set[str]) -> Iterator[str]:
    for name, (_, expected) in sorted(manifest.files.items()):
        if name in skip:
            continue
        if file_crc(path / name) != expected:
            yield f"{name}: its checksum does not match the manifest"


def _unlisted_files(path: Path, manifest: Manifest) -> Iterator[str]:
    """Files that the manifest does not list: a chunk among them would be read as data."""
    for folder, _, names in os.walk(path):
        for name in sorted(names):
            relative = os.path.relpath(os.path.join(folder, name), path).replace(os.sep, "/")
            if relative not in manifest.files and relative != MANIFEST and not name.startswith(TEMPORARY_PREFIX):
                yield f"{relative}: not in the manifest"


def _check_rows(path: Path) -> Iterator[str]:
    root = zarr.open_group(str(path), mode="r")
    head: Any = root.attrs["dflow"]
    n_files = int(head["n_files"])
    for group, stated in head["groups"].items():
        arrays = dict(_group(root, group).arrays())
        n_rows = int(stated["n_rows"])
        for name, array in sorted(arrays.items()):
            if array.shape[0] != n_rows:
                yield f"{group}/{name}: {array.shape[0]} rows, the dataset's attributes state {n_rows}"
        if group != FILE_GROUP:
            yield from _check_offsets(root, group, n_files, n_rows, arrays[id_array(group)])


def _group(root: zarr.Group, name: str) -> zarr.Group:
    node = root[name]
    if not isinstance(node, zarr.Group):
        raise TypeError(f"{name} is an array")
    return node


def _check_offsets(root: zarr.Group, group: str, n_files: int, n_rows: int, ids: Any) -> Iterator[str]:
    file = _group(root, FILE_GROUP)
    starts, counts = (np.asarray(file[name][:]) for name in (row_start(group), row_count(group)))  # type: ignore[index]  # arrays
    if len(starts) != n_files:
        yield f"{row_start(group)}: {len(starts)} files, the dataset's attributes state {n_files}"
        return
    expected = np.concatenate([[0], np.cumsum(counts)])
    if (counts < 0).any() or not np.array_equal(starts, expected[:-1]) or expected[-1] != n_rows:
        yield f"{group}: row_start and row_count do not cover its {n_rows} rows without gap or overlap"
        return
    for begin in range(0, n_rows, _ROWS):
        found = np.asarray(ids[begin : begin + _ROWS])
        if not np.array_equal(found, _expected_ids(expected, begin, begin + len(found))):
            yield f"{group}/{id_array(group)}: ids contradict the offsets between rows {begin} and {begin + len(found)}"
            return


def _expected_ids(offsets: NDArray[np.int64], begin: int, end: int) -> NDArray[np.int64]:
    return np.searchsorted(offsets, np.arange(begin, end), side="right") - 1


def _check_infoset(file: Path, path: Path, manifest: Manifest) -> Iterator[str]:
    try:
        _read_whole(file)
        ids = pq.read_table(file, columns=["id"])["id"].to_numpy()
    except (OSError, ValueError, pa.ArrowException) as error:
        yield f"{file.name}: cannot be read: {error}"
        return
    head: Any = zarr.open_group(str(path), mode="r").attrs["dflow"]
    if not np.array_equal(ids, np.arange(int(head["n_files"]))):
        yield f"{file.name}: its ids are not 0 to {int(head['n_files']) - 1} in order"
    schema = pq.read_schema(file)
    for name, kind in INFOSET_COLUMNS:
        if name not in schema.names or schema.field(name).type != kind:
            yield f"{file.name}: its column {name!r} is missing or no longer {kind}"
    yield from _check_build(file, manifest)


def _check_attribset(file: Path, path: Path, manifest: Manifest) -> Iterator[str]:
    try:
        _read_whole(file)
        schema = pq.read_schema(file)
    except (OSError, ValueError, pa.ArrowException) as error:
        yield f"{file.name}: cannot be read: {error}"
        return
    if not schema.equals(ATTRIBSET_SCHEMA):
        yield f"{file.name}: its columns are {schema.names}, expected {ATTRIBSET_SCHEMA.names}"
    yield from _check_build(file, manifest)


def _read_whole(file: Path) -> None:
    """Check every page's checksum where the table has them, one row group at a time."""
    with pq.ParquetFile(file, page_checksum_verification=True) as table:
        n_rows = [table.read_row_group(group).num_rows for group in range(table.num_row_groups)]
        stated = [table.metadata.row_group(group).num_rows for group in range(table.num_row_groups)]
        if n_rows != stated or sum(n_rows) != table.metadata.num_rows:
            raise ValueError(f"its row groups hold {sum(n_rows)} rows, its footer states {table.metadata.num_rows}")


def _check_build(file: Path, manifest: Manifest) -> Iterator[str]:
    try:
        build = table_build(file)
    except ValueError as error:  # of JSON or text, in the table's metadata
        yield f"{file.name}: its metadata cannot be read: {error}"
        return
    if build not in ("", manifest.build):
        yield f"{file.name}: belongs to another build of the dataset; run the merge again"
