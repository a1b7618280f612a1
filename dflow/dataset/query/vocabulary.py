"""The words of codes: vocabularies of arrays and file values, from the `.attribset`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dflow.dataset.format.tables import read_table
from dflow.errors import DatasetError, QueryError, UnknownKeyError
from dflow.schema.names import nearest

LABEL_SUFFIX = "_label"
_SHOWN = 12
"""The number of words that a message lists."""

Array = np.ndarray[Any, np.dtype[Any]]
Codes = tuple[int, ...]


class Vocabularies:
    """The words of a dataset's codes, by the name of the array or file value. Reads the `.attribset` on first use.

    Parameters
    ----------
    attribset : the table of names of codes; None if the dataset has none
    """

    def __init__(self, attribset: Path | None) -> None:
        self._attribset = attribset

    def words(self, name: str, group: str = "") -> Mapping[str, Codes]:
        """Return the codes of each word of an array or file value; empty if it has no vocabulary."""
        return self._tables.get(f"{group}/{name}") or self._tables.get(name, {})

    def codes(
        self, name: str, values: Iterable[Any], *, group: str = "", error: type[DatasetError] = QueryError
    ) -> list[Any]:
        """Replace the words among values by their codes, and keep the other values.

        Raises
        ------
        DatasetError
            Of the class `error`, if a word is not in the vocabulary, or there is none.
        """
        found: list[Any] = []
        for value in values:
            found += self._codes_of(name, value, group, error) if isinstance(value, str) else [value]
        return found

    def _codes_of(self, name: str, word: str, group: str, error: type[DatasetError]) -> Codes:
        words = self.words(name, group)
        if not words:
            raise error(f"{name!r} holds numbers, found the text {word!r}; it has no words for codes: pass a number")
        if word not in words:
            raise error(unknown_word(word, words, f"a word of {name!r}"))
        return words[word]

    @cached_property
    def _tables(self) -> dict[str, dict[str, Codes]]:
        if self._attribset is None:
            return {}
        table = read_table(self._attribset, ".attribset")
        tables: dict[str, dict[str, Codes]] = {}
        rows = zip(*(table[column].to_pylist() for column in ("table_name", "name", "id")), strict=True)
        for name, word, code in rows:
            words = tables.setdefault(str(name), {})
            words[str(word)] = (*words.get(str(word), ()), int(code))
        return tables


def meant(word: str, known: Collection[str]) -> str:
    """Return ``; is 'x' meant?`` with the nearest known text, for a message; "." if none is like it."""
    near = nearest(word, known)
    return f"; is {near!r} meant?" if near else "."


def unknown_word(word: str, known: Collection[str], what: str) -> str:
    """Return the message that a text is not `what`: the nearest known one, and the first of all."""
    listed = list(known)
    if not listed:
        return f"{word!r} is not {what}; there are none"
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    expected = f"{', '.join(map(repr, listed[:_SHOWN]))}{more}"
    return f"{word!r} is not {what}{meant(word, listed)} Expected one of {expected}"


def rows_with(table: pd.DataFrame, column: str, value: Any, vocabularies: Vocabularies) -> Array:
    """Return which rows of the `.infoset` have a value, or one of several, in a column: (n,) bool.

    A word selects the codes that it names, also in a column of codes. ``<value>_label`` names the words of a column
    that has no column of words beside it.

    Raises
    ------
    UnknownKeyError
        If there is no such column, a word is neither in the vocabulary nor in the column, or the type does not match.
    """
    several = isinstance(value, (list, tuple, set, frozenset, range, np.ndarray, pd.Series, pd.Index))
    wanted = list(value) if several else [value]
    if column not in table:
        coded = column.removesuffix(LABEL_SUFFIX)
        if coded == column or coded not in table or not vocabularies.words(coded):
            raise UnknownKeyError(unknown_word(column, list(table.columns), "a column of the .infoset"))
        column = coded
    values = table[column]
    if pd.api.types.is_numeric_dtype(values):
        wanted = vocabularies.codes(column, wanted, error=UnknownKeyError)
    else:
        _check_texts(column, wanted, values, vocabularies)
    return values.isin(wanted).to_numpy()


def _check_texts(column: str, wanted: Iterable[Any], values: pd.Series, vocabularies: Vocabularies) -> None:
    known = dict.fromkeys([*vocabularies.words(column.partition(LABEL_SUFFIX)[0]), *values.dropna().astype(str)])
    for word in wanted:
        if isinstance(word, str) and word not in known:
            raise UnknownKeyError(unknown_word(word, known, f"a value of the column {column!r}"))
        if not isinstance(word, str) and not pd.isna(word):
            raise UnknownKeyError(
                f"the column {column!r} holds texts, found {word!r}; pass a text such as {next(iter(known), '')!r}"
            )


def rows_where(table: pd.DataFrame, where: Callable[[pd.DataFrame], Any]) -> Array:
    """Return which rows of the `.infoset` satisfy a function of the table: (n,) bool.

    Raises
    ------
    QueryError
        If it fails, or does not return one boolean per row.
    """
    try:
        found = np.asarray(where(table))
    except KeyError as error:
        name = str(error.args[0]) if error.args else ""
        raise QueryError(unknown_word(name, list(table.columns), "a column of the .infoset")) from error
    except Exception as error:  # the user's own code
        raise QueryError(
            f"the condition on the .infoset failed with {type(error).__name__}: {error}; expected a function of the "
            "table, such as lambda files: files['face_count'] > 3; combine conditions with & and |"
        ) from error
    if found.shape != (len(table),) or found.dtype != bool:
        raise QueryError(
            f"the condition on the .infoset returned {found.dtype} values of shape {found.shape}; expected one boolean "
            f"per row, ({len(table)},), such as files['face_count'] > 3"
        )
    return found
