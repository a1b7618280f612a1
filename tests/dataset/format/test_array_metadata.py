"""Metadata that a stranger wrote: what contradicts itself, or could fill the memory, is refused before it is used."""

from __future__ import annotations

import copy
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dflow.dataset.format.array_metadata import check_array, check_arrays
from dflow.dataset.format.layout import ArrayTarget
from dflow.dataset.query.store import open_store
from dflow.errors import DamagedDatasetError
from tests.dataset.samples import merge_three, write_sealed

NODE = ArrayTarget("faces", "grid", "float32", ("face", "u", "v"), (10, 2, 3), 4, 8, "NaN").metadata()
ATTRIBUTES: dict[str, Any] = {"dflow": {"n_files": 3, "groups": {"faces": {"dimension": "face", "n_rows": 10}}}}
SHARDING = ("codecs", 0, "configuration")


def changed(*place: Any, value: Any) -> dict[str, Any]:
    """A node with another value at one place."""
    node: Any = copy.deepcopy(NODE)
    *path, last = place
    part = node
    for step in path:
        part = part[step]
    part[last] = value
    return node


def test_what_a_merge_writes_passes() -> None:
    check_arrays({"faces/grid": NODE}, ATTRIBUTES)
    for dtype, fill in (
        ("bool", False),
        ("int8", -1),
        ("uint64", 2**64 - 1),
        ("complex64", ["NaN", 0]),
        ("float16", 0),
    ):
        check_array(ArrayTarget("g", "a", dtype, ("x",), (5,), 4, 8, fill).metadata())
    check_array(ArrayTarget("g", "a", "int8", ("x", "y"), (0, 0), 4, 8, 0).metadata())


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("shape",), [-1, 2, 3]),
        (("shape",), [10.5, 2, 3]),
        (("shape",), [True, 2, 3]),
        (("shape",), "10"),
        (("shape",), [2**63, 2, 3]),
        (("shape",), [1] * 33),
        (("shape",), [10, 2]),
        (("zarr_format",), 2),
        (("data_type",), "object"),
        (("data_type",), ["int8"]),
        (("data_type",), {"name": "struct"}),
        (("chunk_grid", "name"), "rectilinear"),
        (("chunk_grid", "configuration", "chunk_shape"), [0, 2, 3]),
        (("chunk_grid", "configuration", "chunk_shape"), [-8, 2, 3]),
        (("chunk_grid", "configuration", "chunk_shape"), [9, 2, 3]),
        (("chunk_grid", "configuration", "chunk_shape"), [8, 2]),
        (("chunk_key_encoding", "configuration", "separator"), "/../"),
        (("chunk_key_encoding", "configuration", "separator"), 7),
        (("chunk_key_encoding", "name"), "own"),
        (("storage_transformers",), [{"name": "x"}]),
        (("dimension_names",), ["a"]),
        (("dimension_names",), [1, 2, 3]),
        (("attributes",), []),
        (("fill_value",), "half"),
        (("fill_value",), None),
        (("fill_value",), [0, 0]),
        (("codecs",), []),
        (("codecs",), [{"name": "bytes"}] * 9),
        (("codecs",), [{"name": "numcodecs.pickle"}]),
        (("codecs",), [{"name": "gzip"}]),
        ((*SHARDING, "chunk_shape"), [0, 2, 3]),
        ((*SHARDING, "chunk_shape"), [2**40, 2, 3]),
        ((*SHARDING, "index_location"), "middle"),
        ((*SHARDING, "index_codecs"), [{"name": "bytes"}, {"name": "gzip"}]),
        ((*SHARDING, "codecs"), NODE["codecs"]),
    ],
)
def test_what_no_merge_writes_is_refused(place: tuple[Any, ...], value: Any) -> None:
    with pytest.raises((ValueError, TypeError, LookupError, AttributeError)):
        check_arrays({"faces/grid": changed(*place, value=value)}, ATTRIBUTES)


def test_a_chunk_that_fills_the_memory_is_refused() -> None:
    node = changed("chunk_grid", "configuration", "chunk_shape", value=[2**40, 2, 3])
    check_array(node)  # a shard may be as large as one likes: its index has to fit into its file
    node["codecs"][0]["configuration"]["chunk_shape"] = [2**30, 2, 3]
    with pytest.raises(ValueError, match=r"chunks of 25,769,803,776 bytes, the limit is 1,073,741,824"):
        check_array(node)


