"""Sizes of chunks and shards, and levels of compression."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dflow.dataset.format.layout import ceil_power_of_two
from dflow.dataset.merge.settings import MergeSettings, chunk_rows, shard_rows


@given(st.integers(0, 10**7), st.integers(0, 10**9), st.integers(1, 10**7))
def test_chunks_and_shards_are_powers_of_two_that_divide(row_bytes: int, n_rows: int, n_samples: int) -> None:
    settings = MergeSettings()
    chunk = chunk_rows(row_bytes, n_rows, settings)
    shard = shard_rows(row_bytes + 8, n_rows, n_samples, settings)
    for number in (chunk, shard):
        assert number == ceil_power_of_two(number)
    assert min(chunk, shard) * row_bytes <= 2 * max(settings.chunk_bytes, row_bytes)
    assert shard * (row_bytes + 8) <= max(settings.shard_bytes[1], row_bytes + 8)


def test_a_million_samples_make_thousands_of_files() -> None:
    """60 faces and 150 edges a sample, recipe uvnet."""
    settings = MergeSettings()
    files = 0
    for rows, arrays in ((60, [2800, 12, 4, 4, 4, 4, 8]), (150, [240, 4, 4, 4, 4, 4, 8]), (150, [4, 4, 4, 8])):
        n_rows = rows * 10**6
        shard = shard_rows(sum(arrays), n_rows, 10**6, settings)
        files += -(-n_rows // shard) * len(arrays)
        for row_bytes in arrays:
            chunk = min(chunk_rows(row_bytes, n_rows, settings), shard)
            least = 64 * 1024 if row_bytes > 200 else 256 * 1024  # grids are read a few dozen rows at a time
            assert row_bytes * chunk <= 1024**2
            assert row_bytes * chunk > least - row_bytes or chunk == shard
    assert 1000 < files < 20_000


@pytest.mark.parametrize(("dtype", "level"), [("int32", 3), ("bool", 3), ("float32", -1), ("complex64", -1)])
def test_numbers_with_few_repetitions_are_compressed_less(dtype: str, level: int) -> None:
    assert MergeSettings().level_of(dtype) == level
