"""The JSON documents of a store: what is written is read back, and everything else is damage."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from zarr.core.metadata import ArrayV3Metadata

from dflow.errors import DamagedStoreError
from dflow.storage.documents import GROUP_TEXT, ArrayDocument, array_text, chunk_key, parse_root, root_text

DTYPES = ["bool", "int8", "uint64", "float16", "float64", "complex64", "str"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "dims"), [((), ()), ((3, 0), None), ((2, 5), ("face", "größe"))])
@pytest.mark.parametrize("compressed", [True, False])
def test_an_array_document_is_read_back(
    dtype: str, shape: tuple[int, ...], dims: tuple[str, ...] | None, compressed: bool
) -> None:
    text = array_text(dtype, shape, dims, compressed, '{"unit":"mm"}')
    attributes, arrays = parse_root(root_text('{"n":1}', [("faces", GROUP_TEXT), ("faces/x", text)]).encode(), "file")
    assert attributes == {"n": 1}
    assert arrays == {"faces/x": ArrayDocument(dtype, shape, dims, compressed, {"unit": "mm"})}


@pytest.mark.parametrize("dtype", DTYPES)
def test_zarr_reads_the_same_from_an_array_document(dtype: str) -> None:
    document = json.loads(array_text(dtype, (2, 0), ("face", "bin"), compressed=False))
    assert document.pop("storage_transformers") == []
    found = ArrayV3Metadata.from_dict(document)
    assert (found.shape, found.chunks, found.dimension_names) == ((2, 0), (2, 1), ("face", "bin"))
    assert found.dtype.to_native_dtype() == (np.dtypes.StringDType() if dtype == "str" else np.dtype(dtype))


@pytest.mark.parametrize(("ndim", "key"), [(0, "c"), (1, "c/0"), (3, "c/0/0/0")])
def test_the_only_chunk_lies_at_index_zero_of_every_dimension(ndim: int, key: str) -> None:
    assert chunk_key(ndim) == key


def _node(**changes: Any) -> dict[str, Any]:
    return json.loads(array_text("int32", (2,), ("face",), compressed=True)) | changes


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"shape": [-1]}, "shape"),
        ({"shape": [2.0]}, "shape"),
        ({"shape": [3]}, "chunks"),
        ({"data_type": "object"}, "data type"),
        ({"codecs": [{"name": "bytes"}, {"name": "gzip"}]}, "gzip"),
        ({"attributes": []}, "no dictionary"),
        ({"dimension_names": ["a", "b"]}, "dimension names"),
        ({"dimension_names": ["../face"]}, "dimension names"),
        ({"node_type": None, "shape": None}, ""),
    ],
)
def test_a_document_that_dflow_does_not_write_is_damage(changes: dict[str, Any], fault: str) -> None:
    content = root_text("{}", [("faces/x", json.dumps(_node(**changes)))]).encode()
    if changes.get("node_type", "array") is None:
        assert parse_root(content, "file")[1] == {}  # another kind of node is ignored
        return
    with pytest.raises(DamagedStoreError, match=f"^file was not written by dflow: .*{fault}"):
        parse_root(content, "file")


@pytest.mark.parametrize("path", ["x", "a/b/c", "../x/y", "a/", "faces/zarr.json"])
def test_an_array_at_a_path_that_is_no_key_is_damage(path: str) -> None:
    with pytest.raises(DamagedStoreError, match="an array at"):
        parse_root(root_text("{}", [(path, json.dumps(_node()))]).encode(), "file")
