"""The two Parquet tables beside a dataset: `.infoset` (one row per sample) and `.attribset` (names of codes)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dflow.dataset.format.manifest import Manifest
from dflow.errors import DamagedDatasetError, DatasetNotFoundError
from dflow.plaintext import get_logger

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
    try:
        table = pq.read_table(path, columns=None if columns is None else list(columns))
    except FileNotFoundError as error:
        raise DatasetNotFoundError(f"{path} does not exist; bring it back, or run the merge again") from error
    except (pa.ArrowException, OSError) as error:
        raise DamagedDatasetError(
            f"{path} is damaged, it is not a Parquet table: {error}; run the merge again"
        ) from error
    needed = _ATTRIBUTE_COLUMNS if kind == ".attribset" else _INFO_COLUMNS
    missing = [] if columns is not None else [c for c in needed if c not in table.column_names]
    if missing:
        raise DamagedDatasetError(
            f"{path} lacks the column(s) {', '.join(missing)}: it is no {kind}; pass another path, or merge again"
        )
    return table


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
    stated = _build_of(arrow.schema)
    if stated and build and stated != build:
        raise DamagedDatasetError(f"{path} belongs to another build of the dataset; run the merge again")
    table = arrow.to_pandas().sort_values("id", ignore_index=True)
    if len(table) != n_files or not np.array_equal(table["id"], np.arange(n_files)):
        raise DamagedDatasetError(
            f"{path} has {len(table)} rows, the dataset {n_files} samples: they do not belong together; "
            "run the merge again"
        )
    return table


def table_build(path: str | os.PathLike[str]) -> str:
    """The build of the dataset that a table belongs to, "" if it states none.

    Raises
    ------
    OSError, pyarrow.ArrowInvalid
        If the file cannot be read or is no Parquet.
    """
    return _build_of(pq.read_schema(path))


def table_rows(path: str | os.PathLike[str]) -> int:
    """The number of rows of a table. Raises as `table_build`."""
    return int(pq.read_metadata(path).num_rows)


def with_memory(manifest: Manifest, infoset: str | os.PathLike[str]) -> Manifest:
    """Return the manifest with the digests that `.infoset` holds; unchanged if the table belongs to another build.

    Raises
    ------
    OSError, pyarrow.ArrowInvalid
        If the file cannot be read or is no Parquet.
    """
    memory = _metadata_of(pq.read_schema(infoset))
    if memory.get("dataset") != manifest.build:
        return manifest
    return replace(manifest, inputs=str(memory.get("inputs", "")), blocks=dict(memory.get("blocks", {})))


def _build_of(schema: pa.Schema) -> str:
    """The build that a table states, "" if none."""
    return str(_metadata_of(schema).get("dataset", ""))


def _metadata_of(schema: pa.Schema) -> dict[str, Any]:
    """dflow's metadata of a table; empty if there is none or it cannot be read."""
    try:
        content = json.loads((schema.metadata or {}).get(b"dflow", b"{}"))
    except ValueError:
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
    if path is None:
        return frozenset()
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError):
        return frozenset()  # reading the table itself raises the error
    texts = {name for name in schema.names if _is_text(schema.field(name).type)}
    words = {name: (f"{name}_label", f"{name}_label_word") for name in schema.names if name not in texts}
    return frozenset(name for name, labels in words.items() if not texts.isdisjoint(labels))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def rewrite_column(path: Path, column: str, values: Sequence[Any]) -> bool:
    """Replace one text column of a table, by a new file and a rename. False if the folder cannot be written."""
    table = read_table(path, ".infoset")
    array = pa.array(values, pa.string())
    position = table.column_names.index(column) if column in table.column_names else None
    table = table.append_column(column, array) if position is None else table.set_column(position, column, array)
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    try:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        return False
    return True


def _pattern(text: str) -> str:
    return re.escape(text).replace(r"\*", ".*").replace(r"\?", ".")
