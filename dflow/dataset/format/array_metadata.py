"""Check the Zarr v3 metadata of a dataset's arrays before it is used: it may be damaged, or a stranger's.

What passes can be read without another error than that of a damaged chunk, and every chunk fits into memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dflow.schema import DTYPES, FILE_GROUP

MAX_CHUNK_BYTES = 1024**3
"""Limit of one chunk, expanded."""

MAX_SHARD_BYTES = 4 * 1024**3
"""Limit of one shard, expanded, that zarr-python reads: it may hold it whole."""

MAX_DIMENSIONS = 32
MAX_CODECS = 8
MAX_ROWS = 2**62

_CODECS = frozenset({"transpose", "bytes", "blosc", "crc32c", "gzip", "zstd", "sharding_indexed"})
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")
_NUMBERS = frozenset(DTYPES) - {"str"}


def check_arrays(arrays: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
    """Check the nodes of all arrays, by ``group/name``, with themselves and with the root's attributes.

    Raises
    ------
    ValueError, TypeError, LookupError, AttributeError
        If a node is not as the specification demands, has a codec or a size that is not read, has another number of
        rows than its group, or another dtype than the schema declares.
    """
    head, schema = attributes["dflow"], attributes.get("schema") or {}
    stated, declared = head.get("groups") or {}, schema.get("groups") or {}
    n_files = _count(head["n_files"], "n_files")
    rows = {group: _count(entry["n_rows"], f"rows of {group}") for group, entry in stated.items()}
    rows = {FILE_GROUP: n_files, **rows}
    if rows[FILE_GROUP] != n_files:
        raise ValueError(f"{n_files} files and {rows[FILE_GROUP]} rows of {FILE_GROUP!r}")
    for key, node in arrays.items():
        group, _, name = key.partition("/")
        try:
            check_array(node)
            n_rows = rows.setdefault(group, node["shape"][0] if node["shape"] else 0)
            if node["shape"] and (stated or group == FILE_GROUP) and node["shape"][0] != n_rows:
                raise ValueError(f"shape {node['shape']}, its group has {n_rows} rows")
            array = (declared.get(group) or {}).get("arrays", {}).get(name)
            if array is not None:
                _check_declared(node, array)
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
            raise ValueError(f"the array {key!r} has {error}") from error


def check_array(node: Mapping[str, Any]) -> None:
    """Check one array's node with itself. Raises as `check_arrays`."""
    shape = _sizes(node["shape"], "shape", least=0)
    if node["zarr_format"] != 3 or node["data_type"] not in _NUMBERS:
        raise ValueError(f"data type {node['data_type']!r} in Zarr format {node['zarr_format']!r}")
    dtype = np.dtype(node["data_type"])
    if node["chunk_grid"]["name"] != "regular":
        raise ValueError(f"a chunk grid {node['chunk_grid']['name']!r}")
    chunk = _sizes(node["chunk_grid"]["configuration"]["chunk_shape"], "chunks", least=1)
    if len(chunk) != len(shape):
        raise ValueError(f"chunks of shape {list(chunk)} for shape {list(shape)}")
    encoding = node["chunk_key_encoding"]
    separator = _configuration(encoding).get("separator", "/")
    if encoding["name"] not in ("default", "v2") or separator not in ("/", "."):
        raise ValueError(f"chunk keys {encoding['name']!r} with the separator {separator!r}")
    if node.get("storage_transformers"):
        raise ValueError("storage transformers, which are not read")
    names = node.get("dimension_names")
    if names is not None and (
        len(names) != len(shape) or not all(name is None or isinstance(name, str) for name in names)
    ):
        raise ValueError(f"dimension names {names!r}")
    if not isinstance(node.get("attributes", {}), dict):
        raise TypeError("attributes that are no dictionary")
    _check_fill(node["fill_value"], dtype)
    _check_codecs(node["codecs"], chunk, dtype.itemsize, depth=0)


def _check_codecs(codecs: Sequence[Any], chunk: tuple[int, ...], itemsize: int, *, depth: int) -> None:
    if not isinstance(codecs, list) or not 1 <= len(codecs) <= MAX_CODECS:
        raise ValueError(f"{len(codecs)} codecs; 1 to {MAX_CODECS} are read")
    names = [codec["name"] for codec in codecs]
    if unknown := set(names) - _CODECS:
        raise ValueError(f"the codec {min(unknown)!r}, which is not read; known ones are {', '.join(sorted(_CODECS))}")
    if names.count("bytes") + names.count("sharding_indexed") != 1 or names.count("transpose") > 1:
        raise ValueError(f"the codecs {', '.join(names)}")
    for codec in codecs:
        _configuration(codec)
    n_bytes = math.prod(chunk) * itemsize
    if "sharding_indexed" not in names:
        if n_bytes > MAX_CHUNK_BYTES:
            raise ValueError(f"chunks of {n_bytes:,} bytes, the limit is {MAX_CHUNK_BYTES:,}")
        return
    settings = codecs[names.index("sharding_indexed")]["configuration"]
    inner = _sizes(settings["chunk_shape"], "inner chunks", least=1)
    if len(inner) != len(chunk) or any(c % i for c, i in zip(chunk, inner, strict=True)) or depth:
        raise ValueError(f"inner chunks of shape {list(inner)} in shards of shape {list(chunk)}")
    if settings.get("index_location", "end") not in ("start", "end"):
        raise ValueError(f"the index at {settings['index_location']!r}")
    if [codec["name"] for codec in settings["index_codecs"]] not in (["bytes"], ["bytes", "crc32c"]):
        raise ValueError("an index that is compressed")
    _check_codecs(settings["codecs"], inner, itemsize, depth=depth + 1)


def _configuration(named: Mapping[str, Any]) -> Mapping[str, Any]:
    found = named.get("configuration", {})
    if not isinstance(found, dict):
        raise TypeError(f"the configuration {str(found)[:80]} of {named['name']!r}")
    return found


def _check_fill(fill: Any, dtype: np.dtype[Any]) -> None:
    """Check that a fill value, in its JSON form, is one of the dtype."""
    parts = fill if dtype.kind == "c" and isinstance(fill, list) and len(fill) == 2 else [fill]
    for part in parts:
        is_number = isinstance(part, (int, float)) and not isinstance(part, bool)
        if dtype.kind == "b":
            fits = isinstance(part, bool)
        elif dtype.kind in "iu":
            fits = is_number and part == int(part) and np.iinfo(dtype).min <= part <= np.iinfo(dtype).max
        else:
            fits = is_number or part in _NOT_FINITE or (isinstance(part, str) and part.startswith("0x"))
        if not fits:
            raise ValueError(f"the fill value {fill!r} for {dtype}")


def _check_declared(node: Mapping[str, Any], declared: Mapping[str, Any]) -> None:
    """Compare an array with its declaration; text is stored as codes."""
    dtype = declared.get("dtype")
    if dtype is not None:
        wanted = np.dtype("int32" if dtype == "str" else dtype)
        if np.dtype(node["data_type"]).kind != wanted.kind:
            raise ValueError(f"data type {node['data_type']}, the schema declares {dtype}")


def _sizes(sizes: Any, what: str, *, least: int) -> tuple[int, ...]:
    if not isinstance(sizes, list) or len(sizes) > MAX_DIMENSIONS:
        raise ValueError(f"{what} {str(sizes)[:80]}")
    return tuple(_count(size, what, least=least) for size in sizes)


def _count(value: Any, what: str, *, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_ROWS:
        raise ValueError(f"{what} of {value!r}, expected a whole number from {least}")
    return value
