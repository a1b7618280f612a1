"""The plan is arithmetic on records: order, offsets, conflicts, sizes. No file is opened here."""

from __future__ import annotations

import pickle
import random
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dflow.dataset.merge.plan import (
    RUN_BYTES,
    RUN_SAMPLES,
    MergePlan,
    cut_runs,
    plan_merge,
    predict_peak_bytes,
    run_rows,
)
from dflow.dataset.merge.settings import MergeSettings
from dflow.schema import SchemaBuilder, canonical_json, parse_schema
from tests.dataset.samples import SMALL, record_of

AREAS = {"faces/areas": ("float32", ())}


def schema_text(build: Any) -> str:
    builder = SchemaBuilder(domain="CAD")
    build(builder)
    return canonical_json(parse_schema(builder.build()))


def column(plan: MergePlan, name: str) -> list[Any]:
    return next(c for c in plan.columns if c.name == name).values.tolist()


def vocabulary(plan: MergePlan, name: str) -> Any:
    return next(c for c in plan.columns if c.name == name).vocabulary


def test_ids_follow_the_sorted_sources_whatever_the_order() -> None:
    records = [record_of(f"{c}.step", AREAS, {"faces": 2}) for c in "dacb"]
    plan = plan_merge(records)
    assert plan.samples.sources == ("a.step", "b.step", "c.step", "d.step")


@given(st.lists(st.integers(0, 50), max_size=30), st.randoms(use_true_random=False))
def test_blocks_cover_every_row_once_and_name_only_samples_with_rows(sizes: list[int], shuffle: random.Random) -> None:
    records = [record_of(f"{i:03d}", AREAS, {"faces": n}) for i, n in enumerate(sizes)]
    shuffle.shuffle(records)
    plan = plan_merge(records, SMALL)
    if not sizes:
        assert plan.n_shards == 0
        return
    group = plan.groups["faces"]
    rows = []
    for index in range(group.n_shards):
        block = plan.block("faces", index)
        assert (block.counts > 0).all()
        for sample, first, count in zip(block.ids, block.first_rows, block.counts, strict=True):
            rows += [(row, sample) for row in range(max(first, block.start), min(first + count, block.stop))]
    assert rows == list(enumerate(np.repeat(np.arange(len(sizes)), sizes)))


def test_offsets_pass_the_32_bit_limit() -> None:
    records = [record_of(str(i), AREAS, {"faces": 2**30}) for i in range(8)]
    assert plan_merge(records).groups["faces"].offsets[-1] == 2**33


def test_the_majority_decides_where_no_schema_does() -> None:
    common = {"faces/grid": ("float32", (2, 3))}
    records = [record_of(str(i), common, {"faces": 4}) for i in range(3)]
    odd = [
        record_of("shape", {"faces/grid": ("float32", (2, 4))}, {"faces": 4}),
        record_of("rank", {"faces/grid": ("float32", (2,))}, {"faces": 4}),
        record_of("kind", {"faces/grid": ("int32", (2, 3))}, {"faces": 4}),
        record_of("wide", {"faces/grid": ("float64", (2, 3))}, {"faces": 4}),
    ]
    plan = plan_merge(records + odd)
    assert plan.samples.sources == ("0", "1", "2")
    assert {name for name, _ in plan.rejected} == {r.name for r in odd}
    assert all("faces/grid" in reason and "majority" in reason for _, reason in plan.rejected)


def test_the_schema_outvotes_the_majority() -> None:
    text = schema_text(lambda b: b.create_group("faces", "face").create_array("areas", ["face"], "float32"))
    wrong = [record_of(str(i), {"faces/areas": ("float32", (3,))}, {"faces": 1}, schema=text) for i in range(5)]
    right = record_of("right", AREAS, {"faces": 1}, schema=text)
    plan = plan_merge([*wrong, right])
    assert plan.samples.sources == ("right",)
    assert all("the schema" in reason for _, reason in plan.rejected)


def test_a_sample_without_rows_cannot_contradict() -> None:
    records = [record_of(str(i), {"faces/tag": ("int32", ())}, {"faces": 3}) for i in range(2)]
    empty = record_of("empty", {"faces/tag": ("float64", ())}, {"faces": 0})
    plan = plan_merge([*records, empty])
    assert plan.rejected == ()
    assert plan.groups["faces"].arrays[0].target.dtype == "int32"


