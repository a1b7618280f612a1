"""Words of codes: looked up by name and group, replaced among values, and matched in the table of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dflow.dataset.query.vocabulary import Vocabularies, rows_with, unknown_word
from dflow.errors import QueryError, SplitError, UnknownKeyError

ROWS = [
    ("kind", 0, "bolt"),
    ("kind", 1, "nut"),
    ("kind", 7, "nut"),
    ("faces/finish", 2, "raw"),
    ("finish", 5, "raw"),
]


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory: pytest.TempPathFactory) -> Vocabularies:
    path: Path = tmp_path_factory.mktemp("words") / "a.attribset"
    table = pd.DataFrame(ROWS, columns=["table_name", "id", "name"]).assign(description="not set")
    table.to_parquet(path)
    return Vocabularies(path)


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": range(4),
            "kind": [0, 1, 7, -1],
            "maker": ["acme", "acme", None, "x & y"],
            "maker_label": ["a", "b", "c", "d"],
            "volume": [1.0, 2.0, np.nan, 3.0],
        }
    )


def test_a_word_may_name_several_codes_and_a_table_of_the_group_comes_first(vocabularies: Vocabularies) -> None:
    assert vocabularies.words("kind") == {"bolt": (0,), "nut": (1, 7)}
    assert vocabularies.words("finish", "faces") == {"raw": (2,)}
    assert vocabularies.words("finish", "edges") == {"raw": (5,)}
    assert vocabularies.words("volume") == {}
    assert Vocabularies(None).words("kind") == {}


def test_words_among_values_become_codes(vocabularies: Vocabularies) -> None:
    assert vocabularies.codes("kind", ["bolt", 3, "nut"]) == [0, 3, 1, 7]
    assert vocabularies.codes("volume", [1.5, None]) == [1.5, None]


@pytest.mark.parametrize(
    ("name", "word", "parts"),
    [
        ("kind", "blot", ("'blot' is not a word of 'kind'", "is 'bolt' meant", "Expected one of 'bolt', 'nut'")),
        ("kind", "NUT", ("is 'nut' meant",)),
        ("volume", "large", ("'volume' holds numbers", "found the text 'large'", "pass a number")),
    ],
)
@pytest.mark.parametrize("error", [QueryError, SplitError])
def test_an_unknown_word_is_an_error_of_the_callers_kind(vocabularies, name, word, parts, error) -> None:
    with pytest.raises(error) as caught:
        vocabularies.codes(name, [word], error=error)
    assert all(part in str(caught.value) for part in parts), caught.value


def test_a_long_vocabulary_is_listed_in_part() -> None:
    text = unknown_word("wor", [f"word {i}" for i in range(20)], "a word")
    assert text.count("word ") - text.count("a word") >= 12
    assert text.endswith("and 8 more")
    assert unknown_word("w", [], "a word") == "'w' is not a word; there are none"


@pytest.mark.parametrize(
    ("column", "value", "rows"),
    [
        ("kind", 1, [1]),
        ("kind", "nut", [1, 2]),
        ("kind", ["bolt", -1], [0, 3]),
        ("kind", np.array([0, 7]), [0, 2]),
        ("kind_label", "nut", [1, 2]),  # no such column: the words of the codes
        ("maker_label", "b", [1]),
        ("maker", ["acme", None], [0, 1, 2]),
        ("volume", 2, [1]),
        ("volume", 99.0, []),
        ("id", range(1, 3), [1, 2]),
    ],
)
def test_rows_are_selected_by_codes_words_and_texts(vocabularies, table, column: str, value: Any, rows) -> None:
    assert np.flatnonzero(rows_with(table, column, value, vocabularies)).tolist() == rows


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("knid", 1, "'knid' is not a column of the .infoset; is 'kind' meant?"),
        ("kind_label", "blot", "is 'bolt' meant?"),
        ("maker", "acne", "'acne' is not a value of the column 'maker'; is 'acme' meant?"),
        ("maker", 3, "the column 'maker' holds texts, found 3; pass a text such as 'acme'"),
        ("volume", "big", "'volume' holds numbers, found the text 'big'"),
        ("volume_label", "big", "'volume_label' is not a column of the .infoset"),
    ],
)
def test_no_answer_is_empty_in_silence(vocabularies, table, column: str, value: Any, message: str) -> None:
    with pytest.raises(UnknownKeyError) as caught:
        rows_with(table, column, value, vocabularies)
    assert message in str(caught.value)
