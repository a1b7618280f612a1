"""Describe a sample by the small record that the merge plans with, and read arrays of a `.data` file."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dflow.errors import DamagedStoreError, SchemaError
from dflow.records import ArrayLayout, SampleLayout, SampleRecord, Scalar
from dflow.schema import FILE_GROUP, Schema, parse_schema, resolve_array
from dflow.schema.checks import nearest_key
from dflow.storage.base import FILE_SIZES, DataStorage
from dflow.storage.keys import DESCRIPTIONS, METADATA_GROUP
from dflow.storage.opt import OptStorage, read_attributes
from dflow.storage.tree import MetadataTree
from dflow.storage.values import json_words
from dflow.storage.zarrzip import outline_zip_store, read_zip_store

NOT_SET = "not set"
"""The description of a code that has only a name."""

NO_VALUES = frozenset({"Item", "Flow name", DESCRIPTIONS, FILE_SIZES})
"""Metadata keys that are no values of the sample: its file, its flow, tables and sizes."""

_Typed = tuple[str, tuple[int, ...], tuple[str, ...]]


def describe(storage: DataStorage, name: str, source: str, body: int = -1) -> SampleRecord:
    """The record of a storage's sample. Write an `OptStorage` first, so that the record holds the file's checksum.

    Parameters
    ----------
    storage : holds the sample
    name : of the sample
    source : path of the CAD file, relative to the flow's folder
    body : the body's index, -1 for the whole file

    Raises
    ------
    SchemaError
        If arrays of one group disagree on their rows, or a required array or metadata field is missing.
    """
    types, dims = storage.array_types(), storage.dimensions()
    written = storage.written if isinstance(storage, OptStorage) else None
    return SampleRecord(
        name=name,
        source=source,
        body=body,
        n_bytes=written.n_bytes if written else 0,
        data_crc=written.crc if written else 0,
        **_contents(
            storage.schema,
            storage.schema_text,
            storage.get_metadata(),
            {key: (dtype, shape, dims[key]) for key, (dtype, shape) in types.items()},
        ),
    )


def describe_file(
    path: str | os.PathLike[str], name: str | None = None, source: str | None = None, body: int = -1
) -> SampleRecord:
    """The record of a `.data` file; no array is read.

    Parameters
    ----------
    path : of the `.data` file
    name : of the sample; the file's stem by default
    source : path of the CAD file; the metadata ``Item`` by default
    body : the body's index, -1 for the whole file

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DamagedStoreError, StoreLimitError
        If it cannot be read.
    SchemaError
        If a required array or metadata field is missing.
    """
    outline = outline_zip_store(path)
    schema_dict, tree = read_attributes(outline.attributes, os.fspath(path))
    extra = [key for key in outline.arrays if key.startswith(f"{METADATA_GROUP}/")]
    arrays = read_zip_store(path, extra).arrays if extra else {}
    metadata = MetadataTree.unpack(tree, arrays, path=os.fspath(path)).to_dict()
    text = json.dumps(schema_dict, sort_keys=True, separators=(",", ":"), ensure_ascii=False) if schema_dict else ""
    types = {
        key: (document.dtype, document.shape, document.dims or ())
        for key, document in outline.arrays.items()
        if key not in arrays
    }
    return SampleRecord(
        name=Path(path).stem if name is None else name,
        source=str(metadata.get("Item", "")) if source is None else source,
        body=body,
        n_bytes=outline.n_bytes,
        data_crc=outline.crc,
        **_contents(_stored_schema(text), text, metadata, types),
    )


def read_arrays(path: str | os.PathLike[str], keys: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Read some arrays of a `.data` file, by key, and verify their checksums. Raises as `read_zip_store`.

    Parameters
    ----------
    path : of the `.data` file
    keys : ``group/array``
    """
    return {key: stored.data for key, stored in read_zip_store(path, keys).arrays.items()}


