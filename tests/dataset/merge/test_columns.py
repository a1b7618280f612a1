"""The samples' metadata as columns: kinds, codes and vocabularies."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dflow.dataset.merge.columns import FileColumn, build_columns, gather_values, resolve_fields, unite
from dflow.dataset.merge.columns import _fault as value_fault
from dflow.records import ShardRecord
from dflow.schema import Schema, SchemaBuilder, parse_schema
from tests.dataset.samples import record_of


@given(
    values=st.lists(
        st.one_of(st.integers(-(2**70), 2**70), st.floats(), st.booleans(), st.text(max_size=2)), max_size=6
    ),
    declared=st.sampled_from([None, "int32", "int64", "float32", "bool", "str"]),
)
def test_fields_that_are_looked_at_together_have_the_faults_of_their_values(values: list[Any], declared: Any) -> None:
    schema = Schema()
    if declared is not None:
        builder = SchemaBuilder(domain="CAD")
        builder.define_file_metadata("x", declared, "a value")
        schema = parse_schema(builder.build())
    resolved, faults = resolve_fields({"x": dict(enumerate(values))}, schema)
    one_by_one = [i for i, value in enumerate(values) if value_fault(resolved["x"], value)]
    assert sorted(faults) == one_by_one


def columns_of(values: list[dict[str, Any]], schema: Schema | None = None) -> dict[str, FileColumn]:
    fields = gather_values([record_of(f"{i:03d}", {}, {}, values=own) for i, own in enumerate(values)])
    resolved, faults = resolve_fields(fields, schema or Schema())
    assert not faults
    return {c.name: c for c in build_columns(fields, resolved, np.arange(len(values)))}


def test_fields_are_gathered_by_name_with_the_samples_that_have_them() -> None:
    records = [record_of("a", {}, {}, values={"mass": 2.5}), record_of("b", {}, {}, values={"kind": "x", "mass": 3})]
    assert gather_values(records) == {"kind": {1: "x"}, "mass": {0: 2.5, 1: 3}}


def test_the_widest_kind_of_numbers_wins_and_what_is_missing_is_marked() -> None:
    column = columns_of([{"n": 1}, {"n": 2.5}, {}])["n"]
    assert column.values.dtype == np.float64
    assert column.present is not None
    assert column.present.tolist() == [True, True, False]
    assert np.isnan(column.values[2])
    whole = columns_of([{"n": 1}, {}, {"n": True}])["n"]
    assert (whole.values.dtype, whole.values.tolist()) == (np.int64, [1, -1, 1])


def test_text_that_is_a_category_gets_codes_in_sorted_order() -> None:
    column = columns_of([{"kind": "nut"}, {"kind": "bolt"}, {}, {"kind": "nut"}])["kind"]
    assert (column.values.dtype, column.values.tolist()) == (np.int32, [1, 0, -1, 1])
    assert column.vocabulary == ((0, "bolt", "not set"), (1, "nut", "not set"))


def test_lists_and_branches_stay_text() -> None:
    column = columns_of([{"tags": '["a", "b"]'}, {"tags": '{"c": 1}'}])["tags"]
    assert column.is_text
    assert column.vocabulary is None
    assert column.values.tolist() == ['["a", "b"]', '{"c": 1}']


def test_declared_codes_keep_their_numbers_and_names() -> None:
    schema = parse_schema(
        {"metadata": {"categorical": {"grade": {"dtype": "int32", "values": [10, 20], "labels": ["soft", "hard"]}}}}
    )
    column = columns_of([{"grade": 20}, {"grade": 10}, {"grade": 30}], schema)["grade"]
    assert column.values.tolist() == [20, 10, 30]
    assert column.vocabulary == ((10, "soft", "not set"), (20, "hard", "not set"), (30, "30", "not set"))


def test_a_block_gets_the_codes_of_its_own_words_only() -> None:
    blocks = [{"faces/c": ("blue", "red")}, {"faces/c": ("green",)}]
    records = [ShardRecord("faces", i, 0, words=words) for i, words in enumerate(blocks)]
    found = unite({"faces/c": ()}, reversed(records))
    assert found.words == {"faces/c": ("blue", "green", "red")}
    assert found.codes("faces", 0) == {"faces/c": {"blue": 0, "red": 2}}
    assert found.codes("faces", 1) == {"faces/c": {"green": 1}}
    assert found.codes("edges", 0) == {}