@given(st.permutations(range(6)))
def test_ties_do_not_depend_on_the_order(order: list[int]) -> None:
    kinds = ["int32", "float32", "int32", "float32", "bool", "bool"]
    records = [record_of(str(i), {"faces/x": (kinds[i], ())}, {"faces": 1}) for i in order]
    assert plan_merge(records).samples.sources == ("4", "5")


def test_schemas_that_contradict_the_most_frequent_one_are_rejected() -> None:
    first = schema_text(lambda b: b.create_group("faces", "face").create_array("a", ["face"], "float32"))
    second = schema_text(lambda b: b.create_group("faces", "face").create_array("a", ["face"], "int32"))
    records = [record_of(str(i), {}, {}, schema=first) for i in range(2)] + [record_of("odd", {}, {}, schema=second)]
    plan = plan_merge(records)
    ((_, reason),) = plan.rejected
    assert "schema contradicts" in reason
    assert "faces/a" in reason


def test_union_of_schemas_declares_all_groups() -> None:
    first = schema_text(lambda b: b.create_group("faces", "face").create_array("a", ["face"], "float32"))
    second = schema_text(lambda b: b.create_group("holes", "hole").create_array("depth", ["hole"], "float32"))
    plan = plan_merge([record_of("0", {}, {}, schema=first), record_of("1", {}, {}, schema=second)])
    assert list(plan.groups) == ["faces", "holes", "file"]
    assert plan.groups["holes"].dimension == "hole"
    assert plan.groups["holes"].n_shards == 0


def test_arrays_that_some_samples_lack_are_marked() -> None:
    both = {**AREAS, "faces/extra": ("int32", ())}
    plan = plan_merge([record_of("0", both, {"faces": 2}), record_of("1", AREAS, {"faces": 3})])
    assert column(plan, "has_faces_extra") == [True, False]
    assert "has_faces_areas" not in {c.name for c in plan.columns}
    block = plan.block("faces", 0)
    assert block.absent["extra"].tolist() == [False, True]


def test_one_dimension_name_never_has_two_sizes() -> None:
    text = schema_text(
        lambda b: [
            group := b.create_group("faces", "face"),
            group.create_array("p", ["face", "component"], "float32"),
            group.create_array("q", ["face", "component"], "float32"),
        ]
    )
    shapes = {"faces/p": ("float32", (7,)), "faces/q": ("float32", (6,))}
    plan = plan_merge([record_of("0", shapes, {"faces": 2}, schema=text)])
    dims = {a.target.name: a.target.dims for a in plan.groups["faces"].arrays}
    assert dims["p"] == ("face", "component_7")
    assert dims["q"] == ("face", "component_6")


def test_strings_get_codes_in_sorted_order_and_numbers_keep_theirs() -> None:
    text = schema_text(
        lambda b: [
            b.define_categorical_metadata("category", "int32", values=[5, 7], labels=["gear", "bolt"]),
            b.define_categorical_metadata("late", "int32", labels=["x", "y"]),
            b.define_file_metadata("note", "str"),
        ]
    )
    records = [
        record_of("0", {}, {}, schema=text, values={"category": 7, "material": "steel", "note": "n", "checked": True}),
        record_of("1", {}, {}, schema=text, values={"category": 9, "material": "brass", "checked": False}),
        record_of("2", {}, {}, schema=text, values={"material": "steel"}),
    ]
    plan = plan_merge(records)
    assert column(plan, "category") == [7, 9, -1]
    assert vocabulary(plan, "category") == ((5, "gear", "not set"), (7, "bolt", "not set"), (9, "9", "not set"))
    assert column(plan, "material") == [1, 0, 1]
    assert vocabulary(plan, "material") == ((0, "brass", "not set"), (1, "steel", "not set"))
    assert column(plan, "checked") == [1, 0, -1]
    assert [name for _, name, _ in vocabulary(plan, "checked")] == ["False", "True"]
    assert [name for _, name, _ in vocabulary(plan, "late")] == ["x", "y"]
    assert column(plan, "late") == [-1, -1, -1]
    assert column(plan, "note") == ["n", None, None]
    assert "note" not in {t.name for t in plan.column_targets}


