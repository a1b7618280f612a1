"""SQL over tables and reductions: which reductions a statement names, and what a statement cannot do."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dflow.dataset.query.sql import files_table, mentioned_reductions, run_sql
from dflow.dataset.query.store import open_store
from dflow.errors import QueryError
from tests.dataset.synthetic import random_parts, write_parts

TABLES = {"files": pd.DataFrame({"id": [0, 1], "name": ["a", "b"]})}


def test_a_statement_reads_the_named_tables() -> None:
    pytest.importorskip("duckdb")
    assert run_sql("select name from files where id = 1", TABLES)["name"].tolist() == ["b"]


@pytest.mark.parametrize(
    "statement", ["select nope from files", "select * from other", "select * from read_text('/etc/hostname')", "x"]
)
def test_a_failed_statement_is_an_error_with_the_tables(statement: str) -> None:
    pytest.importorskip("duckdb")
    with pytest.raises(QueryError, match=r"(?s)the SQL statement failed: .*; its tables are files"):
        run_sql(statement, TABLES)


def test_without_duckdb_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(QueryError, match=r"needs DuckDB: pip install 'dflow-cad\[sql\]'"):
        run_sql("select 1", TABLES)


def test_reductions_in_a_statement_are_found_as_whole_words(tmp_path: Path) -> None:
    store = open_store(write_parts(random_parts(4), tmp_path).dataset)
    found = mentioned_reductions(
        store,
        "select faces_face_areas_max, faces_face_areas_maximum, edges_edge_lengths_mean, faces_face_uv_grids_max, "
        "faces_file_id_code_faces_max, volume from files",
    )
    assert found == [
        ("edges_edge_lengths_mean", "edges", "edge_lengths", "mean"),
        ("faces_face_areas_max", "faces", "face_areas", "max"),
    ]


def test_the_table_of_files_has_missing_file_values_row_counts_and_the_reductions(tmp_path: Path) -> None:
    parts = random_parts(4)
    store = open_store(write_parts(parts, tmp_path).dataset)
    infoset = pd.DataFrame({"id": range(4), "volume": [9.0] * 4})
    table = files_table(store, infoset, [("top", "faces", "face_areas", "max")], lambda *_: np.arange(4))
    assert table["volume"].tolist() == [9.0] * 4
    assert table["row_count_faces"].tolist() == parts.counts["faces"].tolist()
    assert table["top"].tolist() == [0, 1, 2, 3]
    assert not {"row_start_faces", "bounding_box"} & set(table.columns)
