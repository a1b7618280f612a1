"""Chunk and shard sizes are powers of two within their bounds; fill values fit their dtype."""

from __future__ import annotations

from typing import Any

import pytest

from dflow.dataset.format.layout import fill_scalar, json_fill
from dflow.errors import SchemaError


@pytest.mark.parametrize(
    ("dtype", "fill", "expected"),
    [("int32", None, -1), ("uint8", None, 255), ("bool", None, False), ("float32", 2, 2.0), ("int16", 3, 3)],
)
def test_fill_values(dtype: str, fill: Any, expected: Any) -> None:
    value = fill_scalar(dtype, fill, what="x")
    assert value == expected
    assert value.dtype == dtype
    assert json_fill(value) == expected


def test_fill_values_that_do_not_fit_are_refused() -> None:
    assert json_fill(fill_scalar("float64", None, what="x")) == "NaN"
    assert json_fill(fill_scalar("complex64", None, what="x"))[0] == "NaN"
    with pytest.raises(SchemaError, match="does not fit"):
        fill_scalar("int8", 300, what="x")
