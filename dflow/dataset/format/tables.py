"""The two Parquet tables beside a dataset: `.infoset` (one row per sample) and `.attribset` (names of codes).

A table is compared with its checksum in the file ``.checksums`` beside it (of the same name): the whole
file where rows are read, the footer alone where only columns are looked up. Pages have checksums of their own, but
Parquet has none for the rest. A table without a checksum, of an older version or under another name, is read as it is.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from isal import isal_zlib

from dflow.dataset.format.layout import how_to_mend
from dflow.dataset.format.manifest import (
    Manifest,
    TableSum,
    read_sums,
    table_footer,
    table_sum,
    write_sums,
)
from dflow.errors import DamagedDatasetError, DatasetError, DatasetNotFoundError
from dflow.plaintext import get_logger
from dflow.storage.atomic import sync
from dflow.storage.paths import DATASET_SUFFIX, open_regular, read_regular

logger = get_logger(__name__)

Rows = TypeVar("Rows")

INFOSET_COLUMNS = (
    ("id", pa.int64()),
    ("name", pa.string()),
    ("description", pa.string()),
    ("body", pa.int32()),
    ("flow_name", pa.string()),
    ("subset", pa.string()),
    ("table_name", pa.string()),
    ("stream_cache_png", pa.string()),
    ("stream_cache_3d", pa.string()),
    ("content_hash", pa.string()),
)

ATTRIBSET_SCHEMA = pa.schema(
    [("table_name", pa.string()), ("id", pa.int64()), ("name", pa.string()), ("description", pa.string())]
)

_FOOTER_GUESS = 64 * 1024
"""Bytes from the end of a table that are read at first; nearly all footers are shorter."""

_INFO_COLUMNS = ("id", "name", "description")
_ATTRIBUTE_COLUMNS = ("table_name", "id", "name", "description")


def read_table(path: Path | None, kind: str, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Read one of the tables.

    Parameters
    ----------
    path : of the table; None if none was found
    kind : its suffix, ``.infoset`` or ``.attribset``
    columns : names of the columns to read; all by default

    Raises
    ------
    DatasetNotFoundError
        If there is no table.
    DamagedDatasetError
        If it is not Parquet, or lacks columns that every table of its kind has.
    """
    if path is None:
        raise DatasetNotFoundError(f"there is no {kind} beside the dataset; pass its path to DatasetExplorer")
    content, covered = _checked(path, read_regular, lambda whole, each: whole == each.crc)
    try:
        table = pq.read_table(
            pa.BufferReader(content),
            columns=None if columns is None else list(columns),
            use_threads=False,  # a process that ends while Arrow's threads do may be aborted by them
            pre_buffer=False,
            page_checksum_verification=not covered,
        )
        if not covered:
            table.validate(full=True)
    except Exception as error:  # of pyarrow, or of Python, on a table without a checksum
        raise _damaged(path, f"it is not a Parquet table: {error}") from error
    needed = _ATTRIBUTE_COLUMNS if kind == ".attribset" else _INFO_COLUMNS
    missing = [] if columns is not None else [c for c in needed if c not in table.column_names]
    if missing:
        raise DamagedDatasetError(
            f"{path} lacks the column(s) {', '.join(missing)}: it is no {kind}; pass another path, or merge again"
        )
    return table


def read_frame(path: Path | None, kind: str) -> pd.DataFrame:
    """Read one of the tables into pandas. Parameters and errors as of `read_table`."""
    return _frame(read_table(path, kind), path)


def _frame(table: pa.Table, path: Path | None) -> pd.DataFrame:
    try:
        return table.to_pandas(use_threads=False)
    except Exception as error:  # of a table without a checksum, whose pandas metadata contradicts its columns
        assert path is not None
        raise _damaged(path, f"its columns cannot be converted: {error}") from error


def read_infoset(path: Path | None, n_files: int, build: str = "") -> pd.DataFrame:
    """Read the `.infoset`, sorted by id.

    Parameters
    ----------
    n_files : samples of the dataset
    build : digest of the dataset; "" is not compared

    Raises
    ------
    DamagedDatasetError
        If it has another number of samples than the dataset, or belongs to another `build`.
    """
    arrow = read_table(path, ".infoset")
    assert path is not None
    stated = str(_memory(arrow.schema).get("dataset", ""))
    if stated and build and stated != build:
        raise _damaged(path, "it belongs to another build of the dataset")
    table = _frame(arrow, path).sort_values("id", ignore_index=True)
    if len(table) != n_files or not np.array_equal(table["id"], np.arange(n_files)):
        raise _damaged(path, f"it has {len(table)} rows, the dataset {n_files} samples: they do not belong together")
    return table


