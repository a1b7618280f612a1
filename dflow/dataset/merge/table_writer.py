"""Write `.infoset` and `.attribset`, the Parquet tables beside a dataset.

Equal content gives equal bytes: fixed column order, fixed row groups, no timings. Pages have checksums. Rows are
written in groups, so that ten million samples need no more memory than their plan.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dflow.dataset.format.layout import FORMAT
from dflow.dataset.format.manifest import Manifest
from dflow.dataset.format.stored_split import NO_SUBSET, StoredSplit, body_contents, subset_words
from dflow.dataset.format.tables import ATTRIBSET_SCHEMA, INFOSET_COLUMNS, label_name
from dflow.dataset.merge.columns import FileColumn, Vocabulary
from dflow.dataset.merge.plan import MergePlan
from dflow.schema import Schema
from dflow.schema.names import OPEN_NAMES
from dflow.storage.sample import NOT_SET

ROWS_PER_GROUP = 65536

_FLOW_NAME = [name for name, _ in INFOSET_COLUMNS].index("flow_name")


def info_columns(columns: Sequence[FileColumn]) -> list[str]:
    """Names of the `.infoset` columns of file values.

    Storages refuse the names of `INFOSET_COLUMNS`; values that older versions saved under them get the suffix
    ``_value``.
    """
    own = {name for name, _ in INFOSET_COLUMNS}
    taken = own | {column.name for column in columns}
    names = []
    for column in columns:
        name = column.name
        while name in own or (name != column.name and name in taken):
            name += "_value"
        taken.add(name)
        names.append(name)
    return names


def write_infoset(
    path: str | os.PathLike[str],
    plan: MergePlan,
    *,
    flow_name: str,
    stream_cache: Path,
    content_hashes: Mapping[str, str],
    manifest: Manifest | None = None,
    split: StoredSplit | None = None,
    table_name: str = "file_info",
) -> None:
    """Write one row per sample in id order: its identity, the paths of its previews, and all its file values.

    Paths of previews that exist in `stream_cache` are stored relative to its parent. A categorical value has two
    columns, the code under its name and its word under ``<name>_label``; a missing value is null. A value ``flow_name``
    of the samples replaces the flow's name. Members of `split` have their subset.
    The table's metadata holds the digests of `manifest` (`with_memory`).
    """
    previews = set(os.listdir(stream_cache)) if stream_cache.is_dir() else set()
    columns = [column for column in plan.columns if not column.derived and column.name not in OPEN_NAMES]
    flow_names = next((column for column in plan.columns if column.name in OPEN_NAMES), None)
    names = info_columns(columns)
    named = zip(columns, names, strict=True)
    fields = [*INFOSET_COLUMNS, *(field for column, name in named for field in _value_fields(column, name, names))]
    schema = pa.schema(fields, metadata=_memory(manifest) if manifest else _metadata(""))
    hashes = [content_hashes.get(name) for name in plan.samples.names]
    subsets = _subsets(plan, hashes, split)
    with pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer:
        for start in range(0, max(len(plan.samples), 1), ROWS_PER_GROUP):
            rows = range(start, min(start + ROWS_PER_GROUP, len(plan.samples)))
            fixed = _fixed_columns(plan, rows, flow_name, table_name, stream_cache.name, previews, hashes, subsets)
            if flow_names is not None:
                fixed[_FLOW_NAME] = _texts([word or flow_name for word in _words(flow_names, rows)])
            values = [array for column in columns for array in _value_arrays(column, rows)]
            writer.write_table(pa.table([*fixed, *values], schema=schema))


def _fixed_columns(
    plan: MergePlan,
    rows: range,
    flow_name: str,
    table_name: str,
    folder: str,
    previews: set[str],
    hashes: Sequence[str | None],
    subsets: Sequence[str],
) -> list[pa.Array]:
    names = plan.samples.names[rows.start : rows.stop]
    n = len(names)

    def preview(suffix: str) -> pa.Array:
        return pa.array(
            [f"{folder}/{name}{suffix}" if name + suffix in previews else None for name in names], pa.string()
        )

    return [
        pa.array(np.arange(rows.start, rows.stop, dtype=np.int64)),
        pa.array(names, pa.string()),
        _texts(plan.samples.sources[rows.start : rows.stop]),
        pa.array(plan.samples.bodies[rows.start : rows.stop], pa.int32()),
        pa.array([flow_name] * n, pa.string()),
        pa.array(subsets[rows.start : rows.stop], pa.string()),
        pa.array([table_name] * n, pa.string()),
        preview(".png"),
        preview(".glb"),
        pa.array(hashes[rows.start : rows.stop], pa.string()),
    ]


def _subsets(plan: MergePlan, hashes: Sequence[str | None], split: StoredSplit | None) -> list[str]:
    if split is None:
        return [NO_SUBSET] * len(hashes)
    contents = body_contents(hashes, plan.samples.bodies.tolist()) if any(hashes) else ()
    return subset_words(split.match(plan.samples.names, contents).assigned)


def _value_fields(column: FileColumn, name: str, names: Collection[str]) -> list[tuple[str, pa.DataType]]:
    if column.is_text:
        return [(name, pa.string())]
    plain = (name, pa.from_numpy_dtype(column.values.dtype))
    return [plain] if column.vocabulary is None else [plain, (label_name(name, names), pa.string())]


def _value_arrays(column: FileColumn, rows: range) -> Iterator[pa.Array]:
    values = column.values[rows.start : rows.stop]
    absent = None if column.present is None else ~column.present[rows.start : rows.stop]
    if column.is_text:
        yield _texts(values)
        return
    yield pa.array(values, mask=absent)
    if column.vocabulary is not None:
        yield _texts(_words(column, rows))


def _words(column: FileColumn, rows: range) -> list[str | None]:
    """A column as text: its text, the words of its codes, or its numbers."""
    values = column.values[rows.start : rows.stop].tolist()
    if column.vocabulary is not None:
        words = {code: name for code, name, _ in column.vocabulary}
        return [words.get(code) for code in values]
    return [value if value is None else str(value) for value in values]


def _texts(values: Iterable[str | None]) -> pa.Array:
    """A column of text. Lone surrogates, which stand for invalid UTF-8 in file names, are escaped for Parquet."""
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:
        shown = [None if v is None else v.encode("utf-8", "backslashreplace").decode("utf-8") for v in values]
        return pa.array(shown, pa.string())


def attribute_tables(plan: MergePlan, words: Mapping[str, Sequence[str]]) -> dict[str, Vocabulary]:
    """All tables of `.attribset`: description tables, and the vocabularies of categorical fields and of arrays.

    A description table of the samples (``descriptions/category``) adds names of ids and descriptions that the
    vocabulary of the field or array lacks. The table of an array of text, or with declared classes, has the array's
    name; or ``group/name`` if a field, or an array with another vocabulary, has that name.
    """
    tables: dict[str, Vocabulary] = dict(plan.tables)
    fields = set()
    for column in plan.columns:
        if column.vocabulary is not None:
            fields.add(column.name)
            tables[column.name] = _complete(column.vocabulary, plan.tables.get(column.name, ()))
    arrays = {**_declared_classes(plan.schema), **{key: _words_table(plan.schema, key, w) for key, w in words.items()}}
    for key, rows in arrays.items():
        name = key.partition("/")[2]
        others = [vocabulary for other, vocabulary in arrays.items() if other.partition("/")[2] == name]
        if name in fields or any(vocabulary != rows for vocabulary in others):
            name = key
        tables[name] = _complete(rows, plan.tables.get(name, ()))
    return dict(sorted(tables.items()))


def _declared_classes(schema: Schema) -> dict[str, Vocabulary]:
    """The vocabularies of arrays of codes, by ``group/name``."""
    return {
        f"{group}/{name}": tuple(sorted((int(code), label, NOT_SET) for code, label in array.class_names.items()))
        for group, spec in schema.groups.items()
        for name, array in spec.arrays.items()
        if array.class_names and array.dtype != "str"
    }


def _words_table(schema: Schema, key: str, words: Sequence[str]) -> Vocabulary:
    array = schema.array(*key.split("/"))
    labels = array.class_names if array is not None else {}
    notes = [label if (label := labels.get(word, word)) != word else NOT_SET for word in words]
    return tuple((code, word, note) for code, (word, note) in enumerate(zip(words, notes, strict=True)))


def _complete(own: Vocabulary, described: Vocabulary) -> Vocabulary:
    rows = {code: (name, description) for code, name, description in own}
    for code, name, description in described:
        known, text = rows.get(code, (str(code), NOT_SET))
        rows[code] = (name if known == str(code) else known, text if description in ("", NOT_SET) else description)
    return tuple((code, *rows[code]) for code in sorted(rows))


def write_attribset(path: str | os.PathLike[str], tables: Mapping[str, Vocabulary], *, build: str) -> None:
    """Write the long table (table_name, id, name, description), sorted by table and id."""
    ordered = sorted(tables)
    rows = [row for table in ordered for row in tables[table]]
    columns = [
        pa.array([table for table in ordered for _ in tables[table]], pa.string()),
        pa.array([code for code, _, _ in rows], pa.int64()),
        _texts([name for _, name, _ in rows]),
        _texts([description or NOT_SET for _, _, description in rows]),
    ]
    schema = ATTRIBSET_SCHEMA.with_metadata(_metadata(build))
    table = pa.table(columns, schema=schema)
    pq.write_table(table, path, compression="zstd", row_group_size=ROWS_PER_GROUP, write_page_checksum=True)


def _memory(manifest: Manifest) -> dict[bytes, bytes]:
    return _metadata(manifest.build, blocks=dict(manifest.blocks), inputs=manifest.inputs)


def _metadata(build: str, **more: Any) -> dict[bytes, bytes]:
    return {b"dflow": json.dumps({"dataset": build, "format": FORMAT, **more}, sort_keys=True).encode()}
