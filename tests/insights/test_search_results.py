"""Results of a search in the forms that searches return."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from dflow.insights.search_results import SearchResult, read_results


@pytest.mark.parametrize(
    "result",
    [
        (3, 0.5),
        [np.int64(3), np.float32(0.5)],
        {"id": 3, "score": 0.5},
        {"file_id": 3, "similarity": 0.5},
        SimpleNamespace(file_id_code=3, distance=0.5),
    ],
)
def test_an_id_with_a_score_is_read_from_pairs_mappings_and_objects(result):
    assert read_results([result]) == [SearchResult(3, 0.5)]


@pytest.mark.parametrize("result", [3, np.int32(3), {"id": 3}, SimpleNamespace(id=3)])
def test_a_score_may_be_missing(result):
    assert read_results([result]) == [SearchResult(3, None)]


def test_the_order_stays():
    assert [result.file_id for result in read_results([5, (1, 0.9), 3])] == [5, 1, 3]


def test_a_result_without_an_id_is_an_error_that_names_what_is_expected():
    with pytest.raises(TypeError, match="no file id; expected one of file_id, id"):
        read_results([{"score": 0.5}])