def dataset_of(table: str | os.PathLike[str]) -> Path:
    """The dataset beside a table."""
    return Path(table).with_suffix(DATASET_SUFFIX)


def stated_sums(table: str | os.PathLike[str]) -> Mapping[str, tuple[TableSum, ...]]:
    """The checksums of a table and of the other one, by suffix, in the file beside them; none if there is none.

    Raises
    ------
    DamagedDatasetError
        If that file is damaged.
    """
    try:
        return read_sums(table)
    except DamagedDatasetError as error:
        raise DamagedDatasetError(f"{table} {error}; {how_to_mend(dataset_of(table))}") from error


def table_metadata(path: str | os.PathLike[str]) -> pq.FileMetaData:
    """The footer of a table, compared with its checksum: the schema and the number of rows.

    Raises
    ------
    DatasetNotFoundError
        If there is no table.
    DamagedDatasetError
        If it is not Parquet, or damaged.
    """
    content, _ = _checked(Path(path), _read_footer, lambda footer, each: footer == each.footer_crc)
    try:
        # A file of the footer alone: with whole rows behind it, reading the schema would read them too.
        metadata = pq.read_metadata(pa.BufferReader(b"PAR1" + content))
        metadata.schema.to_arrow_schema()
        return metadata
    except Exception as error:  # of pyarrow, or of Python, on a table without a checksum
        raise _damaged(Path(path), f"its footer is no Parquet: {error}") from error


def table_build(path: str | os.PathLike[str]) -> str:
    """The build of the dataset that a table belongs to, "" if it states none. Raises as `table_metadata`."""
    return str(_memory(table_metadata(path).schema.to_arrow_schema()).get("dataset", ""))


def table_rows(path: str | os.PathLike[str]) -> int:
    """The number of rows of a table. Raises as `table_metadata`."""
    return int(table_metadata(path).num_rows)


def table_columns(path: Path | None) -> dict[str, pa.DataType]:
    """Names and types of a table's columns; none if it is missing or damaged: reading the table raises the error."""
    if path is None:
        return {}
    try:
        schema = table_metadata(path).schema.to_arrow_schema()
    except DatasetError:
        return {}
    return {name: schema.field(i).type for i, name in enumerate(schema.names)}


def with_memory(manifest: Manifest, infoset: str | os.PathLike[str]) -> Manifest:
    """Return the manifest with the digests that `.infoset` holds; unchanged if the table belongs to another build.

    Raises as `table_metadata`.
    """
    memory = _memory(table_metadata(infoset).schema.to_arrow_schema())
    if memory.get("dataset") != manifest.build:
        return manifest
    return replace(manifest, inputs=str(memory.get("inputs", "")), blocks=dict(memory.get("blocks", {})))


def _checked(
    path: Path, read: Callable[[Path], bytes], is_stated: Callable[[int, TableSum], bool]
) -> tuple[bytes, bool]:
    """Read a table or its footer, compare the CRC-32, and return whether there is one to compare with."""
    for attempt in (1, 2):  # a split of another process may exchange table and checksum between the two reads
        stated = stated_sums(path).get(path.suffix, ())
        try:
            content = read(path)
        except FileNotFoundError as error:
            raise DatasetNotFoundError(
                f"{path} does not exist; bring it back, or {how_to_mend(dataset_of(path))}"
            ) from error
        except OSError as error:
            raise _damaged(path, f"it cannot be read: {error}") from error
        crc = isal_zlib.crc32(content)
        if not stated or any(is_stated(crc, each) for each in stated):
            break
        if attempt == 2:
            raise _damaged(path, "or of another build of the dataset: its checksum is not the one beside it")
    return content, bool(stated)


def _read_footer(path: Path) -> bytes:
    with os.fdopen(open_regular(path), "rb") as file:
        size = file.seek(0, os.SEEK_END)
        for guess in (_FOOTER_GUESS, size):
            file.seek(max(0, size - guess))
            tail = file.read()
            footer = table_footer(tail)
            if len(footer) < len(tail):
                break
    return footer


