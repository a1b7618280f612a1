"""Templates of schemas: HOOPS AI's four."""

from __future__ import annotations

from typing import Any

from dflow.errors import SchemaError
from dflow.schema.document import schema_to_dict
from dflow.schema.model import GroupSpec, Schema
from dflow.schema.standard_arrays import standard_group

_DESCRIPTIONS = {
    "cad_basic": "Faces, edges and their adjacency graph, with file metadata",
    "cad_advanced": "cad_basic with face pairs and the seconds of loading and encoding",
    "manufacturing_basic": "Production lots, sensor readings and materials",
    "sensor_basic": "Time series, their sensors, and events",
}

_Arrays = tuple[tuple[str, str, str], ...]

_PLAIN_GROUPS: dict[str, tuple[tuple[str, str, str, _Arrays], ...]] = {
    "manufacturing_basic": (
        ("production", "lot", "One row per production lot", (
            ("lot_ids", "int64", "lot number"),
            ("quantities", "int32", "parts made"),
            ("cycle_seconds", "float32", "seconds per part"),
        )),
        ("sensors", "reading", "One row per reading", (
            ("timestamps", "int64", "nanoseconds since 1970-01-01 UTC"),
            ("values", "float32", "reading"),
        )),
        ("materials", "material", "One row per material used", (
            ("material_ids", "int32", "material code"),
            ("masses", "float32", "kg"),
        )),
    ),
    "sensor_basic": (
        ("timeseries", "time", "One row per sample in time", (
            ("timestamps", "int64", "nanoseconds since 1970-01-01 UTC"),
            ("values", "float32", "reading"),
        )),
        ("sensors", "sensor", "One row per sensor", (
            ("sensor_ids", "int32", "sensor number"),
            ("sampling_rates", "float32", "Hz"),
        )),
        ("events", "event", "One row per event", (
            ("event_types", "int32", "event code"),
            ("event_times", "int64", "nanoseconds since 1970-01-01 UTC"),
        )),
    ),
}  # fmt: skip

_FIELDS: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    "cad_basic": (
        ("file_level", "size_cadfile", "int64", "bytes of the CAD file"),
        ("file_level", "processing_time", "float32", "seconds"),
        ("categorical", "part_category", "str", "kind of part"),
    ),
    "manufacturing_basic": (
        ("file_level", "batch_size", "int32", "parts in the batch"),
        ("categorical", "machine", "str", "machine that made the part"),
    ),
    "sensor_basic": (
        ("file_level", "duration_seconds", "float64", "length of the recording"),
        ("categorical", "location", "str", "where it was recorded"),
    ),
}

_ADVANCED_FIELDS = (
    ("file_level", "duration_load", "float32", "seconds to load the CAD file"),
    ("file_level", "duration_encode", "float32", "seconds to encode it"),
)


class SchemaTemplates:
    """Lists the templates of `SchemaBuilder.from_template`."""

    @staticmethod
    def list_templates() -> list[str]:
        """Names of the templates."""
        return list(_DESCRIPTIONS)

    @staticmethod
    def get_template_description(name: str) -> str:
        """The description of a template: one sentence.

        Parameters
        ----------
        name : of a template

        Raises
        ------
        SchemaError
            If there is no template of that name.
        """
        _check_template(name)
        return _DESCRIPTIONS[name]


def template(name: str) -> dict[str, Any]:
    """A template's schema dictionary.

    Raises
    ------
    SchemaError
        If there is no template of that name.
    """
    _check_template(name)
    fields = _FIELDS["cad_basic"] + _ADVANCED_FIELDS if name == "cad_advanced" else _FIELDS[name]
    metadata: dict[str, dict[str, Any]] = {"file_level": {}, "categorical": {}}
    for kind, field, dtype, description in fields:
        metadata[kind][field] = {"dtype": dtype, "description": description}
    return {
        "version": "1.0",
        "domain": name,
        "description": _DESCRIPTIONS[name],
        "groups": _standard(name) if name.startswith("cad_") else _plain(name),
        "metadata": metadata,
    }


def _standard(name: str) -> dict[str, Any]:
    groups = ("faces", "edges", "graph", "faceface") if name == "cad_advanced" else ("faces", "edges", "graph")
    specs: dict[str, GroupSpec] = {group: spec for group in groups if (spec := standard_group(group))}
    found: dict[str, Any] = schema_to_dict(Schema(groups=specs))["groups"]
    return found


def _plain(name: str) -> dict[str, Any]:
    return {
        group: {
            "primary_dimension": dimension,
            "description": description,
            "arrays": {
                array: {"dims": [dimension], "dtype": dtype, "description": text} for array, dtype, text in arrays
            },
        }
        for group, dimension, description, arrays in _PLAIN_GROUPS[name]
    }


def _check_template(name: str) -> None:
    if name not in _DESCRIPTIONS:
        raise SchemaError(f"there is no template {name!r}; use one of {', '.join(_DESCRIPTIONS)}")
