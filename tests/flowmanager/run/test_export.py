"""Items after the merge: rejected and damaged samples make their items fail."""

from __future__ import annotations

from typing import Any

import pytest

from dflow.dataset.merge.merge import MergeReport
from dflow.flowmanager.run.export import damaged_identities, rejected_items
from dflow.records import ItemRecord, SampleLayout, SampleRecord


def item(index: int, *names: str, status: Any = "succeeded") -> ItemRecord:
    """An item with samples of these names."""
    samples = tuple(SampleRecord(name, f"{index}.step", -1, SampleLayout(), ()) for name in names)
    return ItemRecord(index, f"{index}.step", status, samples)


ITEMS = [item(0, "a"), item(1, "b0", "b1"), item(2, "c"), item(3)]


def test_a_sample_that_contradicts_the_schema_fails_its_item():
    report = MergeReport(2, rejected=(("b1", "schema", "faces: 3 columns, expected 2"),))
    first, second, *others = rejected_items(ITEMS, report, "merge")
    assert [first, *others] == [ITEMS[0], *ITEMS[2:]]
    error = second.error
    assert second.status == "failed"
    assert error is not None
    assert (error.kind, error.exception, error.task) == ("schema", "SchemaError", "merge")
    assert (error.message, error.file, error.item_index) == ("faces: 3 columns, expected 2", "1.step", 1)


def test_a_damaged_sample_is_named_as_such():
    report = MergeReport(2, damaged=(("c", "truncated"),))
    failed = [each for each in rejected_items(ITEMS, report, "merge") if each.error is not None]
    assert [(each.item, each.error.kind, each.error.exception) for each in failed if each.error] == [
        ("2.step", "damaged_store", "")
    ]
    assert damaged_identities(ITEMS, report) == {"2.step"}


def test_an_item_that_had_failed_before_keeps_its_error():
    (failed,) = [item(5, "x", status="failed")]
    report = MergeReport(0, rejected=(("x", "schema", "again"),))
    assert rejected_items([failed], report, "merge") == [failed]


@pytest.mark.parametrize("report", [MergeReport(4), MergeReport(4, rejected=(("unknown", "schema", "other"),))])
def test_nothing_changes_without_a_sample_that_was_left_out(report):
    assert rejected_items(ITEMS, report, "merge") == ITEMS
    assert damaged_identities(ITEMS, report) == set()
