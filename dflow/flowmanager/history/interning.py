"""Records share what is the same in all of them: a layout is kilobytes, a record without it a few hundred bytes."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace

from dflow.records import ItemRecord, SampleLayout, SampleRecord


def share_layouts(records: Iterable[ItemRecord], known: dict[SampleLayout, SampleLayout]) -> tuple[ItemRecord, ...]:
    """The same records, equal layouts being one object: the one in `known`, which grows by the new ones.

    Pickled together, they then carry a layout once.
    """
    by_id: dict[int, SampleLayout] = {}
    return tuple(_shared(record, known, by_id) for record in records)


def _shared(record: ItemRecord, known: dict[SampleLayout, SampleLayout], by_id: dict[int, SampleLayout]) -> ItemRecord:
    if not record.samples:
        return record
    return replace(record, samples=tuple([_lean(sample, record.item, known, by_id) for sample in record.samples]))


def _lean(
    sample: SampleRecord, item: str, known: dict[SampleLayout, SampleLayout], by_id: dict[int, SampleLayout]
) -> SampleRecord:
    layout = by_id.get(id(sample.layout))
    if layout is None:
        layout = known.setdefault(sample.layout, sample.layout)
        by_id[id(sample.layout)] = layout
    source = item if sample.source == item else sample.source
    return replace(
        sample, source=source, layout=layout, values=tuple([(sys.intern(name), value) for name, value in sample.values])
    )
