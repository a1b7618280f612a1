"""`SchemaBuilder` under HOOPS AI's import path; it lives in `dflow.schema`."""

from __future__ import annotations

from dflow.schema.builder import (
    SchemaBuilder,
    create_cad_schema,
    create_custom_schema,
    create_manufacturing_schema,
    create_sensor_schema,
)
from dflow.schema.group import Group
from dflow.schema.templates import SchemaTemplates

__all__ = [
    "Group",
    "SchemaBuilder",
    "SchemaTemplates",
    "create_cad_schema",
    "create_custom_schema",
    "create_manufacturing_schema",
    "create_sensor_schema",
]
