"""The JSON documents of a Zarr v3 hierarchy, formatted directly: one per node, and all of them in the root again.

Zarr v3 core specification for groups and arrays; ``consolidated_metadata`` as zarr-python 3 writes it; data type
``string`` and codec ``vlen-utf8`` as in zarr-extensions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from dflow.errors import DamagedStoreError
from dflow.schema.names import name_fault
from dflow.storage.chunks import ZSTD_LEVEL
from dflow.storage.keys import METADATA_GROUP

_FILL = {"bool": "false", "int": "-1", "uint": "0", "float": '"NaN"', "complex": '["NaN","NaN"]', "str": '""'}


@dataclass(frozen=True, slots=True)
class ArrayDocument:
    """The content of an array's document."""

    dtype: str
    shape: tuple[int, ...]
    dims: tuple[str, ...] | None
    compressed: bool
    attributes: Mapping[str, Any]


@lru_cache(maxsize=1024)
def array_text(
    dtype: str, shape: tuple[int, ...], dims: tuple[str, ...] | None, compressed: bool, attributes: str = "{}"
) -> str:
    """The ``zarr.json`` of an array of one chunk; `attributes` is JSON text."""
    sizes = ",".join(map(str, shape))
    chunk = ",".join(str(max(size, 1)) for size in shape)
    codecs = '{"name":"vlen-utf8"}' if dtype == "str" else '{"name":"bytes","configuration":{"endian":"little"}}'
    if compressed:
        codecs += f',{{"name":"zstd","configuration":{{"level":{ZSTD_LEVEL},"checksum":false}}}}'
    names = f',"dimension_names":{json.dumps(dims)}' if dims is not None else ""
    data_type = "string" if dtype == "str" else dtype
    return (
        f'{{"zarr_format":3,"node_type":"array","shape":[{sizes}],"data_type":"{data_type}",'
        f'"chunk_grid":{{"name":"regular","configuration":{{"chunk_shape":[{chunk}]}}}},'
        '"chunk_key_encoding":{"name":"default","configuration":{"separator":"/"}},'
        f'"fill_value":{_FILL[dtype.rstrip("0123456789")]},"codecs":[{codecs}],'
        f'"attributes":{attributes}{names},"storage_transformers":[]}}'
    )


def chunk_key(ndim: int) -> str:
    """The key of an array's only chunk below its node."""
    return "c" + "/0" * ndim


GROUP_TEXT = '{"zarr_format":3,"node_type":"group","attributes":{}}'
"""The document of a group without attributes."""


def root_text(attributes: str, nodes: Iterable[tuple[str, str]]) -> str:
    """The root's document: its attributes (JSON text) and the consolidated documents of all nodes below it."""
    metadata = ",".join(f"{json.dumps(path)}:{text}" for path, text in nodes)
    return (
        f'{{"zarr_format":3,"node_type":"group","attributes":{attributes},'
        f'"consolidated_metadata":{{"kind":"inline","must_understand":false,"metadata":{{{metadata}}}}}}}'
    )


def parse_root(content: bytes, where: str) -> tuple[dict[str, Any], dict[str, ArrayDocument]]:
    """The root's attributes, and the array documents by path.

    Raises
    ------
    DamagedStoreError
        If `content` is no root document as `root_text` writes it.
    """
    try:
        root = json.loads(content)
        attributes = root["attributes"]
        nodes = root["consolidated_metadata"]["metadata"]
        arrays = {path: _parse_array(path, node) for path, node in nodes.items() if node["node_type"] == "array"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedStoreError(f"{where} was not written by dflow: {type(error).__name__}: {error}") from error
    return attributes, arrays


def _parse_array(path: str, node: Mapping[str, Any]) -> ArrayDocument:
    parts = path.split("/")
    if parts[0] != METADATA_GROUP and (len(parts) != 2 or any(map(name_fault, parts))):
        raise ValueError(f"an array at {path!r}")  # a merge makes folders with these names
    shape = tuple(node["shape"])
    codecs = [codec["name"] for codec in node["codecs"]]
    dtype = "str" if node["data_type"] == "string" else str(node["data_type"])
    serializer = "vlen-utf8" if dtype == "str" else "bytes"
    chunk = node["chunk_grid"]["configuration"]["chunk_shape"]
    if not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ValueError(f"shape {shape}")
    if codecs not in ([serializer], [serializer, "zstd"]) or dtype.rstrip("0123456789") not in _FILL:
        raise ValueError(f"codecs {codecs} of data type {dtype}")
    if tuple(chunk) != tuple(max(size, 1) for size in shape):
        raise ValueError(f"chunks of shape {chunk}")
    if not isinstance(node["attributes"], dict):
        raise TypeError("attributes that are no dictionary")
    return ArrayDocument(dtype, shape, _parse_dims(node, len(shape)), "zstd" in codecs, node["attributes"])


def _parse_dims(node: Mapping[str, Any], ndim: int) -> tuple[str, ...] | None:
    names = node.get("dimension_names")
    if names is not None and (not isinstance(names, list) or len(names) != ndim or any(map(name_fault, names))):
        raise ValueError(f"dimension names {names}")
    return None if names is None else tuple(names)
