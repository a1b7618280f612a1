"""Where a metadata field goes: by declaration, by pattern, by type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dflow.schema import (
    SchemaBuilder,
    route,
)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("declared_number", "text", "file_level"),
        ("declared_kind", 1, "categorical"),
        ("SIZE_of", "text", "file_level"),
        ("size_kind", 1, "file_level"),
        ("a_KIND", 1, "categorical"),
        ("plain", 1, "file_level"),
        ("plain", np.float32(1), "file_level"),
        ("plain", "text", "categorical"),
        ("plain", True, "categorical"),
        ("plain", np.bool_(True), "categorical"),
    ],
)
def test_declarations_beat_patterns_and_patterns_beat_types(field: str, value: Any, expected: str) -> None:
    builder = SchemaBuilder()
    builder.define_file_metadata("declared_number", "float32")
    builder.define_categorical_metadata("declared_kind", "int32")
    builder.set_metadata_routing_rules(["size*"], ["*kind", "declared_number"])
    assert route(builder.schema(), field, value) == expected


def test_defaults_by_type_can_be_set() -> None:
    builder = SchemaBuilder()
    builder.set_metadata_routing_rules([], [], "categorical", "file_level", "file_level")
    schema = builder.schema()
    assert [route(schema, "x", value) for value in (1, True, "a")] == ["categorical", "file_level", "file_level"]
