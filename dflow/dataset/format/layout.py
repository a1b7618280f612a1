"""The layout of a dataset on disk: names, chunk and shard sizes, Zarr metadata.

::

    <name>.dataset/
      zarr.json            {"dflow": {...}, "schema": {...}}, consolidated metadata
      manifest.json        every file below with its bytes and CRC-32
      faces/zarr.json      consolidated too, so that a group opens alone
      faces/face_areas/zarr.json  c.0  c.1 …      one file per shard
      faces/file_id_code_faces/…
      file/face_count/…    one value per sample

The metadata is formatted directly, as the Zarr v3 core specification and the ``sharding_indexed`` codec define it, so
that the bytes do not depend on the installed zarr. The separator of chunk keys is ``.``: a shard is a file, not a
folder with a file.
"""

from __future__ import annotations

import json
import math
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dflow.checksums import BLANK, MEMBER, seal
from dflow.errors import SchemaError
from dflow.records import Scalar
from dflow.schema.names import NODE_DOCUMENT

FORMAT = 1
"""The version of the layout; a reader must refuse a larger number than it supports."""

CODECS = ("bytes", "zstd", "crc32c")
"""Codecs of a shard's chunks; a new dataset cannot reuse shards with other codecs."""

MANIFEST = "manifest.json"


def how_to_mend(dataset: str | os.PathLike[str]) -> str:
    """The end of a message about a damaged dataset: the command that repairs it."""
    return f"run `dflow validate --repair {shlex.quote(os.fspath(dataset))}`, or the flow again"


def floor_power_of_two(number: int) -> int:
    """The largest power of two that is not above `number`; 1 for anything below 1."""
    return 1 << max(number.bit_length() - 1, 0) if number > 0 else 1


def ceil_power_of_two(number: int) -> int:
    """The smallest power of two that is not below `number`; 1 for anything below 1."""
    return 1 << (number - 1).bit_length() if number > 1 else 1


def fill_scalar(dtype: str, fill_value: Scalar | None, *, what: str) -> np.generic:
    """The value of missing rows: declared, else -1 for integers, NaN for floats, False for bools.

    The default of unsigned integers is their largest value: the bits of -1.

    Parameters
    ----------
    what : subject of the error message

    Raises
    ------
    SchemaError
        If `dtype` cannot represent the declared value.
    """
    kind = np.dtype(dtype)
    if fill_value is None:
        default: Any = {"b": False, "i": -1, "u": np.iinfo(kind).max if kind.kind == "u" else 0}.get(
            kind.kind, math.nan
        )
        return kind.type(default)
    try:
        with np.errstate(all="ignore"):
            value: np.generic = np.asarray(fill_value).astype(kind).reshape(1)[0]
    except (TypeError, ValueError) as error:
        raise SchemaError(f"{what}: fill_value {fill_value!r} is no {dtype}; declare a value of that dtype") from error
    if kind.kind in "iub" and value != fill_value:
        raise SchemaError(f"{what}: fill_value {fill_value!r} does not fit into {dtype}; declare another value")
    return value


@dataclass(frozen=True, slots=True)
class ArrayTarget:
    """One array of the dataset. `dims` and `shape` begin with the row dimension; `fill` is as in `json_fill`."""

    group: str
    name: str
    dtype: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunk_rows: int
    shard_rows: int
    fill: Any
    level: int = 3
    attributes: tuple[tuple[str, Any], ...] = ()

    @property
    def path(self) -> str:
        """``group/name``: its folder in the dataset."""
        return f"{self.group}/{self.name}"

    @property
    def trailing(self) -> tuple[int, ...]:
        """The shape of one row."""
        return self.shape[1:]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, uncompressed."""
        return np.dtype(self.dtype).itemsize * math.prod(self.trailing)

    @property
    def chunk_bytes(self) -> int:
        """Bytes of one inner chunk, uncompressed."""
        return self.row_bytes * self.chunk_rows

    @property
    def n_shards(self) -> int:
        """Shard files of the array."""
        return -(-self.shape[0] // self.shard_rows)

    def shard_key(self, shard_index: int) -> str:
        """The path of one shard in the dataset. Only rows are divided into shards, so all other indices are 0."""
        return f"{self.path}/" + ".".join(["c", str(shard_index), *("0" for _ in self.trailing)])

    def fill_scalar(self) -> np.generic:
        """The fill value as a scalar of the array's type."""
        fill = complex(*map(float, self.fill)) if isinstance(self.fill, list) else self.fill
        dtype = np.dtype(self.dtype)
        return dtype.type(float(fill)) if isinstance(fill, str) else dtype.type(fill)

    def metadata(self) -> dict[str, Any]:
        """The array's ``zarr.json``."""
        trailing = [max(size, 1) for size in self.trailing]  # a chunk has no empty side
        return {
            "attributes": dict(self.attributes),
            "chunk_grid": {"configuration": {"chunk_shape": [self.shard_rows, *trailing]}, "name": "regular"},
            "chunk_key_encoding": {"configuration": {"separator": "."}, "name": "default"},
            "codecs": [_sharding([self.chunk_rows, *trailing], self.level)],
            "data_type": self.dtype,
            "dimension_names": list(self.dims),
            "fill_value": self.fill,
            "node_type": "array",
            "shape": list(self.shape),
            "storage_transformers": [],
            "zarr_format": 3,
        }


