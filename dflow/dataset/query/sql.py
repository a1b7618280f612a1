"""SQL over a dataset's tables and per-file reductions, by DuckDB (the `sql` extra)."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

import numpy as np
import pandas as pd

from dflow.dataset.query.reductions import How
from dflow.dataset.query.store import ID_PREFIX, DatasetStore
from dflow.dataset.query.vocabulary import LABEL_SUFFIX, Vocabularies, unknown_word
from dflow.errors import QueryError
from dflow.schema import FILE_GROUP

Array = np.ndarray[Any, np.dtype[Any]]
Reduce = Callable[[str, str, str], Array]


_CLOSED = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",
}
"""DuckDB's settings without files, network, extensions and Python variables; a statement cannot change them."""


def run_sql(
    statement: str, tables: Mapping[str, pd.DataFrame], vocabularies: Vocabularies | None = None, advice: str = ""
) -> pd.DataFrame:
    """Run one reading statement over named tables, in memory.

    A statement reads these tables and nothing else: no files, network, extensions, Python variables or settings.

    Parameters
    ----------
    advice : what the message of a statement that DuckDB rejects ends in

    Raises
    ------
    QueryError
        If DuckDB is not installed, the text is not exactly one statement that reads, it compares codes or their words
        with an unknown word, or DuckDB rejects it.
    """
    try:
        duckdb = importlib.import_module("duckdb")
    except ImportError as error:
        raise QueryError("explorer.sql needs DuckDB: pip install 'dflow-cad[sql]'") from error
    try:
        kinds = [parsed.type.name for parsed in duckdb.extract_statements(statement)]
        if len(kinds) != 1 or kinds[0] not in ("SELECT", "EXPLAIN"):
            raise QueryError(
                f"found {', '.join(kinds) or 'no statement'}; expected one statement that reads (SELECT, DESCRIBE, "
                "SUMMARIZE, EXPLAIN; PIVOT with its values: ON column IN (...)). Write results from the table that is "
                "returned: explorer.sql(...).to_csv(...)"
            )
        with duckdb.connect(":memory:", config=_CLOSED) as connection:
            connection.execute("SET lock_configuration = true")
            if vocabularies is not None:
                [(tree,)] = connection.execute("SELECT json_serialize_sql(?)", [statement]).fetchall()
                _check_words(json.loads(tree), vocabularies)
            for name, table in tables.items():
                connection.register(name, table)
            result: pd.DataFrame = connection.execute(statement).df()
            return result
    except duckdb.Error as error:
        raise QueryError(f"the SQL statement failed: {error}; its tables are {', '.join(tables)}{advice}") from error


def _check_words(node: Any, vocabularies: Vocabularies) -> None:
    """Check the words that a statement's syntax tree compares columns of codes, or of their words, with."""
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _check_words(child, vocabularies)
    if not isinstance(node, dict) or not str(node.get("type")).startswith("COMPARE_"):
        return
    operands = [node.get("left"), node.get("right"), *node.get("children", ())]
    columns = [str(o["column_names"][-1]) for o in operands if o and o.get("class") == "COLUMN_REF"]
    literals = [o["literal"] for o in operands if o and "literal" in o]
    for column in columns:
        for word in (literal["text"] for literal in literals if literal["kind"] == "STRING"):
            coded = column.partition(LABEL_SUFFIX)[0]
            words = vocabularies.words(coded)
            if words and coded == column:
                raise QueryError(
                    f"{column} holds codes, found the text {word!r}; compare words with {column}{LABEL_SUFFIX}"
                )
            if words and word not in words:
                raise QueryError(unknown_word(word, words, f"a word of {column!r}"))


def advice_on_rows(store: DatasetStore, statement: str) -> str:
    """What to write in place of the rows that a statement mentions by a group's or an array's name; "" if it does not.

    Columns that the `files` table has are no rows.
    """
    words = set(re.findall(r"\w+", statement)) - set(store.group(FILE_GROUP))
    reducible = [(group, array) for group in store.row_groups for array in _reducible(store, group)]
    for group, array in sorted(reducible, key=lambda pair: pair[1] not in words):
        if array in words or group in words:
            return (
                "; rows are no table, and their arrays no columns: select a reduction of them from files, named "
                f"<group>_<array>_<how>, such as {group}_{array}_max; how is one of {', '.join(get_args(How))}"
            )
    return ""


def _reducible(store: DatasetStore, group: str) -> list[str]:
    return [a for a, c in store.group(group).items() if len(c.shape) == 1 and not a.startswith(ID_PREFIX)]


def mentioned_reductions(store: DatasetStore, statement: str) -> list[tuple[str, str, str, str]]:
    """The names ``<group>_<array>_<how>`` in a statement, as (name, group, array, how)."""
    words = set(re.findall(r"\w+", statement))
    candidates = [
        (f"{group}_{array}_{how}", group, array, how)
        for group in store.row_groups
        for array in _reducible(store, group)
        for how in get_args(How)
    ]
    return [c for c in candidates if c[0] in words]


def files_table(
    store: DatasetStore,
    infoset: pd.DataFrame,
    reductions: Iterable[tuple[str, str, str, str]],
    reduce: Reduce,
    vocabularies: Vocabularies,
) -> pd.DataFrame:
    """The `.infoset` with the file values that it lacks, words of codes, row counts, and the requested reductions."""
    extra: dict[str, Array | pd.Series] = {}
    for name in store.file_values:
        words = vocabularies.words(name)
        label = f"{name}{LABEL_SUFFIX}"
        if words and label not in infoset.columns and label not in store.file_values:
            codes = {code: word for word, several in words.items() for code in several}
            extra[label] = pd.Series(store.file_value(name), infoset.index).map(codes)
    for name, column in store.group(FILE_GROUP).items():
        if len(column.shape) == 1 and name not in infoset.columns and not name.startswith("row_start_"):
            extra[name] = store.file_value(name)
    for name, group, array, how in reductions:
        extra[name] = reduce(group, array, how)
    return pd.concat([infoset, pd.DataFrame(extra, index=infoset.index)], axis=1)
