"""One sample in one file: a Zarr v3 hierarchy in a zip, written in one pass; its checksums are verified when read.

``zarr.storage.ZipStore(path, mode="r")`` and ``xarray.open_zarr(store, group=…)`` open what `write_zip_store`
writes. Equal content gives equal bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dflow.config import MAX_STORE_BYTES
from dflow.errors import KeyNotFoundError, StoreLimitError
from dflow.schema import dtype_name
from dflow.schema.names import NODE_DOCUMENT
from dflow.storage.atomic import write_whole
from dflow.storage.chunks import decode_chunk, encode_chunk
from dflow.storage.container import ZipReader, pack_members
from dflow.storage.documents import GROUP_TEXT, ArrayDocument, array_text, chunk_key, parse_root, root_text

MAX_DOCUMENT_BYTES = 256 * 1024**2
"""Limit of the root's JSON document, which takes ten times its size in memory when it is parsed."""


@dataclass(frozen=True, slots=True)
class StoredArray:
    """An array with its dimension names.

    Parameters
    ----------
    data : numeric, bool or numpy's `StringDType`, C-contiguous
    dims : names of the dimensions, or None
    attributes : of the array, JSON values
    """

    data: NDArray[Any]
    dims: tuple[str, ...] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WrittenStore:
    """The size and checksum of a finished file.

    Parameters
    ----------
    n_bytes : the file's size in bytes
    crc : CRC-32 of the zip directory, which holds every member's CRC-32
    """

    n_bytes: int
    crc: int


@dataclass(frozen=True, slots=True)
class StoreContents:
    """The content of a file: arrays by key, the root's attributes, size in bytes and CRC-32 of the zip directory."""

    arrays: dict[str, StoredArray]
    attributes: dict[str, Any]
    n_bytes: int
    crc: int


@dataclass(frozen=True, slots=True)
class StoreOutline:
    """A store's description without its data."""

    arrays: dict[str, ArrayDocument]
    attributes: dict[str, Any]
    n_bytes: int
    crc: int


def write_zip_store(
    path: str | os.PathLike[str], arrays: Mapping[str, StoredArray], attributes: Mapping[str, Any] | str
) -> WrittenStore:
    """Write a store under a temporary name and rename it; nodes in sorted order, the root's document last.

    Parameters
    ----------
    path : of the new file
    arrays : by key ``group/array``
    attributes : of the root; a dictionary, or JSON text with sorted keys

    Raises
    ------
    OSError
        If the folder cannot be written or the disk is full; no temporary file is left, and an earlier file stays
        unchanged.
    StoreLimitError
        If the store would be larger than 4 GiB.
    """
    parts, n_bytes, crc = pack_members(
        _members(arrays, attributes if isinstance(attributes, str) else json_text(attributes))
    )
    write_whole(path, parts)
    return WrittenStore(n_bytes, crc)


def read_zip_store(
    path: str | os.PathLike[str], keys: Iterable[str] | None = None, *, max_bytes: int = MAX_STORE_BYTES
) -> StoreContents:
    """Read a store's arrays and its root's attributes.

    Parameters
    ----------
    path : of the file
    keys : ``group/array`` of the arrays to read; all by default
    max_bytes : limit of what the arrays may expand to

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DamagedStoreError
        If the file is truncated, foreign, or a checksum does not match.
    StoreLimitError
        If the requested arrays would expand to more than `max_bytes`.
    KeyNotFoundError
        If the store has no array of a key.
    """
    with ZipReader(path, max_bytes=max_bytes) as reader:
        attributes, documents = _read_root(reader)
        wanted = list(documents if keys is None else keys)
        if missing := [key for key in wanted if key not in documents]:
            raise KeyNotFoundError(
                f"{reader.path} has no array {missing[0]!r}; its arrays are: {', '.join(sorted(documents)) or 'none'}"
            )
        _check_expansion(reader.path, [documents[key] for key in wanted], max_bytes)
        arrays = {
            key: StoredArray(_read_array(reader, key, documents[key]), documents[key].dims, documents[key].attributes)
            for key in wanted
        }
        return StoreContents(arrays, attributes, reader.n_bytes, reader.crc)


def outline_zip_store(path: str | os.PathLike[str], *, max_bytes: int = MAX_STORE_BYTES) -> StoreOutline:
    """Read a store's attributes and array documents, but no array. Raises as `read_zip_store`."""
    with ZipReader(path, max_bytes=max_bytes) as reader:
        attributes, documents = _read_root(reader)
        return StoreOutline(documents, attributes, reader.n_bytes, reader.crc)


def check_zip_store(path: str | os.PathLike[str]) -> None:
    """Verify the checksum of every member, and the root's document; decodes no array. Raises as `read_zip_store`.

    Parameters
    ----------
    path : of the file
    """
    with ZipReader(path) as reader:
        _read_root(reader)
        for name in reader.members:
            reader.read(name)


def store_crc(path: str | os.PathLike[str]) -> int:
    """The CRC-32 of a store's zip directory, as in `SampleRecord.data_crc`. Raises as `read_zip_store`.

    Parameters
    ----------
    path : of the file
    """
    with ZipReader(path) as reader:
        return reader.crc


def _members(arrays: Mapping[str, StoredArray], attributes: str) -> Iterator[tuple[str, bytes]]:
    nodes: dict[str, str] = {}
    for key in sorted(arrays):
        stored = arrays[key]
        data = stored.data
        for end in (i for i, c in enumerate(key) if c == "/"):
            nodes.setdefault(key[:end], GROUP_TEXT)
        chunk, compressed = encode_chunk(data)
        own = json_text(stored.attributes) if stored.attributes else "{}"
        nodes[key] = array_text(dtype_name(data.dtype), data.shape, stored.dims, compressed, own)
        if data.size:
            yield f"{key}/{chunk_key(data.ndim)}", chunk
    for path, text in nodes.items():
        yield f"{path}/{NODE_DOCUMENT}", text.encode("ascii")
    yield NODE_DOCUMENT, root_text(attributes, nodes.items()).encode("utf-8")


def _read_root(reader: ZipReader) -> tuple[dict[str, Any], dict[str, ArrayDocument]]:
    member = reader.members.get(NODE_DOCUMENT)
    if member is not None and member.n_bytes > MAX_DOCUMENT_BYTES:
        raise StoreLimitError(
            f"{reader.path}: its root document has {member.n_bytes:,} bytes, the limit is {MAX_DOCUMENT_BYTES:,}"
        )
    return parse_root(reader.read(NODE_DOCUMENT), reader.path)


def _read_array(reader: ZipReader, key: str, document: ArrayDocument) -> NDArray[Any]:
    if 0 in document.shape:
        dtype = np.dtypes.StringDType() if document.dtype == "str" else np.dtype(document.dtype)
        return np.empty(document.shape, dtype)
    return decode_chunk(
        reader.read(f"{key}/{chunk_key(len(document.shape))}"),
        document.dtype,
        document.shape,
        compressed=document.compressed,
        where=f"{reader.path}: array {key!r}",
        max_bytes=reader.max_bytes,
    )


def _check_expansion(path: str, documents: Sequence[ArrayDocument], max_bytes: int) -> None:
    expanded = 0
    for document in documents:
        count = 4 if document.dtype == "str" else np.dtype(document.dtype).itemsize
        for size in document.shape:
            count *= size
        expanded += count
    if expanded > max_bytes:
        raise StoreLimitError(f"{path} would expand to {expanded:,} bytes, more than the limit of {max_bytes:,}")


def json_text(value: Mapping[str, Any]) -> str:
    """A tree of finite values as JSON in ASCII: sorted keys, no white space."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