def _sharding(chunk_shape: list[int], level: int) -> dict[str, Any]:
    """The ``sharding_indexed`` codec (zarr-specs, codecs/sharding-indexed v1.0), index at the end with its CRC-32C.

    With a CRC-32C after every chunk, plain zarr readers find a flipped bit too. zstd's own checksum is of the expanded
    bytes, ten times as many for grids, and takes a tenth of the time of coding and a fourteenth of decoding them.
    """
    settings: dict[str, dict[str, Any]] = {
        "bytes": {"configuration": {"endian": "little"}},
        "zstd": {"configuration": {"checksum": False, "level": level}},
    }
    codecs = {name: {"name": name, **settings.get(name, {})} for name in CODECS}
    return {
        "configuration": {
            "chunk_shape": chunk_shape,
            "codecs": list(codecs.values()),
            "index_codecs": [codecs["bytes"], codecs["crc32c"]],
            "index_location": "end",
        },
        "name": "sharding_indexed",
    }


def json_fill(value: np.generic) -> Any:
    """A fill value in the JSON form of Zarr v3: "NaN" and "Infinity" as text, complex numbers as pairs."""
    plain = value.item()
    if isinstance(plain, complex):
        return [_json_float(plain.real), _json_float(plain.imag)]
    return _json_float(plain) if isinstance(plain, float) else plain


def _json_float(number: float) -> float | str:
    if math.isnan(number):
        return "NaN"
    return number if math.isfinite(number) else ("Infinity" if number > 0 else "-Infinity")


def metadata_files(
    targets: Mapping[str, list[ArrayTarget]],
    root_attributes: Mapping[str, Any],
    group_attributes: Mapping[str, Mapping[str, Any]],
) -> dict[str, bytes]:
    """Every ``zarr.json`` of a dataset: its content by relative path. The root's, which readers open, carries its own
    checksum (`dflow.checksums`), in ``attributes.dflow``.

    `targets` are the arrays by group. The root and each group hold consolidated metadata: without it xarray warns
    when a group is opened, and remote stores need one request per array.
    """
    nodes: dict[str, dict[str, Any]] = {}
    for group in sorted(targets):
        nodes[group] = _group_node(group_attributes.get(group, {}))
        nodes |= {target.path: target.metadata() for target in sorted(targets[group], key=lambda t: t.name)}
    files = {f"{path}/{NODE_DOCUMENT}": node for path, node in nodes.items() if node["node_type"] == "array"}
    for group in targets:
        prefix = f"{group}/"
        members = {path[len(prefix) :]: node for path, node in nodes.items() if path.startswith(prefix)}
        files[f"{group}/{NODE_DOCUMENT}"] = _consolidated(nodes[group], members)
    empty = {path: _consolidated(node, {}) if path in targets else node for path, node in nodes.items()}
    head = {**root_attributes["dflow"], MEMBER: BLANK}
    files[NODE_DOCUMENT] = _consolidated(_group_node({**root_attributes, "dflow": head}), empty)
    documents = {path: json_bytes(node) for path, node in files.items()}
    return {**documents, NODE_DOCUMENT: seal(documents[NODE_DOCUMENT])}


def consolidated_files(root: Mapping[str, Any]) -> dict[str, bytes]:
    """The ``zarr.json`` of every group and array, as `metadata_files` made them, from that of the root."""
    nodes: Mapping[str, dict[str, Any]] = root["consolidated_metadata"]["metadata"]
    files = {}
    for path, node in nodes.items():
        members = {key[len(path) + 1 :]: nodes[key] for key in nodes if key.startswith(f"{path}/")}
        whole = _consolidated(node, members) if node["node_type"] == "group" else node
        files[f"{path}/{NODE_DOCUMENT}"] = json_bytes(whole)
    return files


def _group_node(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {"attributes": dict(attributes), "node_type": "group", "zarr_format": 3}


def _consolidated(node: dict[str, Any], members: dict[str, dict[str, Any]]) -> dict[str, Any]:
    inline = {"kind": "inline", "metadata": members, "must_understand": False}
    return {**node, "consolidated_metadata": inline}


def json_bytes(value: Any) -> bytes:
    """Deterministic JSON: sorted keys, one line, no NaN (Zarr readers refuse it)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "surrogatepass")