def test_file_values_keep_their_kind() -> None:
    records = [
        record_of("0", {}, {}, values={"face_count": 3, "mass": 1, "big": 2**40, "is_closed": True}),
        record_of("1", {}, {}, values={"face_count": 4, "mass": 2.5, "big": 1, "is_closed": False}),
        record_of("2", {}, {}, values={"face_count": 5}),
    ]
    plan = plan_merge(records)
    dtypes = {t.name: t.dtype for t in plan.column_targets}
    assert dtypes["face_count"] == "int32"
    assert dtypes["mass"] == "float64"
    assert dtypes["big"] == "int64"
    assert dtypes["is_closed"] == "bool"
    assert column(plan, "big") == [2**40, 1, -1]
    assert np.isnan(column(plan, "mass")[2])
    assert column(plan, "has_file_big") == [True, True, False]
    assert "has_file_face_count" not in dtypes


def test_text_among_numbers_is_rejected() -> None:
    records = [record_of(str(i), {}, {}, values={"mass": 1.5}) for i in range(2)]
    odd = record_of("odd", {}, {}, values={"mass": "heavy"})
    plan = plan_merge([*records, odd])
    assert plan.rejected == ((odd.name, "metadata 'mass': 'heavy' contradicts the majority of the samples: float"),)


def test_a_declared_integer_refuses_fractions_and_overflow() -> None:
    text = schema_text(lambda b: b.define_file_metadata("count", "int32"))
    good = record_of("good", {}, {}, schema=text, values={"count": 5.0})
    bad = [record_of(str(v), {}, {}, schema=text, values={"count": v}) for v in (2.5, 2**40)]
    plan = plan_merge([good, *bad])
    assert plan.samples.sources == ("good",)
    assert column(plan, "count") == [5]


def test_tables_are_united_and_the_most_frequent_name_wins() -> None:
    tables = [
        (("types", ((0, "plane", "flat"), (1, "cone", "not set"))),),
        (("types", ((0, "Ebene", "x"), (2, "torus", "y"))),),
    ]
    records = [record_of(str(i), {}, {}, tables=tables[i == 2]) for i in range(3)]
    assert plan_merge(records).tables == {"types": ((0, "plane", "flat"), (1, "cone", "not set"), (2, "torus", "y"))}


def test_a_users_value_cannot_take_a_name_of_the_plan() -> None:
    plan = plan_merge([record_of("0", AREAS, {"faces": 2}, values={"row_start_faces": 77})])
    assert column(plan, "row_start_faces") == [0]


def test_the_peak_does_not_grow_with_the_number_of_samples() -> None:
    grids = {"faces/face_uv_grids": ("float32", (10, 10, 7))}
    peaks = [
        predict_peak_bytes(plan_merge([record_of(str(i), grids, {"faces": 60}) for i in range(n)])) for n in (500, 5000)
    ]
    assert peaks[1] < 1.3 * peaks[0]


def test_a_block_pickles_small() -> None:
    plan = plan_merge(
        [record_of(str(i), AREAS, {"faces": 3}) for i in range(2000)], MergeSettings(samples_per_shard=64)
    )
    assert plan.groups["faces"].n_shards > 10
    assert len(pickle.dumps(plan.block("faces", 3), 5)) < 200 * 64


@given(st.lists(st.integers(1, 5000), max_size=300), st.sampled_from([0, 1, 300, 3000, 10**7]))
def test_runs_cover_the_samples_and_hold_what_is_predicted(counts: list[int], row_bytes: int) -> None:
    runs = list(cut_runs(counts, row_bytes))
    assert [k for first, stop in runs for k in range(first, stop)] == list(range(len(counts)))
    for first, stop in runs:
        assert 0 < stop - first <= RUN_SAMPLES
        assert stop - first == 1 or sum(counts[first:stop]) * row_bytes <= RUN_BYTES
        if row_bytes:
            assert sum(counts[first:stop]) <= run_rows(np.array(counts), row_bytes)
    if counts:
        assert runs[0][1] == 1
        assert runs[-1][1] - runs[-1][0] == 1


def test_small_samples_are_read_together() -> None:
    assert len(list(cut_runs([20] * 1000, 3000))) < 150
    assert len(list(cut_runs([1] * 1000, 8))) < 20
