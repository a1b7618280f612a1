"""Records stay small: what all samples have in common is carried once."""

from __future__ import annotations

import pickle

from dflow.records import ArrayLayout, ItemRecord, SampleLayout, SampleRecord, share_layouts


def layout(width: int = 1) -> SampleLayout:
    return SampleLayout((ArrayLayout("faces", "areas", "float32", ("face",), (width,)),), "schema text " * 300)


def records(n: int) -> list[ItemRecord]:
    made = [
        ItemRecord(i, f"part{i}", "succeeded", (SampleRecord(f"s{i}", f"part{i}", -1, layout(), (i,), (("n", i),)),))
        for i in range(n)
    ]
    return [pickle.loads(pickle.dumps(record)) for record in made]  # as they come from the children, one by one


def test_equal_layouts_become_one_object_and_records_stay_equal():
    given = records(50)
    known: dict[SampleLayout, SampleLayout] = {}
    shared = share_layouts(given, known)
    assert list(shared) == given
    assert len({id(record.samples[0].layout) for record in shared}) == len(known) == 1
    assert all(record.samples[0].source is record.item for record in shared)


def test_pickled_together_they_carry_a_layout_once():
    given = records(50)
    assert len(pickle.dumps(share_layouts(given, {}))) < len(pickle.dumps(given)) / 10


def test_another_layout_stays_another():
    other = ItemRecord(9, "x", "succeeded", (SampleRecord("s", "x", -1, layout(2), (1,)),))
    known: dict[SampleLayout, SampleLayout] = {}
    first, second = share_layouts([records(1)[0], other], known)
    assert first.samples[0].layout != second.samples[0].layout
    assert len(known) == 2