@pytest.mark.parametrize(
    ("dtype", "fill"),
    [("int8", 128), ("uint8", -1), ("int32", 0.5), ("int32", "NaN"), ("bool", 0), ("float32", False), ("int8", 1e300)],
)
def test_a_fill_value_is_one_of_the_dtype(dtype: str, fill: Any) -> None:
    with pytest.raises(ValueError, match="the fill value"):
        check_array(ArrayTarget("g", "a", dtype, ("x",), (5,), 4, 8, fill).metadata())


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"n_files": 3, "groups": {"faces": {"n_rows": 11}}}, "its group has 11 rows"),
        ({"n_files": -1}, "n_files of -1"),
        ({"n_files": 1e9}, "n_files of 1000000000.0"),
        ({"n_files": 3, "groups": {"file": {"n_rows": 4}}}, "3 files and 4 rows"),
        ({"n_files": 3, "groups": {"faces": {"n_rows": "10"}}}, "rows of faces"),
    ],
)
def test_shapes_are_those_of_the_groups(attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_arrays({"faces/grid": NODE}, {"dflow": attributes})


def test_the_dtype_is_that_of_the_schema() -> None:
    schema = {"groups": {"faces": {"arrays": {"grid": {"dtype": "int32"}}}}}
    with pytest.raises(ValueError, match="'faces/grid' has data type float32, the schema declares int32"):
        check_arrays({"faces/grid": NODE}, {**ATTRIBUTES, "schema": schema})


def _edit(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], Any]:
    def edit(dataset: Path) -> None:
        root = json.loads((dataset / "zarr.json").read_bytes())
        change(root)
        write_sealed(dataset, root)

    return edit


def _more_rows(root: dict[str, Any]) -> None:
    root["attributes"]["dflow"]["groups"]["faces"]["n_rows"] = 10**9
    for key, node in root["consolidated_metadata"]["metadata"].items():
        if key.startswith("faces/"):
            node["shape"][0] = 10**9


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_edit(lambda r: r["attributes"]["dflow"].update(n_files=10**12)), "damaged"),
        (_edit(lambda r: r["consolidated_metadata"]["metadata"]["faces/areas"]["shape"].append(2)), "damaged"),
        (_edit(lambda r: r["consolidated_metadata"]["metadata"]["faces/areas"].pop("shape")), "damaged"),
        (_edit(lambda r: r["consolidated_metadata"].update(metadata=[])), "damaged"),
        (_edit(_more_rows), "state rows in faces/areas/c.4, which neither exists nor is listed"),
        (lambda dataset: _replace(dataset / "zarr.json", Path.mkdir), "a folder, a pipe or a device"),
        (lambda dataset: _replace(dataset / "zarr.json", _fifo), "a folder, a pipe or a device"),
        (lambda dataset: _replace(dataset / "faces/areas/c.0", _fifo), "a folder, a pipe or a device"),
        (lambda dataset: _replace(dataset / "faces/areas/c.0", Path.mkdir), "a folder, a pipe or a device"),
        (lambda dataset: os.truncate(dataset / "zarr.json", 20_000_000_000), "damaged"),
        (lambda dataset: os.truncate(dataset / "faces/areas/c.0", 20_000_000_000), "damaged"),
    ],
)
def test_a_dataset_with_hostile_metadata_is_damaged_at_once(
    tmp_path: Path, damage: Callable[[Path], Any], message: str
) -> None:
    paths = merge_three(tmp_path)
    damage(paths.dataset)
    with pytest.raises(DamagedDatasetError, match=message):
        open_store(paths.dataset).read("faces", "areas")


def test_any_changed_value_of_the_metadata_is_read_or_damage(tmp_path: Path) -> None:
    """Never another exception, and never the memory of a stated size."""
    paths, rng = merge_three(tmp_path), random.Random(0)
    content = (paths.dataset / "zarr.json").read_bytes()
    values: list[Any] = [None, -1, 0, 10**12, 2**70, 1.5, "", [], {}, "x", True, [0], "NaN", [{"name": "gzip"}], "/"]
    places = [place for place in _places(json.loads(content)["consolidated_metadata"], ()) if place]
    outcomes = Counter[str]()
    for _ in range(150):
        root = json.loads(content)
        part = root["consolidated_metadata"]
        *path, last = rng.choice(places)
        for step in path:
            part = part[step]
        part[last] = rng.choice(values)
        write_sealed(paths.dataset, root)
        try:
            store = open_store(paths.dataset)
            for group, columns in store.columns.items():
                for name in columns:
                    store.read(group, name)
            outcomes["read"] += 1
        except DamagedDatasetError:
            outcomes["damaged"] += 1
    assert outcomes["damaged"] > outcomes["read"] > 0


def _places(value: Any, place: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    yield place
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield from _places(member, (*place, key))


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _replace(path: Path, make: Callable[[Path], Any]) -> None:
    path.unlink()
    make(path)
