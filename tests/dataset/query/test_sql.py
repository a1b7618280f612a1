"""SQL reads the tables that it is given and nothing else on the machine; it may name reductions."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dflow.dataset.query.sql import files_table, mentioned_reductions, run_sql
from dflow.dataset.query.store import open_store
from dflow.dataset.query.vocabulary import Vocabularies
from dflow.errors import QueryError
from tests.dataset.synthetic import random_parts, write_parts

pytest.importorskip("duckdb")

FILES = pd.DataFrame({"name": ["a", "b", "c"], "n_faces": [6, 12, 6]})

READING = {
    "select name from files where n_faces = 12": 1,
    "from files": 3,
    "with few as (select * from files where n_faces < 10) select * from few": 2,
    "select n_faces, count(*) from files group by n_faces": 2,
    "describe files": 2,
    "summarize files": 2,
    "pivot files on n_faces in (6, 12) using count(*)": 3,
    "explain select * from files": 1,
    "show tables": 1,
}

HOSTILE = """
select * from read_csv('{file}')
select * from '{file}'
select * from read_text('{file}')
select * from read_blob('{file}')
select * from read_json('{file}')
select * from read_parquet('{file}')
select * from parquet_metadata('{file}')
select * from sniff_csv('{file}')
select * from glob('{folder}/*')
select * from read_csv('http://127.0.0.1:1/x.csv')
select * from query('select * from read_csv(''{file}'')')
explain analyze select * from read_csv('{file}')
copy files to '{folder}/out.csv'
copy (select 1) to '{folder}/out.parquet' (format parquet)
copy files from '{file}'
select 1; copy files to '{folder}/out.csv'
with x as (select 1) select * from x; export database '{folder}/all'
prepare p as copy files to '{folder}/out.csv'
create table t as select * from read_csv('{file}')
create macro m() as table select * from read_csv('{file}')
attach '{folder}/other.db' as other
attach ':memory:' as other
export database '{folder}/all'
import database '{folder}/all'
install httpfs
force install spatial
install sqlite from community
load httpfs
load '{file}'
set enable_external_access = true
set lock_configuration = false
reset lock_configuration
set memory_limit = '900GB'
set temp_directory = '{folder}/spill'
set extension_directory = '{folder}/extensions'
set home_directory = '{folder}'
set secret_directory = '{folder}/secrets'
set allowed_directories = ['{folder}']
set log_query_path = '{folder}/queries.txt'
set python_scan_all_frames = true
pragma enable_profiling
pragma profiling_output = '{folder}/profile.json'
set profiling_output = '{folder}/profile.json'
pragma enable_logging
call enable_logging(storage='file', storage_path='{folder}/logs')
call enable_logging(level='trace', storage='file', storage_config={{'path': '{folder}/logs'}})
set logging_storage = 'file'
create persistent secret s (type http)
select * from hidden
select * from FILES_OF_THIS_MODULE
select getenv('HOME')
insert into files values ('d', 1)
drop view files
vacuum
use temp
""".strip().splitlines()

FILES_OF_THIS_MODULE = FILES


@pytest.mark.parametrize(("statement", "n_rows"), READING.items())
def test_statements_that_read_the_tables_answer(statement: str, n_rows: int) -> None:
    assert len(run_sql(statement, {"files": FILES})) == n_rows


@pytest.mark.parametrize("statement", HOSTILE)
def test_a_statement_reaches_nothing_but_the_tables(
    statement: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secret.csv"
    file.write_text("a,b\n1,2\n")
    monkeypatch.chdir(tmp_path)
    hidden = FILES  # a Python variable of a caller, which DuckDB reads by its name unless that is switched off
    with pytest.raises(QueryError):
        run_sql(statement.format(file=file, folder=tmp_path), {"files": hidden})
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]


@pytest.mark.parametrize(("statement", "found"), [("", "no statement"), ("select 1; select 2", "SELECT, SELECT")])
def test_other_than_one_statement_is_refused_with_what_to_do(statement: str, found: str) -> None:
    with pytest.raises(QueryError, match=rf"found {found}; expected one statement that reads .*to_csv"):
        run_sql(statement, {"files": FILES})


def test_a_large_sort_does_not_spill_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(run_sql("select range as i from range(200000) order by hash(range)", {})) == 200_000
    assert list(tmp_path.iterdir()) == []


def test_a_failed_statement_is_an_error_with_the_tables() -> None:
    with pytest.raises(QueryError, match=r"(?s)the SQL statement failed: .*; its tables are files"):
        run_sql("select nope from files", {"files": FILES})


def test_without_duckdb_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(QueryError, match=r"needs DuckDB: pip install 'dflow-cad\[sql\]'"):
        run_sql("select 1", {"files": FILES})


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
    reductions = [("top", "faces", "face_areas", "max")]
    table = files_table(store, infoset, reductions, lambda *_: np.arange(4), Vocabularies(None))
    assert table["volume"].tolist() == [9.0] * 4
    assert table["row_count_faces"].tolist() == parts.counts["faces"].tolist()
    assert table["top"].tolist() == [0, 1, 2, 3]
    assert not {"row_start_faces", "bounding_box"} & set(table.columns)


@pytest.fixture
def vocabularies(tmp_path: Path) -> Vocabularies:
    rows = [("kind", 0, "bolt"), ("kind", 1, "nut")]
    table = pd.DataFrame(rows, columns=["table_name", "id", "name"]).assign(description="")
    table.to_parquet(tmp_path / "a.attribset")
    return Vocabularies(tmp_path / "a.attribset")


KINDS = pd.DataFrame(
    {"id": range(3), "kind": [0, 1, 0], "kind_label": ["bolt", "nut", "bolt"], "name": ["x", "y", "z"]}
)


@pytest.mark.parametrize(
    ("statement", "ids"),
    [
        ("select id from files where kind_label = 'bolt'", [0, 2]),
        ("select id from files f where f.kind_label in ('nut', 'bolt') and name <> 'no word'", [0, 1, 2]),
        ("select id from files where kind = 1 and 'nut' = kind_label", [1]),
        ("with few as (select * from files where kind_label <> 'nut') select id from few", [0, 2]),
        ("select id from files where kind_label like 'n%'", [1]),
    ],
)
def test_words_of_the_vocabulary_select(vocabularies: Vocabularies, statement: str, ids: list[int]) -> None:
    assert run_sql(statement, {"files": KINDS}, vocabularies)["id"].tolist() == ids


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("select id from files where kind_label = 'blot'", "'blot' is not a word of 'kind_label'; is 'bolt' meant"),
        ("select count(*) filter ('NUT' = f.kind_label) from files f", "is 'nut' meant"),
        (
            "with few as (select * from files where kind_label not in ('a', 'nut')) select id from few",
            "'a' is not a word",
        ),
        ("select case kind_label when 'bold' then 1 end from files", "is 'bolt' meant"),
        ("select id from files where kind = 'bolt'", "kind holds codes, found the text 'bolt'.*with kind_label"),
    ],
)
def test_an_unknown_word_anywhere_in_a_statement_is_an_error(
    vocabularies: Vocabularies, statement: str, message: str
) -> None:
    with pytest.raises(QueryError, match=message):
        run_sql(statement, {"files": KINDS}, vocabularies)


def test_statements_that_have_no_syntax_tree_still_run(vocabularies: Vocabularies) -> None:
    for statement in ("explain select * from files", "describe files", "summarize files", "show tables"):
        assert len(run_sql(statement, {"files": KINDS}, vocabularies))
    with pytest.raises(QueryError, match="SQL statement failed"):
        run_sql("select nope from files where kind_label = 'bolt'", {"files": KINDS}, vocabularies)