def _contents(
    schema: Schema, schema_text: str, metadata: Mapping[str, Any], types: Mapping[str, _Typed]
) -> dict[str, Any]:
    check_required(schema, types, metadata)
    layouts = tuple(_array_layout(schema, key, *types[key]) for key in sorted(types))
    layout = _interned(SampleLayout(layouts, schema_text, _tables(metadata.get(DESCRIPTIONS))))
    rows: dict[str, set[int]] = {group: set() for group in layout.groups}
    for key, (_, shape, _) in types.items():
        group = key.partition("/")[0]
        if group != FILE_GROUP:
            rows[group].add(shape[0] if shape else -1)
    if odd := [group for group, counts in rows.items() if len(counts) > 1 or -1 in counts]:
        raise SchemaError(f"the arrays of group {odd[0]!r} disagree on their rows: {sorted(rows[odd[0]])}")
    counts = tuple(count for found in rows.values() for count in found)
    return {"layout": layout, "rows": counts, "values": _values(metadata)}


def check_required(schema: Schema, keys: Collection[str], metadata: Mapping[str, Any]) -> None:
    """Refuse a sample that lacks a required array or metadata field.

    Parameters
    ----------
    keys : ``group/array`` of the sample's arrays

    Raises
    ------
    SchemaError
        If one is missing.
    """
    for group, spec in schema.groups.items():
        for array in spec.arrays.values():
            if array.required and (key := f"{group}/{array.name}") not in keys:
                near = nearest_key(key, (other for other in keys if schema.array(*other.split("/")) is None))
                hint = f" (is {near!r} meant?)" if near else ""
                raise SchemaError(
                    f"the required array {key!r} was not saved; {', '.join(sorted(keys)) or 'none'} were{hint}; "
                    f"save_data({key!r}, array) in every file, or declare it without required=True"
                )
    for kind in (schema.file_level, schema.categorical):
        for field in kind.values():
            if field.required and metadata.get(field.name) is None:
                raise SchemaError(
                    f"the required metadata field {field.name!r} is missing; save_metadata({field.name!r}, value)"
                )


def _array_layout(schema: Schema, key: str, dtype: str, shape: tuple[int, ...], dims: tuple[str, ...]) -> ArrayLayout:
    group, _, name = key.partition("/")
    spec = resolve_array(schema, group, name)
    fill = spec.fill_value if spec else None
    if isinstance(fill, float) and math.isnan(fill):
        fill = None  # None means NaN for floats, and unlike NaN compares equal after pickling
    return ArrayLayout(group, name, dtype, dims, shape if group == FILE_GROUP else shape[1:], fill)


@lru_cache(maxsize=512)
def _interned(layout: SampleLayout) -> SampleLayout:
    """One object per equal layouts, so that the records of a batch share it, also in their pickle."""
    return layout


@lru_cache(maxsize=64)
def _stored_schema(text: str) -> Schema:
    try:
        return parse_schema(json.loads(text)) if text else Schema()
    except SchemaError as error:
        raise DamagedStoreError(f"a stored schema contradicts itself: {error}; encode its files again") from error


def _values(metadata: Mapping[str, Any]) -> tuple[tuple[str, Scalar], ...]:
    return tuple(
        (name, json_words(value) if isinstance(value, (dict, list)) else value)
        for name, value in sorted(metadata.items())
        if name not in NO_VALUES and value is not None
    )


def _tables(branch: Any) -> tuple[tuple[str, tuple[tuple[int, str, str], ...]], ...]:
    if not isinstance(branch, Mapping):
        return ()
    return tuple((table, _table_rows(table, branch[table])) for table in sorted(branch))


def _table_rows(table: str, content: Any) -> tuple[tuple[int, str, str], ...]:
    """Rows of ``{id: name}``, ``{name: id}``, ``{id: {"name": …, "description": …}}`` or a list of names."""
    if isinstance(content, list):
        content = dict(enumerate(content))
    if not isinstance(content, Mapping):
        raise SchemaError(
            f"metadata '{DESCRIPTIONS}/{table}' is {type(content).__name__}, not a table; "
            "use {code: name} or a list of names"
        )
    rows = []
    for key, value in content.items():
        if isinstance(value, int) and not _is_code(key):
            key, value = value, key
        if not _is_code(key):
            raise SchemaError(f"metadata '{DESCRIPTIONS}/{table}': {key!r} is no integer code; use {{code: name}}")
        label, note = (value.get("name"), value.get("description")) if isinstance(value, Mapping) else (value, None)
        rows.append((int(key), str(label), NOT_SET if note is None else str(note)))
    return tuple(sorted(rows))


def _is_code(key: Any) -> bool:
    return isinstance(key, int) or (isinstance(key, str) and key.removeprefix("-").isdecimal())
