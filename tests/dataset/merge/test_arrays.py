"""What every array of the merged dataset is, decided from layouts alone, and which samples contradict that."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from dflow.dataset.merge.arrays import most_frequent, resolve_arrays, take_census, union_schema
from dflow.records import ArrayLayout, SampleLayout
from dflow.schema import Schema, canonical_json, parse_schema
from tests.dataset.samples import record_of

AREAS = {"faces/areas": ("float32", ())}


def schema_of(**arrays: dict[str, object]) -> Schema:
    return parse_schema({"groups": {"faces": {"primary_dimension": "face", "arrays": arrays}}})


def test_the_census_counts_rows_and_keeps_each_layout_once() -> None:
    both = AREAS | {"edges/lengths": ("float64", ())}
    records = [
        record_of("a", AREAS, {"faces": 3}),
        record_of("b", both, {"faces": 2, "edges": 5}),
        record_of("c", AREAS, {"faces": 0}),
    ]
    census = take_census(records)
    assert census.layouts == (records[0].layout, records[1].layout)
    assert census.layout_index.tolist() == [0, 1, 0]
    assert {group: rows.tolist() for group, rows in census.rows.items()} == {"edges": [0, 5, 0], "faces": [3, 2, 0]}
    assert census.members(0).tolist() == [0, 2]
    assert take_census([]).layouts == ()


def test_the_most_frequent_schema_counts_first_and_the_others_join_or_are_refused() -> None:
    often = canonical_json(schema_of(areas={"dims": ["face"], "dtype": "float32"}))
    against = canonical_json(schema_of(areas={"dims": ["face"], "dtype": "int32"}))
    more = canonical_json(schema_of(types={"dims": ["face"], "dtype": "int32"}))
    schemas = [against, often, often, more, ""]
    census = take_census([record_of(str(i), AREAS, {"faces": 1}, schema=text) for i, text in enumerate(schemas)])
    union, refused = union_schema(census)
    assert union.groups["faces"].arrays["areas"].dtype == "float32"
    assert sorted(union.groups["faces"].arrays) == ["areas", "types"]
    assert list(refused) == [0]
    assert "contradicts that of most samples" in refused[0]


def test_the_majority_of_samples_with_rows_decides_and_the_others_are_at_fault() -> None:
    wide, narrow, empty = ({"faces/grid": ("float32", (n,))} for n in (4, 3, 9))
    records = [record_of(str(i), wide, {"faces": 2}) for i in range(2)]
    records += [record_of("2", narrow, {"faces": 50})]  # samples vote, not rows
    records += [record_of(str(i), empty, {"faces": 0}) for i in range(3, 9)]  # without rows: no vote and no fault
    arrays, faults = resolve_arrays(take_census(records), Schema())
    assert arrays["faces/grid"].layout.trailing == (4,)
    assert faults == {
        2: ["faces/grid: float32 of shape rows×3 contradicts the majority of the samples: float32 of shape rows×4"]
    }


def test_a_declaration_outvotes_any_majority_and_takes_what_casts_without_loss() -> None:
    schema = schema_of(areas={"dims": ["face"], "dtype": "float64"})
    dtypes = ["float32", "int32", "int32", "float64"]
    records = [record_of(str(i), {"faces/areas": (dtype, ())}, {"faces": 1}) for i, dtype in enumerate(dtypes)]
    arrays, faults = resolve_arrays(take_census(records), schema)
    assert (arrays["faces/areas"].layout.dtype, arrays["faces/areas"].declared) == ("float64", True)
    assert sorted(faults) == [1, 2]
    assert "contradicts the schema" in faults[1][0]


def test_a_declared_array_that_no_sample_has_is_there_with_unknown_sizes_taken_from_its_dimensions() -> None:
    schema = schema_of(
        grid={"dims": ["face", "point"], "dtype": "float32"}, weights={"dims": ["face", "point"], "dtype": "float32"}
    )
    records = [record_of("a", {"faces/grid": ("float32", (7,))}, {"faces": 2})]
    arrays, faults = resolve_arrays(take_census(records), schema)
    assert not faults
    assert arrays["faces/weights"].layout.trailing == (7,)
    assert arrays["faces/weights"].layout.dims == ("face", "point")
    alone, _ = resolve_arrays(take_census([]), schema)
    assert alone["faces/grid"].layout.trailing == (0,)


def test_text_becomes_codes() -> None:
    arrays, _ = resolve_arrays(take_census([record_of("a", {"faces/colour": ("str", ())}, {"faces": 1})]), Schema())
    assert arrays["faces/colour"].coded
    assert arrays["faces/colour"].layout.dtype == "int32"


def test_a_trailing_dimension_of_several_sizes_gets_the_size_and_a_repeated_one_the_position() -> None:
    layouts = (
        ArrayLayout("faces", "a", "float32", ("face", "k"), (2,)),
        ArrayLayout("faces", "b", "float32", ("face", "k"), (3,)),
        ArrayLayout("faces", "c", "float32", ("face", "n", "n"), (4, 4)),
        ArrayLayout("faces", "d", "float32", ("face", "face"), (5,)),
    )
    record = replace(record_of("x", AREAS, {"faces": 1}), layout=SampleLayout(layouts, "", ()))
    arrays, faults = resolve_arrays(take_census([record]), Schema())
    assert not faults
    dims = {key: array.layout.dims for key, array in arrays.items()}
    assert dims == {
        "faces/a": ("face", "k_2"),
        "faces/b": ("face", "k_3"),
        "faces/c": ("face", "n", "n_2"),
        "faces/d": ("face", "face_1"),
    }


def test_arrays_that_the_merge_adds_itself_are_left_out_with_a_message(caplog: pytest.LogCaptureFixture) -> None:
    records = [record_of("a", AREAS | {"faces/file_id_code_faces": ("int64", ())}, {"faces": 1})]
    with caplog.at_level(logging.WARNING):
        arrays, faults = resolve_arrays(take_census(records), Schema())
    assert sorted(arrays) == ["faces/areas"]
    assert not faults
    assert "faces/file_id_code_faces" in caplog.text


def test_of_the_most_frequent_values_the_smallest_is_taken() -> None:
    assert most_frequent("bbacca") == "a"
    assert most_frequent(np.array([3, 3, 1]).tolist()) == 3
