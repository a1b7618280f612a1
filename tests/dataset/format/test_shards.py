"""Our shard files are what plain zarr reads, for every shape, border and dtype."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dflow.dataset.format.layout import ArrayTarget, fill_scalar, json_fill
from dflow.dataset.format.shards import ShardWriter, write_whole
from dflow.errors import DatasetError


def make_target(
    n_rows: int, chunk: int, shard: int, trailing: tuple[int, ...] = (), dtype: str = "float32"
) -> ArrayTarget:
    dims = ("row", *(f"d{i}" for i in range(len(trailing))))
    fill = json_fill(fill_scalar(dtype, None, what="x"))
    return ArrayTarget("g", "x", dtype, dims, (n_rows, *trailing), chunk, shard, fill)


def prepare(root: Path, target: ArrayTarget) -> Path:
    folder = root / target.path
    os.makedirs(folder, exist_ok=True)
    (folder / "zarr.json").write_text(json.dumps(target.metadata()))
    return folder


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    n_rows=st.integers(0, 70),
    chunk_power=st.integers(0, 3),
    shard_power=st.integers(0, 3),
    trailing=st.sampled_from([(), (3,), (2, 2), (0,)]),
    dtype=st.sampled_from(["float32", "int64", "bool", "uint8", "float16", "complex64"]),
)
def test_zarr_reads_what_was_written(
    tmp_path: Path, n_rows: int, chunk_power: int, shard_power: int, trailing: tuple[int, ...], dtype: str
) -> None:
    chunk = 2**chunk_power
    target = make_target(n_rows, chunk, chunk * 2**shard_power, trailing, dtype)
    folder = prepare(tmp_path, target)
    values = (np.arange(n_rows * int(np.prod(trailing))) % 250 + 1).reshape(target.shape).astype(dtype)
    written = write_whole(str(tmp_path), target, values)
    assert len(written) == target.n_shards
    assert all((tmp_path / file.path).stat().st_size == file.n_bytes for file in written)
    array = zarr.open_array(str(folder), mode="r")
    np.testing.assert_array_equal(array[...], values)
    assert array.dtype == values.dtype
    assert array.metadata.dimension_names == target.dims  # type: ignore[union-attr]


def test_appending_in_any_pieces_gives_the_same_bytes(tmp_path: Path) -> None:
    target = make_target(50, 8, 64, (3,))
    folder = prepare(tmp_path, target)
    values = np.random.default_rng(0).random((50, 3), np.float32)
    forms = [values, np.asfortranarray(values), values.astype(">f4"), np.repeat(values, 2, axis=1)[:, ::2]]
    contents = []
    for rows in forms:
        for pieces in ((50,), (1,) * 50, (7, 0, 20, 23), (8, 16, 26)):
            with ShardWriter(str(tmp_path), target, 0) as writer:
                for part in np.split(rows, np.cumsum(pieces)[:-1]):
                    writer.append(part)
                writer.finish()
            contents.append((folder / "c.0.0").read_bytes())
    assert len(contents) == 16
    assert len(set(contents)) == 1


def test_appending_narrower_rows_widens_them(tmp_path: Path) -> None:
    target = make_target(40, 8, 64, dtype="int64")
    folder = prepare(tmp_path, target)
    for dtype in ("int64", "int8"):
        with ShardWriter(str(tmp_path), target, 0) as writer:
            writer.append(np.arange(40, dtype=dtype))
            writer.finish()
        np.testing.assert_array_equal(zarr.open_array(str(folder), mode="r")[...], np.arange(40))


def test_a_torn_shard_is_replaced_without_being_read(tmp_path: Path) -> None:
    target = make_target(16, 4, 16)
    folder = prepare(tmp_path, target)
    (folder / "c.0").write_bytes(b"torn")
    write_whole(str(tmp_path), target, np.arange(16, dtype=np.float32))
    assert zarr.open_array(str(folder), mode="r")[...].tolist() == list(range(16))


def test_too_few_or_too_many_rows_leave_nothing_behind(tmp_path: Path) -> None:
    target = make_target(16, 4, 16)
    folder = prepare(tmp_path, target)
    for n_rows in (15, 17):
        with ShardWriter(str(tmp_path), target, 0) as writer:
            writer.append(np.zeros(n_rows, np.float32))
            with pytest.raises(DatasetError, match="the shard has 16"):
                writer.finish()
    assert [path.name for path in folder.iterdir()] == ["zarr.json"]


def test_repeated_values_equal_appended_ones(tmp_path: Path) -> None:
    target = make_target(20, 8, 32, (2,), "int32")
    folder = prepare(tmp_path, target)
    with ShardWriter(str(tmp_path), target, 0) as writer:
        writer.repeat(7, 13)
        writer.append(np.full((7, 2), 9, np.int8))
        writer.finish()
    assert zarr.open_array(str(folder), mode="r")[:, 1].tolist() == [7] * 13 + [9] * 7
