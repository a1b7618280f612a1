"""Columns of codes in conditions: words select what their codes select, at once and in blocks."""

from __future__ import annotations

import pickle
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from dflow.dataset.query.coded import CodedDataset
from dflow.dataset.query.vocabulary import Vocabularies
from dflow.errors import QueryError

KIND = np.array([0, 1, 7, 1, -1])


@pytest.fixture(params=["numpy", "dask"])
def ds(request: pytest.FixtureRequest, tmp_path) -> CodedDataset:
    rows = [("kind", 0, "bolt"), ("kind", 1, "nut"), ("kind", 7, "nut"), ("faces/kind", 1, "plate")]
    pd.DataFrame(rows, columns=["table_name", "id", "name"]).assign(description="").to_parquet(tmp_path / "a.attribset")
    kind: Any = KIND if request.param == "numpy" else da.from_array(KIND, chunks=2)
    data = {"kind": ("file", kind), "size": ("file", np.arange(5.0)), "plate": ("file", kind)}
    return CodedDataset.of(data, {"kind": "file", "size": "file"}, Vocabularies(tmp_path / "a.attribset"))


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (lambda ds: ds["kind"] == "bolt", [0]),
        (lambda ds: "bolt" == ds["kind"], [0]),  # noqa: SIM300 -- text on the left is the case
        (lambda ds: ds["kind"] == "nut", [1, 2, 3]),  # a word of two codes
        (lambda ds: ds["kind"] != "nut", [0, 4]),
        (lambda ds: ds.kind == "bolt", [0]),
        (lambda ds: ds["kind_label"] == "bolt", [0]),
        (lambda ds: ds["kind"].isin(["bolt", 7]), [0, 2]),
        (lambda ds: ~ds["kind"].isin({"bolt"}), [1, 2, 3, 4]),
        (lambda ds: (ds["kind"] == "nut") & (ds["size"] > 1), [2, 3]),
        (lambda ds: ds["kind"] == 1, [1, 3]),
        (lambda ds: ds["kind"] == ds["kind"].max(), [2]),
        (lambda ds: ds["kind"].isin(np.array([0, 1])), [0, 1, 3]),
    ],
)
def test_words_select_like_their_codes(ds: CodedDataset, condition: Any, expected: list[int]) -> None:
    result = condition(ds)
    assert isinstance(result, xr.DataArray)
    assert result.dtype == bool
    assert np.flatnonzero(result.values).tolist() == expected


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (lambda ds: ds["kind"] == "blot", "'blot' is not a word of 'kind'; is 'bolt' meant"),
        (lambda ds: ds["kind"] != "plate", "'plate' is not a word of 'kind'"),  # one of the group `faces`
        (lambda ds: ds["kind"].isin(["bolt", "nuts"]), "is 'nut' meant"),
        (lambda ds: ds["size"] == "large", "'size' holds numbers"),
    ],
)
def test_an_unknown_word_is_an_error(ds: CodedDataset, condition: Any, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        condition(ds)


def test_a_column_is_not_read_until_it_is_used(ds: CodedDataset) -> None:
    assert type(ds["kind"].data) is type(ds.variables["kind"].data)
    with pytest.raises(KeyError):
        ds["colour_label"]
    assert list(ds[["kind", "size"]]) == ["kind", "size"]


def test_arithmetic_gives_plain_numbers(ds: CodedDataset) -> None:
    assert not ((ds["kind"] + 0) == "bolt").any()  # `GuardedArray` refuses this in conditions
    np.testing.assert_array_equal(pickle.loads(pickle.dumps((ds["kind"] + 1).values)), KIND + 1)
