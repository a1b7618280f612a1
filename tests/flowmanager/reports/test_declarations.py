"""What was declared against what was saved, from the records of samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dflow.flowmanager.reports.declarations import Declarations, compare_declarations
from dflow.records import SampleRecord
from dflow.schema import SchemaBuilder
from dflow.storage import MemoryStorage, describe


def _schema() -> SchemaBuilder:
    builder = SchemaBuilder("test")
    faces = builder.create_group("faces", "face")
    faces.create_array("kind", dtype="int32")
    faces.create_array("wear")
    builder.define_file_metadata("mass", "float32")
    builder.define_categorical_metadata("family", "str")
    return builder


def _sample(arrays: tuple[str, ...], metadata: tuple[str, ...] = (), schema: Any = None) -> SampleRecord:
    storage = MemoryStorage()
    storage.set_schema(_schema() if schema is None else schema)
    for key in arrays:
        storage.save_data(key, np.ones(3))
    for name in metadata:
        storage.save_metadata(name, "1" if name == "family" else 1)
    return describe(storage, "s", "a.step")


ALL = ("faces/kind", "faces/wear")
FIELDS = ("mass", "family")


@pytest.mark.parametrize(
    ("samples", "not_saved", "not_declared"),
    [
        ([_sample(ALL, FIELDS)], (), ()),
        ([_sample(("faces/kind",), ("mass",)), _sample(("faces/wear",), ("family",))], (), ()),
        ([_sample((*ALL, "faces/face_areas", "graph/edges_source"), FIELDS)], (), ()),
        ([_sample(("faces/kind",), FIELDS)], (("faces/wear", ""),), ()),
        (
            [_sample(("faces/kinds", "faces/wear"), FIELDS)],
            (("faces/kind", "faces/kinds"),),
            (("faces/kinds", "faces/kind"),),
        ),
        (
            [
                _sample(("face/kind", "faces/wear", "faces/kinds"), FIELDS)
            ],  # the same array in another group comes first
            (("faces/kind", "face/kind"),),
            (("face/kind", "faces/kind"), ("faces/kinds", "faces/kind")),
        ),
        ([_sample((*ALL, "other/x"), FIELDS)], (), (("other/x", ""),)),
        (
            [_sample(ALL, ("family", "maas", "supplier"))],
            (("metadata mass", "metadata maas"),),
            (("metadata maas", "metadata mass"),),
        ),
        ([_sample(ALL, (*FIELDS, "masses"))], (), ()),  # nothing is missing, so the other value is meant
        ([], (), ()),
    ],
)
def test_declarations_are_compared_over_all_samples(
    samples: list[SampleRecord], not_saved: tuple[Any, ...], not_declared: tuple[Any, ...]
) -> None:
    assert compare_declarations(samples) == Declarations(not_saved, not_declared)


def test_without_a_schema_there_is_nothing_to_compare() -> None:
    storage = MemoryStorage()
    storage.save_data("faces/anything", [1])
    assert compare_declarations([describe(storage, "s", "a.step")]) == Declarations()


def test_schemas_that_contradict_are_left_to_the_merge() -> None:
    other = SchemaBuilder("test")
    other.create_group("faces", "row").create_array("kind", dtype="int32")
    found = compare_declarations([_sample(ALL, FIELDS), _sample(("faces/kind",), (), other)])
    assert found == Declarations()