def _damaged(path: Path, why: str) -> DamagedDatasetError:
    return DamagedDatasetError(f"{path} is damaged, {why}; {how_to_mend(dataset_of(path))}")


def _memory(schema: pa.Schema) -> dict[str, Any]:
    """dflow's metadata of a table; empty if there is none or it cannot be read."""
    try:
        content = json.loads((schema.metadata or {}).get(b"dflow", b"{}"))
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def label_name(name: str, names: Collection[str]) -> str:
    """The name of the column with the words of a categorical value: ``<name>_label``, or a free name like it."""
    label = f"{name}_label"
    while label in names:
        label += "_word"
    return label


def descriptions(table: pd.DataFrame, table_name: str, key_id: int | str | None, use_wildcard: bool) -> pd.DataFrame:
    """Rows of the `.attribset` of one table.

    Parameters
    ----------
    key_id : an id, or the name of the rows; None for all rows
    use_wildcard : whether ``*`` and ``?`` in both names are wildcards; the case of letters is then ignored

    Without such a table there are no rows, and a warning is logged.
    """
    names = table["table_name"].astype(str)
    chosen = names.str.fullmatch(_pattern(table_name), case=False) if use_wildcard else names == table_name
    if not chosen.any():
        known = ", ".join(sorted(names.unique())) or "none"
        logger.warning("there is no description table %r; the .attribset has %s", table_name, known)
    if isinstance(key_id, str):
        labels = table["name"].astype(str)
        chosen &= labels.str.fullmatch(_pattern(key_id), case=False) if use_wildcard else labels == key_id
    elif key_id is not None:
        chosen &= table["id"] == key_id
    return table[chosen].reset_index(drop=True)


def names_of_codes(table: pd.DataFrame, group: str, name: str) -> dict[int, str]:
    """Names by code of the array ``group/name``, from the `.attribset`; empty if it has none.

    An array has the table of its name, or ``group/name`` where several arrays or values of one name have other names.
    """
    for table_name in (f"{group}/{name}", name):
        rows = table[table["table_name"] == table_name]
        if len(rows):
            return {int(code): str(word) for code, word in zip(rows["id"], rows["name"], strict=True)}
    return {}


def table_of(tables: Mapping[str, Rows], group: str, name: str) -> Rows | None:
    """The table of an array among all tables by name: see `names_of_codes`."""
    return tables.get(f"{group}/{name}") or tables.get(name)


def label_columns(path: Path | None) -> frozenset[str]:
    """Names of columns of codes for which there is a text column of words: ``category`` with ``category_label``."""
    columns = table_columns(path)
    texts = {name for name, kind in columns.items() if _is_text(kind)}
    words = {name: (f"{name}_label", f"{name}_label_word") for name in columns if name not in texts}
    return frozenset(name for name, labels in words.items() if not texts.isdisjoint(labels))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def rewrite_column(path: Path, column: str, values: Sequence[Any]) -> bool:
    """Replace one text column of a table, by a new file and a rename, and renew the table's checksum.

    False if a folder cannot be written; the table is then unchanged.
    """
    table = read_table(path, ".infoset")
    array = pa.array(values, pa.string())
    position = table.column_names.index(column) if column in table.column_names else None
    table = table.append_column(column, array) if position is None else table.set_column(position, column, array)
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    try:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
        sync(temporary)
        exchange_table(path, temporary)
    except OSError:
        temporary.unlink(missing_ok=True)
        return False
    return True


def exchange_table(path: Path, temporary: Path) -> None:
    """Rename a new table over the old one, and renew its checksum where it has one.

    Raises
    ------
    OSError
        If one of the folders cannot be written; the table is then unchanged.
    DamagedDatasetError
        If the checksums are damaged.
    """
    sums = stated_sums(path)
    if path.suffix not in sums:
        os.replace(temporary, path)
        return
    new = table_sum(read_regular(temporary))
    write_sums(path, {**sums, path.suffix: (*sums[path.suffix], new)})
    os.replace(temporary, path)
    sync(path.parent)  # before the old table's checksum goes
    write_sums(path, {**sums, path.suffix: (new,)})


def _pattern(text: str) -> str:
    return re.escape(text).replace(r"\*", ".*").replace(r"\?", ".")
