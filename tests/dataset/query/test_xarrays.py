"""Columns as xarray, in blocks of rows."""

from __future__ import annotations

from dflow.dataset.query.xarrays import blocks


def test_blocks_cover_all_rows_once() -> None:
    assert blocks(0, 10) == []
    assert blocks(25, 10) == [(0, 10), (10, 20), (20, 25)]
